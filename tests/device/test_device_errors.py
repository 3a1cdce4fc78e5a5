"""Asking for "cuda" where it is not: one error, that says what is missing and how to get it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import backend
from tinygrad_rnn.errors import ArgumentError, DeviceError, MissingDependencyError, TinygradRNNError


class CUDARuntimeError(RuntimeError):
    """Named as CuPy names it, since the name is in our message."""


@pytest.fixture(autouse=True)
def _forget_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody had asked for it before, also where a GPU is at hand."""
    names = {name: known for name, known in backend._by_name.items() if name != "cuda"}
    monkeypatch.setattr(backend, "_by_name", names)
    monkeypatch.setattr(backend, "_by_type", dict(backend._by_type))


def pretend(
    monkeypatch: pytest.MonkeyPatch, count: Any = None, error: Exception | None = None
) -> None:
    """A CuPy whose driver counts `count` devices, or fails."""

    def devices() -> Any:
        if error is not None:
            raise error
        return count

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("an array was made")

    cupy = SimpleNamespace(
        cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=devices)),
        ndarray=type("ndarray", (), {}), asnumpy=refuse, asarray=refuse,
    )  # fmt: skip
    modules = {
        "cupy": cupy, "cupyx": SimpleNamespace(scatter_add=refuse),
        "cupyx.scipy.special": SimpleNamespace(erf=refuse),
    }  # fmt: skip
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


class Refusing:
    """A finder of modules that fails for CuPy in the way it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *_: Any) -> None:
        """Fail, or leave it to the next finder."""
        if name.partition(".")[0] in ("cupy", "cupyx"):
            raise self.error


def missing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refusing(error), *sys.meta_path])


WAYS = [
    lambda: tg.zeros(2, device="cuda"), lambda: tg.tensor([1.0], device="cuda:0"),
    lambda: tg.ones(2).to("cuda"), lambda: tg.ones(2).cuda(), lambda: tg.randn(2, device="cuda"),
    lambda: tg.nn.Linear(2, 2).to("cuda"), lambda: tg.nn.LSTM(2, 2, device="cuda"),
]  # fmt: skip


@pytest.mark.parametrize("ask", WAYS)
def test_without_the_package(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, ModuleNotFoundError("No module named 'cupy'"))
    with pytest.raises(MissingDependencyError) as caught:
        ask()
    for part in ("cuda", "cupy", "No module named", 'pip install "tinygrad-rnn[cuda12]"', "cpu"):
        assert part in str(caught.value)


def test_a_package_that_does_not_load_is_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, ImportError("libcudart.so.12: cannot open shared object file"))
    with pytest.raises(MissingDependencyError, match=r"libcudart\.so\.12"):
        tg.zeros(2, device="cuda")


@pytest.mark.parametrize("ask", WAYS)
def test_without_a_driver(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, error=CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
    ))  # fmt: skip
    with pytest.raises(DeviceError) as caught:
        ask()
    for part in ("a CUDA driver and a GPU", "cudaErrorInsufficientDriver", "nvidia-smi", '"cpu"'):
        assert part in str(caught.value)


@pytest.mark.parametrize("ask", WAYS)
def test_without_a_gpu(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, error=CUDARuntimeError(
        "cudaErrorNoDevice: no CUDA-capable device is detected"
    ))  # fmt: skip
    with pytest.raises(DeviceError) as caught:
        ask()
    for part in ("a GPU expected", "cudaErrorNoDevice", "CUDA_VISIBLE_DEVICES", '"cpu"'):
        assert part in str(caught.value)


def test_with_a_driver_that_counts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, count=0)
    with pytest.raises(DeviceError, match="a driver without devices"):
        tg.zeros(2, device="cuda")


@pytest.mark.parametrize("count", [0, 1])
def test_availability_follows_and_never_raises(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, count=count)
    assert tg.cuda_is_available() is bool(count)
    missing(monkeypatch, ImportError("gone"))
    assert tg.cuda_is_available() is bool(count)  # once loaded it is not asked for again


def test_a_failure_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, count=0)
    assert not tg.cuda_is_available()
    pretend(monkeypatch, count=1)
    assert tg.cuda_is_available()


def test_nothing_has_changed_when_a_module_cannot_move(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, ImportError("gone"))
    layer = tg.nn.Linear(2, 2)
    before = layer.weight.array
    with pytest.raises(MissingDependencyError):
        layer.to("cuda")
    assert layer.weight.array is before and layer.bias.device == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:1", "tpu", "", "CPU", 0])
def test_a_name_that_is_no_device(name: Any) -> None:
    with pytest.raises(ArgumentError, match='"cpu" or "cuda"'):
        tg.tensor([1.0], device=name)
    with pytest.raises(ArgumentError, match='"cpu" or "cuda"'):
        tg.zeros(2, device=name)
    with pytest.raises(ArgumentError, match='"cpu" or "cuda"'):
        tg.arange(2, device=name)
    with pytest.raises(TinygradRNNError):
        tg.tensor([1.0]).to(device=name)


def test_the_package_does_not_import_cupy_by_itself() -> None:
    code = "import sys, tinygrad_rnn as tg; tg.ones(3).sum(); sys.exit('cupy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_installed_cupy_without_a_gpu_says_what_is_missing() -> None:
    """The real one: it imports without a GPU and must be asked before the first array."""
    pytest.importorskip("cupy", reason="what CuPy itself says needs an installed cupy")
    if tg.cuda_is_available():
        pytest.skip("a GPU is at hand")
    with pytest.raises(DeviceError, match="a GPU"):
        tg.zeros(2, device="cuda")
