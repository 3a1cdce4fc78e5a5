"""How far a forecast is from the truth, in units of the series' own spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ..arguments import finite_array, numeric_array

__all__ = ["nmse", "nrmse84"]

FloatArray = NDArray[np.float64]


def nmse(target: ArrayLike, prediction: ArrayLike) -> float:
    """Normalised mean squared error ``Σ(t - ŷ)² / Σ(t - t̄)²``; 1 is what the mean t̄ would get.

    Sums and mean run over all values. A forecast that diverged gives ``inf`` or ``nan``.

    Raises:
        ShapeError: the two differ in shape, which would broadcast into nonsense.
        DataError: the target is constant, empty or not finite.

    >>> nmse([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    truth, forecast = _pair("nmse", target, prediction)
    if truth.size == 0 or np.ptp(truth) == 0:
        got = f"{truth.size} equal values" if truth.size else "no values"
        raise DataError("nmse", "a target that varies", got)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(((truth - forecast) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def nrmse84(target: ArrayLike, prediction: ArrayLike, deviation: float) -> float:
    """Root mean square of the error in the 84th free-running step, over ``deviation``.

    ``target`` and ``prediction`` are ``(T,)`` or, for B runs, ``(T, B)``, T >= 84, step 1 being
    the first after the teacher-forced part; ``deviation`` is the whole series' standard
    deviation (Jaeger and Haas, 2004).

    Raises:
        ShapeError: the two differ in shape or have fewer than 84 steps.
        ArgumentError: ``deviation`` is not a finite number above 0.

    >>> nrmse84(np.zeros(84), np.full(84, 0.5), deviation=0.25)
    2.0
    """
    truth, forecast = _pair("nrmse84", target, prediction)
    if truth.ndim == 0 or len(truth) < 84 or truth.size == 0:
        raise ShapeError("nrmse84", "84 or more steps", truth.shape)
    if not 0 < deviation < np.inf:
        raise ArgumentError("nrmse84", "a finite deviation > 0", deviation)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(((truth[83] - forecast[83]) ** 2).mean()) / deviation)


def _pair(called: str, target: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    truth = finite_array(called, "a target", target)
    forecast = numeric_array(called, "a prediction", prediction).astype(np.float64)
    if truth.shape != forecast.shape:
        got = f"{truth.shape} and {forecast.shape}"
        raise ShapeError(called, "target and prediction of one shape", got)
    return truth, forecast
