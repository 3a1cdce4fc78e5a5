"""Optimisers in a curved valley: Rosenbrock's function, where the gradient rarely points home.

f(x, y) = (1 − x)² + 100 (y − x²)² falls steeply into the valley y = x² and then gently along it to
(1, 1). The learning rates are round numbers tried by hand; others give another order. Newton's
method, with the Hessian that differentiating twice gives, is there for comparison. The picture
goes to runs/optimisers.png.

python examples/optimisers.py
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import optim

START, CLOSE = (-1.5, 2.0), 1e-3  # where to begin, and how near the end counts as there
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#222222")


def rosenbrock(p):
    x, y = p[0], p[1]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def descend(make, steps):
    """The path of an optimiser, point by point."""
    p = tg.tensor(START, dtype=tg.float64, requires_grad=True)
    optimizer = make([p])
    path = [p.tolist()]
    for _ in range(steps):
        optimizer.zero_grad()
        rosenbrock(p).backward()
        optimizer.step()
        path.append(p.tolist())
    return np.array(path)


def newton(steps):
    """p ← p − H⁻¹ g."""
    p, path = tg.tensor(START, dtype=tg.float64), []
    for _ in range(steps + 1):
        path.append(p.tolist())
        g, H = tg.grad(rosenbrock)(p), tg.hessian(rosenbrock)(p)
        p = p - tg.tensor(np.linalg.solve(H.numpy(), g.numpy()))
    return np.array(path)


def draw(paths, file):
    """The valley from above with the paths, and how near each has come after how many steps."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    above, distances = figure.subplots(1, 2)
    xs, ys = np.meshgrid(np.linspace(-2, 2, 200), np.linspace(-1, 3, 200))
    heights = rosenbrock(np.stack([xs, ys]))
    above.contourf(xs, ys, heights, np.logspace(-2, 4, 25), norm="log", cmap="Greys")
    above.plot(1, 1, "*", color="white", markeredgecolor="black", markersize=14, zorder=5)
    for i, (name, path) in enumerate(paths.items()):
        above.plot(*path.T, color=COLORS[i], linewidth=6 - i)  # so that each shows beside the next
        apart = np.linalg.norm(path - 1, axis=1)
        distances.loglog(np.arange(1, len(path) + 1), apart + 1e-9, color=COLORS[i], label=name)
    above.set(xlabel="x", ylabel="y", xlim=(-2, 2), ylim=(-1, 3), title="paths to (1, 1)")
    distances.set(xlabel="step", ylabel="distance to (1, 1)", ylim=(1e-6, 10))
    distances.set_title("how near, and when")
    distances.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=120)


def main(steps):
    paths = {
        "SGD": descend(lambda p: optim.SGD(p, lr=1e-3), steps),
        "SGD, momentum": descend(lambda p: optim.SGD(p, lr=1e-3, momentum=0.9), steps),
        "Adagrad": descend(lambda p: optim.Adagrad(p, lr=0.5), steps),
        "RMSprop": descend(lambda p: optim.RMSprop(p, lr=1e-3), steps),
        "Adam": descend(lambda p: optim.Adam(p, lr=2e-2), steps),
        "Newton": newton(10),
    }
    print(f"{'':16}{'steps until ' + str(CLOSE) + ' near':>24}{'distance at the end':>24}")
    for name, path in paths.items():
        apart = np.linalg.norm(path - 1, axis=1)
        there = np.flatnonzero(apart < CLOSE)
        print(f"{name:16}{there[0] if len(there) else '-':>24}{apart[-1]:>24.1e}")
    file = Path("runs/optimisers.png")
    draw(paths, file)
    print(f"\npicture: {file}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    matplotlib.rcParams.update({"axes.spines.right": False, "axes.spines.top": False})
    main(steps=50 if parser.parse_args().quick else 5000)
