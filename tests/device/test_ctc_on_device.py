"""CTC on a device: the sums stay there, targets and lengths may be on either side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_devices import TARGET, run_on_both

import tinygrad_rnn as tg
from tinygrad_rnn.decode import ctc_beam_search, ctc_best_path
from tinygrad_rnn.losses import ctc_loss, ctc_loss_by_scan

X = np.random.default_rng(3).standard_normal((12, 3, 4))
TARGETS, LENGTHS, COUNTS = [[1, 1, 2], [3, 9, 9], [2, 2, 9]], [12, 5, 2], [3, 1, 2]


@pytest.mark.parametrize("loss", [ctc_loss, ctc_loss_by_scan])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_loss_and_gradient(loss: Any, dtype: Any, reduction: str) -> None:
    def run(device: str) -> Any:
        x = tg.tensor(X, dtype=dtype, device=device).requires_grad_()
        log_probs = tg.functional.log_softmax(x)
        y = loss(log_probs, TARGETS, LENGTHS, COUNTS, reduction=reduction, zero_infinity=True)
        y.sum().backward()
        return y, x.grad

    run_on_both(run, 1e-12 if dtype == tg.float64 else 1e-5)


def test_second_order() -> None:
    def run(device: str) -> Any:
        x = tg.tensor(X, device=device).requires_grad_()
        y = ctc_loss(x, TARGETS, LENGTHS, COUNTS, zero_infinity=True)
        first = tg.gradients(y, x, create_graph=True)
        return tg.gradients((first * first).sum(), x)

    run_on_both(run, 1e-11)


def test_targets_and_lengths_on_the_device() -> None:
    def run(device: str) -> Any:
        rest = [tg.tensor(values, device=device) for values in (TARGETS, LENGTHS, COUNTS)]
        return ctc_loss(tg.tensor(X, device=device), *rest, reduction="none")

    run_on_both(run, 1e-12)


def test_traffic_does_not_grow_with_the_steps() -> None:
    """Nothing of α, β or the gradient crosses: what does is the lattice, once."""

    def crossings(steps: int) -> dict[str, int]:
        def run(device: str) -> Any:
            x = tg.tensor(np.resize(X, (steps, 3, 4)), device=device).requires_grad_()
            return tg.gradients(ctc_loss(x, TARGETS, [steps] * 3, COUNTS), x)

        return run_on_both(run, 1e-11).counted

    assert crossings(8) == crossings(40)


def test_decoders_take_what_is_on_the_device() -> None:
    x = tg.functional.log_softmax(tg.tensor(X))
    for decode in (ctc_best_path, ctc_beam_search):
        assert decode(x.to(TARGET), tg.tensor(LENGTHS).to(TARGET)) == decode(x, LENGTHS)
