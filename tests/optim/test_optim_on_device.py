"""On a device: the same bits as on the host, and no crossing between the two in a step."""

from __future__ import annotations

from typing import Any

import fake_device
import numpy as np
import pytest
from optim_reference import CASE_NAMES, CASES, give, gradients, grouped, host, start, tensors

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import DeviceError

FAKE = fake_device.from_host(np.zeros(0)).__class__


@pytest.mark.parametrize("missing", [False, True], ids=["all", "missing"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_steps_stay_on_the_device(
    name: str, options: dict[str, Any], missing: bool, rng: np.random.Generator
) -> None:
    first = start(rng, "float32")
    here, there = tensors(first, "cpu"), tensors(first, "fake")
    make = getattr(optim, name)
    on_host, on_device = make(grouped(here), **options), make(grouped(there), **options)
    for found in gradients(rng, "float32", 6, missing):
        give(here, found)
        give(there, found)
        on_host.step()
        with fake_device.traffic() as crossed:
            on_device.step()
            on_device.zero_grad()
            state = on_device.state_dict()
        assert not crossed
    for param, expected in zip(there, here, strict=True):
        assert type(param.array) is FAKE
        np.testing.assert_array_equal(host(param), host(expected))
    for number, entry in on_host.state_dict()["state"].items():
        for key, value in entry.items():
            if key != "step":
                np.testing.assert_array_equal(host(value), host(state["state"][number][key]))


def test_a_state_goes_from_device_to_host_and_back(rng: np.random.Generator) -> None:
    first = start(rng, "float32")
    params = {device: tensors(first, device) for device in ("cpu", "fake")}
    optimizers = {device: optim.Adam(params[device]) for device in params}
    found = next(gradients(rng, "float32", 1, missing=False))
    give(params["fake"], found)
    optimizers["fake"].step()
    optimizers["cpu"].load_state_dict(optimizers["fake"].state_dict())
    optimizers["fake"].load_state_dict(optimizers["cpu"].state_dict())
    for param in params["fake"]:
        assert type(optimizers["fake"].state[param]["exp_avg"].array) is FAKE
    for mine, other in zip(params["cpu"], params["fake"], strict=True):
        states = [optimizers[d].state[p]["exp_avg"] for d, p in (("cpu", mine), ("fake", other))]
        np.testing.assert_array_equal(*map(host, states))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping_reads_one_array_from_the_device(
    norm_type: float, rng: np.random.Generator
) -> None:
    first = start(rng, "float32")
    params = {device: tensors(first, device) for device in ("cpu", "fake")}
    found = next(gradients(rng, "float32", 1, missing=False))
    norms = []
    for device, each in params.items():
        give(each, found)
        with fake_device.traffic() as crossed:
            norms.append(optim.clip_grad_norm_(each, 0.5, norm_type))
        assert crossed == ({} if device == "cpu" else {"to_host": 1, "to_device": 1})
    assert norms[0].item() == norms[1].item() and norms[1].device == "fake"
    with fake_device.traffic() as crossed:
        optim.clip_grad_value_(params["fake"], 0.01)
    assert not crossed
    optim.clip_grad_value_(params["cpu"], 0.01)
    for mine, other in zip(params["cpu"], params["fake"], strict=True):
        assert mine.grad is not None and other.grad is not None
        np.testing.assert_array_equal(host(mine.grad), host(other.grad))


def test_parameters_of_two_devices_have_a_buffer_each() -> None:
    params = [tg.ones(2, device=device, requires_grad=True) for device in ("cpu", "fake", "cpu")]
    optimizer = optim.SGD(params, lr=0.5)
    for param in params:
        param.grad = tg.ones(2, device=param.device)
    assert optim.clip_grad_norm_(params, 3.0**0.5 / 2**0.5).item() == pytest.approx(6**0.5)
    optimizer.step()
    for param in params:
        np.testing.assert_allclose(host(param), 0.75, rtol=1e-6)


def test_a_parameter_that_moved_away_is_refused() -> None:
    x, y = (tg.ones(2, requires_grad=True) for _ in range(2))
    optimizer = optim.Adam([("x", x), ("y", y)])
    x.grad = tg.ones(2)
    y.array = tg.ones(2, device="fake").array
    with pytest.raises(DeviceError, match="parameter 'y' as it was, cpu, expected, got fake"):
        optimizer.step()
    assert x.tolist() == [1.0, 1.0]


def test_a_gradient_on_another_device_is_refused() -> None:
    x = tg.ones(2, requires_grad=True)
    optimizer = optim.Adam([x])
    x.grad = tg.ones(2)
    x.grad.array = tg.ones(2, device="fake").array
    with pytest.raises(DeviceError, match="the gradient of parameter 0"):
        optimizer.step()
