"""Running sums along an axis, in the order in which NumPy adds."""

from __future__ import annotations

from typing import Any, NamedTuple

from .llvm_kernels import Writer, element
from .llvm_math import Lanes
from .lowering import Address

__all__ = ["Running", "write_running"]


class Running(NamedTuple):
    """What is added up, where the sums go, and along which axis."""

    source: Address
    target: Address
    sizes: tuple[int, ...]
    axis: int


def write_running(writer: Writer, part: Running) -> None:
    """Write the loops of a running sum."""
    lanes, axis = Lanes(writer.code, 1), part.axis
    sizes: list[Any] = [n if i else writer.extent(n) for i, n in enumerate(part.sizes)]
    item = part.source.dtype.itemsize
    kind = element(part.source.dtype)

    def line(outer: list[Any]) -> None:
        places = [
            writer.start(a, [*outer[:axis], writer.number(0), *outer[axis:]])
            for a in (part.source, part.target)
        ]

        def step(i: Any, totals: list[Any]) -> list[Any]:
            source, target = (
                writer.beyond(place, i, address.strides[axis])
                for place, address in zip(places, (part.source, part.target), strict=True)
            )
            total = lanes.add(totals[0], writer.code.load(kind, source, item))
            writer.code.store(total, target, item)
            return [total]

        writer.fold(0, sizes[axis], 1, [lanes.filled(kind, -0.0)], step)

    writer.nested([*sizes[:axis], *sizes[axis + 1 :]], line)
