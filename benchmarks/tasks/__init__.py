"""What the library learns: `python -m benchmarks.tasks` or `make results`.

Each module here has `TASKS`, a list of `task.Task`: one row each of the table "What it learns" in
RESULTS.md. A task is named after its module, or module.variant. Every seed of a task runs in a
process of its own; what it found is kept under runs/tasks, from where a later run goes on.
"""
