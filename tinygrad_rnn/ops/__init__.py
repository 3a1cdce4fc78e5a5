"""The operations, each declared once in one of three forms (see `declare`)."""

from . import elementwise, indexing, linalg, reduce, shape
from .call import bind

__all__ = ["bind", "elementwise", "indexing", "linalg", "reduce", "shape"]
