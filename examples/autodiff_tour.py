"""Automatic differentiation in five minutes: the library's core, one idea after the other.

python examples/autodiff_tour.py
"""

import argparse

import tinygrad_rnn as tg
from tinygrad_rnn.testing import check_grads


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def circuit():
    heading("A circuit: f = (x + y) z")
    x, y, z = (tg.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    q = x + y
    f = q * z
    f.backward()
    print(f"forward     q = {q.item():g}   f = {f.item():g}")
    print(f"backward    ∂f/∂z = q = {z.grad.item():g}")
    print(f"            ∂f/∂q = z = {z.item():g}, which the sum hands on:", end=" ")
    print(f"∂f/∂x = {x.grad.item():g}, ∂f/∂y = {y.grad.item():g}")


def arrays():
    heading("Arrays: gradients have the shape of what they belong to")
    x, w = tg.randn(5, 3), tg.randn(3, 2, requires_grad=True)
    b = tg.zeros(2, requires_grad=True)  # broadcast to five rows, so its gradient is their sum
    loss = tg.tanh(x @ w + b).square().mean()
    loss.backward()
    print(f"loss {loss.item():.4f}, ∂/∂w {w.grad.shape}, ∂/∂b {b.grad.shape}")
    print(f"the last step was {loss.node}, and it remembers what it was made from")


def transforms():
    heading("Functions: from f to its derivatives, in any nesting")

    def f(x):
        return (x**3).sum()

    x, v = tg.tensor([1.0, 2.0]), tg.tensor([1.0, -1.0])
    print("x                            ", x.tolist())
    print("grad(f)(x) = 3x²             ", tg.grad(f)(x).tolist())
    print("hessian(f)(x) = diag 6x      ", tg.hessian(f)(x).tolist())
    value, slope = tg.jvp(f, (x,), (v,))
    print("v                            ", v.tolist())
    print(f"jvp(f, (x,), (v,))            {value.item():g}, and along v {slope.item():g}")
    print("hvp(f, (x,), (v,)) = H v     ", tg.hvp(f, (x,), (v,))[0].tolist())
    third = tg.grad(tg.grad(tg.grad(lambda t: t**4)))
    print("third derivative of t⁴ at 2  ", third(tg.tensor(2.0)).item())


def recurrence():
    heading("A loop: its gradient is backpropagation through time")
    w, xs = tg.tensor(0.5, dtype=tg.float64), tg.tensor([1.0, 2.0, 3.0, 4.0], dtype=tg.float64)

    def last_state(w, **options):
        def step(h, x):
            h = w * h + x
            return h, h

        final, _ = tg.scan(step, tg.zeros_like(w), xs, **options)
        return final

    by_hand = 3 + 2 * w * 2 + 3 * w**2 * 1  # h₄ = 4 + 3w + 2w² + w³
    print(f"h = w h + x over {xs.tolist()} at w = {w.item()}: h = {last_state(w).item()}")
    print(f"∂h/∂w by scan {tg.grad(last_state)(w).item()}, by hand {by_hand.item()}", end=", ")
    print(f"truncated after 2 steps {tg.grad(lambda w: last_state(w, truncate=2))(w).item()}")
    check_grads(last_state, (w,))
    print("check_grads: both modes and the second order agree with finite differences")


def mistakes():
    heading("Mistakes: every message says what was called, expected, came, and what to do")
    x = tg.ones(3, requires_grad=True)
    attempts = [
        lambda: (x * 2).backward(),
        lambda: tg.ones(2, 3) @ tg.ones(2, 3),
        lambda: x.add_(1),
        lambda: tg.scan(lambda h, x: (h.double(), h), tg.zeros(2), tg.ones(4, 2)),
    ]
    for attempt in attempts:
        try:
            attempt()
        except tg.errors.TinygradRNNError as error:
            print(f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the same: it takes no time")
    parser.parse_args()
    tg.manual_seed(0)
    for part in (circuit, arrays, transforms, recurrence, mistakes):
        part()
