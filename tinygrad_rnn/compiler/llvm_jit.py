"""Text in LLVM's language compiled for this machine by llvmlite.

No passes are run: what is written is as it should be, and selecting instructions is most of what a
first call costs.
"""

from __future__ import annotations

import importlib.util
import platform
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

__all__ = ["Machine", "available", "compiled", "machine"]

SIGNATURE = CFUNCTYPE(None, c_int64, c_void_p)
SECOND_CACHE = "/sys/devices/system/cpu/cpu0/cache/index2/size"  # of Linux, as "2048K"
UNITS = {"K": 10, "M": 20}
_kernels: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = Lock()


@cache
def available() -> bool:
    """Whether llvmlite is installed."""
    return importlib.util.find_spec("llvmlite") is not None


@cache
def _llvm() -> Any:
    """llvmlite's compiler, ready for this machine."""
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


class Machine(NamedTuple):
    """A processor that code is written for.

    Attributes:
        cpu: whose timings LLVM puts instructions in order by: on x86 those of none in particular,
            which takes it a tenth less and gives code that is as quick. features: what it can do.
        vector: bytes of a vector. registers: how many vectors there are.
        near: bytes of the second cache, a megabyte if the system does not tell.
    """

    cpu: str
    features: str
    vector: int
    registers: int
    near: int


@cache
def machine() -> Machine:
    """The processor that this runs on."""
    features = _llvm().get_host_cpu_features()
    width = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    kind = platform.machine().lower()
    many = width == 64 or kind in ("arm64", "aarch64")
    cpu = "x86-64" if kind in ("x86_64", "amd64") else _llvm().get_host_cpu_name()
    return Machine(cpu, features.flatten(), width, 32 if many else 16, _second_cache())


def _second_cache() -> int:
    """The bytes of a core's second cache."""
    try:
        text = Path(SECOND_CACHE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        text = ""
    number, unit = text[:-1], text[-1:]
    known = number.isdecimal() and int(number) > 0 and unit in UNITS
    return int(number) << UNITS[unit] if known else 1 << 20


def compiled(text: str, signature: Any = SIGNATURE) -> Any:
    """The function "kernel" of a text ready to be called.

    The same text is compiled once, as long as anybody has the function.
    """
    with _lock:
        found = _kernels.get(text)
        if found is None:
            found = _kernels[text] = _compile(text, signature)
        return found


def _compile(text: str, signature: Any) -> Any:
    binding = _llvm()
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=machine().cpu, features=machine().features, opt=2, jit=True
    )
    module = binding.parse_assembly(text)
    module.verify()
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    function = signature(engine.get_function_address("kernel"))
    function.engine = engine  # which has the code
    return function
