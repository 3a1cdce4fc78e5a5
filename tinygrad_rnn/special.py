"""Functions of numbers that NumPy lacks.

The error function, after W. J. Cody (1969), Rational Chebyshev approximations for the error
function, and M. M. Shepherd and J. G. Laframboise (1981), Chebyshev approximation of
(1 + 2x) exp(x²) erfc x: a polynomial in x² near zero; beyond, one in t = (x − 4)/(x + 4) that goes
round infinity. `INSIDE` and `BEYOND` interpolate them at Chebyshev points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["BEYOND", "INSIDE", "erf"]

# erf(x) / x in powers of x², for |x| <= 1
INSIDE = (
    1.1283791670955126, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777,
    0.0052239776071164225, -0.0008548325975389692, 0.00012055294904839707,
    -1.492473690741966e-05, 1.6447424703317362e-06, -1.6208483801871705e-07,
    1.3720064546777686e-08, -7.795898827002142e-10,
)  # fmt: skip
# (1 + 2x) exp(x²) erfc(x) in powers of t, for 1 <= x <= 6; beyond, erf(x) is 1
BEYOND = (
    1.2329951186255526, -0.13962111684056236, 0.01537965210257007, 0.0680970542544652,
    -0.1010390660290445, 0.0937328350448936, -0.06633036611671828, 0.037167512486740814,
    -0.016197734350641032, 0.005032040312285165, -0.0007575424899723285,
    -0.00019943791115473986, 0.00014780980824831742, -3.1982217080725404e-05,
    -2.0987219091222924e-05,
)  # fmt: skip
BLOCK = 1 << 13  # elements that stay in the cache


def erf(x: Any) -> Any:
    """The error function of each element of a NumPy array of floats, in its dtype.

    >>> erf(np.array([-0.5, 0.0, 3.0])).round(6).tolist()
    [-0.5205, 0.0, 0.999978]
    """
    array = np.asarray(x)
    found = np.empty(array.size, array.dtype)
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        found[start : start + BLOCK] = _erf(flat[start : start + BLOCK].astype(np.float64))
    return found.reshape(array.shape)


def _erf(x: Any) -> Any:
    size = np.minimum(np.abs(x), 6.0)
    found = _polynomial(INSIDE, size * size) * x
    far = size > 1.0
    if far.any():
        a = size[far]
        rest = np.exp(-a * a) * _polynomial(BEYOND, (a - 4.0) / (a + 4.0)) / (1.0 + 2.0 * a)
        found[far] = np.copysign(1.0 - rest, x[far])
    return found


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Σ cₖ xᵏ, by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= x
        total += c
    return total
