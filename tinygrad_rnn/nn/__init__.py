"""Modules: layers, cells, recurrent layers, whole networks, losses, and starting values."""

from . import init, utils
from .activations import *
from .cells import *
from .containers import ModuleDict, ModuleList, Sequential
from .layers import Conv1d, Dropout, Embedding, Flatten, Identity, LayerNorm, Linear
from .losses import *
from .module import Module
from .nets import *
from .parameter import Parameter
from .recurrent import Recurrent
from .rnns import GRU, LSTM, RNN

__all__ = [
    "Attention", "Autoencoder", "BCEWithLogitsLoss", "BRNN", "CTCLoss", "Cell", "Conv1d",
    "CoupledOscillatorCell", "CrossEntropyLoss", "DBN", "DLNN", "DMLP", "Direct", "Dropout",
    "ELU", "EchoStateCell", "Elman", "Embedding", "EncoderDecoder", "Flatten", "Frames", "GELU",
    "GRU", "GRUCell", "GatedCell", "Hardtanh", "HuberLoss", "Identity", "IndRNNCell",
    "JordanCell", "KLDivLoss", "L1Loss", "LSTM", "LSTMCell", "LSTMVariantCell", "LayerNorm",
    "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MGUCell", "MLP", "MSELoss",
    "McCullochPitts", "Module", "ModuleDict", "ModuleList", "MultiplicativeLSTMCell", "NARX",
    "NLLLoss", "NMSELoss", "ParallelRecurrent", "Parameter", "Perceptron", "RBM", "RHNCell",
    "RMLP", "RNN", "RNNCell", "ReLU", "Recurrent", "ResidualRecurrent", "Sequential", "SiLU",
    "Sigmoid", "SimpleRNN", "SkipRNNCell", "Softmax", "Softplus", "Softsign", "StateSpaceCell",
    "TDNN", "Tanh", "WaveNet", "WaveNetCache", "init", "least_squares_", "tapped_delay_line",
    "utils",
]  # fmt: skip
