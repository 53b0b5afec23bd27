"""The contenders: this library, its peers, and copies of as many bytes as the limit. One module per package."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from benchmarks.cells import Array, Arrays

MODULES = (
    "ours",
    "with_numpy",
    "with_numexpr",
    "with_numba",
    "with_torch",
    "with_jax",
    "with_onnxruntime",
)

Call = Callable[[], object]
Kind = Literal["ours", "peer", "limit"]


@dataclass(frozen=True)
class Offer:
    """What one contender does on the arrays of a cell: a call for each operation that it has.

    A call returns its result, which `as_array` makes an array of NumPy; or None, if the result is in the array for it.
    """

    name: str
    kind: Kind
    calls: Mapping[str, Call]
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    as_array: Callable[..., Array] = np.asarray


def offers(arrays: Arrays, slope: float, modules: tuple[str, ...] = MODULES) -> Iterator[Offer]:
    """The contenders that are installed and have the cell's operation, for its type."""
    for name in modules:
        try:
            module = import_module(f"benchmarks.contenders.{name}")
        except ModuleNotFoundError:
            continue
        for offer in module.offers(arrays, slope):
            if arrays.cell.operation in offer.calls:
                yield offer


def missing(modules: tuple[str, ...] = MODULES) -> list[str]:
    """The packages that are not installed."""
    packages = []
    for name in modules:
        try:
            import_module(f"benchmarks.contenders.{name}")
        except ModuleNotFoundError as error:
            packages.append(str(error.name))
    return packages
