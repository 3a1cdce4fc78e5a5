"""The settings of a run: one flat record, checked, printed, and stored in every checkpoint.

The command line has one option for each setting, so its help and this file say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ..errors import ArgumentError, CheckpointError

__all__ = ["RunSettings", "SeriesSettings", "TextSettings"]

# While a run goes on these may change; all else would make it another run.
CHANGEABLE = ("steps", "validate_every", "device", "threads")


def setting(default: Any, text: str, **limits: Any) -> Any:
    """A field with the help text and the limits (least, below, choices) of its value."""
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class RunSettings:
    """What every run has.

    Raises:
        ArgumentError: a value outside its range.
    """

    cell: str = setting("lstm", "recurrent cell", choices=("lstm", "gru", "rnn"))
    hidden: int = setting(128, "units in each layer", least=1)
    layers: int = setting(1, "recurrent layers, one above the other", least=1)
    dropout: float = setting(0.0, "share of units dropped in training", least=0, below=1)
    steps: int = setting(1000, "training steps in all", least=1)
    batch: int = setting(16, "sequences side by side in a step", least=1)
    lr: float = setting(0.003, "highest learning rate of Adam", least=0)
    warmup: int = setting(50, "steps in which the learning rate rises to its highest", least=0)
    clip: float = setting(1.0, "largest global norm of the gradient, 0 for any", least=0)
    validate_every: int = setting(100, "steps between validations, each with a save", least=1)
    seed: int = setting(0, "seed of all random numbers", least=0)
    device: str = setting("cpu", "where the model is trained", choices=("cpu", "cuda"))
    threads: int = setting(1, "threads of NumPy's products; more pay from about 512 units", least=1)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each.name, getattr(self, each.name), each.metadata)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The settings that ``to_dict`` gave.

        Raises:
            CheckpointError: names that are not the settings of this version.
        """
        names = {each.name for each in fields(cls)}
        if stored.keys() != names:
            got = f"a difference in {sorted(stored.keys() ^ names)}"
            raise CheckpointError(f"{cls.__name__}.from_dict", "the same settings", got)
        given: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()
        }
        return cls(**given)

    def changed(self, given: Mapping[str, Any]) -> Self:
        """The settings of a resumed run, for which only some may be given anew.

        Raises:
            ArgumentError: one that makes the run what it is differs from what is stored.
        """
        for name, value in given.items():
            stored = getattr(self, name)
            if value != stored and name not in CHANGEABLE:
                expected = f"{name} = {stored!r}, as in the checkpoint,"
                hint = "leave it out to continue the run, or start a new one without --resume"
                raise ArgumentError("resume", expected, repr(value), hint)
        return type(self)(**{**self._plain(), **given})

    def _plain(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class TextSettings(RunSettings):
    """A character model and its training."""

    files: tuple[str, ...] = ()  # none: the text that every Python carries
    hidden: int = setting(256, "units in each layer", least=1)
    lr: float = setting(0.005, "highest learning rate of Adam", least=0)
    steps: int = setting(2000, "training steps in all", least=1)
    embedding: int = setting(64, "size of a character's vector", least=1)
    window: int = setting(64, "characters in a step, through which is backpropagated", least=1)
    held_out: float = setting(
        0.05,
        "share of the text to validate on, and as much to judge by",
        least=0.001,
        below=0.5,
    )


@dataclass(frozen=True)
class SeriesSettings(RunSettings):
    """A forecaster of one column of a table and its training."""

    file: str = ""
    target: str = ""
    inputs: tuple[str, ...] = ()
    delimiter: str = setting(",", "what separates the cells")
    hidden: int = setting(64, "units in each layer", least=1)
    batch: int = setting(32, "windows side by side in a step", least=1)
    lr: float = setting(0.005, "highest learning rate of Adam", least=0)
    window: int = setting(50, "values that a forecast looks back on", least=2)
    horizon: int = setting(1, "values to forecast freely in training", least=1)


def _check(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    least, below, choices = (limits.get(key) for key in ("least", "below", "choices"))
    if choices is not None and value not in choices:
        raise ArgumentError("settings", f"{name} among {', '.join(choices)}", repr(value))
    # The comparisons are written so that NaN fails them.
    if (least is not None or below is not None) and not isinstance(value, (int, float)):
        raise ArgumentError("settings", f"{name} as a number", repr(value))
    if least is not None and not value >= least:
        raise ArgumentError("settings", f"{name} >= {least}", value)
    if below is not None and not value < below:
        raise ArgumentError("settings", f"{name} < {below}", value)
