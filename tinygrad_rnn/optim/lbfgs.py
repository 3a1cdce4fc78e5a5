"""L-BFGS: Newton's method with a curvature that is read off the last steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import function, real, whole_number
from ..backend import quiet
from ..errors import ArgumentError
from ..graph import enable_grad
from .line_search import Point, strong_wolfe
from .whole import Array, WholeOptimizer

__all__ = ["LBFGS"]


class LBFGS(WholeOptimizer):
    """Quasi-Newton steps from the last m changes (Nocedal, 1980; Liu and Nocedal, 1989).

        sₖ = θₖ₊₁ − θₖ,  yₖ = gₖ₊₁ − gₖ,  d = −H g by the two-loop recursion, H₀ = s·y / y·y
        θ ← θ + αd, α from a line search under the strong Wolfe conditions

    One `step(closure)` makes up to `max_iter` of them; the loss must be the same function all the
    while, so the whole data or a large batch. Without `line_search_fn` α is `lr`.

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = LBFGS([x])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (x[0] - 2) ** 2 + 10 * (x[1] - 1) ** 2
    ...     loss.backward()
    ...     return loss
    >>> float(optimizer.step(closure)), [round(v, 4) for v in x.tolist()]
    (251.0, [2.0, 1.0])
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = "strong_wolfe",
        *,
        wolfe: tuple[float, float] = (1e-4, 0.9),
    ) -> None:
        called = type(self).__name__
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(called, '"strong_wolfe" or None', repr(line_search_fn))
        if not isinstance(wolfe, (tuple, list)) or len(wolfe) != 2:
            raise ArgumentError(called, "wolfe, two numbers,", repr(wolfe))
        c1, c2 = (real(called, f"wolfe[{i}]", wolfe[i], 0, 1) for i in range(2))
        if not c1 < c2:
            raise ArgumentError(called, "wolfe = (c₁, c₂) with c₁ < c₂", repr(wolfe))
        max_iter = whole_number(called, "max_iter", max_iter, 1)
        options = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": whole_number(called, "max_eval", max_eval or 5 * max_iter // 4 + 1, 1),
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": whole_number(called, "history_size", history_size, 1),
            "line_search_fn": line_search_fn,
            "wolfe": (c1, c2),
        }
        self._pairs: list[tuple[Array, Array]] = []  # (s, y), the newest last
        super().__init__(params, options)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Descend; `closure` clears the gradients, computes the loss and calls backward.

        Returns:
            The loss where it began, as the closure gave it.

        Raises:
            ArgumentError: no closure. ShapeError, DTypeError, DeviceError: a parameter changed.
        """
        if closure is None:
            raise ArgumentError("LBFGS.step", "a closure that computes the loss anew", "none")
        function("LBFGS.step", "closure", closure)
        self.ready("LBFGS.step")
        with enable_grad(), quiet():
            first = closure()
            if first is None:
                hint = "end it with `return loss`"
                raise ArgumentError("LBFGS.step", "a loss from the closure", "None", hint)
            self._descend(closure, Point(0.0, float(first), 0.0, self._gradient()))
        return first

    def _descend(self, closure: Callable[[], Any], here: Point) -> None:
        group, self._evaluations = self.group, 1
        for _ in range(group["max_iter"]):
            g = here.gradient
            if not float(abs(g).max()) > group["tolerance_grad"]:  # nor is NaN
                return
            d = self._direction(g)
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                return
            there = self._along(closure, d, here._replace(rate=0.0, slope=slope))
            if there.gradient is g:
                return
            self._note(there.rate * d, there.gradient - g)
            moved, fallen = there.rate * float(abs(d).max()), abs(here.value - there.value)
            here = there
            if min(moved, fallen) <= group["tolerance_change"] or self._spent() <= 0:
                return

    def _spent(self) -> int:
        """How many evaluations are left."""
        return self.group["max_eval"] - self._evaluations

    def _direction(self, g: Array) -> Array:
        """−H g by the two-loop recursion."""
        d, shares = -g, []
        for s, y in reversed(self._pairs):
            shares.append(float(s @ d) / float(s @ y))
            d = d - shares[-1] * y
        if self._pairs:
            s, y = self._pairs[-1]
            d = d * (float(s @ y) / float(y @ y))
        for (s, y), share in zip(self._pairs, reversed(shares), strict=True):
            d = d + (share - float(y @ d) / float(s @ y)) * s
        return d

    def _along(self, closure: Callable[[], Any], d: Array, here: Point) -> Point:
        """The point that the line search finds; the parameters stand there when it returns."""
        theta, group = self.vector(), self.group

        def phi(rate: float) -> Point:
            self.assign(theta + rate * d)
            self._evaluations += 1
            value = float(closure())
            g = self._gradient()
            return Point(rate, value, float(g @ d), g)

        first = 1.0 if self._pairs else min(1.0, 1.0 / float(abs(here.gradient).sum()))
        rate = group["lr"] * first
        if group["line_search_fn"] is None:
            return phi(rate)
        c1, c2 = group["wolfe"]
        found = strong_wolfe(phi, here, rate, c1, c2, max(self._spent(), 2))
        self.assign(theta + found.rate * d if found.rate else theta)
        return found

    def _note(self, s: Array, y: Array) -> None:
        """Keep a pair whose curvature is positive, and no more than `history_size`."""
        if float(s @ y) > 1e-10 * float(y @ y):
            self._pairs = [*self._pairs, (s, y)][-self.group["history_size"] :]

    def _gradient(self) -> Array:
        """The gradient as one vector; a parameter without one counts as unused."""
        return self._flats[0][0].gradient()

    # ------------------------------------------------------------------------------- state
    def remember(self) -> dict[str, Array]:
        """The pairs, as two matrices (k, N)."""
        if not self._pairs:
            return {}
        stack = self.xp.stack
        return {
            "steps": stack([s for s, _ in self._pairs]),
            "changes": stack([y for _, y in self._pairs]),
        }

    def recall(self, memory: dict[str, Array]) -> None:
        """Take over the pairs."""
        pairs = zip(memory.get("steps", ()), memory.get("changes", ()), strict=True)
        self._pairs = [(s.copy(), y.copy()) for s, y in pairs]

    def wanted(self) -> dict[str, tuple[int | None, ...]]:
        """Two matrices with N columns."""
        count = self._flats[0][0].values.size
        return {"steps": (None, count), "changes": (None, count)}
