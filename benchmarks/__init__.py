"""What the library costs, beside its peers: `python -m benchmarks` or `make bench`.

Each part is a function in `spine` or `compiler` that yields measures; it runs in a process of its
own with a stated number of threads. Contenders are first compared number by number and then timed
in turns. `report` prints the table, draws the picture and writes the tables of RESULTS.md.
"""
