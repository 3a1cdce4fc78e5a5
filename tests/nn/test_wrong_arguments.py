"""What cannot be meant is refused in our words, wherever a newcomer may write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import (
    baselines,
    data,
    decode,
    losses,
    nn,
    optim,
    recurrence,
    testing,
    train,
)
from tinygrad_rnn.errors import (
    ArgumentError,
    AutodiffError,
    CarryError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
    TinygradRNNError,
)
from tinygrad_rnn.nn import functional as F
from tinygrad_rnn.testing import check_grads

T = tg.ones(2, 3)
NARX = nn.NARX(2, 1, [3], output_lags=2)
UNIFORM = losses.UniformSampler(2)


def STEP(state: Any, symbols: Any) -> Any:
    return state, T


def beam(step: Any, **options: Any) -> Any:
    return decode.beam_search(step, None, [0], beam_width=2, max_length=3, **options)


class Wrapped(nn.Module):
    """A module of a user's own, with a slip of the keyboard in it."""

    def forward(self, xs: Any) -> Any:
        return self.not_there if xs is None else [x.shape for x in xs]


REFUSED: dict[str, tuple[Any, type[TinygradRNNError], str]] = {
    # of tensors something else is given
    "linear list": (lambda: nn.Linear(3, 4)([1.0, 2.0, 3.0]), DTypeError, r"linear.*list\n.*tg"),
    "linear weight": (lambda: F.linear(T, [[1.0]]), DTypeError, "linear.*list"),
    "conv1d": (lambda: nn.Conv1d(1, 2, 3)([1.0]), DTypeError, "list"),
    "norm": (lambda: nn.LayerNorm(3)([1.0]), DTypeError, "layer_norm.*list"),
    "flatten": (lambda: nn.Flatten()("x"), DTypeError, "Flatten.*str"),
    "gelu": (lambda: F.gelu("x"), DTypeError, "gelu.*str"),
    "leaky": (lambda: F.leaky_relu([1.0]), DTypeError, "leaky_relu.*list"),
    "softmax": (lambda: F.softmax([1.0]), DTypeError, "softmax.*list"),
    "init array": (lambda: nn.init.zeros_(np.ones(2)), DTypeError, "zeros_: a tensor.*ndarray"),
    "init module": (lambda: nn.init.normal_(nn.Linear(1, 1)), DTypeError, r"Linear\n.*weight"),
    "init gain": (lambda: nn.init.xavier_uniform_(T, "tanh"), ArgumentError, "gain.*'tanh'"),
    "init std": (lambda: nn.init.normal_(T, 0, None), ArgumentError, "std.*None"),
    "functional_call": (lambda: nn.utils.functional_call(T, {}, T), DTypeError, "module.*Tensor"),
    "vector": (lambda: nn.utils.parameters_to_vector(3), DTypeError, "parameters.*int 3"),
    # options
    "padding": (lambda: nn.Conv1d(1, 2, 3, padding="foo"), ArgumentError, "Conv1d.*'foo'"),
    "padding stride": (
        lambda: nn.Conv1d(1, 2, 3, stride=2, padding="same"), ArgumentError, "Conv1d.*stride=2"
    ),
    "layer norm": (lambda: nn.LayerNorm(2.5), ArgumentError, "LayerNorm.*2.5"),
    "eps": (lambda: F.layer_norm(T, 3, eps="x"), DTypeError, "eps"),
    "mlp": (lambda: nn.MLP(3), DTypeError, "MLP: sizes.*int 3"),
    "rmlp": (lambda: nn.RMLP(3), DTypeError, "RMLP: sizes"),
    "dbn": (lambda: nn.DBN(3), DTypeError, "DBN: sizes"),
    "tdnn": (lambda: nn.TDNN(3, [1, 2]), DTypeError, "TDNN: contexts"),
    "module list": (lambda: nn.ModuleList(3), DTypeError, "ModuleList: modules.*int 3"),
    "module dict": (lambda: nn.ModuleDict([nn.Tanh()]), DTypeError, "ModuleDict.*list"),
    "lstm": (lambda: nn.LSTMCell("3", 4), ArgumentError, "LSTMCell: input_size.*'3'"),
    "rnn": (lambda: nn.RNNCell(3, 4, True, ["tanh"]), ArgumentError, "nonlinearity"),
    "smoothing": (
        lambda: F.cross_entropy(T, [0, 1], label_smoothing="x"), ArgumentError, "label_smoothing"
    ),
    "delta": (lambda: F.huber_loss(T, T, delta="x"), ArgumentError, "delta"),
    "classes second": (
        lambda: F.cross_entropy(tg.ones(2, 3, 5), tg.zeros(2, 5, dtype=int)), ShapeError, "dim=1"
    ),
    "milestones": (
        lambda: optim.MultiStepLR(optim.SGD([T.clone().requires_grad_()], lr=1), 3),
        DTypeError, "milestones.*int 3",
    ),
    "wolfe": (lambda: optim.LBFGS([nn.Parameter(T)], wolfe=3), ArgumentError, "wolfe"),
    # calls of layers and networks
    "scan option": (lambda: nn.RNN(3, 4)(T, foo=1), ArgumentError, "RNN.forward.*truncate.*'foo'"),
    "carry of one part": (
        lambda: nn.LSTMCell(3, 4)(tg.zeros(2, 4), T), CarryError,
        r"LSTMCell\(.*a carry of carry\[0\] \(2, 4\), carry\[1\] \(2, 4\) .*carry \(2, 4\)",
    ),
    "carry of two": (
        lambda: nn.GRUCell(3, 4)((tg.zeros(2, 4), tg.zeros(2, 4)), T), CarryError, "carry of carry"
    ),
    "carry of none": (lambda: nn.RNNCell(3, 4)(None, T), CarryError, "got nothing"),
    "wide carry": (lambda: nn.RNNCell(3, 4)(tg.zeros(2, 5), T), CarryError, r"got carry \(2, 5\)"),
    "short carry": (
        lambda: nn.SkipRNNCell(3, 4, skip=3)(tg.zeros(2, 4), T), CarryError, r"carry \(2, 12\) "
    ),
    "states": (lambda: nn.RMLP([3, 4, 2])(T, 3), CarryError, "RMLP: hx, a list of 1 states.*int"),
    "too few": (
        lambda: nn.ParallelRecurrent([nn.RNN(3, 4)] * 2)(T, [None]), CarryError, "list of 2.*got 1"
    ),
    "no window": (lambda: nn.DLNN(3, taps=3).fit(T, T), DataError, "3 times or more"),
    "NaN": (
        lambda: nn.least_squares_(nn.Linear(3, 1), T * np.nan, tg.ones(2, 1)), DataError, "finite"
    ),
    "no rows": (
        lambda: nn.least_squares_(nn.Linear(3, 1), T[:0], tg.ones(0, 1)), DataError, "got none"
    ),
    "delay line": (lambda: nn.tapped_delay_line(3, 2), ShapeError, r"xs \(T, B, I\)"),
    "cache": (
        lambda: nn.WaveNet(1, 4, 2, dilations=[1]).step(None, T[:, :1]), ArgumentError, "cache"
    ),
    "another's cache": (
        lambda: nn.WaveNet(1, 4, 2, dilations=[2]).step(
            nn.WaveNet(1, 4, 2, dilations=[1]).start(2), T[:, :1]
        ), ArgumentError, "made by start",
    ),
    "narx inputs": (lambda: NARX(tg.ones(5, 2, 3)), ShapeError, r"xs \(T, B, 2\)"),
    "narx outputs": (
        lambda: NARX(tg.ones(5, 4, 2), tg.ones(6, 4, 1)), ShapeError, r"ys \(5, 4, 1\) beside"
    ),
    "narx start": (
        lambda: NARX(tg.ones(5, 4, 2), start=tg.ones(4, 1)), ShapeError, r"start \(4, 2\) beside"
    ),
    "too deep": (lambda: nn.MLP([3, 4, 2]).hidden(T, 2), ArgumentError, "depth in 0 … 1"),
    "deeper": (lambda: nn.DBN([3, 4])(T, 2), ArgumentError, "depth in 0 … 1"),
    "passes": (
        lambda: nn.Perceptron(3).fit(T, [1, -1], epochs=0), ArgumentError, "epochs.*got 0"
    ),
    "rate": (
        lambda: nn.Perceptron(3).fit(T, [1, -1], learning_rate="a"), ArgumentError, "learning_rate"
    ),
    # functions
    "grad": (lambda: tg.grad(3), DTypeError, "grad: a function first expected, got int"),
    "jacobian": (lambda: tg.jacobian(3), DTypeError, "jacobian: a function"),
    "hessian": (lambda: tg.hessian(T), DTypeError, "a function first expected, got Tensor"),
    "vjp": (lambda: tg.vjp(T, T), DTypeError, "vjp: a function"),
    "jvp": (lambda: tg.jvp(T, (T,), (T,)), DTypeError, "jvp: a function"),
    "jvp tuples": (lambda: tg.jvp(tg.tanh, T, T), DTypeError, r"tuples.*Tensor\n.*\(x,\)"),
    "checkpoint": (lambda: tg.checkpoint(3), DTypeError, "checkpoint: a function.*int"),
    "argnums": (lambda: tg.grad(lambda x: x, 3)(T), ArgumentError, "argnums.*3"),
    "argnums text": (lambda: tg.grad(lambda x: x, "x")(T), ArgumentError, "grad: argnums.*'x'"),
    "argnums of jacobian": (lambda: tg.jacobian(tg.mul, (0, 1))(T, T), ArgumentError, r"\(0, 1\)"),
    "argnums of hessian": (lambda: tg.hessian(tg.mul, -3)(T, T), ArgumentError, "argnums.*-3"),
    "jacobian of two": (
        lambda: tg.jacobian(lambda x: (x, x), mode="forward")(T), AutodiffError, "one tensor.*tuple"
    ),
    "hvp": (lambda: tg.hvp(tg.sum, T.sum(), T.sum()), DTypeError, r"tuples.*Tensor\n.*\(x,\)"),
    "check of integers": (
        lambda: check_grads(lambda x: x.argmax(), (T,)), ArgumentError, "floating-point.*none"
    ),
    # making tensors
    "arange": (lambda: tg.arange("x"), DTypeError, "arange"),
    "arange nan": (lambda: tg.arange(float("nan")), DTypeError, "arange"),
    "full": (lambda: tg.full((3,), [1, 2]), DTypeError, r"full: one number.*\[1, 2\]"),
    "randint beyond": (
        lambda: tg.randint(0, 300, (3,), dtype="i1"), DTypeError, "randint: .*int8.*0 and 300"
    ),
    "full beyond": (lambda: tg.full((3,), -1, dtype="u1"), DTypeError, "full: .*fits uint8.*-1"),
    "full of a float beyond": (lambda: tg.full((3,), -1.0, dtype="u1"), DTypeError, "uint8.*-1.0"),
    "full beyond float32": (lambda: tg.full((3,), 1e60), DTypeError, "fits float32.*1e\\+60"),
    "full beyond int64": (lambda: tg.full((3,), 2.0**63, dtype="i8"), DTypeError, "int64.*e\\+18"),
    "full beyond float64": (lambda: tg.full((3,), 10**400, dtype="f8"), DTypeError, "fits float64"),
    "full of an int": (lambda: tg.full((3,), 2**128 - 2**103 - 1, "f4"), DTypeError, "float32"),
    "full of rows": (lambda: tg.full((3,), [[1], [1, 2]]), DTypeError, "full: one number"),
    "full of NaN": (lambda: tg.full((3,), float("nan"), dtype="i4"), DTypeError, "int32.*nan"),
    "full of nothing": (lambda: tg.full((3,), None, dtype="f4"), DTypeError, "one number.*None"),
    "full shape": (lambda: tg.full(2.5, 1.0), DTypeError, "2.5"),
    "too large": (lambda: tg.zeros(2**45), ShapeError, "zeros: .*fits memory"),
    "ones too large": (lambda: tg.ones(2**45), ShapeError, "ones: .*fits memory"),
    "large beside 0": (lambda: tg.ones(0, 2**62), ShapeError, "ones: .*fits memory"),
    "a float tensor as a size": (lambda: tg.zeros(tg.tensor(2.0)), DTypeError, "integer sizes"),
    "a float array as a size": (lambda: tg.zeros(np.array(2.0)), DTypeError, "integer sizes"),
    "65 axes": (lambda: tg.zeros((1,) * 65), ShapeError, "zeros: .*64 axes"),
    "shape of rows": (lambda: tg.zeros(np.array([[2, 3]])), DTypeError, "zeros: integer sizes"),
    "a float seed": (lambda: tg.manual_seed(np.array(2.5)), ArgumentError, "an integer"),
    "a float bound": (lambda: tg.randint(0, tg.tensor(5.5), (3,)), DTypeError, "bounds.*5.5"),
    "a float index": (lambda: T[tg.tensor(0.7)], DTypeError, "getitem: an integer, a slice.*0.7"),
    "a float array as an index": (lambda: T[np.array(1.0)], DTypeError, "getitem: an integer"),
    "a float place": (lambda: T.clone().__setitem__(np.array(1.0), 0), IndexRangeError, "integer"),
    "a float axis": (lambda: T.sum(np.array(0.0)), DTypeError, "dim as an integer"),
    "float pieces": (lambda: T.split(tg.tensor(2.0)), DTypeError, "split: an integer.*2."),
    "float widths": (lambda: T.pad((tg.tensor(1.0), 0)), DTypeError, "pad: a tuple of integers"),
    "power": (lambda: tg.tensor(3) ** -1, DTypeError, "negative integer powers"),
    "as dtype": (lambda: tg.as_tensor(T, dtype="x"), DTypeError, "'x'"),
    "correction": (lambda: T.var(correction="x"), DTypeError, "correction"),
    "clip": (lambda: T.clip("x"), DTypeError, "clip"),
    "raw shapes": (lambda: tg.add(np.ones(2), np.ones(3)), ShapeError, "broadcast"),
    "nothing": (lambda: T.clone().__setitem__(0, None), DTypeError, "__setitem__.*NoneType"),
    "add text": (lambda: T.clone().add_("a"), DTypeError, "add_.*str"),
    "reshape": (lambda: T.reshape("a"), DTypeError, "reshape: integer sizes"),
    "randperm": (lambda: tg.randperm(2.5), DTypeError, "randperm.*2.5"),
    "linspace": (lambda: tg.linspace(0, 1, 2.5), ArgumentError, "steps.*2.5"),
    "randint": (lambda: tg.randint(0, 2.5, (2,)), DTypeError, "0 and 2.5"),
    "hook": (lambda: nn.Parameter(T).register_hook(3), DTypeError, "register_hook: a function"),
    "check_grads": (lambda: testing.check_grads(3, (T,)), DTypeError, "check.*function"),
    "check args": (lambda: testing.check_grads(tg.tanh, T), DTypeError, r"tuple.*Tensor\n.*\(x,\)"),
    # losses, decoding, recurrences
    "probabilities": (lambda: losses.Sampler("abc"), DTypeError, "probabilities of numbers"),
    "no axis": (lambda: losses.Sampler(None), DTypeError, "Sampler: probabilities"),
    "two axes": (lambda: losses.Sampler(np.ones((2, 2))), ShapeError, "probabilities on 1 axes"),
    "classes": (lambda: losses.UniformSampler(2.5), ArgumentError, "UniformSampler: classes.*2.5"),
    "log classes": (lambda: losses.LogUniformSampler("a"), ArgumentError, "classes.*'a'"),
    "power of counts": (lambda: losses.UnigramSampler([1, 2], "a"), ArgumentError, "power.*'a'"),
    "rate of Q": (lambda: losses.AdaptiveSampler([1, 2], rate="a"), ArgumentError, "rate.*'a'"),
    "samples": (lambda: losses.UniformSampler(3).sample(2.5), ArgumentError, "samples.*2.5"),
    "sampler": (lambda: losses.draw_candidates(3, [1], 2), DTypeError, "of type Sampler.*int"),
    "candidates": (
        lambda: losses.sampled_loss(T, T, None, 3), DTypeError, r"Candidates.*int\n.*draw_cand"
    ),
    "wide bias": (
        lambda: losses.sampled_loss(T, T, T, losses.draw_candidates(UNIFORM, [0, 1], 2)),
        ShapeError, r"a bias \(V,\) expected, got \(2, 3\)",
    ),
    "alpha": (
        lambda: losses.self_normalized_cross_entropy(T, [0, 1], "a"), ArgumentError, "alpha.*'a'"
    ),
    "size": (lambda: losses.target_partitions([1, 2], 0), ArgumentError, "size.*got 0"),
    "penalty": (lambda: beam(STEP, length_penalty="a"), ArgumentError, "length_penalty.*'a'"),
    "step": (lambda: beam(3), DTypeError, "beam_search: step, a function.*int 3"),
    "layer as step": (lambda: beam(nn.Linear(2, 2)), DTypeError, r"step\(state, symbols\).*Linear"),
    "step gives": (lambda: beam(lambda state, symbols: 3), DTypeError, "return .state, .*int"),
    "logits": (lambda: beam(lambda s, y: (s, T[:1])), DataError, r"<= 0 .*got 1.0\n.*as_step"),
    "ctc of logits": (
        lambda: decode.ctc_beam_search(tg.ones(2, 1, 3)), DataError, r"<= 0 .*\n.*log_softmax"
    ),
    "model": (lambda: decode.as_step(3), DTypeError, "as_step: model"),
    "path of text": (lambda: decode.ctc_merge("ab"), DTypeError, "a path of integers"),
    "path of halves": (lambda: decode.ctc_merge([0.5]), DTypeError, "a path of integers"),
    "generate": (lambda: decode.generate(3, [1], 4, 5), DTypeError, "generate: model"),
    "how to choose": (lambda: decode.generate(STEP, [1], 0.7, 5), DTypeError, r"Sampler.*float\n"),
    "a seed": (
        lambda: decode.generate(STEP, [1], decode.Sampler(), 5),
        DTypeError, r"Generator.*\n.*default_rng",
    ),
    "truncated": (
        lambda: recurrence.truncated_bptt(3, STEP, T, T, T, T, k1=1, k2=1), DTypeError, "step.*int"
    ),
    "schedule": (
        lambda: recurrence.truncated_bptt(STEP, STEP, T, T, T, T, k1=2, k2=1),
        ArgumentError, "k1 <=",
    ),
    "rtrl": (lambda: recurrence.RTRL(STEP, 4, T, T), DTypeError, "RTRL: loss, a function.*int 4"),
    "rtrl loss": (
        lambda: recurrence.RTRL(lambda p, c, x: (c, c), lambda y, t: y, T, T).advance(T, T),
        ShapeError, r"one number expected, got \(2, 3\)",
    ),
    "norms": (lambda: recurrence.gradient_norms(3, STEP, T, T), DTypeError, "step, a function"),
    "no time": (lambda: recurrence.gradient_norms(STEP, STEP, T, 3), ShapeError, "a time axis"),
    "step of x": (lambda: recurrence.step_jacobian(3, T, T), DTypeError, "step, a function"),
    "radius": (lambda: recurrence.spectral_radius([[np.nan]]), DataError, "finite"),
    "slope": (lambda: recurrence.log_slope("a"), DTypeError, "norms of numbers"),
    "weight": (lambda: recurrence.stability("tanh", "a", [[0]]), DTypeError, "a weight of numbers"),
    "start": (lambda: recurrence.stability("tanh", [[1]], [[np.nan]]), DataError, "starts"),
    "closure": (lambda: optim.LBFGS([nn.Parameter(T)]).step(3), DTypeError, "closure, a function"),
    "filter": (lambda: optim.EKF([nn.Parameter(T)]).step(3, T), DTypeError, "model, a function"),
    "a constant": (
        lambda: optim.EKF([nn.Parameter(T)]).step(lambda p: 3.0, 3.0), AutodiffError, "one tensor"
    ),
    "emissions": (
        lambda: baselines.HMM([1], [[1]], None), DTypeError, r"HMM: emissions.*\n.*Discrete"
    ),
    # data, decoding, training
    "shares": (lambda: data.split_in_time(100, (0.5, 0.5)), ArgumentError, "train, a number"),
    "encode": (
        lambda: data.CharVocabulary("ab").encode(["a"]), DTypeError, "encode: text.*list"
    ),
    "from text": (lambda: data.CharVocabulary.from_text(3), DTypeError, "text.*int 3"),
    "symbols": (lambda: data.CharVocabulary(3), DTypeError, "symbols.*int 3"),
    "symbol list": (lambda: data.CharVocabulary([1, 2]), DTypeError, "symbols.*list"),
    "path": (lambda: data.read_text(3), DTypeError, "paths.*int 3"),
    "paths": (lambda: data.read_text([1, 2]), DTypeError, "a path.*int"),
    "csv": (lambda: data.read_csv(3, "y"), DTypeError, "a path.*int"),
    "split": (lambda: data.train_validation_split(3), DTypeError, "text or an array.*int"),
    "share": (lambda: data.train_validation_split("abc", "x"), ArgumentError, "validation"),
    "sequences": (lambda: data.pad_sequence(3), DTypeError, "sequences.*int 3"),
    "words": (lambda: data.WordVocabulary(3), DTypeError, "words.*int 3"),
    "ctc_merge": (lambda: decode.ctc_merge(3), DTypeError, "path.*int 3"),
    "distance": (lambda: decode.edit_distance("ab", 3), DTypeError, "labels.*int 3"),
    "temperature": (lambda: decode.Sampler("hot"), ArgumentError, "temperature.*'hot'"),
    "cell": (lambda: train.CharLM(3, 4, cell="lsmt"), ArgumentError, "lstm.*'lsmt'"),
    "layers": (lambda: train.CharLM(3, 4, num_layers="x"), TinygradRNNError, "num_layers|layers"),
    "setting": (lambda: train.TextSettings(hidden="x"), ArgumentError, "hidden.*'x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words) as caught:
        call()
    assert " expected, got " in str(caught.value)


def test_errors_of_a_module_of_ones_own_are_not_covered_up() -> None:
    with pytest.raises(AttributeError, match="not_there"):
        Wrapped()(None)
    with pytest.raises(AttributeError, match="'int' object has no attribute 'shape'"):
        Wrapped()([1, 2])  # the list may be meant, its elements are the author's business


def test_functional_has_layers_and_losses() -> None:
    assert F.relu is tg.functional.relu and F.cross_entropy is tg.losses.cross_entropy
    assert nn.functional is F and F.mse_loss(T, T).item() == 0.0
    assert F.cross_entropy(tg.ones(2, 3, 5), tg.zeros(2, 5, dtype=int), dim=1).ndim == 0


def test_shapes_may_come_from_numpy() -> None:
    assert tg.zeros(np.array([2, 3])).shape == (2, 3) == tg.full(np.array([2, 3]), 1.0).shape
    assert tg.ones(np.int64(2), tg.tensor(3)).shape == (2, 3)


def test_a_state_dict_is_saved_as_it_is(tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    model, again = nn.GRU(2, 3), nn.GRU(2, 3)
    train.save_checkpoint(tmp_path / "model.ckpt", model.state_dict())
    again.load_state_dict(train.load_checkpoint(tmp_path / "model.ckpt").tensors)
    for name, value in model.state_dict().items():
        assert tg.equal(again.state_dict()[name], value)
