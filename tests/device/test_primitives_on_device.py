"""Every primitive and composition on the device: values, all derivatives, no copies."""

from __future__ import annotations

from typing import Any

import pytest
from both_devices import TARGET, assert_same, moved_to, traffic
from compositions import COMPOSED
from samples import SAMPLES, samples_of
from sampling import SCALAR, Sample

import tinygrad_rnn as tg
from tinygrad_rnn.graph import primitives

# CTC lays out its lattice on the host, where targets and lengths come from.
NAMES = [name for name in primitives if name in SCALAR or (name in SAMPLES and name != "ctc")]
ALL = [(name, sample) for name in NAMES for sample in samples_of(name)]
ALL += [(name, sample) for name, samples in COMPOSED.items() for sample in samples]

# Only whether the user's indices lie in range, how long a mask is, and whether a softmax meets
# infinities waits for the device.
ASK = frozenset(("assemble", "index", "masked", "softmax"))


def derivatives(sample: Sample, args: list[Any]) -> list[Any]:
    """The value, the vjp, the jvp and the second order, along cotangents that are powers of x."""
    out = sample.fn(*args)
    places = [i for i, x in enumerate(args) if isinstance(x, tg.Tensor) and x.requires_grad]
    if not sample.differentiable or not places or not out.requires_grad:
        return [out]

    def of_floats(*floats: Any) -> Any:
        given = dict(zip(places, floats, strict=True))
        return sample.fn(*[given.get(i, x) for i, x in enumerate(args)])

    xs = [args[i] for i in places]
    cotangent = (out.detach() * 0.5 + 1).requires_grad_()
    first = tg.gradients(out, xs, cotangent, create_graph=True, allow_unused=True)
    tangents = [x.detach() * 0.25 - 1 for x in xs]
    pushed = tg.jvp(of_floats, [x.detach() for x in xs], tangents)
    total = sum((g * g).sum() for g in first if g is not None)
    second = tg.gradients(total, [*xs, cotangent], allow_unused=True) if total.requires_grad else []
    return [out, first, pushed, second]


@pytest.mark.parametrize(("name", "sample"), ALL, ids=[f"{n}-{s.name}" for n, s in ALL])
def test_values_and_derivatives(name: str, sample: Sample) -> None:
    wanted = derivatives(sample, moved_to("cpu", sample.args))
    args = moved_to(TARGET, sample.args)
    with traffic() as crossed:
        found = derivatives(sample, args)
    assert_same(found, wanted)
    crossed.are_at_most(syncs=9 if name in ASK else 0)
