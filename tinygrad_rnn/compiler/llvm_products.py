"""Matrix products of known, small sizes, written as vector code.

C (M, N) = A (M, K)·B (K, N) by tiles of rows × columns that stay in registers while k runs: each k
loads a row of the tile's part of B once and multiplies it by one number of A for each row (Goto and
van de Geijn 2008, without their packing of A: it is in the cache). B, which is the same in every
step, is packed once per call into panels as wide as a tile, so that its loads follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .llvm_jit import machine
from .llvm_kernels import LINE, Writer, element
from .llvm_math import Lanes
from .llvm_panels import panel
from .llvm_text import vector
from .lowering import Address

__all__ = [
    "Product", "Soon", "Tile", "evenly", "of_height", "panels_of", "tallest", "tiles_of_all",
    "write_product",
]  # fmt: skip

UNROLL = 2
FAR = 1 << 18  # bytes of panels of which the next one is fetched while one is read
MANY = 16  # rows of a product for which that is worth the time
ROUND = 16  # k of a round, at least, before which some lines of what is read soon are fetched
MOST, ALL = 8, 32  # lines, at most, of each and of all: what would have more is not fetched
Tile = Callable[[Any, int], None]
Tiles = Callable[[Writer, int, int, Tile], None]
Steps = Callable[[Callable[[], None]], None]  # runs something for each of some steps


class Product(NamedTuple):
    """Addresses of A, B and C, and the sizes; `panels` says that B is packed.

    `batch` are the sizes of axes before the last two, for each of which there is a product.
    """

    left: Address
    right: Address
    out: Address
    rows: int
    inner: int
    columns: int
    panels: bool
    batch: tuple[int, ...] = ()


class Soon(NamedTuple):
    """Memory that is read soon: where it begins, and how many bytes for each row of a product."""

    start: Any
    size: int


def panels_of(columns: int, widest: int) -> list[tuple[int, int, int]]:
    """(first column, how many panels, width), from the widest on, which is a power of two."""
    found, done, width = [], 0, widest
    while width >= 1:
        count = (columns - done) // width
        if count:
            found.append((done, count, width))
        done += count * width
        width //= 2
    return found


def tallest() -> int:
    """The rows of a tile two vectors wide whose sums, and what is added, are in registers."""
    return 8 if machine().registers == 32 else 6


def evenly(size: int, most: int) -> list[tuple[int, int, int]]:
    """(first, how many, height) of tiles of at most so many rows, as few and as even as can be.

    A tile of few rows waits for its own sums.
    """
    count = max(-(-size // most), 1)
    height, taller = divmod(size, count)
    pieces = (0, taller, height + 1), (taller * (height + 1), count - taller, height)
    return [piece for piece in pieces if piece[1] * piece[2]]


def tiles_of_all(writer: Writer, rows: int, height: int, body: Tile) -> None:
    """body(top, height) for all rows, by tiles that are no higher."""
    for start, count, size in evenly(rows, height):
        writer.loop(start, start + count * size, size, of_height(body, size))


def of_height(body: Tile, height: int) -> Callable[[Any], None]:
    """What writes tiles of one height."""
    return lambda top: body(top, height)


def write_product(
    writer: Writer, product: Product, tiles: Tiles = tiles_of_all, steps: Steps | None = None,
    soon: Sequence[Soon] = (),
) -> None:  # fmt: skip
    """Write all tiles of a product, or of a batch of them; panel by panel for all of some steps.

    Meanwhile what is read soon is fetched.
    """
    if not product.batch:
        _one_product(writer, product, [], tiles, steps, soon)
        return
    sizes = [writer.extent(product.batch[0]), *product.batch[1:]]
    writer.nested(sizes, lambda outer: _one_product(writer, product, outer, tiles_of_all))


def _one_product(
    writer: Writer, product: Product, outer: list[Any], tiles: Tiles, steps: Steps | None = None,
    soon: Sequence[Soon] = (),
) -> None:  # fmt: skip
    item = product.out.dtype.itemsize
    native = machine().vector // item
    right, sides = writer.start(product.right, outer), (product.left, product.out)
    starts = [] if steps is not None else [writer.start(a, outer) for a in sides]
    for first, count, width in panels_of(product.columns, 2 * native):
        shape = count, width, min(width, native), tallest()
        _panels(writer, product, right, starts, first, shape, tiles, steps, soon)


def _panels(
    writer: Writer, product: Product, right: Any, starts: list[Any], first: int,
    shape: tuple[int, int, int, int], tiles: Tiles, steps: Steps | None, soon: Sequence[Soon],
) -> None:  # fmt: skip
    """The tiles of (count, width, lanes, height) of some panels, panel by panel, top down."""
    count, width, lanes, height = shape
    item = product.out.dtype.itemsize
    step = product.right.strides[-2]
    if product.panels:
        step = panel(product.out.dtype) * item
    code, size = writer.code, product.inner * step
    widest = width == 2 * machine().vector // item  # the others would make the text long
    each = [(s, -(-n // count)) for s, n in soon if widest]  # for each row of a panel
    far = product.panels and tiles is tiles_of_all and product.rows >= MANY and count * size >= FAR

    def one_panel(number: Any) -> None:
        before = code.add(number, writer.number(first // width))
        columns = code.mul(before, writer.number(width))
        beside = writer.beyond(right, columns, product.inner * item if product.panels else item)

        def one_step() -> None:
            sides = starts or [writer.start(a, []) for a in (product.left, product.out)]
            out = writer.beyond(sides[1], columns, item)

            def rows(top: Any, height: int = height) -> None:
                left = writer.beyond(sides[0], top, product.left.strides[-2])
                below = writer.beyond(out, top, product.out.strides[-2])
                ahead = None
                if far:
                    following = code.moved(beside, writer.number(size))
                    ahead = writer.beyond(following, top, size // product.rows)
                place = code.add(code.mul(number, writer.count_of(product.rows)), top)
                share = [Soon(writer.beyond(s, place, n), n * height) for s, n in each]
                tile = height, width, lanes
                _tile(writer, product, left, beside, below, step, tile, ahead, share)

            tiles(writer, product.rows, height, rows)

        if steps is None:
            one_step()
        else:
            steps(one_step)

    writer.loop(0, count, 1, one_panel)


def _tile(
    writer: Writer, product: Product, left: Any, right: Any, out: Any, step: int,
    tile: tuple[int, int, int], ahead: Any, soon: Sequence[Soon],
) -> None:  # fmt: skip
    """One tile: its accumulators go round the loop over k in registers.

    Meanwhile its share of the next panel is fetched, which begins at `ahead`, if that is far, and
    some lines of what is read soon, before each round of some k.
    """
    code, item = writer.code, product.out.dtype.itemsize
    height, width, lanes = tile
    vectors = Lanes(code, lanes)
    one = element(product.out.dtype)
    kind = vector(one, lanes)
    parts = range(width // lanes)
    unroll = UNROLL if product.inner % UNROLL == 0 else 1
    share = step * height // product.rows

    def steps(k: Any, totals: list[Any]) -> list[Any]:
        if ahead is not None:
            writer.fetched(writer.beyond(ahead, k, share), unroll * share)
        for u in range(unroll):
            here = code.add(k, writer.number(u))
            row = writer.beyond(right, here, step)
            places = [code.moved(row, writer.number(p * lanes * item)) for p in parts]
            columns = [code.load(kind, place, item) for place in places]
            found = []
            for r in range(height):
                line = code.moved(left, writer.number(r * product.left.strides[-2]))
                number = vectors.splat(code.load(one, writer.beyond(line, here, item), item))
                sums = totals[r * len(parts) : (r + 1) * len(parts)]
                found += [vectors.fma(number, c, t) for c, t in zip(columns, sums, strict=True)]
            totals = found
        return totals

    zeros = [vectors.filled(one, 0.0)] * (height * len(parts))
    rounds, soon = _in_rounds(product.inner, unroll, soon)
    length = writer.number(product.inner // rounds)

    def some(i: Any, totals: list[Any]) -> list[Any]:
        for start, size in soon:
            part = _lines(size, rounds) * LINE
            writer.fetched(writer.beyond(start, i, part), part)
        first = code.mul(i, length)
        return writer.fold(first, code.add(first, length), unroll, totals, steps)

    if soon:
        totals = writer.fold(0, rounds, 1, zeros, some)
    else:
        totals = writer.fold(0, product.inner, unroll, zeros, steps)
    for r in range(height):
        for p in parts:
            place = writer.number(r * product.out.strides[-2] + p * lanes * item)
            code.store(totals[r * len(parts) + p], code.moved(out, place), item)


def _in_rounds(inner: int, unroll: int, soon: Sequence[Soon]) -> tuple[int, list[Soon]]:
    """In how many rounds of k, all of them as long, a tile is done, and what it fetches in them.

    They are as few as will do, since in each some line of everything is fetched.
    """
    counts = [n for n in range(1, inner // ROUND + 1) if inner % (n * unroll) == 0] or [1]
    found: list[Soon] = []
    for each in soon:
        if _fits([*found, each], counts[-1]):
            found.append(each)
    return next(n for n in counts if _fits(found, n)), found


def _fits(soon: Sequence[Soon], rounds: int) -> bool:
    """Whether all is fetched in so many rounds with a few lines in each."""
    lines = [_lines(size, rounds) for _, size in soon]
    return sum(lines) <= ALL and max(lines, default=0) <= MOST


def _lines(size: int, rounds: int) -> int:
    """How many lines of so many bytes are fetched in each round."""
    return -(-size // (LINE * rounds))
