"""A model, its weights and its data, by name and from files, for the command line; no file is trusted to hold code."""

import inspect
import math
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leakyrelu.importing import load_object
from leakyrelu.torch.diagnosis import diagnose
from leakyrelu.units import Diagnosis

__all__ = ["Batches", "diagnose_files", "load_weights", "make_model"]


def diagnose_files(
    spec: str,
    data: Path,
    weights: Path | None = None,
    batch_size: int = 256,
    track: Callable[["Batches"], Iterable[Any]] = iter,
) -> Diagnosis:
    """Diagnose the model that `spec` names, on the data of a file; `track` iterates over the batches, showing progress.

    Raises
    ------
    ImportError, TypeError, ValueError, OSError
        What is given cannot be read, or the model does not run on it.
    """
    model = make_model(spec)
    if weights is not None:
        load_weights(model, weights)
    batches = Batches(data, model, batch_size)
    try:
        return diagnose(model, track(batches))
    except (RuntimeError, IndexError, KeyError) as error:
        raise ValueError(f"the model failed on {data} ({batches}): {_first_line(error)}") from error


def make_model(spec: str) -> nn.Module:
    """Make the model that ``package.module:factory`` names: a function or class without arguments, or a model.

    Modules are looked for in the current directory, too.

    Raises
    ------
    ImportError, ValueError, TypeError
        There is no such module or name, or it gives no model.
    """
    wanted = "the model must be given as PACKAGE.MODULE:FACTORY, such as nets.vision:make_model"
    model: object = load_object(spec, wanted)
    if not isinstance(model, nn.Module) and callable(model):
        try:
            model = model()
        except Exception as error:  # whatever somebody's code does
            raise ValueError(f"{spec}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise TypeError(f"{spec} gives {type(model).__name__}, not a torch.nn.Module")
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict from a file of `torch.save` or safetensors; a pickle with code in it is refused.

    Raises
    ------
    ValueError
        The file holds something else, or the weights of another model.
    ImportError
        The file is one of safetensors, which is missing.
    """
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise ImportError("to read its files, safetensors is needed: pip install safetensors") from error
        with path.open("rb"):
            pass  # says what is wrong with the name, where it is
        try:
            state: Any = load_file(path)
        except Exception as error:  # an error of its own, made in Rust
            raise ValueError(f"{path} is not a file of safetensors: {error}") from error
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} holds more than weights, or is damaged; it was not loaded, as it may hold code: "
                "save model.state_dict() instead"
            ) from error
        except (RuntimeError, EOFError) as error:
            raise ValueError(f"{path} is not a file of torch.save: {_first_line(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]  # a checkpoint of a training
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict; save model.state_dict()")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} are not this model's: {' '.join(str(error).split())}") from error


class Batches:
    """The examples of a .npy file, or of the arrays of a .npz file by name, in batches of tensors.

    One array is the model's input. Of several, those that are named as arguments of the model's forward are passed so.
    Floating-point arrays become the type of the model's parameters, integers int64.

    Raises
    ------
    ValueError
        The file is of another kind, no array fits, or the arrays are of different lengths.
    """

    def __init__(self, path: Path, model: nn.Module, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, got {batch_size}")
        self._size = batch_size
        self._dtype = next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)
        arrays = _load(path)
        self._alone = len(arrays) == 1
        self._arrays = arrays if self._alone else _fitting(arrays, model, path)
        lengths = {name: array.shape[0] if array.ndim else 0 for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the arrays in {path} must have one row an example, got {lengths}")
        self._length = next(iter(lengths.values()))
        if not self._length:
            raise ValueError(f"{path} holds no examples")

    def __str__(self) -> str:
        return ", ".join(f"{name} {array.dtype} {array.shape}".strip() for name, array in self._arrays.items())

    def __len__(self) -> int:
        return math.ceil(self._length / self._size)

    def __iter__(self) -> Iterator[Tensor | dict[str, Tensor]]:
        for start in range(0, self._length, self._size):
            batch = {name: self._tensor(array[start : start + self._size]) for name, array in self._arrays.items()}
            yield next(iter(batch.values())) if self._alone else batch

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        kind = array.dtype.kind
        if kind not in "fiub":
            raise ValueError(f"numbers are wanted as data, got {array.dtype}")
        tensor = torch.from_numpy(np.array(array, np.int64 if kind in "iu" else array.dtype.newbyteorder("=")))
        return tensor.to(self._dtype) if kind == "f" else tensor


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"the data must be a .npy or .npz file, got {path}")
    try:
        if path.suffix == ".npy":
            return {"input": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a {path.suffix} file of numbers: {_first_line(error)}") from error


def _fitting(arrays: dict[str, npt.NDArray[Any]], model: nn.Module, path: Path) -> dict[str, npt.NDArray[Any]]:
    arguments = list(inspect.signature(model.forward).parameters)
    fitting = {name: array for name, array in arrays.items() if name in arguments}
    if not fitting:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; name the arrays as the arguments of the model's forward "
            f"({', '.join(arguments)}), or save the input alone"
        )
    return fitting


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
