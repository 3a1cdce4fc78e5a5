"""An update as one kernel: the bits that NumPy gives, and NumPy where there can be no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optim_reference import CASE_NAMES, CASES, give, gradients, host, start, tensors

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.optim import flat, fused

SIZE = 7  # elements of a block


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Models of a block are large; what kernels take, from one element to another."""
    pytest.importorskip("llvmlite")
    monkeypatch.delenv("TINYGRAD_RNN_ENGINE", raising=False)
    monkeypatch.setattr(flat, "BLOCK", SIZE * 4)
    monkeypatch.setattr(flat, "LARGE", 1)
    monkeypatch.setattr(flat, "EACH", 1)
    taken: list[tuple[int, int]] = []
    made = fused.Fused.kernel

    def kernel(self: Any, trace: Any) -> Any:
        run = made(self, trace)

        def noted(first: int, stop: int, gradient: int) -> None:
            taken.append((first, stop))
            run(first, stop, gradient)

        return noted

    monkeypatch.setattr(fused.Fused, "kernel", kernel)
    return taken


def both(name: str, options: dict[str, Any], first: Any, found: Any) -> tuple[Any, Any]:
    """Optimisers after the same steps, one with kernels, one without."""
    pair = [getattr(optim, name)(tensors(first, "cpu"), **options) for _ in range(2)]
    for each in found:
        for optimizer, able in zip(pair, (True, False), strict=True):
            give(optimizer.param_groups[0]["params"], each)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TINYGRAD_RNN_ENGINE", "native" if able else "numpy")
                optimizer.step()
    return pair[0], pair[1]


@pytest.mark.parametrize("missing", [False, True], ids=["all", "missing"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_kernels_give_the_bits_of_numpy(
    name: str, options: dict[str, Any], kind: str, missing: bool, taken: list[tuple[int, int]],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    mine, plain = both(name, options, start(rng, kind), gradients(rng, kind, 6, missing))
    assert len(set(taken)) > 1
    for a, b in zip(mine.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
        np.testing.assert_array_equal(host(a), host(b))
        for key, value in mine.state.get(a, {}).items():
            expected = plain.state[b][key]
            np.testing.assert_array_equal(
                value if key == "step" else host(value),
                expected if key == "step" else host(expected),
            )


def test_extremes_are_those_of_numpy(taken: list[tuple[int, int]]) -> None:
    extremes = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -1e-20] * 4, np.float32)
    first, options = [np.ones(32, np.float32)], {"amsgrad": True, "weight_decay": 0.1}
    mine, plain = both("Adam", options, first, [[extremes], [extremes[::-1].copy()]])
    assert taken
    (a,), (b,) = (o.param_groups[0]["params"] for o in (mine, plain))
    np.testing.assert_array_equal(host(a), host(b))
    for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        np.testing.assert_array_equal(host(mine.state[a][key]), host(plain.state[b][key]))


def test_rates_may_change_without_a_new_kernel(taken: list[tuple[int, int]]) -> None:
    x = tg.zeros(2 * SIZE, requires_grad=True)
    optimizer = optim.Adam([x], lr=0.5)
    fused._compiled.cache_clear()
    for lr in (0.5, 0.25, 0.125):
        optimizer.param_groups[0]["lr"] = lr
        x.grad = tg.ones(2 * SIZE)
        optimizer.step()
    assert fused._compiled.cache_info().misses == 1 and taken == [(0, 2 * SIZE)] * 3
    np.testing.assert_allclose(host(x), -0.875, rtol=1e-6)


def test_an_update_of_the_users_own_is_run_as_it_is(taken: list[tuple[int, int]]) -> None:
    class Signs(optim.SGD):
        def update(self, run: Any, group: Any) -> None:
            run.param -= group["lr"] * np.sign(run.grad)

    x = tg.zeros(2 * SIZE, requires_grad=True)
    x.grad = tg.ones(2 * SIZE) * 3
    Signs([x], lr=0.5).step()
    assert (host(x) == -0.5).all() and not taken


def test_an_update_put_in_the_place_of_ours_is_run_as_it_is(
    taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, seen = optim.SGD.update, []

    def clipped(self: Any, run: Any, group: Any) -> None:
        np.clip(run.grad, -1, 1, out=run.grad)
        seen.append(run.param.size)
        ours(self, run, group)

    monkeypatch.setattr(optim.SGD, "update", clipped)
    x = tg.zeros(2 * SIZE, requires_grad=True)
    x.grad = tg.ones(2 * SIZE) * 3
    optim.SGD([x], lr=0.5).step()
    assert (host(x) == -0.5).all() and not taken
    assert seen == [SIZE, SIZE]


def test_small_models_and_short_numbers_have_no_kernels(
    taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tg.zeros(3 * SIZE, dtype=tg.float16, requires_grad=True)
    small = tg.zeros(3 * SIZE, requires_grad=True)
    monkeypatch.setattr(flat, "LARGE", 4)
    for param in (half, small):
        param.grad = tg.ones(3 * SIZE, dtype=param.dtype)
        optim.SGD([param], lr=0.5).step()
        assert (host(param) == -0.5).all()
    assert not taken


def test_many_parameters_of_a_few_elements_have_no_kernels(
    taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = [tg.zeros(n, requires_grad=True) for n in (SIZE, 1, SIZE)]
    for each in (5, 6):
        monkeypatch.setattr(flat, "EACH", each)
        for param in params:
            param.grad = tg.ones(param.shape[0])
        optim.SGD(params, lr=0.5).step()
    assert all((host(param) == -1).all() for param in params)
    assert taken == [(0, 7), (7, 8), (8, 15)]
