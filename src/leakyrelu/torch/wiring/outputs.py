"""What a run gives: the tensors that the model returns, and those that the user's own `forward` returns."""

import random
from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import tree_leaves
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.running import copies

__all__ = ["Outputs", "are_empty", "outputs_of", "outputs_on", "seed"]

_OPAQUE = nn.Module, FunctionType, MethodType, ModuleType, type
_DEPTH = 6  # how deep an object is looked into, such as a cache of keys and values


class Outputs:
    """Collects the outputs while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.tensors: list[Tensor] = []

    def __enter__(self) -> Self:
        self._hook = self._model.register_forward_hook(lambda module, args, output: self.returned(output))
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def returned(self, output: Any) -> None:
        """Take note of what was returned."""
        known = set(map(id, self.tensors))
        self.tensors += [tensor for tensor in _tensors_in(output) if id(tensor) not in known]

    def copies(self) -> list[Tensor]:
        """Copies on the CPU."""
        return [tensor.detach().to("cpu", copy=True) for tensor in self.tensors]


def outputs_of(model: nn.Module, batch: Any, forward: Forward) -> Outputs:
    """Run one batch, and collect what comes out."""
    outputs = Outputs(model)
    with outputs:
        outputs.returned(forward(model, batch))
    return outputs


def outputs_on(model: nn.Module, batches: Iterable[Any], forward: Forward) -> list[list[Tensor]]:
    """Copies of the outputs on all batches; random numbers in the model are the same each time."""
    seed()
    return [outputs_of(model, batch, forward).copies() for batch in copies(batches)]


def are_empty(outputs: Sequence[Sequence[Tensor]]) -> bool:
    """Whether nothing came out that could be compared."""
    return not any(output.numel() for some in outputs for output in some)


def seed() -> None:
    """The same random numbers for each run."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the state that a model may draw from


def _tensors_in(output: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in anything: in containers, and in other objects that hold some."""
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth < _DEPTH and not isinstance(leaf, _OPAQUE) and hasattr(leaf, "__dict__"):
            yield from _tensors_in(list(vars(leaf).values()), depth + 1)
