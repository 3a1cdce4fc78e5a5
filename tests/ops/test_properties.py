"""Properties over generated shapes, indices and equations, against NumPy's own transposes."""

from __future__ import annotations

from typing import Any

import numpy as np
from compositions import convolved
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(*shape: int) -> np.ndarray:
    """Different numbers, exact in binary, so that sums in any order are equal."""
    return (np.arange(int(np.prod(shape))).reshape(shape) * 7 % 31 - 15) / 8


def leaf(array: np.ndarray) -> tg.Tensor:
    return tg.tensor(array, requires_grad=True)


def pulled(out: tg.Tensor, *leaves: tg.Tensor) -> list[np.ndarray]:
    """Gradients for a cotangent of different numbers, as (cotangent, gradients)."""
    g = numbers(*out.shape) + 0.5
    out.backward(tg.tensor(g))
    return [g, *(np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in leaves)]


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1))
    return g.sum(axes).reshape(shape)


def added_at(shape: tuple[int, ...], key: Any, g: np.ndarray) -> np.ndarray:
    whole = np.zeros(shape)
    np.add.at(whole, key, g)
    return whole


# ---------------------------------------------------------------------------------- broadcasting
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
def test_products_of_broadcast_operands(shapes: Any) -> None:
    a, b = (numbers(*s) for s in shapes.input_shapes)
    x, y = leaf(a), leaf(b)
    g, dx, dy = pulled(x * y, x, y)
    np.testing.assert_array_equal(dx, unbroadcast(g * b, a.shape))
    np.testing.assert_array_equal(dy, unbroadcast(g * a, b.shape))


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3))
def test_where_of_broadcast_operands(shapes: Any) -> None:
    condition = numbers(*shapes.input_shapes[0]) > 0
    a, b = (numbers(*s) for s in shapes.input_shapes[1:])
    x, y = leaf(a), leaf(b)
    out = tg.where(tg.tensor(condition), x, y)
    np.testing.assert_array_equal(out.detach().numpy(), np.where(condition, a, b))
    g, dx, dy = pulled(out, x, y)
    np.testing.assert_array_equal(dx, unbroadcast(np.where(condition, g, 0), a.shape))
    np.testing.assert_array_equal(dy, unbroadcast(np.where(condition, 0, g), b.shape))


@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3))
def test_matmul_of_broadcast_operands(shapes: Any) -> None:
    a, b = (numbers(*s) for s in shapes.input_shapes)
    x, y = leaf(a), leaf(b)
    out = x @ y
    np.testing.assert_allclose(out.detach().numpy(), a @ b, rtol=1e-14)
    g, dx, dy = pulled(out, x, y)
    wide_a = a[None] if a.ndim == 1 else a
    wide_b = b[:, None] if b.ndim == 1 else b
    wide_g = g.reshape((*np.broadcast_shapes(wide_a.shape[:-2], wide_b.shape[:-2]),
                        wide_a.shape[-2], wide_b.shape[-1]))  # fmt: skip
    ex = unbroadcast(wide_g @ np.swapaxes(wide_b, -1, -2), wide_a.shape).reshape(a.shape)
    ey = unbroadcast(np.swapaxes(wide_a, -1, -2) @ wide_g, wide_b.shape).reshape(b.shape)
    np.testing.assert_allclose(dx, ex, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(dy, ey, rtol=1e-13, atol=1e-13)


# -------------------------------------------------------------------------------------- indexing
@given(SHAPES, st.data())
def test_basic_indices(shape: tuple[int, ...], data: Any) -> None:
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    a = numbers(*shape)
    x = leaf(a)
    out = x[key]
    np.testing.assert_array_equal(out.detach().numpy(), a[key])
    g, dx = pulled(out, x)
    np.testing.assert_array_equal(dx, added_at(shape, key, g))


@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_several_parts_of_one_tensor(shape: tuple[int, ...], data: Any) -> None:
    """Slices that overlap, repeat, leave holes or cover all, with or without the whole."""
    keys = data.draw(st.lists(hnp.basic_indices(shape), min_size=1, max_size=5))
    whole = data.draw(st.booleans())
    a = numbers(*shape)
    x = leaf(a)
    between = x * 1.0
    pieces = [between[key] for key in keys]
    gs = [numbers(*p.shape) + i for i, p in enumerate(pieces)]
    loss = sum((p * tg.tensor(g)).sum() for p, g in zip(pieces, gs, strict=True))
    expected = sum(added_at(shape, key, g) for key, g in zip(keys, gs, strict=True))
    if whole:
        loss = loss + (between * tg.tensor(a)).sum()
        expected = expected + a
    (first,) = tg.gradients(loss, [x], create_graph=True, retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)
    np.testing.assert_array_equal(first.detach().numpy(), expected)


@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_index_arrays(shape: tuple[int, ...], data: Any) -> None:
    index = data.draw(
        hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2))
    )
    used = data.draw(st.integers(1, len(shape)))
    key = tuple(i if data.draw(st.booleans()) else slice(None) for i in index[:used])
    assume(any(isinstance(i, np.ndarray) and i.ndim for i in key))
    a = numbers(*shape)
    x = leaf(a)
    out = x[tuple(tg.tensor(i) if isinstance(i, np.ndarray) else i for i in key)]
    np.testing.assert_array_equal(out.detach().numpy(), a[key])
    g, dx = pulled(out, x)
    np.testing.assert_array_equal(dx, added_at(shape, key, g))


@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_masks(shape: tuple[int, ...], data: Any) -> None:
    axes = data.draw(st.integers(1, len(shape)))
    mask = data.draw(hnp.arrays(bool, shape[:axes]))
    a = numbers(*shape)
    x = leaf(a)
    out = x[tg.tensor(mask)]
    np.testing.assert_array_equal(out.detach().numpy(), a[mask])
    g, dx = pulled(out, x)
    np.testing.assert_array_equal(dx, added_at(shape, mask, g))


@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_gather_and_its_transpose(shape: tuple[int, ...], data: Any) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [data.draw(st.integers(0, n)) for n in shape]
    sizes[dim] = data.draw(st.integers(0, 5))
    index = data.draw(hnp.arrays(np.int64, sizes, elements=st.integers(0, shape[dim] - 1)))
    key = list(np.indices(sizes))
    key[dim] = index
    a = numbers(*shape)
    x = leaf(a)
    out = tg.gather(x, dim, tg.tensor(index))
    np.testing.assert_array_equal(out.detach().numpy(), a[tuple(key)])
    g, dx = pulled(out, x)
    np.testing.assert_array_equal(dx, added_at(shape, tuple(key), g))
    zeros = tg.zeros(*shape, dtype=tg.float64)
    scattered = tg.scatter_add(zeros, dim, tg.tensor(index), tg.tensor(g))
    np.testing.assert_array_equal(scattered.numpy(), dx)


# ----------------------------------------------------------------------------- reductions, moves
@given(SHAPES, st.data())
def test_sums(shape: tuple[int, ...], data: Any) -> None:
    dims = data.draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    signed = tuple(d - len(shape) if data.draw(st.booleans()) else d for d in dims)
    keep = data.draw(st.booleans())
    a = numbers(*shape)
    x = leaf(a)
    out = x.sum(signed, keepdim=keep)
    np.testing.assert_array_equal(out.detach().numpy(), a.sum(tuple(dims), keepdims=keep))
    g, dx = pulled(out, x)
    kept = g.reshape([1 if i in dims else n for i, n in enumerate(shape)])
    np.testing.assert_array_equal(dx, np.broadcast_to(kept, shape))


@given(SHAPES, st.data())
def test_moves_are_undone_by_their_transposes(shape: tuple[int, ...], data: Any) -> None:
    """reshape, permute, flip and pad only move numbers: each comes back to where it was."""
    a = numbers(*shape)
    x = leaf(a)
    order = data.draw(st.permutations(range(len(shape))))
    flips = data.draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    widths = tuple(data.draw(st.integers(0, 2)) for _ in range(2 * len(shape)))
    out = tg.pad(x.permute(order).flip(tuple(flips)), widths)
    moved = np.flip(a.transpose(order), tuple(flips))
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    np.testing.assert_array_equal(out.detach().numpy(), np.pad(moved, pairs) if shape else moved)
    back = tg.gradients(out, x, out.detach())
    np.testing.assert_array_equal(back.numpy(), a)


@given(hnp.array_shapes(max_dims=3, max_side=4), st.data())
def test_cutting_and_joining(shape: tuple[int, ...], data: Any) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
    sizes = [int(n) for n in np.diff([0, *cuts, shape[dim]])]
    order = data.draw(st.permutations(range(len(sizes))))
    a = numbers(*shape)
    x = leaf(a)
    pieces = x.split(sizes, dim)
    out = tg.cat([pieces[i] for i in order], dim)
    theirs = np.split(a, cuts, dim)
    np.testing.assert_array_equal(
        out.detach().numpy(), np.concatenate([theirs[i] for i in order], dim)
    )
    np.testing.assert_array_equal(tg.gradients(out, x, out.detach()).numpy(), a)


@given(st.data())
def test_einsum(data: Any) -> None:
    """Any equation over a few letters; the gradient is the equation turned round."""
    sizes = dict(zip("abcd", (2, 3, 1, 2), strict=True))
    words = st.text("abcd", min_size=0, max_size=3).filter(lambda w: len(set(w)) == len(w))
    terms = data.draw(st.lists(words, min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    output = "".join(data.draw(st.permutations(letters)))[: data.draw(st.integers(0, len(letters)))]
    equation = ",".join(terms) + "->" + output
    assume(not equation.startswith("->"))
    arrays = [numbers(*(sizes[c] for c in term)) + 0.25 for term in terms]
    leaves = [leaf(a) for a in arrays]
    out = tg.einsum(equation, *leaves)
    np.testing.assert_allclose(out.detach().numpy(), np.einsum(equation, *arrays), rtol=1e-12)
    g, *found = pulled(out, *leaves)
    for i, term in enumerate(terms):
        others = [t for j, t in enumerate(terms) if j != i]
        operands = [a for j, a in enumerate(arrays) if j != i]
        ones = np.ones([sizes[c] for c in term])
        turned = ",".join([*others, output, term]) + "->" + term
        expected = np.einsum(turned, *operands, g, ones)
        np.testing.assert_allclose(found[i], expected, rtol=1e-12, atol=1e-12)


@given(st.data())
def test_conv1d(data: Any) -> None:
    def draw(low: int, high: int) -> int:
        return int(data.draw(st.integers(low, high)))

    groups, kernel, stride, dilation = draw(1, 2), draw(1, 3), draw(1, 3), draw(1, 2)
    x = numbers(draw(1, 2), groups * draw(1, 2), draw(1, 7))
    w = numbers(groups * draw(1, 2), x.shape[1] // groups, kernel) + 1
    padding = draw(0, 2)
    assume(x.shape[2] + 2 * padding > dilation * (kernel - 1))
    xs, ws = leaf(x), leaf(w)
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    out = tg.conv1d(xs, ws, padding=padding, **options)
    expected = convolved(x, w, pad=(padding, padding), **options)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    g, dx, dw = pulled(out, xs, ws)
    for at in [(0, 0, 0), (x.shape[0] - 1, x.shape[1] - 1, x.shape[2] - 1)]:
        unit = np.zeros(x.shape)
        unit[at] = 1
        change = convolved(unit, w, pad=(padding, padding), **options)
        np.testing.assert_allclose(dx[at], (g * change).sum(), rtol=1e-12, atol=1e-12)
    for at in [(0, 0, 0), (w.shape[0] - 1, w.shape[1] - 1, kernel - 1)]:
        unit = np.zeros(w.shape)
        unit[at] = 1
        change = convolved(x, unit, pad=(padding, padding), **options)
        np.testing.assert_allclose(dw[at], (g * change).sum(), rtol=1e-12, atol=1e-12)


@given(hnp.arrays(float, hnp.array_shapes(max_dims=2, max_side=5), elements=st.integers(-3, 3)))
def test_sorting_with_ties(a: np.ndarray) -> None:
    for descending in (False, True):
        values, indices = tg.sort(tg.tensor(a), -1, descending)
        expected = -np.sort(-a, -1) if descending else np.sort(a, -1)
        np.testing.assert_array_equal(values.numpy(), expected)
        np.testing.assert_array_equal(np.take_along_axis(a, indices.numpy(), -1), expected)
        stable = np.argsort(-a if descending else a, -1, kind="stable")
        np.testing.assert_array_equal(indices.numpy(), stable)
