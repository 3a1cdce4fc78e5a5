"""Every exception of the library, and the one form of their messages.

    TinygradRNNError
    ├── ArgumentError (ValueError)            an option or value outside its range
    ├── ShapeError (ValueError)               ranks, axes and sizes that do not fit
    ├── DTypeError (TypeError)                a type the operation is not defined for
    ├── IndexRangeError (IndexError)          an index outside its axis
    ├── DeviceError (RuntimeError)            mixed or absent devices, implicit copies
    ├── MissingDependencyError (ImportError)  an optional package that is not installed
    ├── AutodiffError (RuntimeError)
    │   ├── GraphFreedError                   a second backward through a freed graph
    │   ├── InPlaceError                      a saved value or a leaf changed in place
    │   ├── UnusedInputError                  a gradient asked for what was not used
    │   ├── NotDifferentiable                 an operation or combination without a derivative
    │   └── AnomalyError                      a NaN was born under ``detect_anomaly``
    ├── CarryError (TypeError)                a scan carry changed structure, shape or dtype
    ├── StateDictError (KeyError)             names or shapes that do not fit a module
    ├── GradientCheckError (AssertionError)   a derivative that `testing` found to be wrong
    ├── DataError (ValueError)                a file or series that cannot be used as data
    ├── CheckpointError (RuntimeError)        a checkpoint that is absent, foreign or damaged
    └── TrainingError (RuntimeError)
        └── NonFiniteLossError                the loss became NaN or infinite

A message says what was called, what was expected, what came, and what to do:

>>> print(ShapeError("matmul", "a.shape[-1] == b.shape[-2]", "3 and 4", "transpose b?"))
matmul: a.shape[-1] == b.shape[-2] expected, got 3 and 4
hint: transpose b?
"""

from __future__ import annotations

__all__ = [
    "AnomalyError", "ArgumentError", "AutodiffError", "CarryError", "CheckpointError", "DTypeError",
    "DataError", "DeviceError", "GradientCheckError", "GraphFreedError", "InPlaceError",
    "IndexRangeError", "MissingDependencyError", "NonFiniteLossError", "NotDifferentiable",
    "ShapeError", "StateDictError", "TinygradRNNError", "TrainingError", "UnusedInputError",
]  # fmt: skip


class TinygradRNNError(Exception):
    """Root of the tree; builds the message from its four parts."""

    def __init__(self, called: str, expected: str, got: object, hint: str | None = None) -> None:
        super().__init__(called, expected, got, hint)
        self.called, self.expected, self.got, self.hint = called, expected, got, hint

    def __str__(self) -> str:
        text = f"{self.called}: {self.expected} expected, got {self.got}"
        return f"{text}\nhint: {self.hint}" if self.hint else text


class ArgumentError(TinygradRNNError, ValueError):
    """An option or value outside its range."""


class ShapeError(TinygradRNNError, ValueError):
    """Ranks, axes or sizes that do not fit."""


class DTypeError(TinygradRNNError, TypeError):
    """A type for which the operation is not defined."""


class IndexRangeError(TinygradRNNError, IndexError):
    """An index outside its axis."""


class DeviceError(TinygradRNNError, RuntimeError):
    """Mixed or absent devices, or a copy between them that nobody asked for."""


class MissingDependencyError(TinygradRNNError, ImportError):
    """An optional package that is not installed."""


class AutodiffError(TinygradRNNError, RuntimeError):
    """Misuse of the graph."""


class GraphFreedError(AutodiffError):
    """A second backward through a graph that the first one freed."""


class InPlaceError(AutodiffError):
    """A value that backward needs, or a leaf, was changed in place."""


class UnusedInputError(AutodiffError):
    """A gradient was asked for an input that the output does not depend on."""


class NotDifferentiable(AutodiffError):
    """An operation, or a combination of modes, that has no derivative."""


class AnomalyError(AutodiffError):
    """A NaN was born while ``detect_anomaly`` was watching."""


class CarryError(TinygradRNNError, TypeError):
    """A scan carry whose structure, shape or dtype changed."""


class StateDictError(TinygradRNNError, KeyError):
    """Names or shapes in a state dict that do not fit the module."""

    __str__ = TinygradRNNError.__str__  # KeyError would quote the message


class GradientCheckError(TinygradRNNError, AssertionError):
    """A derivative that a check of `testing` found to be wrong."""


class DataError(TinygradRNNError, ValueError):
    """A file or a series that cannot be used as data."""


class CheckpointError(TinygradRNNError, RuntimeError):
    """A checkpoint that is absent, foreign or damaged."""


class TrainingError(TinygradRNNError, RuntimeError):
    """A training run that cannot go on."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite."""
