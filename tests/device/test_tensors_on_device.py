"""Tensors on a device: making, moving, changing, reading; what is copied and what is not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from both_devices import TARGET, moved_to, on_host, run_on_both, traffic

import tinygrad_rnn as tg
import tinygrad_rnn.compiler
from tinygrad_rnn.backend import get_backend
from tinygrad_rnn.errors import AutodiffError, DeviceError, IndexRangeError, TinygradRNNError
from tinygrad_rnn.scan import ENGINES

DEVICE = get_backend(TARGET)
A = np.linspace(-1.0, 2.0, 12).reshape(3, 4)


def on(device: str, *arrays: Any) -> Any:
    made = moved_to(device, arrays)
    return made[0] if len(made) == 1 else made


# ------------------------------------------------------------------------------------- making
@pytest.mark.parametrize(
    "make",
    [
        lambda d: tg.zeros(2, 3, device=d), lambda d: tg.ones(2, dtype=tg.float64, device=d),
        lambda d: tg.full((2,), 7, device=d), lambda d: tg.arange(5, device=d),
        lambda d: tg.linspace(0, 1, 5, device=d), lambda d: tg.eye(3, device=d),
        lambda d: tg.rand(2, 3, device=d), lambda d: tg.randn(4, device=d),
        lambda d: tg.randint(0, 9, (5,), device=d), lambda d: tg.randperm(6, device=d),
        lambda d: tg.tensor([[1.0, 2.0]], device=d), lambda d: tg.tensor(3, device=d),
        lambda d: tg.rand_like(tg.ones(3, device=d)), lambda d: tg.zeros_like(tg.ones(3, device=d)),
        lambda d: tg.tensor(tg.ones(2, device=d)), lambda d: tg.ones_like(tg.arange(3, device=d)),
        lambda d: tg.as_tensor(A, device=d), lambda d: tg.one_hot(tg.tensor([1, 0], device=d), 3),
        lambda d: tg.full_like(tg.ones(3, device=d), 2.5), lambda d: tg.empty(0, 2, device=d),
    ],
)  # fmt: skip
def test_made_on_a_device_it_is_the_same(make: Any) -> None:
    """Random numbers too: they come from the host, so that a seed means the same everywhere."""
    run_on_both(make).are_at_most(syncs=2)  # are the classes of one_hot in range?


def test_a_raw_array_of_the_device_is_wrapped_without_a_copy() -> None:
    array = DEVICE.from_numpy(A)
    with traffic() as crossed:
        assert tg.as_tensor(array).array is array
        assert tg.tensor(array).array is not array
    crossed.are()


def test_raw_arrays_of_the_device_give_raw_arrays() -> None:
    a = DEVICE.from_numpy(A)
    found = [tg.tanh(a), tg.matmul(a, a.T), tg.sum(a)]
    assert all(type(array) is DEVICE.array_type for array in found)


# ------------------------------------------------------------------------------------- moving
def test_moving_there_and_back_copies_each_way_once() -> None:
    x = tg.tensor(A)
    with traffic() as crossed:
        there = x.to(TARGET)
        back = there.cpu()
    crossed.are(to_device=1, to_host=1)
    assert there.device == TARGET and back.device == "cpu"
    assert there.to(TARGET) is there and there.to(there) is there
    np.testing.assert_array_equal(back.numpy(), A)
    assert not np.shares_memory(back.numpy(), x.numpy())


def test_gradients_come_back_over_the_same_way() -> None:
    x = tg.tensor(A, requires_grad=True)
    (x.to(TARGET) ** 2).cpu().sum().backward()
    assert x.grad is not None and x.grad.device == "cpu"
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy())


def test_to_takes_device_and_dtype_at_once() -> None:
    x = tg.tensor(A).to(device=TARGET, dtype=tg.float64)
    assert (x.device, x.dtype) == (TARGET, tg.float64)
    assert x.type_as(tg.ones(1)).device == "cpu"
    with traffic() as crossed:
        assert x.half().double().long().bool().dtype == tg.bool_
    crossed.are()


# ------------------------------------------------------------------------------------ reading
def test_reading_numbers_is_one_crossing_each() -> None:
    x = on(TARGET, A)
    for read in (
        lambda: x.sum().item(), lambda: float(x.sum()), lambda: bool(x.sum()),
        lambda: int(x.sum()), lambda: x.tolist(), lambda: x.sum().long().__index__(),
    ):  # fmt: skip
        with traffic() as crossed:
            read()
        crossed.are(syncs=1)
    with traffic() as crossed:
        assert f"device='{TARGET}', requires_grad=True" in repr(x)
    crossed.are(to_host=1)


def test_looking_at_a_tensor_copies_nothing() -> None:
    x = on(TARGET, A)
    with traffic() as crossed:
        assert (x.shape, x.ndim, x.numel(), len(x), x.size(1)) == ((3, 4), 2, 12, 3, 4)
        assert x.device == TARGET and x.is_leaf and x.is_floating_point() and hash(x)
        assert [row.shape for row in x] == [(4,)] * 3
    crossed.are()


@pytest.mark.parametrize("read", [np.asarray, np.array, tg.Tensor.numpy, lambda x: np.add(1, x)])
def test_numpy_is_told_to_ask_for_a_copy(read: Any) -> None:
    with pytest.raises((DeviceError, TypeError)) as caught:
        read(on(TARGET, A).detach())
    if isinstance(caught.value, DeviceError):
        assert TARGET in str(caught.value) and ".cpu()" in str(caught.value)


def test_copies_and_pickles_keep_the_device() -> None:
    x = on(TARGET, A)
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.device == TARGET and other.requires_grad
        np.testing.assert_array_equal(on_host(other), on_host(x))


# ----------------------------------------------------------------------------------- changing
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(x, alpha=2), lambda x: x.sub_(1.5), lambda x: x.mul_(x),
        lambda x: x.div_(2), lambda x: x.fill_(3), lambda x: x.zero_(), lambda x: x.copy_(x[0]),
        lambda x: x.__setitem__(0, x[1]), lambda x: x.__setitem__((..., 1), 5.0),
        lambda x: x.__setitem__(x > 0, 0.0), lambda x: x.__setitem__([0, -1], 7.0),
        lambda x: x.__setitem__(tg.tensor([2, 0]), x[:2]), lambda x: x.copy_([1.0, 2, 3, 4]),
        lambda x: x.__setitem__((slice(None), tg.tensor([1, 3]).to(x.device)), 0.5),
        lambda x: x.fill_(np.float64(2.5)), lambda x: x.mul_(np.float32(0.5)),
        lambda x: x.__setitem__(np.int64(1), 4), lambda x: x.__setitem__(tg.tensor(1), 4),
    ],
)  # fmt: skip
def test_changes_in_place(change: Any) -> None:
    def changed(device: str) -> tg.Tensor:
        x = on(device, A).detach()
        change(x)
        return x

    run_on_both(changed).are_at_most(syncs=1)


def test_a_saved_value_changed_in_place_is_noticed() -> None:
    x = on(TARGET, A).detach()
    w = on(TARGET, A)
    y = (w * x).sum()
    x[0] = 0.0
    with pytest.raises(AutodiffError, match="changed in place"):
        y.backward()


# ---------------------------------------------------------------------------------- gradients
def test_backward_accumulates_on_the_device() -> None:
    def gradient(device: str) -> Any:
        x, y = on(device, A, A.T)
        seen = []
        h = tg.tanh(x @ y)
        h.register_hook(lambda g: seen.append(g) or g * 2)
        h.retain_grad()
        h.sum().backward(retain_graph=True)
        h.backward(tg.ones(3, 3, dtype=tg.float64, device=device))
        return [x.grad, y.grad, h.grad, *seen]

    run_on_both(gradient).are(to_device=2)  # x and y


def test_anomalies_are_found_on_the_device() -> None:
    with tg.detect_anomaly(), pytest.raises(AutodiffError, match="NaN"):
        tg.log(on(TARGET, A))


def test_random_functions_of_gradients_agree() -> None:
    def transforms(device: str) -> Any:
        x = on(device, A[0]).detach()
        w = on(device, A[1]).detach()

        def f(v: Any) -> Any:
            return (tg.sigmoid(v * w) * v).sum()

        def g(v: Any) -> Any:
            return tg.tanh(v * w)

        return [
            tg.grad(f)(x), tg.value_and_grad(f)(x), tg.jacobian(g)(x),
            tg.jacobian(g, mode="forward")(x), tg.hessian(f)(x), tg.hvp(f, (x,), (w,)),
            tg.gnvp(g, lambda y: (y * y).sum(), (x,), (w,)), tg.vjp(g, x)[1](w),
            tg.jvp(tg.grad(f), (x,), (w,)), tg.grad(lambda v: (tg.grad(f)(v) ** 2).sum())(x),
        ]  # fmt: skip

    run_on_both(transforms).are(to_device=2)  # x and w


def test_checkpointing_recomputes_on_the_device() -> None:
    def recomputed(device: str) -> Any:
        x = on(device, A)
        y = tg.checkpoint(lambda v: tg.tanh(v) * tg.rand(3, 4, device=device, dtype=v.dtype), x)
        y.sum().backward()
        return [y, x.grad]

    run_on_both(recomputed).are(to_device=3)  # x, and the random numbers twice


# --------------------------------------------------------------------------------------- scan
@pytest.mark.parametrize(
    "options",
    [
        {}, {"reverse": True}, {"truncate": 2}, {"checkpoint_every": 2}, {"lengths": [5, 1, 3]},
        {"lengths": [5, 1, 3], "reverse": True}, {"engine": "loop"},
    ],
)  # fmt: skip
def test_scan(options: dict[str, Any]) -> None:
    def run(device: str) -> Any:
        rng = np.random.default_rng(0)
        w, h, xs = on(
            device, rng.normal(size=(4, 4)), rng.normal(size=(3, 4)), rng.normal(size=(5, 3, 4))
        )
        step = lambda c, x: ({"h": tg.tanh(c["h"] @ w + x)}, (c["h"] * x, x))  # noqa: E731
        final, ys = tg.scan(step, {"h": h}, xs, **options)
        loss = final["h"].sum() + (ys[0] * ys[0]).sum()
        return [final, ys, *tg.gradients(loss, [w, h, xs])]

    run_on_both(run, rtol=1e-12).are_at_most()


def test_scan_by_number_of_steps_and_over_nothing() -> None:
    run_on_both(lambda d: tg.scan(lambda c, t: (c + t, c), tg.ones(2, device=d), 4))
    run_on_both(lambda d: tg.scan(lambda c, x: (c + x, c), tg.ones(2, device=d),
                                  tg.ones(0, 2, device=d)))  # fmt: skip


# -------------------------------------------------------------------------------------- mixing
@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y, lambda x, y: y * x, lambda x, y: x @ y.T, lambda x, y: tg.cat([x, y]),
        lambda x, y: tg.stack([x, y]), lambda x, y: tg.where(x > 0, x, y), lambda x, y: x.copy_(y),
        lambda x, y: x.add_(y), lambda x, y: x.__setitem__(0, y[0]), lambda x, y: x + y.array,
        lambda x, y: x < y, lambda x, y: tg.conv1d(x[None], y[None]), lambda x, y: x - y.sum(),
        lambda x, y: x.fill_(y.sum()), lambda x, y: tg.einsum("ij,ij->", x, y),
        lambda x, y: tg.nn.Linear(4, 2).to(tg.float64).to(x.device)(y),
        lambda x, y: tg.maximum(x, y), lambda x, y: tg.losses.mse_loss(x, y),
        lambda x, y: tg.scan(lambda c, v: (c + v, c), x[0], y),
        lambda x, y: tg.functional.embedding(tg.tensor([0]).to(y.device), x),
    ],
)  # fmt: skip
@pytest.mark.parametrize("devices", [(TARGET, "cpu"), ("cpu", TARGET)])
def test_mixed_devices_are_one_error_that_names_both(mix: Any, devices: tuple[str, str]) -> None:
    x, y = on(devices[0], A).detach(), on(devices[1], A).detach()
    with traffic() as crossed, pytest.raises(DeviceError) as caught:
        mix(x, y)
    assert TARGET in str(caught.value) and "cpu" in str(caught.value)
    crossed.are_at_most()
    np.testing.assert_array_equal(on_host(x), A)


INDEXED = {
    "getitem": lambda x, i: x[i], "gather": lambda x, i: tg.gather(x, 0, i[None]),
    "index_select": lambda x, i: tg.index_select(x, 0, i),
    "take": lambda x, i: tg.take_along_dim(x, i[None], 0),
    "scatter": lambda x, i: tg.scatter_add(x, 0, i[None], x[:1]),
    "assign": lambda x, i: x.__setitem__(i, 0.0) or x,
}  # fmt: skip


@pytest.mark.parametrize("take", INDEXED.values(), ids=INDEXED)
def test_an_index_of_the_host_goes_to_the_device(take: Any) -> None:
    index = tg.tensor([2, 0, 1, 2])
    run_on_both(lambda d: take(on(d, A).detach(), index))
    with pytest.raises(DeviceError, match="'cpu'"):
        take(on("cpu", A).detach(), index.to(TARGET))


@pytest.mark.parametrize("take", INDEXED.values(), ids=INDEXED)
@pytest.mark.parametrize("bad", [3, -4])
def test_an_index_out_of_range_does_not_wrap(take: Any, bad: int) -> None:
    x = on(TARGET, A).detach()
    with pytest.raises(IndexRangeError):
        take(x, tg.tensor([0, bad, 1, 0]).to(TARGET))
    np.testing.assert_array_equal(on_host(x), A)


# ------------------------------------------------------------------------------------ integers
@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "float16"])
def test_scattering_adds_in_every_dtype(dtype: str) -> None:
    def scattered(device: str) -> Any:
        x = tg.zeros(4, 3, dtype=dtype, device=device)
        source = tg.ones(5, 3, dtype=dtype, device=device) * 3
        index = tg.tensor([[0, 1, 2], [0, 0, 0], [3, 3, 3], [0, 0, 0], [1, 2, 3]])
        return tg.scatter_add(x - 5, 0, index, source)

    run_on_both(scattered)


def test_an_error_of_the_device_is_one_of_ours() -> None:
    with pytest.raises(TinygradRNNError, match="broadcast"):
        on(TARGET, A) + on(TARGET, A.T)
    with pytest.raises(IndexRangeError):
        on(TARGET, A)[5]


def test_long_integers_scatter_beyond_32_bits() -> None:
    def scattered(device: str) -> Any:
        source = tg.tensor([2**40, -(2**50), 3, -1], device=device)
        return tg.scatter_add(tg.zeros(2, dtype=tg.int64, device=device), 0, [0, 1, 1, 0], source)

    run_on_both(scattered)


ELEMENTWISE = (
    "sigmoid", "softplus", "erf", "tanh", "exp", "log1p", "rsqrt", "relu", "square", "sqrt", "abs",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_functions_keep_the_dtype(dtype: str) -> None:
    def computed(device: str) -> Any:
        x = tg.tensor([1, 2, 3], dtype=dtype, device=device)
        return [getattr(tg, name)(x) for name in ELEMENTWISE] + [x / 2, x.float().mean(), x**2]

    run_on_both(computed, rtol=2e-3 if dtype == "float16" else 1e-6)


def test_gradient_checks_run_on_the_device() -> None:
    x = on(TARGET, A).detach()
    tg.testing.check_grads(lambda v: tg.tanh(v) * v, (x,), order=2)
    with pytest.raises(AssertionError):
        tg.testing.check_grads(lambda v: tg.tanh(v) * v.detach(), (x,))


@pytest.mark.parametrize("engine", ["auto", *sorted(ENGINES)])
def test_every_engine_of_scan_serves_the_device_or_says_why(engine: str) -> None:
    def run(device: str) -> Any:
        w, xs = on(device, A[:, :3], A[None].repeat(4, 0)[..., :3])
        final, ys = tg.scan(lambda h, x: (tg.tanh(h @ w + x), h), xs[0].detach(), xs, engine=engine)
        return [final, ys, *tg.gradients((final * final).sum(), [w, xs])]

    run_on_both(run, rtol=1e-12).are_at_most()
