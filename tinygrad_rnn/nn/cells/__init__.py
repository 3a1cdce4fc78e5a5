"""Cells: one step of a recurrence each, one file each. See docs/adding_a_cell.md."""

from .base import Cell, GatedCell
from .echo_state import EchoStateCell
from .gru import GRUCell
from .highway import RHNCell
from .indrnn import IndRNNCell
from .jordan import JordanCell
from .lstm import LSTMCell
from .lstm_variant import LSTMVariantCell
from .mgu import MGUCell
from .mlstm import MultiplicativeLSTMCell
from .oscillators import CoupledOscillatorCell
from .rnn import RNNCell
from .skip import SkipRNNCell
from .state_space import StateSpaceCell

__all__ = [
    "Cell", "CoupledOscillatorCell", "EchoStateCell", "GRUCell", "GatedCell", "IndRNNCell",
    "JordanCell", "LSTMCell", "LSTMVariantCell", "MGUCell", "MultiplicativeLSTMCell", "RHNCell",
    "RNNCell", "SkipRNNCell", "StateSpaceCell",
]  # fmt: skip
