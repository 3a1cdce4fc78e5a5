"""L-BFGS, Hessian-free and Kalman training away from the host: the same numbers, no silent copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.optim import EKF, LBFGS, HessianFree

START, XS, YS = [0.5, -0.3, 0.8], [[1.0, 2.0, -1.0], [0.5, 0.1, 0.3]], [0.7, -0.2]


def advance(name: str, device: str) -> Any:
    tg.manual_seed(0)
    x = tg.tensor(START, dtype=tg.float64, device=device).requires_grad_()
    xs, ys = (tg.tensor(a, dtype=tg.float64, device=device) for a in (XS, YS))
    make = {"lbfgs": LBFGS, "free": HessianFree, "kalman": EKF}[name]
    optimizer: Any = make([x])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((tg.tanh(xs @ x) - ys) ** 2).sum()
        loss.backward()
        return loss

    def model(params: Any) -> Any:
        return tg.tanh(xs @ params[0])

    for _ in range(2):
        if name == "lbfgs":
            optimizer.step(closure)
        else:
            optimizer.step(model, ys if name == "kalman" else lambda y: ((y - ys) ** 2).sum())
        optimizer.load_state_dict(optimizer.state_dict())
    assert x.device == tg.zeros(1, device=device).device
    return x.detach().to("cpu").numpy()


@pytest.mark.parametrize("name", ["lbfgs", "free", "kalman"])
def test_a_device_gives_the_numbers_of_the_host(name: str, device: str) -> None:
    here, there = advance(name, "cpu"), advance(name, device)
    np.testing.assert_allclose(there, here, rtol=1e-8)
    assert abs(here - START).max() > 1e-3
