"""What every test shares: hypothesis profiles, seeds and the device under test.

A test that takes ``device`` runs on the host and on the strict stand-in of ``fake_device``, or
where ``TINYGRAD_RNN_TEST_DEVICE`` says ("cpu", "fake"; ``make test-gpu`` sets "cuda"). A test that
takes ``rng`` gets random numbers of its own, the same in every run and in any order. A property
that is slow asks for a share of the profile's examples,
``@settings(max_examples=settings.default.max_examples // 5)``, so ``make fuzz`` can still raise it.
"""

from __future__ import annotations

import os
import random
import sys
import zlib
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

DEVICE = os.environ.get("TINYGRAD_RNN_TEST_DEVICE")

settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, max_examples=50, print_blob=True
)
settings.register_profile(
    "fuzz",
    deadline=timedelta(minutes=1),  # an example that hangs is a finding; a slow machine is not
    max_examples=2000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")  # --hypothesis-profile overrides it


def pytest_report_header() -> str:
    """Say where the tests run, in the first lines of every report."""
    return f"device under test: {DEVICE or 'cpu and fake'}"


def pytest_sessionstart() -> None:
    """Ask once for the device, so that its absence is one message and not one a test."""
    if DEVICE in (None, "cpu", "fake"):
        return
    import tinygrad_rnn as tg
    from tinygrad_rnn.errors import TinygradRNNError

    try:
        tg.tensor([0.0], device=DEVICE)
    except TinygradRNNError as error:
        raise pytest.UsageError(f"TINYGRAD_RNN_TEST_DEVICE={DEVICE}: {error}") from error


@pytest.fixture(scope="session", params=["cpu", "fake"] if DEVICE is None else [DEVICE])
def device(request: pytest.FixtureRequest) -> str:
    """The device under test: the host, the fake one, or what TINYGRAD_RNN_TEST_DEVICE names."""
    name: str = request.param
    if name == "fake":
        import fake_device  # noqa: F401 (registers itself)
    return name


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the test's name alone."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Start every test from the same global seeds, whichever ran before it."""
    random.seed(0)
    np.random.seed(0)
    package = sys.modules.get("tinygrad_rnn")  # the tests of the house itself do without it
    if package is not None:
        package.manual_seed(0)
