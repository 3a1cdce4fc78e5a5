"""Starting values, drawn from the library's generator: a seed repeats them on every device.

Each function fills a tensor in place and returns it. Fans are those of a weight (out, in, …):
fan_in = in · receptive field, fan_out = out · receptive field.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import real
from ..create import generator
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import no_grad
from ..tensor import Tensor

__all__ = [
    "calculate_gain", "constant_", "eye_", "identity_", "kaiming_normal_", "kaiming_uniform_",
    "normal_", "ones_", "orthogonal_", "sparse_", "spectral_radius_", "uniform_",
    "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip


def _filled(tensor: Tensor, values: Any) -> Tensor:
    """`tensor`, which `_tensor` has looked at, with new values."""
    source = np.asarray(values, dtype=tensor.dtype)
    with no_grad():
        return tensor.copy_(Tensor(tensor.backend.from_numpy(source)))


def _tensor(tensor: Any, called: str) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise DTypeError(called, "a tensor to fill", type(tensor).__name__, "a layer's .weight?")
    return tensor


# ---------------------------------------------------------------------------------- constants
def constant_(tensor: Tensor, value: float) -> Tensor:
    """Every element `value`."""
    shape = _tensor(tensor, "constant_").shape
    return _filled(tensor, np.full(shape, real("constant_", "value", value)))


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(_tensor(tensor, "zeros_"), 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(_tensor(tensor, "ones_"), 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, the start of the IRNN (Le, Jaitly, Hinton 2015)."""
    _check_matrix(tensor, "eye_")
    return _filled(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


identity_ = eye_


# ------------------------------------------------------------------------- independent numbers
def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """U[low, high)."""
    bounds = real("uniform_", "low", low), real("uniform_", "high", high)
    if not low <= high:
        raise ArgumentError("uniform_", "low <= high", f"{low} and {high}")
    return _filled(tensor, generator().uniform(*bounds, _tensor(tensor, "uniform_").shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std²)."""
    numbers = real("normal_", "mean", mean), real("normal_", "std", std, 0)
    return _filled(tensor, generator().normal(*numbers, _tensor(tensor, "normal_").shape))


def _fans(tensor: Tensor, called: str) -> tuple[int, int]:
    if _tensor(tensor, called).ndim < 2:
        raise ShapeError(called, "a weight with at least two axes", str(tensor.shape))
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(−a, a) with a = gain √(6/(fan_in + fan_out)) (Glorot, Bengio 2010)."""
    scale = real("xavier_uniform_", "gain", gain, 0)
    bound = scale * math.sqrt(6.0 / max(1, sum(_fans(tensor, "xavier_uniform_"))))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, gain² 2/(fan_in + fan_out)) (Glorot, Bengio 2010)."""
    scale = real("xavier_normal_", "gain", gain, 0)
    std = scale * math.sqrt(2.0 / max(1, sum(_fans(tensor, "xavier_normal_"))))
    return normal_(tensor, 0.0, std)


_GAINS = {
    "linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 3 / 4,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps variance through a nonlinearity; `param` is the slope of leaky_relu."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else real("calculate_gain", "the slope", param)
        return math.sqrt(2.0 / (1 + slope**2))
    if not isinstance(nonlinearity, str) or nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ArgumentError("calculate_gain", f"one of {known}", repr(nonlinearity))
    return _GAINS[nonlinearity]


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str, called: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(called, 'mode "fan_in" or "fan_out"', repr(mode))
    fan = _fans(tensor, called)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """U(−b, b) with b = gain √(3/fan) (He et al. 2015); `a` is the slope of leaky_relu."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """N(0, gain²/fan) (He et al. 2015); `a` is the slope of leaky_relu."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"))


# ------------------------------------------------------------------------- matrices as a whole
def _check_matrix(tensor: Tensor, called: str, square: bool = False) -> None:
    if _tensor(tensor, called).ndim != 2 or (square and tensor.shape[0] != tensor.shape[1]):
        kind = "a square matrix" if square else "a matrix"
        raise ShapeError(called, kind, str(tensor.shape))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """gain · Q with QᵀQ = I (or QQᵀ = I if wider than tall), uniform (Saxe et al. 2014).

    Axes after the first are taken as one. The signs of R's diagonal make Q uniformly distributed.
    """
    scale = real("orthogonal_", "gain", gain)
    if _tensor(tensor, "orthogonal_").ndim < 2:
        raise ShapeError("orthogonal_", "at least two axes", str(tensor.shape))
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    tall = generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return _filled(tensor, scale * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float | None = None, std: float = 0.01, fan_in: int | None = None
) -> Tensor:
    """N(0, std²) with most elements 0 (Martens 2010).

    Args:
        sparsity: the fraction of zeros in each column, as in PyTorch; or
        fan_in: the number of elements that are not 0 in each *row*, which are the weights into one
            unit; Martens used 15 with std = 1.
    """
    _check_matrix(tensor, "sparse_")
    if (sparsity is None) == (fan_in is None):
        raise ArgumentError("sparse_", "sparsity or fan_in", "both" if fan_in else "neither")
    rows, columns = tensor.shape
    if fan_in is not None:
        if not isinstance(fan_in, int) or not 0 <= fan_in <= columns:
            raise ArgumentError("sparse_", f"0 <= fan_in <= {columns}", fan_in)
        return _filled(tensor, _few_per_row(rows, columns, fan_in, std))
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity <= 1:
        raise ArgumentError("sparse_", "sparsity in [0, 1]", sparsity)
    return _filled(tensor, _few_per_row(columns, rows, rows - math.ceil(sparsity * rows), std).T)


def _few_per_row(rows: int, columns: int, count: int, std: float) -> Any:
    """`count` normal numbers at random places in each row, zeros elsewhere."""
    places = generator().random((rows, columns)).argsort(axis=1) < count
    return np.where(places, generator().normal(0.0, std, (rows, columns)), 0.0)


def spectral_radius_(tensor: Tensor, radius: float = 1.0) -> Tensor:
    """Scale a square matrix so that its largest |eigenvalue| is `radius` (Jaeger 2001).

    Raises:
        ArgumentError: all eigenvalues are 0, so that no factor would do.
    """
    _check_matrix(tensor, "spectral_radius_", square=True)
    values = tensor.backend.to_numpy(tensor.detach().array).astype(np.float64)
    found = float(np.abs(np.linalg.eigvals(values)).max(initial=0.0))
    if found == 0 or not math.isfinite(found):
        raise ArgumentError("spectral_radius_", "a matrix with an eigenvalue that is not 0", found)
    return _filled(tensor, values * (radius / found))
