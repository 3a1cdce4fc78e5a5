"""A process to identify: what a network is to be like, from its inputs and outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arguments import finite_array

__all__ = ["nonlinear_plant"]


def nonlinear_plant(inputs: ArrayLike) -> NDArray[np.float64]:
    """y_t = y_{t−1}/(1 + y_{t−1}²) + u_t³, from y_0 = 0: for inputs u (T, …) the outputs (T, …).

    The plant with one lag of Narendra and Parthasarathy (1990), example 3. A model is taught beside
    it, by its outputs (series-parallel), and has to go on from its own (parallel).

    >>> nonlinear_plant([1.0, 0.0, 0.0]).tolist()
    [1.0, 0.5, 0.4]
    """
    u = finite_array("nonlinear_plant", "inputs", inputs)
    outputs, y = np.empty_like(u), np.zeros(u.shape[1:])
    for t, pushed in enumerate(u**3):
        outputs[t] = y = y / (1 + y**2) + pushed
    return outputs
