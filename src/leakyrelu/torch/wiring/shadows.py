"""Runs a model as it is and, beside it, what would become of each of its values if a unit gave something else.

The run itself sees none of it, so its control flow and its outputs are the model's own. A value that would differ has a
shadow, a second version of its memory, for each *trial* in which it would. An operation that reads a shadow is
computed once more, with the shadow, so that all sites of a network are followed in one run, each by itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from leakyrelu._backends.torch_private import StorageReference, storage_of, tree_leaves, tree_map_only
from leakyrelu._shared.wording import first_line
from leakyrelu.torch.wiring.modes import WeightsMode
from leakyrelu.torch.wiring.weights import Application, Weights
from leakyrelu.torch.wiring.words import reaching

__all__ = ["Shadow", "Shadows", "differing"]

Trial: TypeAlias = Hashable
_CLEAN_UP = 200  # after so many operations, shadows of memory that is gone are dropped


class Shadow(NamedTuple):
    """A second version of some memory."""

    storage: torch.UntypedStorage
    path: tuple[str, ...]  # the operations since the trial began


class Shadows(WeightsMode, ABC):  # type: ignore[no-untyped-call]
    """Follows trials through one run. A subclass says in `applied` whether one ends at an operation with a weight.

    Parameters
    ----------
    weights : Weights
    reasons : dict
        Why trials were given up, in this run or before.
    """

    def __init__(self, weights: Weights, reasons: dict[Trial, str]) -> None:
        super().__init__(weights)
        self._shadows: dict[int, tuple[StorageReference, dict[Trial, Shadow]]] = {}
        self._reasons = reasons
        self._ended: set[Trial] = set(reasons)
        self._count = 0

    @abstractmethod
    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, path: tuple[str, ...]) -> bool:
        """Whether the trial ends at a call; what it is applied to, `given`, would differ in these channels."""

    def has_applied(self, call: Application, output: Tensor) -> None:
        """Look at what a call gives."""

    def reaches(self, trial: Any, path: tuple[str, ...]) -> str:  # noqa: ARG002  # for subclasses
        """The reason to give up a trial in which an output of the model would differ."""
        return reaching(path)

    def refuse(self, trial: Trial, reason: str) -> None:
        """Give a trial up; the first reason counts."""
        self._reasons.setdefault(trial, reason)
        self._ended.add(trial)

    def finish(self, outputs: Iterable[Tensor]) -> None:
        """Refuse the trials in which an output would differ, or anything else that outlives the run."""
        for output in outputs:
            for trial, path in self.trials([output]).items():
                if bool(differing(output, self.version(output, trial)).any()):
                    self.refuse(trial, self.reaches(trial, path))
        for trial, memory, shadow in self._left():
            if not torch.equal(memory, shadow):
                self.refuse(trial, "the model keeps its output beyond the run")

    def begin(self, trial: Trial, tensor: Tensor) -> Tensor:
        """Make a shadow of the memory of a tensor; write into what is returned to make it differ."""
        entry = self._entry(tensor)
        if entry is None:
            self.refuse(trial, "a tensor in it has no memory of its own")
            return tensor.clone()
        if trial not in entry:
            entry[trial] = Shadow(_copied(tensor), ())
        return self.version(tensor, trial)

    def version(self, tensor: Tensor, trial: Trial) -> Tensor:
        """What a tensor would be in a trial: the tensor itself if it would be the same."""
        entry = self._known(tensor)
        if trial not in entry:
            return tensor
        return self._as(tensor, entry[trial].storage)

    @staticmethod
    def _as(tensor: Tensor, storage: torch.UntypedStorage) -> Tensor:
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        made.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
        return made.conj() if tensor.is_conj() else made

    def drop(self, trial: Trial, tensor: Tensor) -> None:
        """Take a tensor to be the same in this trial."""
        self._known(tensor).pop(trial, None)

    def trials(self, tensors: Iterable[Any]) -> dict[Trial, tuple[str, ...]]:
        """The trials in which one of these tensors would differ, and the operations on the way to it."""
        found: dict[Trial, tuple[str, ...]] = {}
        if self._shadows:
            for tensor in tensors:
                for trial, shadow in self._known(tensor).items():
                    if trial not in self._ended and len(shadow.path) >= len(found.get(trial, ())):
                        found[trial] = shadow.path
        return found

    def _left(self) -> list[tuple[Trial, Tensor, Tensor]]:
        """What still differs, as bytes: the trial, the memory and its shadow."""
        self._clean_up()
        found = []
        for storage, (reference, entry) in self._shadows.items():
            if storage in self._weights or not entry:
                continue
            memory = reference()
            for trial, shadow in entry.items():
                if memory is not None and trial not in self._ended:
                    found.append((trial, _as_bytes(memory), _as_bytes(shadow.storage)))
        return found

    def _known(self, tensor: object) -> dict[Trial, Shadow]:
        storage = storage_of(tensor) if isinstance(tensor, Tensor) else None
        return self._shadows[storage][1] if storage in self._shadows else {}

    def _entry(self, tensor: Tensor) -> dict[Trial, Shadow] | None:
        storage = storage_of(tensor)
        if storage is None:
            return None
        if storage not in self._shadows:
            self._shadows[storage] = StorageReference(tensor), {}
        return self._shadows[storage][1]

    def _clean_up(self) -> None:
        for storage, (reference, _) in list(self._shadows.items()):
            if reference.is_gone():
                del self._shadows[storage]

    def operate(self, name: str, call: Application | None, func: Any, args: Sequence[Any], kwargs: Any) -> Any:
        """Do an operation, beside it with its shadows if it has any."""
        self._count += 1
        if self._count % _CLEAN_UP == 0:
            self._clean_up()
        trials = self.trials(tree_leaves((args, kwargs)))
        if trials:
            output = self._computed(name, call, func, args, kwargs, trials)
        else:
            output = func(*args, **kwargs)
            self._weights.follow(name, args, output)
        if call is not None and isinstance(output, Tensor):
            self.has_applied(call, output)
        return output

    def _computed(
        self,
        name: str,
        call: Application | None,
        func: Any,
        args: Any,
        kwargs: Any,
        trials: dict[Trial, tuple[str, ...]],
    ) -> Any:
        """Call an operation, for each trial with its shadows before, and as it is."""
        made, stopped = {}, []
        for trial, path in trials.items():
            if call is not None and self._ends(trial, call, args, kwargs, path):
                stopped.append(trial)
            elif trial not in self._ended:
                try:
                    made[trial] = self._tried(trial, func, args, kwargs)
                except Exception as error:  # noqa: BLE001  # whatever an operation makes of values not meant for it
                    self.refuse(trial, f"with other values in it, {name} fails ({first_line(error)})")
        output = func(*args, **kwargs)
        self._weights.follow(name, args, output)
        for trial, version in made.items():
            if trial not in self._ended:
                self._register(trial, name, output, version, (*trials[trial], name))
        for trial in stopped:
            for leaf in tree_leaves(output):
                self.drop(trial, leaf)
        return output

    def _ends(self, trial: Trial, call: Application, args: Any, kwargs: Any, path: tuple[str, ...]) -> bool:
        """Whether a trial ends at a call that applies a weight."""
        given = args[call.position]
        differs = call.channels(differing(given, self.version(given, trial)))
        if differs.any():
            return self.applied(trial, call, given, differs, path)
        return trial not in self.trials(leaf for leaf in tree_leaves((args, kwargs)) if leaf is not given)

    def _tried(self, trial: Trial, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives in a trial; random numbers are those that it will draw as it is."""
        for tensor in _written(func, args, kwargs):
            self.begin(trial, tensor)
        versions, named = tree_map_only(Tensor, lambda tensor: self.version(tensor, trial), (args, kwargs))
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            return func(*versions, **named)
        devices = {leaf.device for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.is_cuda}
        with torch.random.fork_rng(devices):
            return func(*versions, **named)

    def _register(self, trial: Trial, name: str, output: Any, version: Any, path: tuple[str, ...]) -> None:
        for one, other in zip(tree_leaves(output), tree_leaves(version), strict=True):
            if not isinstance(one, Tensor):
                if one is not other and one != other and not (one != one and other != other):  # noqa: PLR0124  # NaN
                    self.refuse(trial, f"{name} reads its values, and the program goes on by them")
                continue
            entry = self._entry(one)
            if entry is None or one.shape != other.shape:
                what = "gives a tensor that cannot be followed" if entry is None else "gives as much as its values say"
                self.refuse(trial, f"{name} {what}")
                return
            same = one.stride() == other.stride() and one.storage_offset() == other.storage_offset()
            if same and one.untyped_storage().nbytes() == other.untyped_storage().nbytes():
                entry[trial] = Shadow(other.untyped_storage(), path)
            else:
                entry[trial] = Shadow(_copied(one), path)
                self._as(one, entry[trial].storage).copy_(other)


def _copied(tensor: Tensor) -> torch.UntypedStorage:
    storage: torch.UntypedStorage = tensor.untyped_storage().clone()  # type: ignore[no-untyped-call]
    return storage


def _as_bytes(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def differing(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors differ; NaN is equal to NaN."""
    found = one != other
    if (one.is_floating_point() or one.is_complex()) and bool(found.any()):
        found &= ~(one.isnan() & other.isnan())
    return found


def _written(func: Any, args: Sequence[Any], kwargs: Any) -> Iterator[Tensor]:
    """The tensors that an operation writes into."""
    schema = getattr(func, "_schema", None)
    for i, argument in enumerate(schema.arguments if schema is not None else ()):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))
