"""Asks OpenBLAS that its idle threads sleep; imported before NumPy, which loads it.

After a product on several threads these wait busily for tens of milliseconds, in which they take a
core from the threads of compiled loops. 2¹⁸ ticks, a tenth of a millisecond, still bridge the gaps
between products that follow each other.
"""

import os
import sys

if "numpy" not in sys.modules:
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")
