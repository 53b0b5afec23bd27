"""Changes to a model's weights, and to what an optimizer keeps for them; all of them can be taken back."""

from collections.abc import Container, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from leakyrelu.torch.wiring.weights import Weights

__all__ = ["Edits", "States", "states_of"]

States: TypeAlias = dict[Tensor, list[tuple[Tensor, float]]]

_INITIAL = {"step_size": "lr", "sum": "initial_accumulator_value"}  # states of Rprop and Adagrad that start at these


def states_of(optimizer: object) -> States | None:
    """The states that an optimizer, or several, keep for each element of their parameters, and what they start at."""
    if optimizer is None:
        return None
    if isinstance(optimizer, list | tuple):
        return {parameter: states for each in optimizer for parameter, states in (states_of(each) or {}).items()}
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {kind}; if it wraps one, give that")
    return {
        parameter: [
            (state, float(group.get(_INITIAL.get(key, ""), 0)))
            for key, state in optimizer.state.get(parameter, {}).items()
            if isinstance(state, Tensor) and state.shape == parameter.shape
        ]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


class _Put(NamedTuple):
    owner: Hashable
    storage: int
    addresses: Tensor
    values: Tensor | float


class Edits:
    """Writes numbers at addresses of a model's weights, and sets the optimizer's states there back to their start."""

    def __init__(self, weights: Weights, states: States | None) -> None:
        self._weights, self._states = weights, states
        self._puts: list[_Put] = []
        self._done: list[tuple[Tensor, Any, Tensor]] = []  # the tensor, the index and what was there before

    def put(self, owner: Hashable, storage: int, addresses: Tensor, values: Tensor | float) -> None:
        """Write values for an owner, by whose name they can be taken back."""
        self._puts.append(_Put(owner, storage, addresses, values))
        flat = self._weights.flat(storage)
        addresses = addresses.to(flat.device)
        self._write(flat, addresses, values.to(flat) if isinstance(values, Tensor) else values)
        for tensor in self._tensors(storage, addresses):
            for state, start in (self._states or {}).get(tensor, ()):
                self._reset(tensor, state, addresses, start)

    def _tensors(self, storage: int, addresses: Tensor) -> list[Tensor]:
        found = [self._weights.tensor(storage, int(addresses[i])) for i in (0, -1)] if len(addresses) else []
        return found[:1] if len(found) > 1 and found[0] is found[1] else found

    def touched(self) -> set[Tensor]:
        """The parameters and buffers that were written to."""
        return {tensor for put in self._puts for tensor in self._tensors(put.storage, put.addresses)}

    def _reset(self, tensor: Tensor, state: Tensor, addresses: Tensor, start: float) -> None:
        mask = torch.zeros_like(tensor, dtype=torch.bool)  # as long as the tensor's own memory, and laid out alike
        within = addresses - int(tensor.storage_offset())
        within = within[(within >= 0) & (within < tensor.numel())]
        mask.as_strided((tensor.numel(),), (1,), 0)[within] = True
        self._write(state, mask.to(state.device), start)

    def _write(self, tensor: Tensor, index: Tensor, values: Tensor | float) -> None:
        self._done.append((tensor, index, tensor[index].clone()))
        tensor[index] = values

    def undo(self, owners: Container[Hashable]) -> None:
        """Take back what was written for some owners, as if it had never been; what others wrote stays."""
        self._again([put for put in self._puts if put.owner not in owners])

    def forget(self, places: Mapping[tuple[Hashable, int], Sequence[Tensor]]) -> None:
        """Take back what was written for owners in storages at these addresses."""
        if places:
            self._again([_without(put, places.get(put[:2], ())) for put in self._puts])

    def _again(self, puts: list[_Put]) -> None:
        self.roll_back()
        for put in puts:
            self.put(*put)

    def roll_back(self) -> None:
        """Take everything back, the last first."""
        self._puts = []
        while self._done:
            tensor, index, old = self._done[-1]
            tensor[index] = old
            self._done.pop()


def _without(put: _Put, addresses: Sequence[Tensor]) -> _Put:
    if not addresses:
        return put
    left = ~torch.isin(put.addresses, torch.cat(list(addresses)))
    return put._replace(
        addresses=put.addresses[left], values=put.values[left] if isinstance(put.values, Tensor) else put.values
    )
