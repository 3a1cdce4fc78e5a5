"""Output layers of many classes: the full softmax beside losses that look at a few.

`PARTS` names them. Legend: N rows, H hidden size, V classes.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import losses

from .measure import faster, longer
from .spine import Measures
from .timing import Contender, Spread, alternate, spread_of
from .work import Settings

__all__ = ["PARTS"]

SIZES, QUICK = ((1024, 256, 100_000), (1024, 256, 10_000)), ((16, 8, 200),)
FULL = "full softmax"
# What is drawn in each step, whether by the batch or by the row, and how much faster it is to be
# at the first size.
FEWER: dict[str, tuple[str, int, bool, float | None]] = {
    "NCE, 25 samples": ("nce", 25, True, 40.0),
    "NCE, 25 samples a row": ("nce", 25, False, None),
    "sampled softmax, 1,000 samples": ("softmax", 1000, True, 15.0),
}


class Layer(NamedTuple):
    """Hidden states (N, H), targets (N,), and an output layer (V, H) with its bias (V,)."""

    hidden: tg.Tensor
    target: np.ndarray
    weight: tg.Tensor
    bias: tg.Tensor
    sampler: losses.Sampler

    @staticmethod
    def draw(rows: int, size: int, classes: int) -> Layer:
        """Random; targets and noise follow Zipf's law."""
        rng, sampler = np.random.default_rng(0), losses.LogUniformSampler(classes)
        arrays = [rng.standard_normal(s, dtype=np.float32) for s in ((rows, size), (classes, size))]
        hidden, weight = (tg.tensor(0.1 * array, requires_grad=True) for array in arrays)
        bias = tg.zeros(classes, requires_grad=True)
        return Layer(hidden, sampler.sample(rows), weight, bias, sampler)


def vocabulary(settings: Settings) -> Measures:
    """Forward and backward of an output layer, down to its hidden states; drawing is included."""
    for size in QUICK if settings.quick else SIZES:
        yield from _measured(size, settings)


def _measured(size: tuple[int, int, int], settings: Settings) -> Measures:
    layer = Layer.draw(*size)
    contenders = [Contender(FULL, _full(layer), dict)]
    for name, (method, count, shared, _) in FEWER.items():
        for suffix, apart in (("", True), (", gradient of all rows", False)):
            run = _sampled(layer, method, count, shared, apart)
            contenders.append(Contender(name + suffix, run, dict))
    effort = replace(settings.effort, least=min(3, settings.effort.least))
    times, memory = alternate(contenders, effort), {c.name: _peak(c.run) for c in contenders}
    label = "N={}, H={}, V={:,}".format(*size)
    for name in list(times)[1:]:
        target = FEWER[name][3] if name in FEWER and size == SIZES[0] else None
        yield faster("vocabulary", name, label, times[name], FULL, times[FULL], target)
    for name in list(times)[1:]:
        what = f"{name}: memory"
        yield longer("vocabulary", what, label, memory[name], FULL, memory[FULL], unit="MB")


def _full(layer: Layer) -> Callable[[], Any]:
    def run() -> None:
        _forget(layer)
        logits = tg.linear(layer.hidden, layer.weight, layer.bias)
        losses.cross_entropy(logits, tg.tensor(layer.target)).backward()

    return run


def _sampled(layer: Layer, method: str, count: int, shared: bool, apart: bool) -> Callable[[], Any]:
    """`apart`: the rows in use are leaves of their own, so that no gradient is as large as V."""

    def run() -> None:
        _forget(layer)
        used = losses.draw_candidates(layer.sampler, layer.target, count, shared=shared)
        output = layer.weight, layer.bias
        if apart:
            output = tuple(used.rows(table).requires_grad_() for table in output)
        losses.sampled_loss(layer.hidden, *output, used, method).backward()

    return run


def _forget(layer: Layer) -> None:
    for leaf in (layer.hidden, layer.weight, layer.bias):
        leaf.grad = None


def _peak(run: Callable[[], Any]) -> Spread:
    """MB of arrays at once beyond those from before; what is left behind counts as well."""
    tracemalloc.start()
    try:
        run()
        return spread_of([tracemalloc.get_traced_memory()[1] / 1e6])
    finally:
        tracemalloc.stop()


PARTS: dict[str, Callable[[Settings], Measures]] = {"vocabulary": vocabulary}
