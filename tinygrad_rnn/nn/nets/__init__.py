"""Whole networks, from the unit of 1943 to WaveNet: each composed of the layers and cells below."""

from .delay_line import DLNN, DMLP, Direct, tapped_delay_line
from .fit import least_squares_
from .mlp import MLP
from .narx import NARX
from .recurrent import BRNN, RMLP, Elman, ParallelRecurrent, ResidualRecurrent, SimpleRNN
from .seq2seq import Attention, EncoderDecoder
from .tdnn import TDNN, Frames
from .threshold import McCullochPitts, Perceptron
from .unsupervised import DBN, RBM, Autoencoder
from .wavenet import WaveNet, WaveNetCache

__all__ = [
    "Attention", "Autoencoder", "BRNN", "DBN", "DLNN", "DMLP", "Direct", "Elman", "EncoderDecoder",
    "Frames", "MLP", "McCullochPitts", "NARX", "ParallelRecurrent", "Perceptron", "RBM", "RMLP",
    "ResidualRecurrent", "SimpleRNN", "TDNN", "WaveNet", "WaveNetCache", "least_squares_",
    "tapped_delay_line",
]  # fmt: skip
