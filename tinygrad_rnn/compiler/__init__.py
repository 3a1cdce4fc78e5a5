"""The loop compiler: any step, written in tensor operations, at the speed of a fused kernel.

- `trace` runs the step without numbers; what it does is the program (`program`, `step`, `passes`)
- `cut` decides what leaves the loop, and `batch` runs that for all steps together
- `backward` runs the ordinary rules on the program: one more program, cut again (`sums`)
- `plan`, `layout` and `pool` decide where values live
- `numpy_engine` runs a plan with NumPy; `fuse`, `lowering` and `llvm_*` make kernels of it;
  `native_engine` makes one function of the whole loop
- `core` is the loop as one node of the graph, `run` the way there from `scan`
- `explain` and `notation` show all of it, with the equations of a textbook
"""

from .engines import choose, show_config
from .explain import explain
from .run import fallbacks

__all__ = ["choose", "explain", "fallbacks", "show_config"]
