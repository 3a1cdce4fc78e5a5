"""A plain recurrent network that remembers: which two symbols came, in which order, long ago.

Gradients that vanish on the way back are pulled to length by the penalty Ω, those that explode
are clipped (Pascanu, Mikolov, Bengio 2013). The picture goes to runs/temporal_order.png.

python examples/temporal_order.py
"""

import argparse
import time
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.data.tasks import TemporalOrder, solved
from tinygrad_rnn.draw import plot_gradient_norms
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.nn.init import normal_
from tinygrad_rnn.optim import SGD, clip_grad_norm_
from tinygrad_rnn.recurrence import gradient_norms, spectral_radius, vanishing_gradient_penalty

HIDDEN, BATCH = 50, 20


def parameters(task):
    """h = tanh(V x + W h + b), and logits U h + c of the last h."""
    shapes = {"W": (HIDDEN, HIDDEN), "V": (HIDDEN, 6), "U": (task.output_size, HIDDEN)}
    deviations = {"W": 0.95 * HIDDEN**-0.5, "V": 0.1, "U": 0.1}
    p = {name: normal_(tg.zeros(*shape), std=deviations[name]) for name, shape in shapes.items()}
    p |= {"b": tg.zeros(HIDDEN), "c": tg.zeros(task.output_size)}
    return {name: tensor.requires_grad_() for name, tensor in p.items()}


def run(p, xs, push=0.0):
    """Logits and all h; ∂loss/∂push is what arrives at every step, if push is zeros (T, B, H)."""

    def step(h, a):
        h = tg.tanh(a + h @ p["W"].T)
        return h, h

    final, hs = tg.scan(step, tg.zeros(xs.shape[1], HIDDEN), xs @ p["V"].T + p["b"] + push)
    return final @ p["U"].T + p["c"], hs


def arriving(p, batch):
    """‖∂loss/∂h(t)‖ over time."""
    target = tg.tensor(batch.targets)
    return gradient_norms(
        lambda h, x: (tg.tanh(x @ p["V"].T + p["b"] + h @ p["W"].T), x[0, 0]),
        lambda h, ys: cross_entropy(h @ p["U"].T + p["c"], target),
        tg.zeros(len(target), HIDDEN), tg.tensor(batch.inputs),
    )  # fmt: skip


def train(task, strength, steps, seed):
    """Share of wrong answers, and the norms before and after; it ends as soon as it is solved."""
    tg.manual_seed(seed)
    p, few, test = parameters(task), *(next(task.stream(n, seed=10**6)) for n in (BATCH, 10_000))
    before, started = arriving(p, few), time.perf_counter()
    optimizer = SGD(list(p.values()), lr=0.02)
    for n, batch in zip(range(1, steps + 1), task.stream(BATCH, seed)):
        push = tg.zeros(task.length, BATCH, HIDDEN, requires_grad=True)
        logits, hs = run(p, tg.tensor(batch.inputs), push)
        optimizer.zero_grad()
        cross_entropy(logits, tg.tensor(batch.targets)).backward()
        omega = vanishing_gradient_penalty(p["W"], push.grad, 1 - hs.detach() ** 2)
        (strength * omega).backward()
        clip_grad_norm_(list(p.values()), 1.0)
        optimizer.step()
        if n % 250 == 0 or n == steps:
            with tg.no_grad():
                wrong = task.wrong(run(p, tg.tensor(test.inputs))[0].numpy(), test)
            if solved(wrong):
                break
    spent, radius = time.perf_counter() - started, spectral_radius(p["W"])
    print(f"{strength:7.1f}{n:8}{100 * wrong.mean():9.2f} %{radius:8.2f}{spent:8.0f} s", flush=True)
    return before, arriving(p, few)


def main(length, steps):
    print(f"temporal order, {length} symbols\n\npenalty   steps      wrong    ρ(W)    time")
    rows = {}
    for strength in (0.0, 4.0):
        before, after = train(TemporalOrder(length), strength, steps, seed=0)
        rows |= {"at the start": before, f"trained, penalty {strength:g}": after}
    path = Path("runs/temporal_order.png")
    path.parent.mkdir(exist_ok=True)
    plot_gradient_norms(path, rows, title=f"Temporal order, T = {length}")
    fade = {name: np.log10(row[-1] / row[0]) for name, row in rows.items()}
    lost = ", ".join(f"{name} {value:.1f}" for name, value in fade.items())
    print(f"\npowers of ten lost on the way back: {lost}")
    print(f"picture: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(20 if quick else 50, 20 if quick else 8000)
