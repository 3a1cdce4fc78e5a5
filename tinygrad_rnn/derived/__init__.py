"""Operations composed of the primitives, and primitives that nothing below needs.

They are functions of the package and, where the first argument is a tensor, its methods.
"""

from . import numpy_calls as numpy_calls
from .arithmetic import *
from .arrays import *
from .choosing import *
from .einsum import einsum
from .matrices import *

__all__ = [
    "acos", "add", "allclose", "asin", "bernoulli", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "bmm", "clamp", "clamp_max", "clamp_min", "concat", "count_nonzero", "cumprod",
    "diag", "diagonal", "einsum", "empty_like", "equal", "exp2", "floor_divide", "fmod", "hstack",
    "is_tensor", "isclose", "log10", "log2", "logical_xor", "masked_fill", "masked_select",
    "median", "mm", "multinomial", "mv", "nonzero", "numel", "randn_like", "ravel", "remainder",
    "repeat_interleave", "roll", "sub", "t", "tile", "trace", "tril", "triu", "trunc", "unique",
    "vstack",
]  # fmt: skip
