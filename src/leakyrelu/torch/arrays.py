"""The examples in a file of NumPy arrays, as batches of tensors; for the command line."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leakyrelu._shared.npy import read_header, refuse_raw, refuse_special
from leakyrelu._shared.wording import said, shown

__all__ = ["Batches"]


class Batches:
    """The examples in a .npy file, or in the named arrays of a .npz file, as batches of tensors.

    An array that is named like an argument of the model's forward is passed as that argument. A single array with
    another name is taken as the model's input; there is a warning if somebody chose that name. Floating-point arrays
    are converted to the type of the model's parameters, integers to int64.

    With `mask`, a batch is a pair of what the model is called with and of the array of this name, which is passed to
    the model only if its forward has such an argument.

    Raises
    ------
    ValueError
        The file is of another kind, no array fits, the arrays have different lengths, or `batch_size` is below 1; or
        the file has no array that is named like the mask.
    """

    def __init__(self, path: Path, model: nn.Module, batch_size: int, mask: str | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, got {batch_size}")
        self._size = batch_size
        self._dtype = next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)
        arrays, arguments = _load(path), _arguments(model)
        masks = {} if mask is None else {mask: _mask_in(arrays, mask, path)}
        arrays = {name: array for name, array in arrays.items() if name in arguments or name not in masks}
        self._alone = len(arrays) == 1 and (path.suffix == ".npy" or arrays.keys().isdisjoint(arguments))
        if self._alone:
            _warn_of_another_name(next(iter(arrays)), arguments, path)
        self._arrays = arrays if self._alone else _fitting(arrays, arguments, path)
        self._mask = next(iter(masks.values()), None)
        self._length = _common_length(self._arrays | masks, path)
        for name, array in (self._arrays | masks).items():
            refuse_raw(array.dtype, shown(path))
            if array.dtype.kind not in "fiub":
                raise ValueError(f"{shown(path)} must hold real numbers, but {name} is {array.dtype}")
            if array.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
                raise ValueError(f"{shown(path)} holds integers beyond int64, which PyTorch computes with, in {name}")

    def __str__(self) -> str:
        return ", ".join(f"{name} {array.dtype} {array.shape}".strip() for name, array in self._arrays.items())

    def __len__(self) -> int:
        return math.ceil(self._length / self._size)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self._length, self._size):
            here = slice(start, start + self._size)
            named = {name: self._tensor(array[here]) for name, array in self._arrays.items()}
            batch = next(iter(named.values())) if self._alone else named
            yield batch if self._mask is None else (batch, self._tensor(self._mask[here]))

    @property
    def mask(self) -> Callable[[Any], Tensor] | None:
        """What `diagnose` takes as `mask` for these batches."""
        return None if self._mask is None else itemgetter(1)

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        kind = array.dtype.kind
        dtype = np.dtype(np.int64) if kind in "iu" else array.dtype.newbyteorder("=")
        if dtype == np.longdouble:
            dtype = np.dtype(np.float64)  # the widest that PyTorch has
        tensor = torch.from_numpy(np.array(array, dtype))
        return tensor.to(self._dtype) if kind == "f" else tensor


_NPY = "input"
_UNNAMED = "arr_0"  # the name that numpy.savez(file, array) gives


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"the data must be a .npy or .npz file, got {shown(path)}")
    refuse_special(path)
    if path.suffix == ".npy":
        read_header(path)  # says what is wrong with a file, and refuses a second array in it
    try:
        if path.suffix == ".npy":
            return {_NPY: np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the parsers of NumPy and of zip files may raise anything
        raise ValueError(f"{shown(path)} is not a {path.suffix} file of numbers: {said(error)}") from error


def _mask_in(arrays: dict[str, npt.NDArray[Any]], mask: str, path: Path) -> npt.NDArray[Any]:
    """The array that tells which tokens are real."""
    if path.suffix == ".npy":
        raise ValueError(
            f"{shown(path)} has no room for the mask {mask!r}: save the inputs and the mask in a .npz file"
        )
    if mask not in arrays:
        raise ValueError(
            f"{shown(path)} holds {', '.join(arrays) or 'nothing'}, and no mask {mask!r}; name one of its arrays"
        )
    if len(arrays) == 1:
        raise ValueError(f"{shown(path)} holds the mask {mask!r} alone; save the inputs in the same file")
    return arrays[mask]


def _arguments(model: nn.Module) -> list[str]:
    """The names of the arguments that can be passed to the model's forward by name."""
    parameters = inspect.signature(model.forward).parameters.values()
    return [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]


def _warn_of_another_name(name: str, arguments: list[str], path: Path) -> None:
    """Warn if somebody named the array, and no argument has that name."""
    if arguments and name not in (_NPY, _UNNAMED):
        named = f"{shown(path)} holds {name!r}, which is no argument of the model's forward"
        warnings.warn(f"{named} ({', '.join(arguments)}); it is taken as the first one", stacklevel=3)


def _common_length(arrays: dict[str, npt.NDArray[Any]], path: Path) -> int:
    """How many examples there are: the length that all arrays have."""
    lengths = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the arrays in {shown(path)} must have one row per example, got {lengths}")
    length = next(iter(lengths.values()))
    if not length:
        raise ValueError(f"{shown(path)} holds no examples")
    return length


def _fitting(arrays: dict[str, npt.NDArray[Any]], arguments: list[str], path: Path) -> dict[str, npt.NDArray[Any]]:
    fitting = {name: array for name, array in arrays.items() if name in arguments}
    if not fitting:
        raise ValueError(
            f"{shown(path)} holds {', '.join(arrays) or 'nothing'}; name the arrays as the arguments of the model's "
            f"forward ({', '.join(arguments)}), or save the input alone"
        )
    return fitting
