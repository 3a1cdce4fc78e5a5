"""The operations, each declared once in one of three forms (see `declare`)."""

from . import conv, elementwise, indexing, linalg, reduce, shape

__all__ = ["conv", "elementwise", "indexing", "linalg", "reduce", "shape"]
