"""WholeOptimizer: what the second-order optimisers share; they see one vector of all parameters.

Legend: θ (N,) all parameters one after another, of one dtype on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from ..backend import backend_of, is_array
from ..errors import ArgumentError, DTypeError, StateDictError
from ..graph import touch
from ..tensor import Tensor
from .flat import FlatBuffer
from .optimizer import Optimizer

__all__ = ["WholeOptimizer"]

Array = Any
CALLED = "load_state_dict"


class WholeOptimizer(Optimizer):
    """An optimiser whose state belongs to all parameters together.

    A subclass keeps it as arrays: `remember()` gives them, `recall(arrays)` takes them back, and
    `wanted()` says their shapes (None: any length). They stand in the state dict under "memory".
    """

    one_group: ClassVar[bool] = True

    def _add(self, groups: Any, called: str) -> None:
        if self.param_groups or (self.one_group and len(groups) > 1):
            raise ArgumentError(called, "all parameters at once, in one group", "further groups")
        super()._add(groups, called)
        flats = [flat for _, flat in self._all_flats()]
        if len({(flat.values.dtype, flat.params[0].device) for flat in flats}) > 1:
            found = ", ".join(str(flat.values.dtype) for flat in flats)
            raise DTypeError(called, "parameters of one dtype on one device", found)

    # -------------------------------------------------------------------------- parameters
    @property
    def group(self) -> dict[str, Any]:
        """The options."""
        return self.param_groups[0]

    def ready(self, called: str) -> FlatBuffer:
        """The buffer of the parameters, with every option and parameter looked at."""
        self.check_given(called)
        for group in self.param_groups:
            group.update(self._checked(group, called))
        for _, flat in self._all_flats():
            flat.check(called)
            flat.tie()
        return self._flats[0][0]

    def vector(self) -> Array:
        """A copy of θ."""
        flats = [flat.values for _, flat in self._all_flats()]
        return self.xp.concatenate(flats)

    def assign(self, theta: Array) -> None:
        """Put a vector into the parameters."""
        start = 0
        for _, flat in self._all_flats():
            stop = start + flat.values.size
            touch(flat.values)
            flat.values[...] = theta[start:stop]
            start = stop

    def parts(self, theta: Tensor) -> Any:
        """θ as parameters: by name if they were given with names, else a list; differentiable."""
        listed, start = [], 0
        for _, flat in self._all_flats():
            for param in flat.params:
                stop = start + param.numel()
                listed.append(theta[start:stop].reshape(param.shape))
                start = stop
        names = [n for group in self.param_groups for n in group.get("param_names", ())]
        return dict(zip(names, listed, strict=True)) if names else listed

    def of_vector(self, model: Callable[[Any], Any]) -> Callable[[Tensor], Any]:
        """A function of the parameters as a function of θ."""
        return lambda theta: model(self.parts(theta))

    @property
    def xp(self) -> Any:
        """The array library of the parameters."""
        return self._flats[0][0].xp

    # ------------------------------------------------------------------------------- state
    def remember(self) -> dict[str, Array]:
        """The state, as arrays."""
        raise NotImplementedError

    def recall(self, memory: dict[str, Array]) -> None:
        """Take over a state; an empty one starts anew."""
        raise NotImplementedError

    def wanted(self) -> dict[str, tuple[int | None, ...]]:
        """The name and shape of every array of the state."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """{"state": {}, "param_groups": […], "memory": {name: Tensor}}, all of it copied."""
        memory = {name: Tensor(array.copy()) for name, array in self.remember().items()}
        return {**super().state_dict(), "memory": memory}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; a run goes on bit for bit.

        Raises:
            StateDictError: groups, names or shapes that do not fit, all listed. ArgumentError: an
            option out of its range. Nothing has been changed then.
        """
        given = state_dict.get("memory") if isinstance(state_dict, Mapping) else None
        if not isinstance(given, Mapping):
            raise StateDictError(CALLED, f'the key "memory" of a {type(self).__name__}', "none")
        arrays = {str(name): self._brought(value) for name, value in given.items()}
        if misfits := list(self._misfits(arrays)):
            raise StateDictError(CALLED, "a state that fits the optimiser", "; ".join(misfits))
        super().load_state_dict(state_dict)
        self.recall(arrays)

    def _brought(self, value: Any) -> Array:
        """An array of any device as one where the parameters are; its dtype stays."""
        array = value.detach().array if isinstance(value, Tensor) else value
        if not is_array(array):
            return self.xp.asarray(array)
        here, there = self._flats[0][0].params[0].backend, backend_of(array)
        return array if there is here else here.from_numpy(there.to_numpy(array))

    def _misfits(self, arrays: dict[str, Array]) -> Iterator[str]:
        wanted = self.wanted()
        if arrays and arrays.keys() != wanted.keys():
            yield f"{sorted(arrays)} where {sorted(wanted)} are needed"
            return
        for name, array in arrays.items():
            shape = wanted[name]
            fits = len(shape) == array.ndim and all(
                want in (None, have) for want, have in zip(shape, array.shape, strict=True)
            )
            if not fits or array.dtype.kind != "f":
                yield f"{name!r} is {array.dtype} {array.shape} where floats {shape} are needed"
