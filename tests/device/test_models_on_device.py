"""Layers, losses, optimisers, checkpoints and training on a device, as on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both_devices import FAKE, TARGET, on_host, run_on_both, traffic

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.data import ContinuousBatches
from tinygrad_rnn.errors import DeviceError, DTypeError
from tinygrad_rnn.train import Trainer
from tinygrad_rnn.train.language import CharLM, language_loss

T, B, N, H = 4, 3, 5, 6
RNG = np.random.default_rng(5)
XS = RNG.normal(size=(T, B, N)).astype("float32")
WORDS = RNG.integers(0, 7, (T, B))


def with_gradients(model: nn.Module, xs: Any, device: str, **options: Any) -> Any:
    """Outputs and all gradients of a model on a device."""
    model.to(device)
    x = tg.tensor(xs, device=device)
    x = x.requires_grad_() if x.dtype.kind == "f" else x
    out = model(x, **options)
    leaves = [y for y in tg.tree.flatten(out)[0] if y.requires_grad]
    sum((tg.sum(y * y) for y in leaves), tg.zeros((), device=device)).backward()
    return [out, *[p.grad for p in model.parameters()], *([x.grad] if x.requires_grad else [])]


# -------------------------------------------------------------------------------------- layers
LAYERS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "linear": (lambda: nn.Linear(N, H), XS),
    "linear without bias": (lambda: nn.Linear(N, H, bias=False), XS),
    "embedding": (lambda: nn.Embedding(7, N, padding_idx=2), WORDS),
    "conv1d": (lambda: nn.Conv1d(B, 6, 3, padding="causal", groups=3, dilation=2), XS),
    "layer norm": (lambda: nn.LayerNorm((B, N)), XS),
    "dropout": (lambda: nn.Sequential(nn.Linear(N, H), nn.Dropout(0.5)), XS),
    "activations": (
        lambda: nn.Sequential(
            nn.Linear(N, H), nn.ELU(), nn.GELU(), nn.GELU("tanh"), nn.Hardtanh(), nn.LeakyReLU(),
            nn.Linear(H, H), nn.Softplus(), nn.Softsign(), nn.SiLU(), nn.Linear(H, H), nn.Tanh(),
            nn.LogSigmoid(), nn.Softmax(-1), nn.Sigmoid(), nn.LogSoftmax(-1), nn.ReLU(),
        ),
        XS,
    ),
    "rnn": (lambda: nn.RNN(N, H, nonlinearity="relu"), XS),
    "lstm": (lambda: nn.LSTM(N, H, 2, dropout=0.3), XS),
    "bidirectional lstm": (lambda: nn.LSTM(N, H, bidirectional=True, batch_first=True), XS),
    "projected lstm": (lambda: nn.LSTM(N, H, proj_size=2), XS),
    "gru": (lambda: nn.GRU(N, H, 2, bidirectional=True), XS),
    "one sequence": (lambda: nn.GRU(N, H), XS[:, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    make, xs = LAYERS[name]

    def run(device: str) -> Any:
        return with_gradients(make(), xs, device)

    asked = {"embedding": 3, "activations": 2}.get(name, 0)  # words in range? softmax of finite?
    run_on_both(run, rtol=2e-5).are_at_most(syncs=asked)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padded_sequences(name: str, bidirectional: bool) -> None:
    def run(device: str) -> Any:
        layer = getattr(nn, name)(N, H, bidirectional=bidirectional)
        return with_gradients(layer, XS, device, lengths=[2, 4, 1], return_all_states=True)

    run_on_both(run, rtol=2e-5).are_at_most(syncs=1)


class Decaying(nn.Cell):
    """A cell with a carry of its own kind: one number a row, and a count of the steps."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight = nn.Parameter(tg.ones(hidden_size, input_size))

    def initial_state(self, batch: int) -> Any:
        """A mean that starts at one, and a count."""
        return {"mean": tg.ones(batch, self.hidden_size), "steps": tg.zeros(batch, dtype=tg.int64)}

    def forward(self, carry: Any, x: Any) -> Any:
        """One step."""
        mean = carry["mean"] * 0.5 + tg.functional.linear(x, self.weight)
        return {"mean": mean, "steps": carry["steps"] + 1}, mean


def test_the_start_of_a_users_cell_is_brought_to_the_device() -> None:
    run_on_both(lambda d: with_gradients(nn.Recurrent(Decaying, N, H, 2), XS, d), rtol=2e-5)


def test_recurrence_alone_neither_copies_nor_waits() -> None:
    """Only the parameters and the random numbers come over; nothing is asked of the device."""
    layer = nn.LSTM(N, H, 2).to(TARGET)
    x = tg.tensor(XS, device=TARGET)
    hx = (tg.zeros(2, B, H, device=TARGET), tg.zeros(2, B, H, device=TARGET))
    optimizer = optim.Adam(layer.parameters())
    with traffic() as crossed:
        for _ in range(2):
            y, _ = layer(x, hx)
            optimizer.zero_grad()
            (y * y).sum().backward()
            optimizer.step()
    crossed.are()


def test_second_order_through_an_lstm() -> None:
    def run(device: str) -> Any:
        layer = nn.LSTM(N, H, device=device, dtype=tg.float64)
        x = tg.tensor(XS, dtype=tg.float64, device=device)
        names = [name for name, _ in layer.named_parameters()]

        def loss(*values: Any) -> Any:
            parameters = dict(zip(names, values, strict=True))
            return (nn.utils.functional_call(layer, parameters, x)[0] ** 2).sum()

        at = [p.detach() for p in layer.parameters()]
        return tg.hvp(loss, at, [tg.ones_like(p) for p in at])

    run_on_both(run, rtol=1e-10).are_at_most(syncs=1)


# -------------------------------------------------------------------------------------- losses
LOGITS = RNG.normal(size=(6, 4))
CLASSES = np.array([0, 3, 1, 2, -100, 3])
SOFT = np.exp(LOGITS[::-1]) / np.exp(LOGITS[::-1]).sum(1, keepdims=True)
OTHER = RNG.normal(size=(6, 4))
WEIGHT = np.array([1.0, 2.0, 0.5, 1.0])
LOSSES: dict[str, Callable[..., Any]] = {
    "cross entropy": lambda x, t, s, o, w: tg.losses.cross_entropy(x, t, label_smoothing=0.1),
    "weighted": lambda x, t, s, o, w: tg.losses.cross_entropy(x, t, w),
    "soft": lambda x, t, s, o, w: tg.losses.cross_entropy(x, s, w),
    "nll": lambda x, t, s, o, w: tg.losses.nll_loss(tg.functional.log_softmax(x), t, w),
    "none": lambda x, t, s, o, w: tg.losses.cross_entropy(x, t, reduction="none"),
    "bce": lambda x, t, s, o, w: tg.losses.binary_cross_entropy_with_logits(x, s, pos_weight=w),
    "kl": lambda x, t, s, o, w: tg.losses.kl_div(x, s, reduction="batchmean"),
    "mse": lambda x, t, s, o, w: tg.losses.mse_loss(x, o),
    "l1": lambda x, t, s, o, w: tg.losses.l1_loss(x, o),
    "huber": lambda x, t, s, o, w: tg.losses.huber_loss(x, o),
    "nmse": lambda x, t, s, o, w: tg.losses.nmse_loss(x, o),
}
RNG_LABELS = RNG.normal(size=(8, 2, 5))
INFINITE = np.where(LOGITS > 1, np.inf, np.where(LOGITS < -1, -np.inf, LOGITS))


def test_ctc_loss() -> None:
    def run(device: str) -> Any:
        x = tg.tensor(RNG_LABELS, dtype=tg.float64, device=device).requires_grad_()
        scores = tg.functional.log_softmax(x)
        loss = tg.losses.ctc_loss(scores, [[1, 2, 2], [3, 1, 0]], [8, 6], [3, 2])
        loss.backward()
        return [loss, x.grad]

    run_on_both(run, rtol=1e-11)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logits", [LOGITS, 1e4 * LOGITS], ids=["ordinary", "large"])
def test_loss(name: str, logits: Any) -> None:
    def run(device: str) -> Any:
        x = tg.tensor(logits, device=device, dtype=tg.float64).requires_grad_()
        rest = [tg.tensor(a, device=device) for a in (CLASSES, SOFT, OTHER, WEIGHT)]
        rest = [a.double() if a.dtype.kind == "f" else a for a in rest]
        loss = LOSSES[name](x, *rest)
        loss.sum().backward()
        return [loss, x.grad]

    run_on_both(run).are_at_most(syncs=8)


def test_infinite_logits() -> None:
    def run(device: str) -> Any:
        x = tg.tensor(INFINITE, device=device)
        return [tg.functional.softmax(x), tg.functional.log_softmax(x), tg.logsumexp(x, 1)]

    run_on_both(run, rtol=2e-6).are_at_most(syncs=2)  # is everything finite?


# ---------------------------------------------------------------------------------- optimisers
OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adadelta": lambda p: optim.Adadelta(p),
    "adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "ascent": lambda p: optim.SGD(p, lr=0.01, maximize=True),
    "checked": lambda p: optim.Adam(p, error_if_nonfinite=True),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimiser(name: str) -> None:
    def run(device: str) -> Any:
        layer = nn.GRU(N, H, device=device)
        optimizer = OPTIMISERS[name](layer.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            (layer(tg.tensor(XS, device=device))[0] ** 2).sum().backward()
            optimizer.step()
        state = optimizer.state_dict()["state"]
        return [list(layer.parameters()), [list(entry.values())[1:] for entry in state.values()]]

    run_on_both(run, rtol=1e-4).are_at_most(syncs=3 if name == "checked" else 0)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("size", [1.0, 1e30])
def test_clipping(p: float, size: float) -> None:
    def run(device: str) -> Any:
        xs = [tg.tensor(a, device=device).requires_grad_() for a in (XS, XS[0].T, XS[:0])]
        for x in xs:
            (x * size).backward(x.detach())
        norm = optim.clip_grad_norm_(xs, 0.5, p)
        clipped = [x.grad.clone() for x in xs]
        optim.clip_grad_value_(xs, 0.01)
        again = nn.utils.clip_grad_norm_(xs, 0.001, p)
        return [norm, clipped, [x.grad for x in xs], tg.as_tensor(again, device=device)]

    run_on_both(run, rtol=1e-5).are_at_most(to_host=6)  # norms, to be compared


def test_parameters_of_one_model_stay_on_one_device() -> None:
    layer = nn.Linear(N, H)
    optimizer = optim.Adam(layer.parameters())
    layer.to(TARGET)
    (layer(tg.ones(2, N, device=TARGET)) ** 2).sum().backward()
    before = on_host(layer.weight).copy()
    with pytest.raises((DeviceError, DTypeError)):
        optimizer.step()
    np.testing.assert_array_equal(on_host(layer.weight), before)


@pytest.mark.parametrize("fill", ["orthogonal_", "xavier_uniform_", "kaiming_normal_", "eye_"])
def test_initialisers_draw_the_same_numbers(fill: str) -> None:
    def run(device: str) -> Any:
        return getattr(nn.init, fill)(tg.zeros(4, 4, device=device))

    run_on_both(run).are_at_most(syncs=1)


# ------------------------------------------------------------------------------ moving a model
def test_a_model_moves_with_its_gradients_and_back() -> None:
    model = nn.LSTM(N, H)
    (model(tg.tensor(XS))[0] ** 2).sum().backward()
    before = {name: (on_host(p).copy(), on_host(p.grad)) for name, p in model.named_parameters()}
    parameters = list(model.parameters())
    model.to(TARGET)
    assert all(p.device == p.grad.device == TARGET for p in model.parameters())
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    model.cpu()
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(on_host(p), before[name][0])
        np.testing.assert_array_equal(on_host(p.grad), before[name][1])


def test_a_state_space_cell_is_made_of_modules_that_are_on_the_device() -> None:
    cell = nn.StateSpaceCell(3, 5, F=nn.Linear(8, 5).to(TARGET), G=nn.Linear(5, 2).to(TARGET))
    assert cell.output_size == 2


def test_state_dicts_load_across_devices() -> None:
    here, there = nn.GRU(N, H), nn.GRU(N, H, device=TARGET)
    there.load_state_dict(here.state_dict())
    np.testing.assert_array_equal(on_host(there.weight_ih_l0), on_host(here.weight_ih_l0))
    assert there.weight_ih_l0.device == TARGET
    here.load_state_dict({name: t * 2 for name, t in there.state_dict().items()})
    assert here.weight_ih_l0.device == "cpu"
    arrays = {name: on_host(t) for name, t in here.state_dict().items()}
    there.load_state_dict(arrays)
    np.testing.assert_array_equal(on_host(there.bias_hh_l0), on_host(here.bias_hh_l0))


# ------------------------------------------------------------------------------ a training run
def trained(device: str, steps: int, folder: Path | None = None, resume: bool = False) -> Trainer:
    tg.manual_seed(3)
    model = CharLM(7, 8, 2, cell="gru", embedding_size=4, dropout=0.1).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    symbols = np.random.default_rng(0).integers(0, 7, 200)
    trainer = Trainer(
        model, optimizer, ContinuousBatches(symbols, batch_size=3, steps=5),
        language_loss(model, device), max_norm=1.0, about={"kind": "text"},
        schedule=optim.StepLR(optimizer, 4),
    )  # fmt: skip
    if resume and folder is not None:
        trainer.load(folder / "last.ckpt")
    trainer.run(steps, folder=folder, validate_every=3)
    return trainer


def test_training_goes_the_same_way() -> None:
    here = trained("cpu", 8)
    with traffic() as crossed:
        there = trained(TARGET, 8)
    np.testing.assert_allclose(there.history.losses, here.history.losses, rtol=1e-4)
    for ours, theirs in zip(there.model.parameters(), here.model.parameters(), strict=True):
        assert ours.device == TARGET
        np.testing.assert_allclose(on_host(ours), on_host(theirs), rtol=1e-3, atol=1e-5)
    crossed.are_at_most(to_host=8, syncs=8 * 10)  # norms, and questions


def test_a_run_on_the_device_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    whole = trained(TARGET, 8)
    trained(TARGET, 5, tmp_path)
    rest = trained(TARGET, 8, tmp_path, resume=True)
    same = 0.0 if FAKE else 1e-4  # a GPU adds the rows of an embedding in any order
    np.testing.assert_allclose(rest.history.losses, whole.history.losses, rtol=same)
    for ours, theirs in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        np.testing.assert_allclose(on_host(ours), on_host(theirs), rtol=same, atol=same / 10)


def test_a_checkpoint_of_the_device_goes_on_on_the_host(tmp_path: Path) -> None:
    whole = trained("cpu", 8)
    trained(TARGET, 5, tmp_path)
    rest = trained("cpu", 8, tmp_path, resume=True)
    assert next(iter(rest.model.parameters())).device == "cpu"
    np.testing.assert_allclose(rest.history.losses, whole.history.losses, rtol=1e-4)
