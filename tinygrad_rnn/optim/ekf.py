"""Training by an extended Kalman filter: the weights are the state, the outputs measure it.

Legend: θ (N,) all parameters, y (M,) outputs, H = ∂y/∂θ (M, N), P the covariance of θ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import function
from ..errors import ArgumentError, ShapeError, TrainingError
from ..tensor import Tensor, as_tensor
from ..transforms import jacobian
from .flat import FlatBuffer
from .groups import Group
from .whole import Array, WholeOptimizer

__all__ = ["EKF"]

DECOUPLED = ("global", "node")


class EKF(WholeOptimizer):
    """Kalman training, global or node-decoupled (Singhal and Wu, 1989; Puskorius, Feldkamp, 1994).

        A = (R + Σᵢ Hᵢ Pᵢ Hᵢᵀ)⁻¹;  Kᵢ = Pᵢ Hᵢᵀ A;  θᵢ ← θᵢ + Kᵢ (target − y)
        Pᵢ ← Pᵢ − Kᵢ Hᵢ Pᵢ + Q;  R = `measurement_noise`·I, Q diagonal, of `process_noise`

    H is pulled back row by row through the model, that is by BPTT. "global" has one P (N, N);
    "node" one for the weights into each node, which are the rows of equal number of a parameter
    group's tensors of equal length: give each layer a group. A group may have options of its own,
    but for R, which is of the outputs. On a linear model it is recursive least squares.

    Args:
        initial_covariance: diagonal of P at the start: how far the weights may be from right.

    >>> from tinygrad_rnn import tensor
    >>> w = tensor([0.0, 0.0], requires_grad=True)
    >>> filter = EKF([w], measurement_noise=1e-3)
    >>> for x, target in [([1.0, 2.0], 5.0), ([3.0, -1.0], 1.0), ([1.0, 1.0], 3.0)]:
    ...     _ = filter.step(lambda params: tensor(x) @ params[0], tensor(target))
    >>> [round(value, 2) for value in w.tolist()]
    [1.0, 2.0]
    """

    one_group = False

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        *,
        decoupling: str = "global",
        measurement_noise: float = 1.0,
        process_noise: float = 0.0,
        initial_covariance: float = 100.0,
    ) -> None:
        if decoupling not in DECOUPLED:
            raise ArgumentError("EKF", f"decoupling one of {', '.join(DECOUPLED)}", decoupling)
        self.decoupling = decoupling
        options = {
            "lr": lr,
            "measurement_noise": measurement_noise,
            "process_noise": process_noise,
            "initial_covariance": initial_covariance,
        }
        super().__init__(params, options)
        self._check_noise("EKF")
        self._members = self._nodes() if decoupling == "node" else [self.xp.arange(self._size())]
        self.recall({})

    def check(self, group: Group, called: str) -> None:
        """Without noise the same thing said twice cannot be weighed."""
        for name in ("measurement_noise", "initial_covariance"):
            if group[name] == 0:
                raise ArgumentError(called, f"{name} > 0", "0")

    def _check_noise(self, called: str) -> None:
        """R is of the outputs, which all groups make together."""
        found = {group["measurement_noise"] for group in self.param_groups}
        if len(found) > 1:
            raise ArgumentError(called, "one measurement_noise for all groups", sorted(found))

    def ready(self, called: str) -> FlatBuffer:
        """As of all that see one vector, and R looked at."""
        flat = super().ready(called)
        self._check_noise(called)
        return flat

    def _each(self, name: str) -> Array:
        """An option for every weight, (N,): that of its group."""
        pairs = self._all_flats()
        return self.xp.concatenate(
            [self.xp.full(flat.values.size, float(group[name])) for group, flat in pairs]
        )

    def _size(self) -> int:
        return sum(flat.values.size for _, flat in self._all_flats())

    def _nodes(self) -> list[Array]:
        """The places in θ of the weights into each node."""
        nodes: dict[tuple[int, int, int], list[Array]] = {}
        start = 0
        for number, group in enumerate(self.param_groups):
            for param in group["params"]:
                rows = param.shape[0] if param.ndim else 1
                places = self.xp.arange(start, start + param.numel()).reshape(rows, -1)
                for row in range(rows):
                    nodes.setdefault((number, rows, row), []).append(places[row])
                start += param.numel()
        return [self.xp.concatenate(found) for found in nodes.values()]

    def step(self, model: Callable[[Any], Any], target: Any) -> float:  # type: ignore[override]
        """Correct the parameters by what one measurement says.

        Args:
            model: parameters (a list; a dict if they were given with names) → outputs.
            target: what the outputs should have been; several streams or times count together.

        Returns:
            The mean squared error before the correction.

        Raises:
            ShapeError: a target of another shape. TrainingError: outputs that are not finite.
        """
        function("EKF.step", "model", model)
        self.ready("EKF.step")
        theta = Tensor(self.vector())
        outputs = as_tensor(model(self.parts(theta)))
        wanted = as_tensor(target, dtype=theta.dtype, device=theta.device)
        if wanted.shape != outputs.shape:
            raise ShapeError("EKF.step", f"a target of shape {outputs.shape}", wanted.shape)
        error = (wanted - outputs).detach().array.reshape(-1)
        if not self.xp.isfinite(error).all():
            raise TrainingError("EKF.step", "finite outputs and targets", "NaN or infinity")
        slopes = jacobian(self.of_vector(model))(theta).array.reshape(error.size, theta.numel())
        self.assign(theta.array + self._correction(slopes, error).astype(theta.dtype))
        return float(error @ error) / max(error.size, 1)

    def _correction(self, slopes: Array, error: Array) -> Array:
        """lr · K (target − y); P is brought up to date."""
        xp, noise = self.xp, self._each("process_noise")
        parts = [slopes[:, members].astype("float64") for members in self._members]
        spread = [p @ h.T for p, h in zip(self._covariances, parts, strict=True)]  # P Hᵀ
        innovation = self.group["measurement_noise"] * xp.eye(error.size)
        for h, ph in zip(parts, spread, strict=True):
            innovation += h @ ph
        inverse = xp.linalg.inv(innovation)
        change = xp.zeros(slopes.shape[1])
        for i, (members, ph) in enumerate(zip(self._members, spread, strict=True)):
            gain = ph @ inverse
            change[members] = gain @ error
            p = self._covariances[i] - gain @ ph.T
            p = 0.5 * (p + p.T)
            p[xp.arange(len(p)), xp.arange(len(p))] += noise[members]
            self._covariances[i] = p
        return self._each("lr") * change

    # ------------------------------------------------------------------------------- state
    def remember(self) -> dict[str, Array]:
        """Every P."""
        return {f"covariance_{i}": p for i, p in enumerate(self._covariances)}

    def recall(self, memory: Mapping[str, Array]) -> None:
        """Take over every P, or begin with the first one."""
        if memory:
            self._covariances = [memory[name].copy() for name in self.wanted()]
            return
        start = self._each("initial_covariance")
        self._covariances = [start[m] * self.xp.eye(len(m)) for m in self._members]

    def wanted(self) -> dict[str, tuple[int | None, ...]]:
        """A square matrix for each group of weights."""
        return {f"covariance_{i}": (len(m), len(m)) for i, m in enumerate(self._members)}
