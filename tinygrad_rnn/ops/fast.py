"""The ways without detours: what a recorded elementwise operation costs is mostly what is here.

Nodes are filled in place, as `Node.__init__` would: a call saved for each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import backend_of
from ..graph import ANOMALY, Node, Primitive, clock, grad_mode, watch_nan
from ..inplace import AGAIN, check_read
from ..tensor import Tensor
from .call import SCALARS, bind, explain
from .naming import Names

__all__ = ["fast_binary", "fast_unary", "slow"]

new = object.__new__


def slow(primitive: Primitive, plan: Names, resolve: Any) -> Any:
    """No short way: three inputs and more go through `bind`."""
    return lambda *args: bind(primitive, args)


def _saver_source(plan: Names, needed: Sequence[bool]) -> Callable[..., tuple[Any, ...]]:
    """`save(out, x, y) -> tuple` for one pattern of needed inputs, without a loop."""
    used = {s for need, slots in zip(needed, plan.slots, strict=True) if need for s in slots}
    words = [
        (("out" if source < 0 else "xy"[source]) if i in used else "None") + ","
        for i, source in enumerate(plan.sources)
    ]
    made: Callable[..., tuple[Any, ...]] = eval(f"lambda out, x, y: ({''.join(words)})")
    return made


def fast_unary(primitive: Primitive, plan: Names, resolve: Any) -> Any:
    """The common case without any detour: one tensor of numbers."""
    kernels: dict[type, Any] = {np.ndarray: resolve(np)}
    save = _saver_source(plan, [True])
    differentiable, keeps_out = primitive.rules[0] is not None, plan.sources == [-1]

    def op(x: Any) -> Any:
        if type(x) is Tensor:
            array = x.array
            kernel = kernels.get(type(array))
            if kernel is not None and array.dtype.kind == "f":
                out = kernel(array)
                if type(out) is not type(array):
                    out = backend_of(array).xp.asarray(out)
                if AGAIN:
                    check_read((array,))
                result = new(Tensor)
                result.array = out
                result.node = None
                parent = x.node
                if parent is not None and differentiable:
                    mode = grad_mode()
                    if mode:
                        saved = (out,) if keeps_out else save(out, array, None)
                        result.node = node = new(Node)
                        node.primitive = primitive
                        node.parents = (parent,)
                        node.saved = saved
                        node.params = node.watch = None
                        node.shape = out.shape
                        node.index = next(clock)
                        if mode == ANOMALY:
                            watch_nan(node, out, (array,))
                return result
        return bind(primitive, (x,))

    return op


def fast_binary(primitive: Primitive, plan: Names, resolve: Any) -> Any:
    """The common case without any detour: two tensors of one dtype, or a tensor and a number."""
    kernels: dict[type, Any] = {np.ndarray: resolve(np)}
    savers = [_saver_source(plan, [bool(m & 1), bool(m & 2)]) for m in range(4)]
    has_x, has_y = (rule is not None for rule in primitive.rules)
    keeps_nothing = not plan.sources

    def op(x: Any, y: Any) -> Any:
        if type(x) is Tensor:
            a = x.array
            p = x.node
            if type(y) is Tensor:
                b = y.array
                q = y.node
                fits = type(a) is type(b) and a.dtype is b.dtype
            else:
                b = y
                q = None
                fits = type(y) in SCALARS
            kernel = kernels.get(type(a))
            if fits and kernel is not None and a.dtype.kind == "f":
                try:
                    out = kernel(a, b)
                except (ValueError, TypeError, OverflowError) as error:
                    raise explain(primitive, (a, b), error) from None
                if type(out) is not type(a):
                    out = backend_of(a).xp.asarray(out)
                if AGAIN:
                    check_read((a, b))
                result = new(Tensor)
                result.array = out
                result.node = None
                if not has_x:
                    p = None
                if not has_y:
                    q = None
                if p is not None or q is not None:
                    mode = grad_mode()
                    if mode:
                        result.node = node = new(Node)
                        node.primitive = primitive
                        node.parents = (p, q)
                        if keeps_nothing:
                            node.saved = ()
                        else:
                            node.saved = savers[(p is not None) + 2 * (q is not None)](out, a, b)
                        node.params = node.watch = None
                        node.shape = out.shape
                        node.index = next(clock)
                        if mode == ANOMALY:
                            watch_nan(node, out, (a, b))
                return result
        return bind(primitive, (x, y))

    return op
