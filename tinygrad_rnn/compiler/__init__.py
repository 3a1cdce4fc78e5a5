"""The loop compiler: any step, written in tensor operations, at the speed of a fused kernel.

- `trace` runs the step without numbers; what it does is the program (`program`, `step`, `passes`;
  `lookups` are rows of tables)
- `structures` finds again what a step was compiled to, from all that it reads (`reads`,
  `code_reads`)
- `cut` decides what leaves the loop; `outside` and `script` write a function of it, in which
  `batch` (`ufuncs`) runs a value for all steps together; `draws` has its random numbers
  (`llvm_draws`)
- `backward` runs the ordinary rules on the program: one more program, cut again (`factors`, `sums`)
- `plan`, `layout` and `pool` decide where values live
- `numpy_engine` runs a plan with NumPy: `blocks` has its calls few and on what is contiguous,
  `numpy_block` writes the call of such a loop as a function; `blas` has products of all rows
- `row_forms` and `row_sums` say a loop in what kernels can do; `fuse`, `index_maps` and `lowering`
  make loops over addresses of it; `llvm_kernels` writes these (`llvm_loops`, `llvm_math`,
  `llvm_functions`, `llvm_angles`) as text (`llvm_text`), which `llvm_jit` compiles and
  `llvm_engine` calls
- `native_engine` makes one function of the whole loop, with `llvm_products` (`llvm_panels`),
  `llvm_running` and `llvm_gather`, in one block of memory (`native_block`), on several threads
  (`native_shares`, `workers`); what the next step reads is fetched early (`soon`)
- `packed` runs rows of unequal length: `packing` says what is where, `rowwise` rewrites a step for
  one row, `ragged_engine` and `native_ragged` (in `pieces`) are the engines
- `long_products` (`llvm_sums`) are products outside of a loop, over all rows of a sequence;
  `long_sums` writes a function of all sums of a pass
- `core` is the loop as one node of the graph, with `checkpoints` one that remembers less;
  `derivatives` has those of derivatives, by forward mode (`duals`) or on the graph (`replays`)
- `run` is the way there from `scan`, `spans` that with masks and in blocks, `tables` that of inputs
  which are rows of one; `engines` is the choice of an engine
- `explain` shows all of it, with the equations of a `textbook`: `labels` finds the user's `names`,
  `notation` writes expressions by the rules in `signs`; `costs` counts what a step costs, `actions`
  tells what a compiled loop does
"""

from .engines import choose, show_config
from .explain import explain
from .run import fallbacks

__all__ = ["choose", "explain", "fallbacks", "show_config"]
