"""Has OpenBLAS let its idle threads sleep; imported before anything that imports NumPy.

After a product on several threads these wait busily for a tenth of a second, in which they take a
core from the threads of compiled loops. 2¹⁸ ticks, a tenth of a millisecond, still bridge the gaps
between products that follow each other. OpenBLAS reads that number before it starts its threads.
Where NumPy came first they are ended and started anew, as OpenBLAS does itself when a process
forks; but not if there is another thread that might begin a product meanwhile: both would hang.
"""

import ctypes
import os
import sys
from _thread import _count
from threading import get_ident
from types import FrameType
from typing import Any

TICKS = "OPENBLAS_THREAD_TIMEOUT"
NUMPY = "numpy._core._multiarray_umath"
RESTART = ("openblas_read_env", "blas_thread_shutdown_", "blas_thread_init")
KINDS = ("scipy_openblas_get_parallel64_", "scipy_openblas_get_parallel", "openblas_get_parallel")
NOTEBOOK = {"IPython", "ipykernel", "tornado", "zmq"}  # whose threads pass messages on


def _of_notebook(frame: FrameType | None) -> bool:
    """Whether a thread is a notebook's own, which does no products: so all that it has called."""
    modules = set()
    while frame is not None:
        modules.add(str(frame.f_globals.get("__name__")).partition(".")[0])
        frame = frame.f_back
    return bool(modules & NOTEBOOK) and modules <= NOTEBOOK | sys.stdlib_module_names


def _restart() -> None:
    """Have OpenBLAS read the number and start its threads anew, if that can be."""
    file = getattr(sys.modules.get(NUMPY), "__file__", None)
    if file is None:
        return
    library: Any = ctypes.PyDLL(file)
    kind = next((getattr(library, name) for name in KINDS if hasattr(library, name)), None)
    if kind is None or kind() != 1 or not all(hasattr(library, name) for name in RESTART):
        return
    others = [frame for i, frame in sys._current_frames().items() if i != get_ident()]
    if len(others) >= _count() and all(map(_of_notebook, others)):  # none is in C alone
        os.environ[TICKS] = "18"
        for name in RESTART:
            getattr(library, name)()


if TICKS not in os.environ:
    if "numpy" in sys.modules:
        _restart()
    else:
        os.environ[TICKS] = "18"
