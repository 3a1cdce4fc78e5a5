"""Every registered primitive: values, all derivatives, shapes, strides, dtypes, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compositions import COMPOSED
from samples import ELSEWHERE, SAMPLES, samples_of
from sampling import SCALAR, Sample, domains_of, draw

import tinygrad_rnn as tg
from tinygrad_rnn.graph import primitives
from tinygrad_rnn.testing import check_grads, check_jvp, check_vjp

IMPORTED = dict(primitives)  # tests of other files may register primitives of their own
DECLARED = [
    (name, sample)
    for name in IMPORTED
    if name in SCALAR or name in SAMPLES
    for sample in samples_of(name)
]
ALL = DECLARED + [(name, sample) for name, samples in COMPOSED.items() for sample in samples]
DIFFERENTIABLE = [(n, s) for n, s in ALL if s.differentiable]
ANALYTIC = [(n, s) for n, s in DIFFERENTIABLE if s.analytic]


def each(cases: list[tuple[str, Sample]]) -> Any:
    ids = [f"{name}-{sample.name}" for name, sample in cases]
    return pytest.mark.parametrize("sample", [sample for _, sample in cases], ids=ids)


def tensors(sample: Sample, dtype: Any = None, requires_grad: bool = False) -> list[tg.Tensor]:
    made = [tg.tensor(x) for x in sample.args]
    made = [t.to(dtype) if dtype is not None and t.dtype.kind == "f" else t for t in made]
    return [t.requires_grad_() if requires_grad and t.dtype.kind == "f" else t for t in made]


def expected(sample: Sample) -> Any:
    return np.asarray(sample.reference(*(np.array(x) for x in sample.args)))


# -------------------------------------------------------------------------------- declarations
def test_every_primitive_declares_what_it_is_tried_on() -> None:
    elementwise = {n for n, p in IMPORTED.items() if p.form == "elementwise"}
    assert sorted(elementwise - set(SCALAR)) == []
    assert sorted(set(IMPORTED) - elementwise - set(SAMPLES) - set(ELSEWHERE)) == []


@pytest.mark.parametrize("name", [n for n, p in IMPORTED.items() if p.form == "elementwise"])
def test_elementwise_declares_domain_kinks_and_kernel(name: str) -> None:
    extra = IMPORTED[name].extra
    assert extra["kernel"]
    assert all(low < high for low, high in domains_of(IMPORTED[name]))
    assert extra["kinks"] == "equal" or all(isinstance(kink, float) for kink in extra["kinks"])


# -------------------------------------------------------------------------------------- values
@each(ALL)
def test_value(sample: Sample) -> None:
    wanted = expected(sample)
    got = sample.fn(*tensors(sample))
    assert type(got) is tg.Tensor
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got.numpy(), wanted, rtol=4e-15, atol=4e-15)


@each([(n, s) for n, s in ALL if s.raw])
def test_raw_arrays_give_raw_arrays(sample: Sample) -> None:
    args = [np.array(x) for x in sample.args]
    got = sample.fn(*args)
    assert isinstance(got, np.ndarray | np.generic)
    np.testing.assert_array_equal(got, sample.fn(*tensors(sample)).numpy())


# --------------------------------------------------------------------------------- derivatives
@each(DIFFERENTIABLE)
def test_derivatives(sample: Sample) -> None:
    """vjp and jvp against differences, each other, and each over each; memory and zeros."""
    check_grads(sample.fn, sample.args, step=sample.step, directions=3)


@each(ANALYTIC)
def test_derivatives_by_the_complex_step(sample: Sample) -> None:
    check_grads(sample.fn, sample.args, 1, method="complex", rtol=1e-13, directions=4)


@each(DIFFERENTIABLE)
def test_transpose(sample: Sample) -> None:
    """⟨g, Jv⟩ = ⟨Jᵀg, v⟩ to rounding."""
    rng = np.random.default_rng(1)
    xs = tensors(sample)
    floats = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]

    def fn(*values: Any) -> Any:
        full = list(xs)
        for i, value in zip(floats, values, strict=True):
            full[i] = value
        return sample.fn(*full)

    points = [xs[i] for i in floats]
    vs = [tg.tensor(rng.standard_normal(x.shape)) for x in points]
    out, pushed = tg.jvp(fn, points, vs)
    g = tg.tensor(rng.standard_normal(out.shape))
    pulled = tg.vjp(fn, *points)[1](g)
    left = float((g * pushed).sum())
    right = sum(float((a * v).sum()) for a, v in zip(pulled, vs, strict=True))
    size = sum(float(tg.abs(a * v).sum()) for a, v in zip(pulled, vs, strict=True))
    assert abs(left - right) <= 1e-13 * max(size, float(tg.abs(g * pushed).sum()))


# ----------------------------------------------------------------------------- memory layouts
def _transposed(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(x) if x.ndim > 1 else x.copy()


def _every_second(x: np.ndarray) -> np.ndarray:
    whole = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype) if x.ndim else np.zeros((), x.dtype)
    part = whole[..., ::2] if x.ndim else whole
    part[...] = x
    return part


def _backwards(x: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(x).copy()) if x.ndim else x.copy()


LAYOUTS = {"transposed": _transposed, "every second": _every_second, "backwards": _backwards}


@each(DIFFERENTIABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_inputs_and_cotangents(sample: Sample, layout: str) -> None:
    change = LAYOUTS[layout]

    def run(arrange: Any) -> list[np.ndarray]:
        xs = [tg.from_numpy(arrange(np.array(x))) for x in sample.args]
        xs = [x.requires_grad_() if x.dtype.kind == "f" else x for x in xs]
        out = sample.fn(*xs)
        g = np.random.default_rng(2).standard_normal(out.shape)
        out.backward(tg.from_numpy(arrange(g)))
        return [out.detach().numpy()] + [x.grad.numpy() for x in xs if x.grad is not None]

    for plain, strided in zip(run(np.array), run(change), strict=True):
        np.testing.assert_allclose(strided, plain, rtol=1e-14, atol=1e-14)


@each(DIFFERENTIABLE)
def test_stride_0(sample: Sample) -> None:
    """`.sum()` sends back one number with stride 0; an expanded input has stride 0 as well."""
    xs = tensors(sample, requires_grad=True)
    sample.fn(*xs).sum().backward()
    ys = tensors(sample, requires_grad=True)
    out = sample.fn(*ys)
    out.backward(tg.tensor(np.ones(out.shape)))
    for x, y in zip(xs, ys, strict=True):
        if y.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", [n for n, p in IMPORTED.items() if p.form == "elementwise"])
def test_expanded_input(name: str) -> None:
    primitive = IMPORTED[name]
    count = len(primitive.extra["inputs"])
    numbers = draw(primitive, np.random.default_rng(3), [()] * count)
    fn = samples_of(name)[0].fn
    spread = [tg.from_numpy(np.broadcast_to(x, (2, 3))) for x in numbers]
    out = fn(*spread)
    np.testing.assert_array_equal(out.numpy(), np.full((2, 3), fn(*map(tg.tensor, numbers)).item()))


# --------------------------------------------------------------------------------------- dtypes
@each([(n, s) for n, s in DIFFERENTIABLE if n != "cast"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_keep_the_dtype(sample: Sample, dtype: str) -> None:
    xs = tensors(sample, dtype, requires_grad=True)
    out = sample.fn(*xs)
    assert out.dtype == dtype
    out.sum().backward()
    leaves = [x for x in xs if x.requires_grad]
    assert [x.grad.dtype for x in leaves if x.grad is not None] == [np.dtype(dtype)] * len(leaves)
    np.testing.assert_allclose(
        out.detach().numpy(), expected(sample), rtol=1e-5 if dtype == "float32" else 3e-2,
        atol=1e-6 if dtype == "float32" else 1e-2,
    )  # fmt: skip
    points = [x.detach() for x in xs]
    if len(leaves) == len(points):
        ones = [tg.ones_like(x) for x in points]
        assert tg.jvp(sample.fn, points, ones)[1].dtype == dtype


@each([(n, s) for n, s in ALL if not s.differentiable])
def test_no_gradient_flows_where_there_is_none(sample: Sample) -> None:
    out = sample.fn(*tensors(sample, requires_grad=True))
    assert not out.requires_grad
    if all(x.dtype.kind == "f" for x in tensors(sample)):
        primals = tensors(sample)
        pushed = tg.jvp(sample.fn, primals, [tg.ones_like(x) for x in primals])[1]
        assert not pushed.numpy().any()


@pytest.mark.parametrize("check", [check_vjp, check_jvp])
def test_checks_reach_the_primitives(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """This file would notice a damaged primitive."""
    monkeypatch.setattr(primitives["tanh"], "rules", (lambda g, saved, node: g,))
    monkeypatch.setattr(primitives["tanh"], "jvp", lambda t, *rest: t[0])
    with pytest.raises(AssertionError):
        check(samples_of("tanh")[0].fn, samples_of("tanh")[0].args)
