"""Finding tasks by name without importing the modules of others."""

from __future__ import annotations

import importlib
import pkgutil

from .task import Task

__all__ = ["find", "modules"]

NOT_TASKS = {"__main__", "catalogue", "record", "runner", "task", "worker"}


def modules() -> list[str]:
    """The modules of this package that hold tasks."""
    import benchmarks.tasks as here

    found = [module.name for module in pkgutil.iter_modules(here.__path__)]
    return [name for name in found if name not in NOT_TASKS and not name.startswith("_")]


def find(names: list[str]) -> list[Task]:
    """The tasks of these names, each that of a module or of one task; all if none is given.

    Raises:
        KeyError: no such module, or no such task in it.
    """
    found = [task for name in names or modules() for task in _named(name)]
    return list({task.name: task for task in found}.values())


def _named(name: str) -> list[Task]:
    module = name.partition(".")[0]
    if module not in modules():
        raise KeyError(f"no tasks {name}; there are: {', '.join(modules())}")
    tasks: list[Task] = importlib.import_module(f"benchmarks.tasks.{module}").TASKS
    if strange := [task.name for task in tasks if task.name.partition(".")[0] != module]:
        raise KeyError(f"{module}.py holds {', '.join(strange)}: begin the name with {module}")
    chosen = [task for task in tasks if name in (module, task.name)]
    if not chosen:
        raise KeyError(f"no task {name}; there are: {', '.join(task.name for task in tasks)}")
    return chosen
