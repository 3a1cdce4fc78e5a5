"""Cells: one step of a recurrence each, one file each. See docs/adding_a_cell.md."""

from .base import Cell, GatedCell
from .gru import GRUCell
from .lstm import LSTMCell
from .rnn import RNNCell

__all__ = ["Cell", "GRUCell", "GatedCell", "LSTMCell", "RNNCell"]
