"""The memory tasks of "What it learns", tiny; and the course on which temporal order is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from benchmarks.tasks import _temporal_order as order
from benchmarks.tasks import memory


def test_five_bits_are_all_patterns_and_are_learned_over_a_short_time() -> None:
    tg.manual_seed(0)
    five = memory.Five(5, 10)
    bits = five.inputs.numpy()[:5].argmax(axis=2)
    assert sorted(map(tuple, bits.T.tolist())) == sorted(np.ndindex(2, 2, 2, 2, 2))
    assert five.targets.numpy().reshape(5, 32).tolist() == bits.tolist()
    assert five.wrong() > 16
    assert memory.five_bits(0, quick=True)["wrong of 32"] == 0


@pytest.mark.parametrize("kind", memory.ADDING)
def test_adders_begin_by_keeping(kind: str) -> None:
    tg.manual_seed(0)
    found = memory.adding(kind, 10, seed=0, quick=True)
    assert found["updates"] == 3 and np.isfinite(found["MSE"])
    layer: Any = memory.adder(kind, 6, 100, np.random.default_rng(0))
    if kind == "IRNN":
        assert layer.weight_hh_l0.detach().numpy().tolist() == np.eye(6).tolist()
    else:
        keep = layer.bias_ih_l0.detach().numpy()[6:12]
        assert np.all((keep >= 0) & (keep < np.log(100)))


@pytest.mark.parametrize("kind", order.SETTINGS)
def test_one_network_is_asked_at_every_length(kind: str) -> None:
    found = order.order(kind, seed=0, quick=True)
    assert found.keys() == {"T=50 %", "T=100 %", "T=150 %", "T=200 %", "updates"}
    assert all(0 <= found[f"T={length} %"] <= 100 for length in order.LENGTHS)


def test_a_course_grows_when_it_is_right_and_goes_back_when_it_guesses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tg.manual_seed(0)
    course = order.Course(order.Gated(4), order.SETTINGS["LSTM"], seed=0)
    monkeypatch.setattr(order, "wrong_share", lambda model, length, *_: float(length > 50))
    course.top, course.updates = 50, order.LOOK - 1
    course._judge()
    assert course.top == 60
    course.updates = order.LOOK - 1
    course._judge()
    assert course.top == 60
    before = {
        name: value.detach().numpy().copy() for name, value in course.model.state_dict().items()
    }
    course.update()
    assert any(
        np.any(course.model.state_dict()[n].detach().numpy() != a) for n, a in before.items()
    )
    rate, course.wrong = course.lr, 0.2
    course._judge()
    for name, value in course.model.state_dict().items():
        assert value.detach().numpy().tolist() == before[name].tolist()
    assert course.lr < rate and course.wrong < 0.1
    rate, course.standing = course.lr, order.SETTINGS["LSTM"]["patience"] - 1
    course._judge()
    assert course.lr == rate / 2
