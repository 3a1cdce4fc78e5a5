"""The same computation on the host and on the fake device, compared, with the crossings counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from fake_device import FakeArray, traffic

import tinygrad_rnn as tg
from tinygrad_rnn.tree import flatten


def on_host(value: Any) -> Any:
    """What a tensor of any device holds, as a NumPy array."""
    return value.detach().cpu().numpy() if isinstance(value, tg.Tensor) else np.asarray(value)


def moved_to(device: str, args: Any) -> list[Any]:
    """NumPy arrays as leaves on a device; those of floating point require gradients."""
    made = [tg.tensor(x).to(device) if isinstance(x, np.ndarray | np.generic) else x for x in args]
    return [
        t.requires_grad_() if isinstance(t, tg.Tensor) and t.dtype.kind == "f" else t for t in made
    ]


def assert_same(found: Any, wanted: Any, rtol: float = 1e-13) -> None:
    """Equal trees of tensors, the first of them on the device."""
    ours, theirs = flatten(found)[0], flatten(wanted)[0]
    assert flatten(found)[1] == flatten(wanted)[1]
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(a, tg.Tensor) and isinstance(b, tg.Tensor)
        assert a.device == "fake" and type(a.array) is FakeArray
        assert a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        np.testing.assert_allclose(on_host(a), on_host(b), rtol=rtol, atol=1e-14)


def run_on_both(function: Callable[[str], Any], rtol: float = 1e-13) -> Counter[str]:
    """`function(device)` on both devices gives the same; what crossed on the fake one."""
    tg.manual_seed(1)
    wanted = function("cpu")
    tg.manual_seed(1)
    with traffic() as crossed:
        found = function("fake")
    assert_same(found, wanted, rtol)
    return crossed
