"""The same computation on the host and on a device, compared, with the crossings counted.

The device is the fake one, or CuPy's where TINYGRAD_RNN_TEST_DEVICE is "cuda". There nothing counts
what crosses, and functions and sums are rounded in other ways than NumPy's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fake_device
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend import backend_of, get_backend
from tinygrad_rnn.tree import flatten

TARGET = "cuda" if os.environ.get("TINYGRAD_RNN_TEST_DEVICE") == "cuda" else "fake"
FAKE = TARGET == "fake"
LEAST = 1e-14 if FAKE else 1e-11  # differences of rounding between two libraries
for _dtype in (tg.float32, tg.float64):  # the first σ on a device puts its constants there
    tg.sigmoid(tg.zeros(1, dtype=_dtype, device=TARGET))


class Crossings:
    """How often something crossed between host and device; at most, where it was counted."""

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}

    def are(self, **expected: int) -> None:
        """These crossings, and no others, took place."""
        assert not FAKE or self.counted == expected

    def are_at_most(self, **limits: int) -> None:
        """Copies to the host and questions to the device took place no more often than this."""
        for kind in ("to_host", "syncs"):
            assert not FAKE or self.counted.get(kind, 0) <= limits.get(kind, 0), self.counted


@contextmanager
def traffic() -> Iterator[Crossings]:
    """Inside, the crossings are counted; the yielded object knows them afterwards."""
    crossed = Crossings()
    with fake_device.traffic() as counter:
        yield crossed
    crossed.counted = dict(counter)


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
        assert a.device == TARGET and backend_of(a.array) is get_backend(TARGET)
        assert a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        _assert_close(on_host(a), on_host(b), max(rtol, LEAST))


def _assert_close(found: Any, wanted: Any, rtol: float) -> None:
    """Of float32, sums that cancel are only as near as what was summed."""
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0) if rtol > 1e-9 else 0.0
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=max(LEAST, rtol * scale))


def run_on_both(function: Callable[[str], Any], rtol: float = 1e-13) -> Crossings:
    """`function(device)` on both devices gives the same; what crossed on the device."""
    tg.manual_seed(1)
    wanted = function("cpu")
    tg.manual_seed(1)
    with traffic() as crossed:
        found = function(TARGET)
    assert_same(found, wanted, rtol)
    return crossed
