"""Hessian-free optimisation: Newton's method with a Gauss–Newton matrix that is never written down.

Legend: θ (N,) all parameters, g = ∂loss/∂θ, G the Gauss–Newton matrix, λ the damping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..arguments import real, whole_number
from ..backend import quiet
from ..create import rand
from ..errors import ArgumentError
from ..graph import no_grad
from ..ops.elementwise import where
from ..tensor import Tensor
from ..transforms import gauss_newton, grad, value_and_grad, vjp
from .conjugate_gradient import conjugate_gradient
from .whole import Array, WholeOptimizer

__all__ = ["HessianFree", "HessianFreeReport"]

Model = Callable[[Any], Any]
Loss = Callable[[Any], Any]


class HessianFreeReport(NamedTuple):
    """One step: the loss before and after, ρ, λ from now on, iterates kept by CG, the rate."""

    before: float
    after: float
    reduction_ratio: float
    damping: float
    candidates: int
    rate: float


class HessianFree(WholeOptimizer):
    """Truncated Newton steps for deep and recurrent networks (Martens, 2010).

        (G + λI) p = −g by CG, from 0.95 of the last p, preconditioned by (d + λ)^¾
        p: the CG iterate with the lowest loss, looking back;  θ ← θ + αp, α = 1, 0.8, 0.8², …
        ρ = (f(θ + p) − f(θ)) / (gᵀp + ½pᵀGp);  λ ← ⅔λ if ρ > ¾, λ ← 3/2 λ if ρ < ¼

    d estimates the diagonal of Σ(∂output · ∂loss/∂output)² by `probes` random signs. With
    `structural_damping` μ the model gives (output, hidden states), and a step that disturbs the
    states is held back by λμ·½‖Δstates‖², in G (Martens and Sutskever, 2011).

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = HessianFree([x], damping=0.0)
    >>> optimizer.step(lambda params: params[0], lambda y: (y[0] - 2) ** 2 + 10 * (y[1] - 1) ** 2)
    251.0
    >>> [round(v, 4) for v in x.tolist()]
    [2.0, 1.0]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        damping: float = 1.0,
        *,
        structural_damping: float = 0.0,
        cg_iterations: int = 250,
        cg_progress: float = 5e-4,
        probes: int = 8,
    ) -> None:
        called = type(self).__name__
        options = {
            "lr": lr,
            "damping": damping,
            "structural_damping": structural_damping,
            "cg_iterations": whole_number(called, "cg_iterations", cg_iterations, 1),
            "cg_progress": real(called, "cg_progress", cg_progress, 0),
            "probes": whole_number(called, "probes", probes, 0),
        }
        self._direction: Array = None
        self.report: HessianFreeReport | None = None
        super().__init__(params, options)

    def step(self, model: Model, loss: Loss, curvature: tuple[Model, Loss] | None = None) -> float:  # type: ignore[override]
        """Improve the parameters; what was tried stands in `report`.

        Args:
            model: parameters (a list; a dict if they were given with names) → output, or (output,
                hidden states) with structural damping.
            loss: output → one number, convex in the output.
            curvature: a (model, loss) on fewer data for the products of CG.

        Returns:
            The loss before the step.
        """
        if not callable(model) or not callable(loss):
            raise ArgumentError("HessianFree.step", "a model and a loss to call", repr(loss))
        self.ready("HessianFree.step")
        theta = Tensor(self.vector())
        structural = self.group["structural_damping"] > 0
        value, g = value_and_grad(lambda v: loss(_output(self._run(model, v), structural)))(theta)
        if not self.xp.isfinite(g.array).all():
            raise ArgumentError("HessianFree.step", "a finite loss and gradient", float(value))
        with quiet():
            product = self._curvature(*(curvature or (model, loss)), theta)
            self._move(model, loss, theta, float(value), g.array, product)
        return float(value)

    def _run(self, model: Model, theta: Tensor) -> Any:
        return model(self.parts(theta))

    def _loss_at(self, model: Model, loss: Loss, theta: Array) -> float:
        with no_grad():
            out = self._run(model, Tensor(theta))
            return float(loss(_output(out, self.group["structural_damping"] > 0)))

    # --------------------------------------------------------------------------- curvature
    def _curvature(self, model: Model, loss: Loss, theta: Tensor) -> Callable[[Array], Array]:
        """v ↦ G v; with structural damping, of the output and of the hidden states together."""
        strength = self.group["structural_damping"] * self.group["damping"]
        criterion = loss
        if self.group["structural_damping"] > 0:

            def criterion(out: Any) -> Any:
                return loss(out[0]) + 0.5 * strength * (out[1] * out[1]).sum()

        product = gauss_newton(self.of_vector(model), criterion, theta)
        self._diagonal = self._estimated_diagonal(model, criterion, theta)
        return lambda v: product(Tensor(v))[0].array

    def _estimated_diagonal(self, model: Model, criterion: Loss, theta: Tensor) -> Array:
        out, pullback = vjp(self.of_vector(model), theta)
        errors = grad(criterion)(out)
        total = self.xp.zeros_like(theta.array)
        for _ in range(self.group["probes"]):
            pulled = pullback(_with_random_signs(errors))[0].array
            total += pulled * pulled
        return total / max(self.group["probes"], 1)

    # -------------------------------------------------------------------------------- step
    def _move(
        self, model: Model, loss: Loss, theta: Tensor, value: float, g: Array, product: Any
    ) -> None:
        damping = self.group["damping"]
        start = self.xp.zeros_like(g) if self._direction is None else 0.95 * self._direction
        size = (self._diagonal + damping) ** 0.75
        candidates = conjugate_gradient(
            lambda v: product(v) + damping * v, -g, start,
            precondition=size if bool((size > 0).all()) else 1.0,
            iterations=self.group["cg_iterations"], progress=self.group["cg_progress"],
        )  # fmt: skip
        self._direction = candidates[-1]

        def lost(p: Array) -> float:
            return self._loss_at(model, loss, theta.array + p)

        step, after = _lowest(candidates, lost)
        promised = float(g @ step) + 0.5 * float(step @ product(step))
        ratio = (after - value) / promised if promised < 0 else 0.0
        rate, after = self._back_off(lost, step, value, after, float(g @ step))
        if rate:
            self.assign(theta.array + rate * step)
        self._adapt(ratio)
        self.report = HessianFreeReport(
            value, after, ratio, self.group["damping"], len(candidates), rate
        )

    def _back_off(
        self, lost: Callable[[Array], float], step: Array, value: float, after: float, slope: float
    ) -> tuple[float, float]:
        """The first rate that lowers the loss enough (Armijo), or 0."""
        rate = self.group["lr"]
        after = after if rate == 1 else lost(rate * step)
        for _ in range(60):
            if after <= value + 1e-2 * rate * min(slope, 0.0):
                return rate, after
            rate *= 0.8
            after = lost(rate * step)
        return 0.0, value

    def _adapt(self, ratio: float) -> None:
        """Levenberg and Marquardt: trust the quadratic more where it foretold well."""
        if ratio > 0.75:
            self.group["damping"] *= 2 / 3
        elif not ratio >= 0.25:
            self.group["damping"] *= 3 / 2

    # ------------------------------------------------------------------------------- state
    def remember(self) -> dict[str, Array]:
        """Where CG begins; λ stands among the options."""
        return {} if self._direction is None else {"direction": self._direction}

    def recall(self, memory: dict[str, Array]) -> None:
        """Take over where CG begins."""
        self._direction = memory["direction"].copy() if memory else None

    def wanted(self) -> dict[str, tuple[int | None, ...]]:
        """One vector."""
        return {"direction": (self._flats[0][0].values.size,)}


def _output(out: Any, structural: bool) -> Any:
    if not structural:
        return out
    if not isinstance(out, tuple) or len(out) != 2:
        raise ArgumentError(
            "HessianFree.step", "a model that gives (output, hidden states)", type(out).__name__,
            "structural damping needs the states",
        )  # fmt: skip
    return out[0]


def _with_random_signs(errors: Any) -> Any:
    if isinstance(errors, tuple):
        return tuple(map(_with_random_signs, errors))
    return where(rand(*errors.shape, device=errors.device) < 0.5, errors, -errors)


def _lowest(candidates: list[Array], lost: Callable[[Array], float]) -> tuple[Array, float]:
    """Back from the last candidate for as long as the one before it is lower."""
    best, height = candidates[-1], lost(candidates[-1])
    for earlier in reversed(candidates[1:-1]):
        lower = lost(earlier)
        if lower >= height:
            break
        best, height = earlier, lower
    return best, height
