"""The operations, each declared once in one of three forms (see `declare`)."""

from . import conv, elementwise, indexing, linalg, reduce, shape
from .call import bind

__all__ = ["bind", "conv", "elementwise", "indexing", "linalg", "reduce", "shape"]
