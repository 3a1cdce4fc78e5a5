"""Modules: what they hold and in which order, their state by name, and what they refuse."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, StateDictError


class Net(nn.Module):
    """Parameters, a child, a shared parameter and two buffers, in an order of its own."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(tg.ones(2))
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
        self.shift = nn.Parameter(tg.zeros(2), requires_grad=False)
        self.tied = self.inner[2].weight
        self.register_buffer("mean", tg.zeros(2))
        self.register_buffer("scratch", tg.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.scale + self.shift - self.mean


NAMES = ["scale", "inner.0.weight", "inner.0.bias", "inner.2.weight", "shift"]


# ------------------------------------------------------------------------------------ parameters
def test_parameter_is_a_flagged_tensor() -> None:
    data = tg.ones(2)
    p = nn.Parameter(data)
    assert type(p) is tg.Tensor and isinstance(p, nn.Parameter) and p.requires_grad
    assert p.array is data.array and not isinstance(data, nn.Parameter)
    assert not isinstance(p + 1, nn.Parameter) and not isinstance(p.detach(), nn.Parameter)
    assert not isinstance(1.0, nn.Parameter)
    with pytest.raises(DTypeError, match="int64"):
        nn.Parameter([1, 2])


COPIES = [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_parameter_is_one(copied: Any) -> None:
    for requires_grad in (True, False):
        twin = copied(nn.Parameter([1.0, 2.0], requires_grad))
        assert isinstance(twin, nn.Parameter) and twin.requires_grad is requires_grad
    assert not isinstance(copied(tg.ones(2, requires_grad=True)), nn.Parameter)


def test_a_buffer_is_a_tensor() -> None:
    net = Net()
    with pytest.raises(DTypeError, match=r"register_buffer: a tensor or None .*ndarray"):
        net.register_buffer("table", np.zeros(3))
    with pytest.raises(DTypeError, match=r"mean: a tensor or None .*ndarray"):
        net.mean = np.zeros(3)
    with pytest.raises(DTypeError, match=r"scale: a Parameter"):
        net.register_buffer("scale", tg.zeros(3))
    assert not hasattr(net, "table") and "mean" in net.state_dict()
    assert [name for name, _ in net.named_parameters()] == NAMES


def test_parameters_come_in_the_order_of_definition_and_once() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert len(list(net.parameters())) == 5
    assert [name for name, _ in net.named_buffers()] == ["mean", "scratch"]
    assert len(list(net.buffers())) == 2
    assert [name for name, _ in net.named_modules()] == [
        "",
        "inner",
        "inner.0",
        "inner.1",
        "inner.2",
    ]
    assert [name for name, _ in net.named_children()] == ["inner"]


def test_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="scal"):
        Net().scal  # noqa: B018
    with pytest.raises(NotImplementedError, match=r"Module\.forward"):
        nn.Module()()


def test_parameter_is_replaced_by_parameters_alone() -> None:
    net = Net()
    with pytest.raises(DTypeError, match=r"Net\.scale: a Parameter"):
        net.scale = tg.ones(2)
    assert isinstance(net.scale, nn.Parameter)
    net.scale = nn.Parameter(tg.zeros(2))
    net.scale = None  # type: ignore[assignment]
    assert [name for name, _ in net.named_parameters()] == NAMES[1:]


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        set,
        lambda parts: {"a": parts[0]},
        lambda parts: [parts, parts],
        lambda parts: {"a": (1, [nn.Parameter([1.0])])},
    ],
)
def test_modules_in_plain_lists_are_refused(kind: Any) -> None:
    class Lost(nn.Module):
        def __init__(self) -> None:
            self.layers = kind([nn.Linear(1, 1)])

    with pytest.raises(ArgumentError, match=r"Lost\.layers.*\n.*ModuleList"):
        list(Lost().parameters())


def test_names_with_an_underscore_may_hold_what_is_not_trained() -> None:
    class Teacher(nn.Module):
        def __init__(self) -> None:
            self._teacher = [nn.Linear(1, 1)]

    assert list(Teacher().parameters()) == []


# ---------------------------------------------------------------------------------------- state
def test_state_dict_has_every_name_and_shares_memory() -> None:
    net = Net()
    state = net.state_dict()
    assert list(state) == [*NAMES, "tied", "mean"]
    assert not any(value.requires_grad for value in state.values())
    with tg.no_grad():
        net.scale.fill_(7.0)
    assert state["scale"].tolist() == [7.0, 7.0]


def test_loading_copies_into_the_same_parameters() -> None:
    source, net = Net(), Net()
    held = net.inner[0].weight
    assert net.load_state_dict(source.state_dict()) == ([], [])
    assert net.inner[0].weight is held
    assert held.tolist() == source.inner[0].weight.tolist()
    with tg.no_grad():
        source.inner[0].weight.zero_()
    assert held.tolist() != source.inner[0].weight.tolist()


def test_loading_from_its_own_state_under_other_names_changes_places(device: str) -> None:
    """A state dict shares memory: the first to be copied must not be what the second one reads."""
    net = nn.GRU(2, 3, bidirectional=True).to(device)
    before = {name: value.tolist() for name, value in net.state_dict().items()}
    turned = {
        name: net.state_dict()[name.removesuffix("_reverse") + "_reverse" * ("_rev" not in name)]
        for name in before
    }
    net.load_state_dict(turned)
    after = net.state_dict()
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        assert after[name].tolist() == before[f"{name}_reverse"]
        assert after[f"{name}_reverse"].tolist() == before[name]


def test_loading_takes_arrays_of_other_libraries() -> None:
    net = nn.Linear(2, 1)
    weight = np.array([[1.0, 2.0]], dtype=np.float32)
    net.load_state_dict({"weight": weight, "bias": np.float32([3.0])})
    assert net(tg.tensor([[1.0, 1.0]])).tolist() == [[6.0]]
    weight[:] = 0
    assert net.weight.tolist() == [[1.0, 2.0]]


def test_loading_says_everything_that_is_wrong_and_changes_nothing() -> None:
    net = Net()
    before = {name: value.tolist() for name, value in net.state_dict().items()}
    state: dict[str, Any] = {name: value + 1 for name, value in net.state_dict().items()}
    del state["scale"], state["inner.0.bias"]
    state |= {"extra": tg.zeros(1), "more": tg.zeros(1)}
    state["shift"] = tg.zeros(3)
    state["mean"] = tg.zeros(2, dtype=tg.float64)
    state["tied"] = "text"
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "Net.load_state_dict: the names, shapes and dtypes of the module expected, got \n"
        "  missing: scale, inner.0.bias\n"
        "  unexpected: extra, more\n"
        "  shift is float32[2], given float32[3]\n"
        "  tied is float32[2, 3], given str\n"
        "  mean is float32[2], given float64[2]\n"
        "hint: strict=False ignores missing and unexpected names and casts"
    )
    assert {name: value.tolist() for name, value in net.state_dict().items()} == before


def test_loading_without_strictness_takes_what_fits() -> None:
    net = nn.Linear(2, 1)
    found = net.load_state_dict({"weight": np.array([[1.0, 2.0]]), "other": [0.0]}, strict=False)
    assert found.missing_keys == ["bias"] and found.unexpected_keys == ["other"]
    assert net.weight.tolist() == [[1.0, 2.0]] and net.weight.dtype == tg.float32
    with pytest.raises(StateDictError, match=r"weight is float32\[1, 2\], given float32\[2\]"):
        net.load_state_dict({"weight": [1.0, 2.0]}, strict=False)
    with pytest.raises(StateDictError, match="int64"):
        net.load_state_dict({"weight": [[1, 2]]}, strict=False)
    with pytest.raises(StateDictError, match="a dict of tensors"):
        net.load_state_dict([1.0])  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- modes and moves
def test_train_and_eval_reach_every_module() -> None:
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert net.training
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 4
    assert [m.training for m in net.train().modules()] == [True] * 4


def test_gradients_are_forgotten() -> None:
    net = Net()
    net(tg.ones(1, 2)).sum().backward()
    assert net.scale.grad is not None and net.shift.grad is None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_freezing() -> None:
    net = Net().requires_grad_(False)
    assert not net(tg.ones(1, 2)).requires_grad
    assert net.requires_grad_().shift.requires_grad


def test_conversion_keeps_the_tensors_and_their_gradients() -> None:
    net = Net()
    net.register_buffer("count", tg.zeros(1, dtype=tg.int64))
    held = list(net.parameters())
    net(tg.ones(1, 2)).sum().backward()
    assert net.to(tg.float64) is net
    assert all(a is b for a, b in zip(net.parameters(), held, strict=True))
    assert {p.dtype for p in held} == {tg.float64} and net.count.dtype == tg.int64
    assert held[0].grad is not None and held[0].grad.dtype == tg.float64
    net.zero_grad()
    net(tg.ones(1, 2, dtype=tg.float64)).sum().backward()
    assert held[0].grad is not None and held[0].grad.dtype == tg.float64
    assert net.float().scale.dtype == tg.float32 == net.to(tg.zeros(1)).scale.dtype
    assert net.half().scale.dtype == tg.float16 and net.to("cpu").scale.device == "cpu"


@pytest.mark.parametrize("target", [tg.int64, "float31", "tpu"])
def test_conversion_to_nowhere_changes_nothing(target: Any) -> None:
    net = Net()
    with pytest.raises((DTypeError, ArgumentError)):
        net.to(target)
    assert {p.dtype for p in net.parameters()} == {tg.float32}


def test_apply_goes_from_the_inside_out() -> None:
    seen: list[str] = []
    Net().apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Tanh", "Linear", "Sequential", "Net"]


# --------------------------------------------------------------------------- copies and words
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_whole_and_apart(copied: Any) -> None:
    net = Net().eval()
    twin = copied(net)
    assert [name for name, _ in twin.named_parameters()] == NAMES
    assert twin.tied is twin.inner[2].weight and not twin.training
    assert [p.requires_grad for p in twin.parameters()] == [True] * 4 + [False]
    with tg.no_grad():
        twin.scale.fill_(3.0)
    assert net.scale.tolist() == [1.0, 1.0]
    assert list(twin.state_dict()) == list(net.state_dict())
    rnn = copied(nn.LSTM(1, 2))
    assert len(list(rnn.parameters())) == 4 and rnn(tg.ones(1, 1, 1))[0].shape == (1, 1, 2)


def test_repr_is_a_tree() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (inner): Sequential(\n"
        "    (0): Linear(2, 3, bias=True)\n"
        "    (1): Tanh()\n"
        "    (2): Linear(3, 2, bias=False)\n"
        "  )\n"
        ")"
    )


def test_buffer_needs_a_name() -> None:
    with pytest.raises(ArgumentError, match=r"a\.b"):
        Net().register_buffer("a.b", tg.zeros(1))


# ------------------------------------------------------------------------------------ containers
def test_sequential_by_position_name_and_slice() -> None:
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)
    row = nn.Sequential(a, b).append(c)
    assert len(row) == 3 and row[-1] is c and list(row) == [a, b, c]
    assert type(row[1:]) is nn.Sequential and list(row[1:]) == [b, c]
    with pytest.raises(ArgumentError, match="'1' is taken"):
        nn.Sequential({"1": a}).append(b)
    named = nn.Sequential({"first": a, "last": c})
    assert [name for name, _ in named.named_parameters()] == [
        "first.weight", "first.bias", "last.weight", "last.bias",
    ]  # fmt: skip
    assert named[1] is c
    named[1] = b
    assert named[1] is b and [name for name, _ in named.named_children()] == ["first", "last"]
    for index in (2, -3):
        with pytest.raises(IndexError, match="Sequential"):
            named[index]
    with pytest.raises(DTypeError, match="function"):
        nn.Sequential(tg.tanh)
    assert nn.Sequential()(tg.ones(1)).tolist() == [1.0] and nn.Sequential()


def test_module_list_and_dict() -> None:
    layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    layers.append(nn.Identity()).extend([nn.Flatten()])
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3"]
    heads = nn.ModuleDict({"train": nn.Linear(1, 2)})  # the name of a method is as good as any
    heads["forward"] = nn.Linear(1, 3)
    assert list(heads) == ["train", "forward"] == list(heads.keys()) and "train" in heads
    assert [name for name, _ in heads.named_parameters()][::2] == ["train.weight", "forward.weight"]
    assert [type(m) for m in heads.values()] == [type(m) for _, m in heads.items()]
    del heads["train"]
    assert len(heads) == 1 and heads.train().training
    with pytest.raises(ArgumentError, match=r"a\.b"):
        heads["a.b"] = nn.Identity()
    with pytest.raises(DTypeError, match="ModuleDict"):
        nn.ModuleDict({"a": 1})  # type: ignore[dict-item]


def test_container_may_have_parameters_of_its_own() -> None:
    class Scaled(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(1, 1))
            self.gain = nn.Parameter(tg.ones(1))

    assert {name for name, _ in Scaled().named_parameters()} == {"gain", "0.weight", "0.bias"}


@pytest.mark.parametrize("value", [3, [1.0, 2.0], np.ones((3, 2), "float32"), tg.ones(3, 2)])
def test_only_a_parameter_takes_the_place_of_one(value: Any) -> None:
    layer = nn.Linear(2, 3)
    before = layer.weight
    with pytest.raises(DTypeError, match=r"Linear\.weight: a Parameter or None .* expected"):
        layer.weight = value
    assert layer.weight is before
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
