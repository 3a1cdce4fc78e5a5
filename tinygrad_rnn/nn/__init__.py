"""Modules: layers, cells, recurrent layers, losses, and where their parameters start."""

from . import init, utils
from .activations import *
from .cells import Cell, GatedCell, GRUCell, LSTMCell, RNNCell
from .containers import ModuleDict, ModuleList, Sequential
from .layers import Conv1d, Dropout, Embedding, Flatten, Identity, LayerNorm, Linear
from .losses import *
from .module import Module
from .parameter import Parameter
from .recurrent import Recurrent
from .rnns import GRU, LSTM, RNN

__all__ = [
    "BCEWithLogitsLoss", "Cell", "Conv1d", "CrossEntropyLoss", "Dropout", "ELU", "Embedding",
    "Flatten", "GELU", "GRU", "GRUCell", "GatedCell", "Hardtanh", "HuberLoss", "Identity",
    "KLDivLoss", "L1Loss", "LSTM", "LSTMCell", "LayerNorm", "LeakyReLU", "Linear", "LogSigmoid",
    "LogSoftmax", "MSELoss", "Module", "ModuleDict", "ModuleList", "NLLLoss", "NMSELoss",
    "Parameter", "RNN", "RNNCell", "ReLU", "Recurrent", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh", "init", "utils",
]  # fmt: skip
