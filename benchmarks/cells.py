"""The cells that are measured: one operation, on one type of number, at one size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

OPERATIONS = {
    "out": "with out=",
    "new": "with a new output",
    "inplace": "in place",
    "derivative": "the derivative",
    "backward": "the backward pass",
}
TYPES = ("float16", "bfloat16", "float32", "float64", "int32")
SIZES = (1, 100, 10**4, 10**5, 10**6, 4 * 10**6, 10**7, 6 * 10**7)
SLOPE = float(np.float32(0.01))  # an ONNX model holds its slope as float32; so results in float64 agree, too

# In place, a slope of 0.01 would soon turn every negative number into a subnormal, which takes some processors a
# hundred times as long to multiply, and then into zero. The largest float32 below one changes a number by one unit in
# the last place, if at all: after a million calls it is still negative and normal.
SLOPE_IN_PLACE = float(np.nextafter(np.float32(1), np.float32(0)))

_PAGE = 4096


@dataclass(frozen=True)
class Cell:
    """One operation, on one type of number, at one size."""

    operation: str
    type: str
    size: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the input."""
        return np.dtype(getattr(ml_dtypes, self.type, self.type))

    @property
    def result_dtype(self) -> np.dtype[np.generic]:
        """The type of the result."""
        return np.dtype(np.float64) if self.dtype.kind == "i" else self.dtype

    @property
    def bytes(self) -> int:
        """Bytes read plus bytes written, each once, without memory that a processor reads only to overwrite it."""
        read = 2 if self.operation == "backward" else 1
        return self.size * (read * self.dtype.itemsize + self.result_dtype.itemsize)

    @property
    def slope(self) -> float:
        """The slope that the cell is timed with."""
        return SLOPE_IN_PLACE if self.operation == "inplace" else SLOPE

    def __str__(self) -> str:
        return f"{self.type}, {OPERATIONS[self.operation]}, n = {self.size:,}"


def cells(operations: Iterable[str], types: Iterable[str], sizes: Iterable[int]) -> Iterator[Cell]:
    """All cells that make sense: integers have no gradient, and their float64 result does not fit in their place."""
    sizes = tuple(sizes)
    for type_ in types:
        for operation in operations:
            if type_ != "int32" or operation not in {"inplace", "backward"}:
                yield from (Cell(operation, type_, size) for size in sizes)


class Arrays:
    """The arrays of a cell, the same ones for every contender.

    Each begins on a page of memory, so that alignment is the same in every cell and in every run.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        random = np.random.default_rng(0)
        self.x = _on_page(_random(random, cell))
        self.original = self.x.copy() if cell.operation == "inplace" else self.x
        self.grad = _on_page(_random(random, cell)) if cell.operation == "backward" else self.x
        self.out = _empty(cell.size, cell.result_dtype)
        # The limit is a copy that reads and writes as many bytes as the cell does.
        self.source, self.target = self.x, self.out
        copied = -(-cell.bytes // (2 * cell.result_dtype.itemsize))
        if (copied, cell.result_dtype) != (cell.size, cell.dtype):
            self.source, self.target = _empty(copied, cell.result_dtype), _empty(copied, cell.result_dtype)
            self.source.fill(1)
        self.reset()

    def reset(self) -> None:
        """Restore the input, and fill the outputs with NaN, which nobody can mistake for a result."""
        if self.original is not self.x:
            np.copyto(self.x, self.original)
        self.out.fill(np.nan)
        if self.target is not self.out:
            self.target.fill(np.nan)


def expected(arrays: Arrays, at: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The right results of the operation at these places, in float64, with `SLOPE`."""
    x = arrays.original[at].astype(np.float64)
    match arrays.cell.operation:
        case "derivative":
            return np.where(x >= 0, 1.0, SLOPE)
        case "backward":
            grad = arrays.grad[at].astype(np.float64)
            return np.where(x >= 0, grad, SLOPE * grad)
        case _:
            return np.where(x >= 0, x, SLOPE * x)


def _random(random: np.random.Generator, cell: Cell) -> Array:
    if cell.dtype.kind == "i":
        return random.integers(-1000, 1000, cell.size, cell.dtype)
    wide = random.standard_normal(cell.size, np.float64 if cell.type == "float64" else np.float32)
    return wide.astype(cell.dtype, copy=False)


def _on_page(values: Array) -> Array:
    array = _empty(values.size, values.dtype)
    np.copyto(array, values)
    return array


def _empty(size: int, dtype: np.dtype[np.generic]) -> Array:
    memory = np.empty(size * dtype.itemsize + _PAGE, np.uint8)
    start = -memory.ctypes.data % _PAGE
    return memory[start : start + size * dtype.itemsize].view(dtype)
