"""A loop divided among threads: sums over the batch that are carried, layouts that are shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

pytest.importorskip("llvmlite")

from scan_cells import difference

from tinygrad_rnn.compiler import native_engine, native_ragged


def statistics_carried(engine: str, kind: str, **options: Any) -> list[Any]:
    """Outputs and gradients where the carry has a sum over the batch of the step before."""
    rng = np.random.default_rng(1)

    def leaf(*shape: int) -> Any:
        return tg.tensor(rng.normal(size=shape), requires_grad=True)

    w, u, v = leaf(3, 16), leaf(16, 16), leaf(16, 4)
    shape = {"row": (1, 16), "vector": (16,), "number": ()}[kind]
    h0, s0, xs = leaf(8, 16), leaf(*shape), leaf(5, 8, 3)

    def step(carry: Any, x: Any) -> Any:
        h, s = carry
        h = (x @ w + h @ u).tanh()
        after = {"row": h.sum(0, keepdim=True), "vector": h.sum(0), "number": h.sum()}[kind]
        return (h, after), s * 2.0 if kind == "number" else s @ v

    (h, s), ys = tg.scan(step, (h0, s0), xs, engine=engine, **options)
    loss = (ys * ys).sum() + (h * h).sum() + (s * s).sum()
    found = tg.gradients(loss, [w, u, v, h0, s0, xs], allow_unused=True)
    outputs = [t.detach().numpy() for t in (ys, h, s)]
    return outputs + [None if g is None else g.numpy() for g in found]


@pytest.mark.parametrize("kind", ["row", "vector", "number"])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": 2}], ids=str)
def test_a_sum_over_the_batch_as_a_carry(
    kind: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread's carry begins with the initial one, the others' with nothing."""
    monkeypatch.setattr(native_engine, "EACH", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    counts, way = [], native_engine.NativeRunner.way

    def counted(self: Any, count: int) -> Any:
        found = way(self, count)
        counts.append(found[1].count)
        return found

    monkeypatch.setattr(native_engine.NativeRunner, "way", counted)
    found = statistics_carried("native", kind, **options)
    assert kind != "row" or 2 in counts
    assert difference(found, statistics_carried("loop", kind, **options)) < 1e-12


class Forgetful(dict[Any, Any]):
    """What another thread clears as soon as something is put in."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
def test_layouts_that_another_thread_forgets(lengths: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = native_ragged.NativePackedRunner if lengths else native_engine.NativeRunner
    begin = runner.__init__

    def forgetful(self: Any, plan: Any) -> None:
        begin(self, plan)
        self.calls = self.layouts = Forgetful()

    monkeypatch.setattr(runner, "__init__", forgetful)
    w, xs = tg.randn(7, 7), tg.randn(5, 3, 7)

    def run(engine: str) -> Any:
        return tg.scan(
            lambda h, x: ((h @ w - x).tanh(),) * 2, tg.zeros(3, 7), xs, lengths=lengths,
            engine=engine,
        )[1].numpy()  # fmt: skip

    assert np.allclose(run("native"), run("loop"), atol=1e-5)
