"""The operations, each declared once in one of three forms (see `declare`)."""

from . import conv, elementwise, indexing, linalg, reduce, shape
from .conv import *
from .declare import bind, general, linear
from .declare import elementwise as declare_elementwise
from .indexing import *
from .linalg import *
from .reduce import *
from .shape import *
