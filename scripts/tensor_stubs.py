"""Write tinygrad_rnn/_methods.pyi: the methods that `ops` and `autodiff` attach to Tensor.

They are attached at import and so invisible to type checkers and editors; this file shows them.
`python scripts/tensor_stubs.py` rewrites it, and a test says when that has been forgotten.
"""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

import tinygrad_rnn as tg

# a name or two results, by the arguments
RESULTS = dict.fromkeys(("max", "min", "nonzero", "sort", "topk"), "Any")
RESULTS |= {"__iter__": "Iterator[Tensor]"}
TARGET = Path(tg.__file__).with_name("_methods.pyi")
HEAD = '''"""The methods of Tensor that other modules attach; written by scripts/tensor_stubs.py."""

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

from .tensor import Tensor

Dims = Any

class TensorMethods:
'''


def signature(name: str, function: types.FunctionType) -> str:
    """One method as a line of a stub, `Any` results read as Tensors."""
    parameters = inspect.signature(function).parameters.values()
    words, keyword_only = ["self"], False
    for parameter in list(parameters)[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        keyword_only |= parameter.kind is parameter.VAR_POSITIONAL
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        kind = parameter.annotation if parameter.annotation is not parameter.empty else "Any"
        default = "" if parameter.default is parameter.empty else " = ..."
        words.append(f"{star}{parameter.name}: {kind}{default}")
    result = inspect.signature(function).return_annotation
    result = {"Any": "Tensor", inspect.Signature.empty: "Tensor"}.get(result, result)
    result = RESULTS.get(name, result)
    ignore = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
    line = f"    def {name}({', '.join(words)}) -> {result}: ..."
    return re.sub(r"(?<!def )\b(bool|int|float)\b", r"builtins.\1", line) + ignore


def stubs() -> str:
    """The text of the stub file."""
    own = {"__init__", "__repr__"}
    attached = {
        name: value
        for name, value in vars(tg.Tensor).items()
        if isinstance(value, types.FunctionType) and value.__module__ != "tinygrad_rnn.tensor"
    }
    lines = [signature(name, attached[name]) for name in sorted(attached) if name not in own]
    properties = ["T", "mT"]
    lines += [f"    @property\n    def {name}(self) -> Tensor: ..." for name in properties]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(stubs(), encoding="utf-8")
    print(f"{TARGET.name}: {stubs().count('def ')} methods")
