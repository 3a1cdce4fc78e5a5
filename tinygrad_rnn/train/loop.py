"""The training loop: step, validate, save; stop between steps; resume bit for bit."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Any, Protocol

from ..arguments import whole_number
from ..backend import quiet
from ..create import get_rng_state, set_rng_state
from ..errors import ArgumentError, CheckpointError, DTypeError, NonFiniteLossError
from ..graph import no_grad
from ..nn import Module
from ..optim import LRScheduler, Optimizer, ReduceLROnPlateau, clip_grad_norm_
from ..optim.whole import WholeOptimizer
from ..tensor import Tensor, as_tensor
from ..tree import tree_map
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .interrupts import stop_requests
from .metrics import History
from .packing import pack, unpack

__all__ = ["BEST", "LAST", "Trainer", "read_about"]

LAST, BEST = "last.ckpt", "best.ckpt"
Loss = Callable[[Any, Any], tuple[Tensor, Any]]


class Batches(Protocol):
    """Data that can be iterated epoch by epoch from where it stands, and says where that is."""

    position: int

    def __iter__(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Minimise ``loss(batch, carry) -> (loss, carry)`` over batches, step by step.

    The carry is whatever state one batch hands to the next (truncated BPTT), a tree of tensors:
    None when an epoch begins, detached from the graph after each step. ``validate() -> float``,
    lower being better, runs in eval mode without recording. ``schedule`` goes on after each step;
    a `ReduceLROnPlateau` after each validation, which it listens to. ``max_norm`` is for the joint
    gradient of what the optimiser changes. ``about`` is stored in every checkpoint. ``others``
    names what else changes with the steps and has ``state_dict`` and ``load_state_dict``, as an
    `AdaptiveSampler` has.

    A checkpoint holds all that a step depends on: parameters, optimiser, schedule, random
    numbers, place in the data, carry, step, history and others. So a resumed run continues bit
    for bit.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        batches: Batches,
        loss: Loss,
        *,
        validate: Callable[[], float] | None = None,
        schedule: Any = None,
        max_norm: float | None = None,
        about: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
    ) -> None:
        _check_parts(optimizer, batches, others or {})
        self._listens = isinstance(schedule, ReduceLROnPlateau)
        if self._listens and validate is None:
            raise ArgumentError("Trainer", "a validation for the schedule to listen to", "none")
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.loss, self.validate, self.schedule = loss, validate, schedule
        self.max_norm, self.about, self.others = max_norm, about or {}, others or {}
        self.history = History()
        self.seconds = 0.0  # of training, over all resumed runs
        self._carry: Any = None
        self._stream = self._endless()

    @property
    def step(self) -> int:
        """How many steps have been taken."""
        return len(self.history.losses)

    def run(
        self,
        steps: int,
        *,
        folder: str | os.PathLike[str] | None = None,
        validate_every: int = 100,
        on_step: Callable[[Trainer, Any], None] | None = None,
        on_validation: Callable[[Trainer], None] | None = None,
    ) -> History:
        """Train until ``steps`` steps have been taken in all, those before a resume included.

        Every ``validate_every`` steps, and at the end, validate and save ``last.ckpt`` in
        ``folder``, and ``best.ckpt`` whenever a validation is the lowest so far. ``last.ckpt``
        is also saved before the first step.

        Raises:
            NonFiniteLossError: the loss, its gradient or a validation is NaN or infinite; the
                checkpoints are those from before.
            KeyboardInterrupt: Ctrl-C or SIGTERM came; the run was saved after a whole step.
        """
        for name, value in (("steps", steps), ("validate_every", validate_every)):
            whole_number("Trainer.run", name, value)
        if isinstance(self.schedule, LRScheduler):  # one that ends too early shows now
            self.schedule.options_at(self.schedule.last_epoch + max(0, steps - self.step), 0)
        target = None if folder is None else _made(folder)
        with stop_requests() as stop, quiet():  # NaN and infinity are looked for, not warned of
            if target is not None and self.step < steps:
                self.save(target / LAST)  # what would prevent saving shows now, not after an hour
            while self.step < steps and not stop:
                batch = self._advance(target)
                if on_step:
                    on_step(self, batch)
                if self.step % validate_every == 0 or self.step == steps:
                    self._validate(target)
                    if on_validation and self.validate:
                        on_validation(self)
            if stop and self.step < steps:
                self._interrupted(target)
        return self.history

    # ------------------------------------------------------------------------------ one step
    def _endless(self) -> Iterator[Any]:
        empty = 0  # epochs without a batch; a resumed run may stand at the end of one
        while empty < 2:
            if self.batches.position == 0:
                self._carry = None
            empty += 1
            for batch in self.batches:
                empty = 0
                yield batch
        hint = "iterating must begin anew when an epoch is over"
        raise ArgumentError("Trainer.run", "at least one batch in an epoch", "none", hint)

    def _advance(self, target: Path | None) -> Any:
        """Take one step; the parameters change only if loss and gradient are finite."""
        start = time.perf_counter()
        batch = next(self._stream)
        self.model.train()
        loss, carry = self._asked(batch)
        value = self._finite("loss", loss.item(), target)
        self.optimizer.zero_grad()
        loss.backward()
        limit = math.inf if self.max_norm is None else self.max_norm
        changed = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = clip_grad_norm_(changed, limit)  # those of others are never cleared
        self._finite("gradient norm", float(norm), target)
        self.optimizer.step()
        if self.schedule is not None and not self._listens:
            self.schedule.step()
        self._carry = carry
        self.history.losses.append(value)
        self.seconds += time.perf_counter() - start
        return batch

    def _asked(self, batch: Any) -> tuple[Tensor, Any]:
        """The loss of a batch, and the carry detached."""
        found = self.loss(batch, self._carry)
        several = isinstance(found, (tuple, list))
        if not (several and len(found) == 2 and isinstance(found[0], Tensor)):
            got = type(found).__name__ + (f" of {len(found)}" if several else "")
            hint = "the loss as a tensor; without a carry `return loss, None`"
            raise DTypeError("Trainer.run", "loss(batch, carry) to give (loss, carry)", got, hint)
        return found[0], tree_map(_detached, found[1])

    def _finite(self, name: str, value: float, target: Path | None) -> float:
        if math.isfinite(value):
            return value
        hint = "lower the learning rate, clip the gradient, or look for NaN in the data"
        if target is not None and (target / LAST).exists():
            hint += f"\nthe last good checkpoint is {target / LAST}"
        got = f"{value} in step {self.step + 1}"
        raise NonFiniteLossError("Trainer.run", f"a finite {name}", got, hint)

    def _validate(self, target: Path | None) -> None:
        if self.validate is not None:
            self.model.eval()
            with no_grad():
                value = self._finite("validation", _number(self.validate()), target)
            self.history.validations.append((self.step, value))
            if self._listens:
                self.schedule.step(value)
        if target is None:
            return
        # The best first: a run killed between the two repeats these steps and saves both.
        best = self.history.best
        if best is not None and best[0] == self.step:
            self.save(target / BEST)
        self.save(target / LAST)

    def _interrupted(self, target: Path | None) -> None:
        saved = "nothing was saved"
        if target is not None:
            self.save(target / LAST)
            saved = f"saved to {target / LAST}"
        raise KeyboardInterrupt(f"stopped after step {self.step}; {saved}")

    # ------------------------------------------------------------------------ saving the run
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole state of the run to a checkpoint.

        Raises:
            CheckpointError: the file cannot be written.
        """
        arrays, state = self._packed()
        device = next(iter(self.model.parameters())).device
        save_checkpoint(path, arrays, state, backend="cupy" if device == "cuda" else "numpy")

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continue from a checkpoint that ``save`` wrote; on an error nothing is changed.

        Raises:
            CheckpointError: the file is not a whole checkpoint of such a run, or only one of the
                two has a schedule.
            StateDictError, DataError: it belongs to another model, or to other data.
        """
        checkpoint = load_checkpoint(path)
        arrays, state = self._packed()
        called = f"Trainer.load({str(path)!r})"
        stored = checkpoint.state if isinstance(checkpoint.state, dict) else {}
        self._check_fits(called, stored, state.keys())
        try:
            self._unpack(checkpoint.tensors, checkpoint.state)
        except BaseException:
            self._unpack(arrays, state)
            raise

    def _check_fits(self, called: str, stored: dict[str, Any], names: Set[str]) -> None:
        """Nothing may be missing, nor be dropped."""
        absent = names - stored.keys() - {"others"}
        if absent:
            raise CheckpointError(called, "the state of a run", f"none of {sorted(absent)}")
        if (stored["schedule"] is None) != (self.schedule is None):
            words = ("a run with a schedule", "one without")
            expected, got = words if self.schedule is not None else words[::-1]
            raise CheckpointError(called, expected, got, "give the Trainer what the run had")
        others = {name for name, _ in (stored.get("others") or {"dict": ()})["dict"]}
        if others != self.others.keys():
            expected = f"the state of {sorted(self.others) or 'nothing'} beside model and optimiser"
            raise CheckpointError(called, expected, f"that of {sorted(others) or 'nothing'}")

    def load_model(self, path: str | os.PathLike[str]) -> None:
        """Take over the parameters of a checkpoint and nothing else, to judge them for example.

        Raises:
            CheckpointError, StateDictError: no whole checkpoint, or one of another model.
        """
        checkpoint = load_checkpoint(path)
        read_about(path, checkpoint)
        self.model.load_state_dict(unpack(checkpoint.tensors, checkpoint.state["model"]))

    def _packed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        parts = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule and self.schedule.state_dict(),
            "carry": self._carry,
            "batches": self.batches.state_dict(),
            "rng": get_rng_state(),
            "history": self.history.to_arrays(),
        }
        if self.others:
            parts["others"] = {name: other.state_dict() for name, other in self.others.items()}
        arrays: dict[str, Any] = {}
        state: dict[str, Any] = {"about": self.about, "seconds": self.seconds}
        for name, part in parts.items():
            found, state[name] = pack(part, name)
            arrays |= found
        return arrays, state

    def _unpack(self, arrays: dict[str, Any], state: dict[str, Any]) -> None:
        def part(name: str) -> Any:
            return unpack(arrays, state[name])

        self.batches.load_state_dict(part("batches"))
        self.model.load_state_dict(part("model"))
        self.optimizer.load_state_dict(part("optimizer"))
        if self.schedule is not None:
            self.schedule.load_state_dict(part("schedule"))
        others = part("others") if "others" in state else {}
        for name, other in self.others.items():
            other.load_state_dict(others[name])
        device = next(iter(self.model.parameters())).device
        self._carry = tree_map(lambda leaf: as_tensor(leaf, device=device), part("carry"))
        self.history = History.from_arrays(**part("history"))
        self.seconds = state["seconds"]
        set_rng_state(part("rng"))
        self._stream = self._endless()


def read_about(
    path: str | os.PathLike[str],
    checkpoint: Checkpoint,
    kind: str | None = None,
    needed: Iterable[str] = (),
) -> dict[str, Any]:
    """What a checkpoint says of its run (``about``), which must be of this kind, if one is given.

    Raises:
        CheckpointError: it is not from a Trainer whose ``about`` names a kind, or of another kind,
            or lacks what is needed.
    """
    state = checkpoint.state if isinstance(checkpoint.state, dict) else {}
    about = state["about"] if isinstance(state.get("about"), dict) else {}
    found = about.get("kind")
    if "model" not in state or kind not in (None, found):
        called = f"checkpoint {str(path)!r}"
        got = f"a run of kind {found!r}" if found else "a checkpoint of something else"
        raise CheckpointError(called, f"a run of kind {kind!r}" if kind else "a run", got)
    if absent := sorted(set(needed) - about.keys()):
        called = f"checkpoint {str(path)!r}"
        raise CheckpointError(called, f"the {' and '.join(absent)} of such a run", "none")
    return dict(about)


def _number(found: Any) -> float:
    try:
        return float(found)
    except (TypeError, ValueError):
        got = type(found).__name__
        raise DTypeError("Trainer.run", "validate() to give a number", got) from None


def _detached(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        hint = "tg.tensor(…) makes one of numbers and arrays"
        raise DTypeError("Trainer.run", "a carry of tensors", type(leaf).__name__, hint)
    return leaf.detach()


def _check_parts(optimizer: Any, batches: Any, others: dict[str, Any]) -> None:
    """What can be seen to be wrong before the first step."""
    if not hasattr(batches, "position"):
        hint = "ContinuousBatches, LengthBatches, or what has position, state_dict and the rest"
        got = type(batches).__name__
        raise DTypeError("Trainer", "batches that know their place", got, hint)
    if isinstance(optimizer, WholeOptimizer):
        hint = "call its step in a loop of your own"
        expected = "an optimiser that a gradient of a batch is enough for"
        raise DTypeError("Trainer", expected, type(optimizer).__name__, hint)
    for other in others.values():
        if not (hasattr(other, "state_dict") and hasattr(other, "load_state_dict")):
            expected = "others with state_dict and load_state_dict"
            raise DTypeError("Trainer", expected, type(other).__name__)


def _made(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError("Trainer.run", "a folder that can be made", error) from error
    return path
