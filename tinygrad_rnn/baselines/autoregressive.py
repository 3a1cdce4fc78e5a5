"""Linear forecasts of a series: autoregression by least squares, and persistence.

Legend: N times in a series, p order, B series side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DataError, ShapeError

from ..arguments import finite_array, whole_number

__all__ = ["LinearAR", "persistence"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearAR:
    """The forecast ``ŷ(t) = intercept + Σ_k coefficients[k - 1] y(t - k)``, k = 1 .. p.

    Source: Yule (1927), of sunspots.

    >>> model = LinearAR.fit([1, 2, 4, 8, 16, 32], order=1)
    >>> model.forecast([3], steps=3).round(6).tolist()
    [6.0, 12.0, 24.0]
    """

    intercept: float
    coefficients: FloatArray

    @classmethod
    def fit(cls, series: ArrayLike, order: int) -> LinearAR:
        """Least squares over all times that have ``order`` values before them.

        Raises:
            ArgumentError: ``order`` is not a positive whole number.
            DataError: fewer equations than unknowns, that is N < 2 p + 1, or NaN or infinity.
            ShapeError: the series is not of shape ``(N,)``.
        """
        values = _series("LinearAR.fit", series)
        order = whole_number("LinearAR.fit", "order", order)
        if len(values) < 2 * order + 1:
            expected = f"at least 2 * {order} + 1 = {2 * order + 1} values"
            raise DataError("LinearAR.fit", expected, len(values), "choose a lower order")
        # Centred and scaled, so that the cut-off for small singular values means the same
        # for every unit of measurement.
        mean, scale = values.mean(), values.std() or 1.0
        z = (values - mean) / scale
        lags = sliding_window_view(z, order)[:-1, ::-1]
        design = np.column_stack([np.ones(len(lags)), lags])
        solution = np.linalg.lstsq(design, z[order:])[0]
        coefficients = solution[1:]
        intercept = solution[0] * scale + mean * (1 - coefficients.sum())
        return cls(float(intercept), coefficients)

    @classmethod
    def select(cls, train: ArrayLike, validation: ArrayLike, max_order: int = 20) -> LinearAR:
        """Fit orders 1 to ``max_order`` on ``train``; keep the best one-step on ``validation``.

        ``validation`` must follow ``train`` in time. Orders for which ``train`` is too short are
        left out; of equal orders the lowest is kept.

        Raises:
            ArgumentError, DataError, ShapeError: as ``fit``, or an empty validation part.
        """
        called = "LinearAR.select"
        past, future = _series(called, train), _series(called, validation)
        max_order = whole_number(called, "max_order", max_order)
        if len(future) == 0:
            raise DataError(called, "at least one value for validation", "none")
        highest = max(1, min(max_order, (len(past) - 1) // 2))
        models = [cls.fit(past, order) for order in range(1, highest + 1)]
        both = np.concatenate([past, future])

        def error(model: LinearAR) -> float:
            return float(np.square(model.one_step(both, len(past)) - future).mean())

        return min(models, key=error)

    @property
    def order(self) -> int:
        """How many values before it a forecast needs."""
        return len(self.coefficients)

    def one_step(self, series: ArrayLike, start: int | None = None) -> FloatArray:
        """Forecast ``series[start:]``, each value from the true ones before it.

        ``start`` is at least, and by default, the order.

        Raises:
            DataError: there is no value from ``start`` on, or NaN or infinity in the series.
        """
        values = _series("LinearAR.one_step", series)
        first = self.order if start is None else start
        first = whole_number("LinearAR.one_step", "start", first, least=self.order)
        if first >= len(values):
            got = f"{len(values)} values and start={first}"
            raise DataError("LinearAR.one_step", "a value to forecast", got)
        past = sliding_window_view(values, self.order)[first - self.order : -1]
        return self.intercept + past @ self.coefficients[::-1]

    def forecast(self, history: ArrayLike, steps: int) -> FloatArray:
        """Run free for ``steps`` steps after ``history``, each on the forecasts before it.

        ``history`` is ``(N,)`` or, for B series at once, ``(N, B)``; the result has ``steps``
        rows. An unstable model may run off to infinity.

        Raises:
            DataError: fewer values than the order, or NaN or infinity among them.
        """
        called = "LinearAR.forecast"
        past = finite_array(called, "a history", history)
        steps = whole_number(called, "steps", steps, least=0)
        if len(past) < self.order:
            raise DataError(called, f"a history of at least {self.order}", f"shape {past.shape}")
        values = np.concatenate([past[-self.order :], np.empty((steps, *past.shape[1:]))])
        weights = self.coefficients[::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            for now in range(self.order, len(values)):
                values[now] = self.intercept + weights @ values[now - self.order : now]
        return values[self.order :]


def persistence(period: int = 1) -> LinearAR:
    """The forecast ``ŷ(t) = y(t - period)``: nothing changes, or every season is like the last.

    >>> persistence(2).forecast([1, 2, 3], steps=4).tolist()
    [2.0, 3.0, 2.0, 3.0]
    """
    period = whole_number("persistence", "period", period)
    return LinearAR(0.0, np.eye(period)[-1])


def _series(called: str, values: ArrayLike) -> FloatArray:
    array = finite_array(called, "a series", values)
    if array.ndim != 1:
        raise ShapeError(called, "a series of shape (N,)", array.shape)
    return array
