"""The loop compiler: any step, written in tensor operations, at the speed of a fused kernel.

trace.py       run the step without numbers: what it does is the program
program.py     the intermediate representation      step.py    a step as a program
passes.py      clean, split, join                   cut.py     what leaves the loop
backward.py    the ordinary rules, run on the program: one more program, cut again
batch.py       what has left the loop, run for all steps together
plan.py        where values live                    pool.py    memory that is used again
numpy_engine.py                                     NumPy into planned buffers
core.py        the loop as one node of the graph    run.py     from scan to all of this
"""

from .engines import choose, show_config
from .explain import explain
from .run import fallbacks

__all__ = ["choose", "explain", "fallbacks", "show_config"]
