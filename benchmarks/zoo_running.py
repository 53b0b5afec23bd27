"""Runs the architectures of the zoo with fixed random numbers, and compares what comes out."""

import copy
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo_models import Batch


def seed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the state that the libraries draw from
    torch.manual_seed(0)


def stirred(model: nn.Module) -> nn.Module:
    """The model without weights that are all zero or nearly so, behind which activations would have no influence."""
    with torch.no_grad():
        for value in model.parameters():
            if value.is_floating_point() and value.numel() and value.abs().max() < 1e-4:
                value.normal_(std=0.1)
    return model


def run(model: nn.Module, batch: Batch, *, gradients: bool = False) -> list[Tensor]:
    """The tensors that come out, with fixed random numbers."""
    seed()
    given = copy.deepcopy(batch)  # the model may change it
    with nullcontext() if gradients else torch.no_grad():
        return list(tensors(model(**given) if isinstance(given, dict) else model(given)))


def tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for item in output:
            yield from tensors(item)
    elif is_dataclass(output):
        yield from tensors(vars(output))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two outputs are equal to the bit."""
    return len(one) == len(other) and all(map(same_bits, one, other))


def same_bits(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(*(each.detach().contiguous().flatten().view(torch.uint8) for each in (one, other)))


def listings(lists: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Lists under their titles, in Markdown."""
    for title, lines in lists:
        yield f"{title}: {len(lines) or 'none'}"
        yield from (f"- {text}" for text in lines)


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
