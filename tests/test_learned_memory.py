"""The memory tasks of "What it learns", tiny; and the course on which temporal order is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from benchmarks.tasks import _temporal_order as order
from benchmarks.tasks import memory
from tinygrad_rnn.data.tasks import TemporalOrder


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


def weights(model: Any) -> dict[str, Any]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def test_a_course_grows_when_it_is_right_and_goes_back_when_it_guesses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tg.manual_seed(0)
    settings = order.SETTINGS["LSTM"] | {"mean": 0.002}
    course = order.Course(order.Gated(4), settings, seed=0)
    monkeypatch.setattr(order, "wrong_share", lambda model, length, *_: float(length > 50))
    course.top, course.updates = 50, order.LOOK - 1
    course.update()
    assert course.top == 60
    course.updates = order.LOOK - 1
    before = weights(course.mean)
    course.update()
    assert course.top == 60
    now, mean = weights(course.model), weights(course.mean)
    for name, old in before.items():  # a hundredth of the way: that is the hundredth update
        np.testing.assert_allclose(mean[name], old + 0.01 * (now[name] - old), atol=1e-6)
        assert np.any(mean[name] != old)
    rate, course.wrong = course.lr, 0.2
    course._judge()
    for model in (course.model, course.mean):
        assert all(np.array_equal(a, before[name]) for name, a in weights(model).items())
    assert course.lr < rate and course.wrong < 0.1


def test_the_penalty_fades_as_sequences_grow() -> None:
    def moved(top: int, penalty: float) -> Any:
        tg.manual_seed(0)
        model = order.Plain(4, penalty, fades=2.0, noise=0.0)
        model.learn(TemporalOrder(20).draw(np.random.default_rng(0), 8), top)
        return model.W.grad.numpy()

    loss = moved(10, penalty=0.0)
    whole, faded = moved(order.SHORT, penalty=5.0) - loss, moved(2 * order.SHORT, 5.0) - loss
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(faded, whole / 4, atol=1e-6)
