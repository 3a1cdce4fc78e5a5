"""The same calls in PyTorch: values, shapes, dtypes and gradients of about a hundred functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(1)
X = RNG.standard_normal((3, 4))
P = np.abs(X) + 0.3
Y = RNG.standard_normal((3, 4))
C = RNG.standard_normal((2, 3, 4))
I1 = np.array([2, 0, 2])
G = np.array([[0, 2, 1, 1], [1, 1, 0, 2]])
BITS = X > 0

FLAT = {"ceil", "floor", "round", "sign"}  # PyTorch records their zeros, we record nothing
UNARY = (
    "abs atan ceil cos cosh erf exp expm1 floor neg relu round sigmoid sign sin sinh square tan "
    "tanh isnan isinf isfinite logical_not"
).split()
POSITIVE = "log log1p sqrt rsqrt reciprocal".split()
BINARY = (
    "add sub mul div maximum minimum logaddexp eq ne lt le gt ge logical_and logical_or".split()
)
# name: (call in terms of the module `m`, its arguments)
CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    **{name: (lambda m, x, f=name: getattr(m, f)(x), (X,)) for name in UNARY},
    **{name: (lambda m, x, f=name: getattr(m, f)(x), (P,)) for name in POSITIVE},
    **{name: (lambda m, x, y, f=name: getattr(m, f)(x, y), (X, Y)) for name in BINARY},
    "ties": (lambda m, x: m.maximum(x, x) + m.minimum(x, x), (X,)),
    "pow": (lambda m, x, y: m.pow(x, y), (P, Y)),
    "pow 3": (lambda m, x: m.pow(x, 3), (X,)),
    "pow 0": (lambda m, x: m.pow(x, 0), (X,)),
    "rpow": (lambda m, x: 2.0**x, (X,)),
    "rsub rdiv": (lambda m, x: (1 - x) / (2 / x), (P,)),
    "where": (lambda m, c, x, y: m.where(c, x, y), (BITS, X, Y)),
    "clip": (lambda m, x: m.clip(x, -0.5, 0.5), (X,)),
    "clip at the bound": (lambda m, x: m.clip(x, 0.0, 1.0), (np.array([0.0, 1.0, 2.0]),)),
    "clamp min": (lambda m, x: x.clamp(min=0.1), (X,)),
    "sum": (lambda m, x: m.sum(x, 1), (X,)),
    "sum dims": (lambda m, x: x.sum((0, 2), keepdim=True), (C,)),
    "mean": (lambda m, x: m.mean(x, -1, keepdim=True), (X,)),
    "var": (lambda m, x: m.var(x, 1), (X,)),
    "var biased": (lambda m, x: m.var(x, dim=1, correction=0), (X,)),
    "std": (lambda m, x: m.std(x), (X,)),
    "prod": (lambda m, x: m.prod(x, 1), (X,)),
    "prod zeros": (lambda m, x: m.prod(x), (np.array([2.0, 0.0, 3.0]),)),
    "norm": (lambda m, x: m.norm(x, dim=1), (X,)),
    "norm 0": (lambda m, x: m.norm(x), (np.zeros(3),)),
    "norm 3": (lambda m, x: m.norm(x, 3.0, 1), (X,)),
    "cumsum": (lambda m, x: m.cumsum(x, 1), (X,)),
    "amax": (lambda m, x: m.amax(x, 1), (X,)),
    "amax ties": (lambda m, x: m.amax(x, 0), (np.array([1.0, 3.0, 3.0]),)),
    "max": (lambda m, x: m.max(x, 1).values, (X,)),
    "max indices": (lambda m, x: m.max(x, 1).indices, (X,)),
    "max all": (lambda m, x: m.max(x), (np.array([1.0, 3.0, 3.0]),)),
    "min keep": (lambda m, x: m.min(x, 0, keepdim=True)[0], (X,)),
    "argmax": (lambda m, x: m.argmax(x, 1, keepdim=True), (X,)),
    "argmin": (lambda m, x: m.argmin(x), (X,)),
    "logsumexp": (lambda m, x: m.logsumexp(x, 1), (X,)),
    "any": (lambda m, c: m.any(c, 1), (BITS,)),
    "all": (lambda m, c: m.all(c), (BITS,)),
    "matmul": (lambda m, x, y: m.matmul(x, y), (C, Y.T.copy())),
    "matmul vector": (lambda m, x, y: x @ y[0], (C, Y)),
    "outer": (lambda m, x, y: m.outer(x[0], y[1]), (X, Y)),
    "dot": (lambda m, x, y: m.dot(x[0], y[1]), (X, Y)),
    "einsum": (lambda m, x, y: m.einsum("bij,kj->bki", x, y), (C, Y)),
    "reshape": (lambda m, x: x.reshape(2, -1), (X,)),
    "flatten": (lambda m, x: m.flatten(x, 1), (C,)),
    "permute": (lambda m, x: x.permute(2, 0, 1), (C,)),
    "transpose": (lambda m, x: x.transpose(0, 2), (C,)),
    "movedim": (lambda m, x: m.movedim(x, 0, -1), (C,)),
    "squeeze": (lambda m, x: x[:, :1].squeeze(1), (C,)),
    "unsqueeze": (lambda m, x: x.unsqueeze(-2), (X,)),
    "expand": (lambda m, x: x[:1].expand(2, -1, 4), (X,)),
    "flip": (lambda m, x: x.flip((0, 2)), (C,)),
    "cat": (lambda m, x, y: m.cat([x, y[:1]], 0), (X, Y)),
    "stack": (lambda m, x, y: m.stack([x, y], -1), (X, Y)),
    "split": (lambda m, x: x.split(3, 1)[1], (X,)),
    "split sizes": (lambda m, x: x.split([1, 3], 1)[1], (X,)),
    "chunk": (lambda m, x: x.chunk(3, 1)[0] * 2 + x.chunk(3, -1)[1], (X,)),
    "unbind": (lambda m, x: x.unbind(1)[2], (X,)),
    "slices": (lambda m, x: x[1, :, ::2] + x[0, :, -2:], (C,)),
    "index": (lambda m, x, i: x[i], (X, I1)),
    "index pairs": (lambda m, x, i: x[i, i], (X, I1)),
    "mask": (lambda m, x, c: x[c], (X, BITS)),
    "gather": (lambda m, x, i: m.gather(x, 0, i), (X, G)),
    "take_along_dim": (lambda m, x, i: m.take_along_dim(x, i, 1), (X[:2], G)),
    "index_select": (lambda m, x, i: m.index_select(x, 0, i), (X, I1)),
    "scatter_add": (lambda m, x, i, s: m.scatter_add(x, 0, i, s), (X, G, Y[:2])),
    "sort": (lambda m, x: m.sort(x, 1, descending=True)[0], (X,)),
    "argsort": (lambda m, x: m.argsort(x, 0), (X,)),
    "topk": (lambda m, x: m.topk(x, 2, 0)[0], (X,)),
    "topk smallest": (lambda m, x: m.topk(x, 2, 1, largest=False)[1], (X,)),
    "ints": (lambda m, i: (i + i * 2 - 1) ** 2, (I1,)),
    "abs at 0": (lambda m, x: m.abs(x) + m.relu(x) + m.sign(x), (np.zeros(3),)),
    "sqrt at inf": (lambda m, x: m.sqrt(x), (np.array([1.0, np.inf]),)),
    "softmax": (lambda m, x: (x - m.logsumexp(x, 1, keepdim=True)).exp(), (X,)),
}  # fmt: skip


def _torch_module() -> Any:
    """PyTorch under the few names that it keeps elsewhere."""

    class Module:
        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    return Module()


@pytest.mark.parametrize("name", CALLS)
def test_as_in_pytorch(name: str) -> None:
    call, arrays = CALLS[name]
    ours = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    got, wanted = call(tg, *ours), call(_torch_module(), *theirs)
    assert got.shape == tuple(wanted.shape)
    assert str(wanted.dtype) == f"torch.{got.dtype.name}"
    np.testing.assert_allclose(
        got.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-14
    )
    assert got.requires_grad == (wanted.requires_grad and name not in FLAT)
    if not got.requires_grad:
        return
    g = RNG.standard_normal(got.shape)
    got.backward(tg.tensor(g))
    wanted.backward(torch.tensor(g))
    for x, y in zip(ours, theirs, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if y.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_conv1d_as_in_pytorch() -> None:
    w, b = RNG.standard_normal((6, 2, 3)), RNG.standard_normal(6)
    x = RNG.standard_normal((2, 4, 9))
    options = {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}
    ours = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    got = tg.conv1d(*ours, **options)
    wanted = torch.nn.functional.conv1d(*theirs, **options)
    np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), rtol=1e-12)
    got.sum().backward()
    wanted.sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-12)


# ------------------------------------------------------------------------------- promotion
OPERANDS: dict[str, Any] = {
    "bool": [True, False], "int64": [1, 2], "int32": np.array([1, 2], np.int32),
    "int8": np.array([1, 2], np.int8), "uint8": np.array([1, 2], np.uint8),
    "float16": np.array([1, 2], np.float16), "float32": np.array([1, 2], np.float32),
    "float64": np.array([1.0, 2.0]), "0-d int64": np.array(3), "0-d int32": np.array(3, np.int32),
    "0-d float64": np.array(3.0), "0-d float32": np.array(3.0, np.float32),
    "0-d bool": np.array(True), "number 2": 2, "number 2.5": 2.5, "number True": True,
}  # fmt: skip


@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "eq", "pow"])
@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("left", [k for k in OPERANDS if not k.startswith("number")])
def test_promotion_is_pytorchs(name: str, left: str, right: str) -> None:
    if name == "maximum" and "number" in right:
        return  # PyTorch takes tensors only
    if name == "pow" and "bool" in left and ("bool" in right or "True" in right):
        return  # not defined for two bools

    def run(module: Any, make: Any) -> Any:
        a, b = OPERANDS[left], OPERANDS[right]
        return getattr(module, name)(make(a), b if isinstance(b, int | float) else make(b))

    wanted = run(torch, lambda a: torch.tensor(np.asarray(a)))
    with np.errstate(all="ignore"):
        got = run(tg, lambda a: tg.tensor(np.asarray(a)))
    assert str(wanted.dtype) == f"torch.{got.dtype.name}"
    np.testing.assert_array_equal(got.numpy(), wanted.numpy())


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "float32"])
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "exp", "sqrt", "mean", "abs", "argmax"])
def test_results_of_one_operand_have_pytorchs_dtype(name: str, dtype: str) -> None:
    array = np.array([1, 0, 1]).astype(dtype)
    args = (0,) if name == "cumsum" else ()
    try:
        wanted = getattr(torch.tensor(array), name)(*args)
    except RuntimeError:
        return  # not defined there
    got = getattr(tg.tensor(array), name)(*args)
    assert str(wanted.dtype) == f"torch.{got.dtype.name}"
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=2e-3)
