"""Any cell as a layer: what stacking, directions, lengths and states mean, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_checks import check_module

import tinygrad_rnn as tg
import tinygrad_rnn.compiler  # its engines join those of scan
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, CarryError, DTypeError, ShapeError

T, B, I, H = 5, 3, 2, 4  # noqa: E741
LAYERS = [nn.RNN, nn.LSTM, nn.GRU]


class Leaky(nn.Module):
    """A user's own cell, as short as it can be."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.inner = nn.Linear(input_size + hidden_size, hidden_size)
        self.rate = nn.Parameter([0.3])

    def forward(self, carry: Any, x: Any) -> Any:
        h = carry + self.rate * (self.inner(tg.cat([x, carry], -1)).tanh() - carry)
        return h, h


class Nested(nn.Cell):
    """A carry of several parts in a dict, one of them counting the steps."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        self.linear = nn.Linear(input_size, hidden_size, bias)

    def initial_state(self, batch: int) -> Any:
        zero = tg.zeros(batch, self.hidden_size)
        return {"slow": zero, "fast": (zero, tg.zeros(batch, 1))}

    def forward(self, carry: Any, x: Any) -> Any:
        fast, count = carry["fast"]
        fast = (self.linear(x) + fast).tanh()
        slow = 0.9 * carry["slow"] + 0.1 * fast
        return {"slow": slow, "fast": (fast, count + 1)}, slow


def same(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=0, atol=tolerance)


def inputs(*shape: int) -> Any:
    return tg.randn(*(shape or (T, B, I)), dtype=tg.float64)


# ------------------------------------------------------------------------------- what it means
@pytest.mark.parametrize("layer", LAYERS)
def test_layer_is_the_loop_over_its_cell(layer: Any) -> None:
    rnn = layer(I, H, dtype=tg.float64)
    xs, cell = inputs(), next(rnn.children())
    carry, ys = tg.tree.tree_map(lambda c: c.double(), cell.initial_state(B)), []
    for x in xs:
        carry, y = cell(carry, x)
        ys.append(y)
    output, final = rnn(xs)
    same(output, tg.stack(ys))
    for a, b in zip(tg.tree.flatten(final)[0], tg.tree.flatten(carry)[0], strict=True):
        same(a[0], b)


def test_layers_are_stacked_and_final_states_are_in_order() -> None:
    both = nn.GRU(I, H, num_layers=2, dtype=tg.float64)
    first, second = nn.GRU(I, H, dtype=tg.float64), nn.GRU(H, H, dtype=tg.float64)
    for single, layer in ((first, 0), (second, 1)):
        names = {name: name.replace("_l0", f"_l{layer}") for name in single.state_dict()}
        single.load_state_dict({name: both.state_dict()[old] for name, old in names.items()})
    xs, start = inputs(), inputs(2, B, H)
    output, final = both(xs, start)
    below, final_0 = first(xs, start[:1])
    above, final_1 = second(below, start[1:])
    same(output, above)
    same(final, tg.cat([final_0, final_1]))


@pytest.mark.parametrize("layer", LAYERS)
def test_reversing_time_swaps_the_directions(layer: Any) -> None:
    rnn = layer(I, H, bidirectional=True, dtype=tg.float64)
    swapped = layer(I, H, bidirectional=True, dtype=tg.float64)
    swapped.load_state_dict({
        name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse": value
        for name, value in rnn.state_dict().items()
    })  # fmt: skip
    xs = inputs()
    forward, _ = rnn(xs)
    backward, _ = swapped(xs.flip(0))
    same(forward[..., :H], backward.flip(0)[..., H:])
    same(forward[..., H:], backward.flip(0)[..., :H])


@pytest.mark.parametrize("layer", [*LAYERS, "nested"])
def test_padding_is_never_seen(layer: Any) -> None:
    options = {"num_layers": 2, "bidirectional": True, "dtype": tg.float64}
    rnn = nn.Recurrent(Nested, I, H, **options) if layer == "nested" else layer(I, H, **options)
    xs, lengths = inputs(), [2, 5, 1]
    output, final = rnn(xs, lengths=tg.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, end = rnn(xs[:length, row])
        same(output[:length, row], alone)
        assert not output[length:, row].detach().numpy().any()
        for a, b in zip(tg.tree.flatten(final)[0], tg.tree.flatten(end)[0], strict=True):
            same(a[:, row], b)


def test_batch_first_is_time_major_transposed() -> None:
    rnn = nn.LSTM(I, H, bidirectional=True, dtype=tg.float64)
    xs = inputs()
    output, (h, c) = rnn(xs)
    rnn.batch_first = True
    turned, (h2, c2) = rnn(xs.transpose(0, 1))
    same(turned.transpose(0, 1), output)
    same(h, h2)
    same(c, c2)


def test_carried_state_continues_the_sequence() -> None:
    rnn = nn.LSTM(I, H, num_layers=2, dtype=tg.float64)
    xs = inputs()
    whole, end = rnn(xs)
    first, middle = rnn(xs[:2])
    second, last = rnn(xs[2:], middle)
    same(whole, tg.cat([first, second]))
    same(end[0], last[0])
    same(end[1], last[1])


def test_all_states_are_the_final_ones_of_every_prefix() -> None:
    rnn = nn.LSTM(I, H, num_layers=2, dtype=tg.float64)
    xs = inputs()
    output, final, (hs, cs) = rnn(xs, return_all_states=True)
    assert hs.shape == cs.shape == (T, 2, B, H)
    same(hs[:, 1], output)
    for t in range(T):
        _, (h, c) = rnn(xs[: t + 1])
        same(hs[t], h)
        same(cs[t], c)
    same(final[1], cs[-1])
    alone = rnn(xs[:, 0], return_all_states=True)
    same(alone[2][1], cs[:, :, 0])


def test_truncation_cuts_the_gradient_and_nothing_else() -> None:
    rnn = nn.GRU(I, H, dtype=tg.float64)
    xs = inputs().requires_grad_()
    output, _ = rnn(xs, truncate=2)
    same(output, rnn(xs)[0])
    output[4].sum().backward()
    assert xs.grad is not None
    assert not xs.grad.numpy()[:4].any()
    assert xs.grad.numpy()[4].all()


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
@pytest.mark.parametrize("layer", [*LAYERS, "leaky", "nested"])
def test_compiled_layers_are_the_same_layers(layer: Any, engine: str) -> None:
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    options = {"num_layers": 2, "bidirectional": True, "dtype": tg.float64}
    own = {"leaky": Leaky, "nested": Nested}
    rnn = nn.Recurrent(own[layer], I, H, **options) if layer in own else layer(I, H, **options)
    xs, found = inputs().requires_grad_(), {}
    for name in ("loop", engine):
        output, final, states = rnn(xs, lengths=[4, 5, 1], return_all_states=True, engine=name)
        leaves = tg.tree.flatten((output, final, states))[0]
        total = sum((leaf * leaf).sum() for leaf in leaves)
        found[name] = leaves + tg.gradients(total, [xs, *rnn.parameters()])
    for a, b in zip(found["loop"], found[engine], strict=True):
        same(a, b, 1e-10)


def test_engine_names_reach_scan() -> None:
    with pytest.raises(ArgumentError, match="engine"):
        nn.RNN(I, H)(tg.zeros(T, B, I), engine="steam")


# ------------------------------------------------------------------------------------- own cells
def test_own_cell_needs_no_more_than_forward() -> None:
    rnn = nn.Recurrent(Leaky, I, H, num_layers=2, bidirectional=True)
    output, final = rnn(tg.randn(T, B, I))
    assert output.shape == (T, B, 2 * H) and final.shape == (4, B, H)
    names = [name for name, _ in rnn.named_parameters()]
    assert names[:3] == ["inner.weight_l0", "inner.bias_l0", "rate_l0"]
    assert rnn.rate_l1_reverse is list(rnn.children())[3].rate
    output.sum().backward()
    assert all(p.grad is not None for p in rnn.parameters())


def test_nested_carry_keeps_its_structure() -> None:
    rnn = nn.Recurrent(Nested, I, H, num_layers=2, bias=False)
    _, final = rnn(tg.randn(T, B, I))
    assert final["slow"].shape == (2, B, H)
    assert final["fast"][1].tolist() == [[[float(T)]] * B] * 2
    _, again = rnn(tg.randn(T, B, I), final)
    assert again["fast"][1].tolist() == [[[2.0 * T]] * B] * 2


def test_plain_function_runs_through_scan() -> None:
    def step(carry: Any, x: Any) -> Any:
        h = (carry + x).tanh()
        return h, h

    final, ys = tg.scan(step, tg.zeros(B, I), tg.randn(T, B, I))
    assert ys.shape == (T, B, I) and final.tolist() == ys[-1].tolist()


def test_factory_may_be_a_function_with_options() -> None:
    def factory(input_size: int, hidden_size: int, gain: float) -> nn.Module:
        cell = nn.RNNCell(input_size, hidden_size)
        nn.init.orthogonal_(cell.weight_hh, gain)
        return cell

    rnn = nn.Recurrent(factory, I, H, gain=0.5)
    product = rnn.weight_hh_l0 @ rnn.weight_hh_l0.T
    same(product, 0.25 * tg.eye(H), 1e-6)


@pytest.mark.parametrize("cell", [Leaky, Nested, nn.RNNCell, nn.GRUCell])
def test_gradients_of_layers_of_any_cell(cell: Any) -> None:
    rnn = nn.Recurrent(cell, I, 3, num_layers=2, bidirectional=True)
    check_module(rnn, inputs(3, 2, I), order=1, lengths=[3, 1])


def test_second_order_through_lstm() -> None:
    check_module(nn.LSTM(I, 2), inputs(3, 2, I), order=2, directions=1)


# --------------------------------------------------------------------------------------- dropout
def test_dropout_is_between_layers_in_training_alone() -> None:
    rnn = nn.GRU(I, H, num_layers=2, dropout=0.5)
    xs = tg.randn(T, B, I)
    rnn.eval()
    quiet = rnn(xs)[0]
    assert rnn(xs)[0].tolist() == quiet.tolist()
    rnn.train()
    loud = [rnn(xs)[0].tolist() for _ in range(2)]
    assert quiet.tolist() not in loud and loud[0] != loud[1]
    single = nn.GRU(I, H, dropout=0.5)
    assert single(xs)[0].tolist() == single(xs)[0].tolist()


def test_dropout_of_everything_leaves_the_second_layer_blind() -> None:
    rnn = nn.RNN(I, H, num_layers=2, dropout=1.0)
    first, second = (rnn(tg.randn(T, B, I))[0] for _ in range(2))
    assert first.tolist() == second.tolist()


# ------------------------------------------------------------------------------- the names of it
def test_names_reach_into_the_cells() -> None:
    rnn = nn.LSTM(I, H, bidirectional=True)
    assert isinstance(rnn.weight_ih_l0_reverse, nn.Parameter)
    new = nn.Parameter(tg.ones(4 * H, I))
    rnn.weight_ih_l0 = new
    assert rnn.state_dict()["weight_ih_l0"].tolist() == new.tolist()
    assert next(rnn.children()).weight_ih is new
    for name in ("weight_ih_l1", "weight_xx_l0", "forwad", "_l0"):
        with pytest.raises(AttributeError, match=name):
            getattr(rnn, name)
    with pytest.raises(DTypeError, match="Parameter"):
        rnn.weight_ih_l0 = tg.ones(4 * H, I)


def test_repr_shows_the_cells() -> None:
    text = repr(nn.GRU(2, 3, num_layers=2, bidirectional=True, dropout=0.1))
    assert text.splitlines()[0] == "GRU(2, 3, num_layers=2, dropout=0.1, bidirectional=True"
    assert text.splitlines()[4] == "  (cell_l1_reverse): GRUCell(6, 3)"


# --------------------------------------------------------------------------------- what it refuses
def message(error: type[Exception], function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_width_of_the_input() -> None:
    assert message(ShapeError, nn.LSTM(32, 8), tg.zeros(50, 16, 28)) == (
        "LSTM.forward: xs.shape[-1] == input_size expected, "
        "got 28 and 32 (xs: (50, 16, 28), time-major)\n"
        "hint: was batch_first=True meant, or LSTM(28, …)?"
    )


@pytest.mark.parametrize("shape", [(), (4,), (1, 2, 3, 4)])
def test_rank_of_the_input(shape: tuple[int, ...]) -> None:
    assert "(T, B, I) or (T, I)" in message(ShapeError, nn.RNN(4, 3), tg.zeros(*shape))


def test_integers_are_not_input() -> None:
    text = message(ShapeError, nn.RNN(4, 3), tg.zeros(5, dtype=tg.int64))
    assert "nn.Embedding" in text
    text = message(DTypeError, nn.RNN(4, 3), tg.zeros(5, 2, 4, dtype=tg.int64))
    assert text.endswith("hint: xs.to(tg.float32), or nn.Embedding for symbols")
    text = message(DTypeError, nn.RNN(4, 3), tg.zeros(5, 2, 4, dtype=tg.float64))
    assert text.endswith("hint: xs.to(tg.float32), or the layer .to(tg.float64)")


def test_input_of_another_precision() -> None:
    text = message(DTypeError, nn.GRU(I, H), inputs())
    assert "xs.to(tg.float32)" in text


@pytest.mark.parametrize(("batch_first", "shape"), [(False, (0, B, I)), (True, (B, 0, I))])
def test_no_time_steps(batch_first: bool, shape: tuple[int, ...]) -> None:
    rnn = nn.RNN(I, H, batch_first=batch_first)
    assert "at least one time step" in message(ShapeError, rnn, tg.zeros(*shape))


def test_initial_state_of_another_shape() -> None:
    rnn, xs = nn.GRU(I, H, num_layers=2), tg.zeros(T, B, I)
    text = message(ShapeError, rnn, xs, tg.zeros(1, B, H))
    assert "hx of shape (2, 3, 4), (layers·directions, B, …) expected, got (1, 3, 4)" in text
    swapped = message(ShapeError, rnn, xs, tg.zeros(2, T, H))
    assert "batch_first=True" in swapped
    alone = message(ShapeError, rnn, xs[:, 0], tg.zeros(2, B, H))
    assert "hx of shape (2, 4), (layers·directions, …)" in alone


def test_initial_state_of_another_structure_or_dtype() -> None:
    xs = tg.zeros(T, B, I)
    h = tg.zeros(1, B, H)
    assert "hx = (h, c) expected, got one tensor" in message(CarryError, nn.LSTM(I, H), xs, h)
    assert "hx = (h, c) expected, got no tensor" in message(CarryError, nn.LSTM(I, H), xs, ())
    two = message(CarryError, nn.GRU(I, H), xs, (h, h))
    assert "hx, one tensor, expected, got hx[0], hx[1]" in two
    assert "hx[1] of dtype float32" in message(DTypeError, nn.LSTM(I, H), xs, (h, h.double()))
    nn.LSTM(I, H)(xs, [h, h])  # a list does as well as a tuple


def test_lengths() -> None:
    rnn, xs = nn.RNN(I, H), tg.zeros(T, B, I)
    for bad in (0, 6, -1):
        text = message(ArgumentError, rnn, xs, lengths=[1, bad, 2])
        assert f"RNN.forward: lengths in 1 … 5 expected, got {bad}" in text
    assert "integer lengths" in message(DTypeError, rnn, xs, lengths=[1.0, 2.0, 3.0])
    assert "(3,) expected" in message(ShapeError, rnn, xs, lengths=[1, 2])
    assert "batch_first=True" in message(ShapeError, rnn, xs, lengths=[1, 2, 3, 2, 1])


@pytest.mark.parametrize("bad", [{"hidden_size": 0}, {"num_layers": 0}, {"dropout": 1.5}])
def test_options_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(bad))):
        nn.LSTM(**{"input_size": I, "hidden_size": H, **bad})
    with pytest.raises(ArgumentError, match="proj_size"):
        nn.LSTM(I, H, proj_size=H)
    with pytest.raises(ArgumentError, match="tanh"):
        nn.RNN(I, H, nonlinearity="tan")


def test_cell_must_be_a_module() -> None:
    with pytest.raises(DTypeError, match=r"tg\.scan"):
        nn.Recurrent(lambda i, h: lambda c, x: (c, x), I, H)


def test_cell_that_breaks_its_carry_is_named() -> None:
    class Growing(Leaky):
        def forward(self, carry: Any, x: Any) -> Any:
            return tg.cat([carry, carry], -1), carry

    with pytest.raises(CarryError, match=r"carry was float32\[3, 4\] and became float32\[3, 8\]"):
        nn.Recurrent(Growing, I, H)(tg.zeros(T, B, I))
