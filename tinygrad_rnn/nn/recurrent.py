"""Any cell as a full recurrent layer: stacked, in both directions, over padded sequences.

Legend: T time steps, B batch, I input size, H hidden size, L layers, D directions (1 or 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ..arguments import refuse_unknown
from ..create import owned, zeros
from ..errors import ArgumentError, CarryError, DeviceError, DTypeError, ShapeError
from ..functional import check_probability, dropout
from ..ops.shape import cat, reshape, stack, swapaxes
from ..scan import scan
from ..tensor import Tensor
from ..tree import flatten, paths, tree_map, unflatten
from .layers import check_flags, check_sizes
from .making import OF_SCAN, check_cell, made_cell, maker, refuse_options
from .module import Module, Place
from .parameter import is_parameter

__all__ = ["Recurrent"]


class Recurrent(Module):
    """L layers of a cell, run along time by `scan`.

    Args:
        cell: a class or function called as cell(input_size, hidden_size, **cell_options) that gives
            a module with `forward(carry, x) -> (carry, y)`, see `nn.Cell`; bias=False is handed on.
        dropout: probability of zeroing what goes from one layer to the next, in training.
        bidirectional: a second cell of each layer runs from the end; outputs side by side.

    The parameters of the cell of layer k are called name_l{k}, and name_l{k}_reverse for the one
    that runs from the end, as in PyTorch.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.nn import GRUCell
    >>> output, final = Recurrent(GRUCell, 3, 5, num_layers=2)(tg.ones(7, 4, 3))
    >>> output.shape, final.shape
    ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        cell: Callable[..., Module],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
        **cell_options: Any,
    ) -> None:
        called = type(self).__name__
        check_sizes(called, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_flags(called, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        check_probability(dropout, called)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional = bidirectional
        options = cell_options if bias else {"bias": False, **cell_options}
        self._cells = self._built(cell, options)
        self.to(device=device, dtype=dtype)

    def _built(self, cell: Callable[..., Module], options: Any) -> list[list[Module]]:
        called = type(self).__name__
        refuse_options(type(self), called, maker(called, "cell", cell), options)
        cells: list[list[Module]] = []
        width = self.input_size
        for _ in range(self.num_layers):
            made = [
                made_cell(called, cell, width, self.hidden_size, **options)
                for _ in range(self.directions)
            ]
            check_cell(called, made[0], Recurrent)
            cells.append(made)
            width = getattr(made[0], "output_size", self.hidden_size) * self.directions
        return cells

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    # ------------------------------------------------------------------- the names of its cells
    def _named_cells(self) -> Iterator[tuple[str, Module]]:
        for layer, cells in enumerate(self._cells):
            for direction, cell in enumerate(cells):
                yield f"_l{layer}{'_reverse' * direction}", cell

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The cells, as cell_l0, cell_l0_reverse, …"""
        for suffix, cell in self._named_cells():
            yield f"cell{suffix}", cell

    def places(self, prefix: str = "") -> Iterator[Place]:
        """The tensors of the cells under PyTorch's names."""
        for suffix, cell in self._named_cells():
            for place in cell.places(prefix):
                yield place._replace(name=place.name + suffix)

    def _owner(self, name: str) -> tuple[Any, str]:
        """The cell and its attribute that `name` stands for, or (None, name)."""
        match = _CELL_NAME.fullmatch(name)
        cells = vars(self).get("_cells", ())
        if match is None or int(match[2]) >= len(cells) or (match[3] and not self.bidirectional):
            return None, name
        return cells[int(match[2])][bool(match[3])], match[1]

    def __getattr__(self, name: str) -> Any:
        # only reached where ordinary lookup fails: weight_ih_l0 is weight_ih of the first cell
        owner, attribute = self._owner(name)
        if owner is None or attribute not in vars(owner):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(owner, attribute)

    def __setattr__(self, name: str, value: Any) -> None:
        owner, attribute = self._owner(name)
        if owner is not None and is_parameter(vars(owner).get(attribute)):
            setattr(owner, attribute, value)
        else:
            super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """The sizes and options."""
        flags = [name for name in ("batch_first", "bidirectional") if getattr(self, name)]
        words = [f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"]
        words += [f"dropout={self.dropout}"] if self.dropout else []
        return ", ".join([*words, *(f"{flag}=True" for flag in flags)])

    # --------------------------------------------------------------------------------- the run
    def forward(
        self,
        xs: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        return_all_states: bool = False,
        **scan_options: Any,
    ) -> Any:
        """Run over a whole sequence.

        Args:
            xs: (T, B, I), or (B, T, I) if batch_first, or (T, I) for one sequence.
            hx: the carry to start from, each leaf (L·D, B, …); the cell's initial state if None.
            lengths: (B,) integers in 1 … T, in place of packing: what lies beyond is not seen,
                outputs there are zero, and the second direction starts at each row's own end.
            return_all_states: also return the carries after every step.
            scan_options: truncate, checkpoint_every, engine, as in `scan`.

        Returns:
            (output, final): (T, B, D·H) and the carry with leaves (L·D, B, …); and, if asked for,
            the states with leaves (T, L·D, B, …).

        Raises:
            ShapeError, DTypeError, CarryError, ArgumentError: before anything is computed.
        """
        called = f"{type(self).__name__}.forward"
        if not scan_options.keys() <= OF_SCAN:
            refuse_unknown(called, scan, scan_options, {"lengths", "reverse"})
        xs = _check_input(self, called, xs)
        single = xs.ndim == 2
        xs = reshape(xs, (xs.shape[0], 1, xs.shape[1])) if single else self._time_first(xs)
        sizes = _check_lengths(called, lengths, xs, self.batch_first)
        starts = _starts(self, called, xs, hx, single)
        output, finals, states = self._run(xs, starts, sizes, return_all_states, scan_options)
        if single:
            output, final = tree_map(lambda y: y[:, 0], output), _joined(finals, 0, drop=0)
            return (output, final, _joined(states, 1, drop=1)) if states else (output, final)
        output = tree_map(self._time_first, output) if self.batch_first else output
        final = _joined(finals, 0)
        return (output, final, _joined(states, 1)) if states else (output, final)

    def _time_first(self, xs: Any) -> Any:
        return swapaxes(xs, 0, 1) if self.batch_first else xs

    def _run(
        self, xs: Any, starts: list[Any], lengths: Any, keep: bool, options: dict[str, Any]
    ) -> tuple[Any, list[Any], list[Any]]:
        finals, states = [], []
        start = iter(starts)
        for layer, cells in enumerate(self._cells):
            if layer and self.dropout:
                xs = tree_map(lambda y: dropout(y, self.dropout, self.training), xs)
            outputs = []
            for direction, cell in enumerate(cells):
                step = _step_of(cell, xs)
                step = _keeping_states(step) if keep else step
                final, ys = scan(
                    step, next(start), xs, lengths=lengths, reverse=bool(direction), **options
                )
                if keep:
                    ys, carries = ys
                    states.append(carries)
                finals.append(final)
                outputs.append(ys)
            xs = outputs[0] if len(outputs) == 1 else tree_map(_side_by_side, *outputs)
        return xs, finals, states


_CELL_NAME = re.compile(r"(.+)_l(\d+)(_reverse)?")


def _side_by_side(*ys: Any) -> Any:
    return cat(ys, -1)


def _step_of(cell: Module, xs: Any) -> Callable[[Any, Any], Any]:
    """The step of a cell for one sequence: masks that hold for all of it are drawn here."""
    begin = getattr(cell, "for_sequence", None)
    return cell.forward if begin is None else begin(flatten(xs)[0][0].shape[1])


def _keeping_states(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def step(carry: Any, x: Any) -> Any:
        carry, y = run(carry, x)
        return carry, (y, carry)

    return step


def _joined(carries: list[Any], axis: int, drop: int | None = None) -> Any:
    """The carries of all cells as one, on a new axis; `drop` is the batch axis of one sequence."""
    if len(carries) == 1 and drop is None:
        return tree_map(lambda leaf: _with_axis(leaf, axis), carries[0])
    leaves, structures = zip(*(flatten(carry) for carry in carries), strict=True)
    joined = []
    for column in zip(*leaves, strict=True):
        if any(leaf.shape != column[0].shape for leaf in column):
            raise ShapeError(
                "Recurrent", "cells whose carries have equal shapes",
                ", ".join(str(leaf.shape) for leaf in column),
                "put such layers one after the other by hand",
            )  # fmt: skip
        kept = [
            leaf if drop is None or leaf.ndim <= drop else _without(leaf, drop) for leaf in column
        ]
        joined.append(stack(kept, axis) if len(kept) > 1 else _with_axis(kept[0], axis))
    return unflatten(structures[0], joined)


def _with_axis(leaf: Any, axis: int) -> Any:
    shape = leaf.array.shape
    return reshape(leaf, (*shape[:axis], 1, *shape[axis:]))


def _without(leaf: Any, axis: int) -> Any:
    return reshape(leaf, (*leaf.shape[:axis], *leaf.shape[axis + 1 :]))


# ----------------------------------------------------------------------------------- the checks
def _check_input(layer: Recurrent, called: str, xs: Any) -> Tensor:
    xs = owned(xs)
    order = "batch-first" if layer.batch_first else "time-major"
    shape = "(B, T, I)" if layer.batch_first else "(T, B, I)"
    if xs.ndim not in (2, 3):
        hint = (
            "integers go through nn.Embedding or tg.one_hot first"
            if xs.dtype.kind in "iu"
            else None
        )
        raise ShapeError(called, f"xs of shape {shape} or (T, I)", str(xs.shape), hint)
    if xs.shape[-1] != layer.input_size:
        flipped = f"batch_first={not layer.batch_first}"
        raise ShapeError(
            called, "xs.shape[-1] == input_size",
            f"{xs.shape[-1]} and {layer.input_size} (xs: {xs.shape}, {order})",
            f"was {flipped} meant, or {type(layer).__name__}({xs.shape[-1]}, …)?",
        )  # fmt: skip
    if xs.shape[1 if layer.batch_first and xs.ndim == 3 else 0] == 0:
        raise ShapeError(called, "at least one time step", f"xs: {xs.shape}, {order}")
    weight = _first_parameter(layer)
    if weight is not None and xs.backend is not weight.backend:
        raise DeviceError(called, f"xs on {weight.device!r}, where the weights are", xs.device)
    if weight is not None and xs.dtype != weight.dtype:
        is_float = xs.is_floating_point()
        other = f"the layer .to(tg.{xs.dtype.name})" if is_float else "nn.Embedding for symbols"
        raise DTypeError(
            called, f"xs of the weights' dtype {weight.dtype.name}", xs.dtype.name,
            f"xs.to(tg.{weight.dtype.name}), or {other}",
        )  # fmt: skip
    return xs


def _first_parameter(layer: Recurrent) -> Tensor | None:
    """Whose device and dtype count; mostly it stands directly in the first cell."""
    for value in vars(layer._cells[0][0]).values():
        if is_parameter(value):
            return value
    return next(layer.parameters(), None)


def _check_lengths(called: str, lengths: Any, xs: Tensor, batch_first: bool) -> Tensor | None:
    if lengths is None:
        return None
    given = owned(lengths)
    steps, batch = xs.shape[:2]
    if given.dtype.kind not in "iu":
        raise DTypeError(called, "integer lengths", given.dtype.name)
    if given.shape != (batch,):
        swapped = given.shape == (steps,)
        hint = f"was batch_first={not batch_first} meant?" if swapped else None
        raise ShapeError(called, f"lengths of shape ({batch},)", str(given.shape), hint)
    outside = [n for n in given.tolist() if not 1 <= n <= steps]
    if outside:
        raise ArgumentError(
            called, f"lengths in 1 … {steps}", outside[0], "leave out empty sequences"
        )
    return given


def _starts(layer: Recurrent, called: str, xs: Tensor, hx: Any, single: bool) -> list[Any]:
    """The carry that each cell starts from, in the order of the cells."""
    cells = [cell for row in layer._cells for cell in row]
    if hx is None:
        return [_initial(cell, layer, xs) for cell in cells]
    fresh, names = _initial(cells[0], layer, xs), paths(hx, "hx")
    if names != paths(fresh, "hx"):
        own = ", ".join(getattr(cells[0], "carry_names", ()))
        wanted = f"hx = ({own})" if own else f"hx, {_parts(paths(fresh, 'hx'))},"
        hint = "each (layers·directions, B, …)"
        raise CarryError(called, wanted, _parts(names), hint)
    expected, structure = flatten(fresh)
    split = [
        _per_cell(layer, called, name, owned(leaf), like, single, xs)
        for leaf, like, name in zip(flatten(hx)[0], expected, names, strict=True)
    ]
    return [unflatten(structure, row) for row in zip(*split, strict=True)]


def _parts(names: list[str]) -> str:
    """What a carry consists of."""
    return "one tensor" if names == ["hx"] else ", ".join(names) or "no tensor"


def _per_cell(
    layer: Recurrent, called: str, name: str, leaf: Tensor, like: Tensor, single: bool, xs: Tensor
) -> list[Any]:
    """One leaf of hx, checked and cut into the part of each cell."""
    count = layer.num_layers * layer.directions
    shape = (count, *(like.shape[1:] if single and like.ndim else like.shape))
    if leaf.shape != shape:
        wanted = f"{name} of shape {shape}, (layers·directions, B, …)"
        swapped = leaf.ndim > 1 and leaf.shape[1] == xs.shape[0] != xs.shape[1]
        hint = f"was batch_first={not layer.batch_first} meant?" if swapped else None
        raise ShapeError(
            called, wanted.replace(", B", "") if single else wanted, str(leaf.shape), hint
        )
    if leaf.dtype != like.dtype:
        raise DTypeError(called, f"{name} of dtype {like.dtype.name}", leaf.dtype.name)
    if leaf.backend is not like.backend:
        raise DeviceError(called, f"{name} on {like.device!r}", leaf.device)
    parts = [leaf[k] for k in range(count)]
    return [reshape(part, like.shape) for part in parts] if single else parts


def _initial(cell: Module, layer: Recurrent, xs: Tensor) -> Any:
    """The cell's own start, on the device and in the dtype of the input."""
    make = getattr(cell, "initial_state", None)
    batch = xs.shape[1]
    state = zeros(batch, layer.hidden_size) if make is None else make(batch)
    array = xs.array
    dtype, kind = array.dtype, type(array)
    if all(
        type(leaf) is Tensor and leaf.array.dtype == dtype and type(leaf.array) is kind
        for leaf in flatten(state)[0]
    ):
        return state

    def like(leaf: Any) -> Tensor:
        leaf = owned(leaf)
        wanted = dtype if leaf.dtype.kind == "f" else leaf.dtype
        return leaf.to(device=xs.device, dtype=wanted)

    return tree_map(like, state)
