"""Writes the weights of a model that was changed and, if it has shrunk, the plan beside them; for the command line."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._shared.extras import needs
from leakyrelu._shared.files import refuse_target, written_whole
from leakyrelu._shared.wording import first_line, shown
from leakyrelu.torch.removal import Plan

__all__ = ["plan_beside", "refuse_smaller", "refuse_weights", "save_smaller", "save_weights"]


def plan_beside(weights: Path) -> Path:
    """Where the plan of a file of weights is: ``small.plan.json`` for ``small.pt``."""
    return weights.with_suffix(".plan.json")


def refuse_weights(path: Path, *, overwrite: bool = False) -> None:
    """Raise the error of `save_weights` if it can be known before the work that it would fail."""
    refuse_target(path, overwrite=overwrite)
    _refuse_missing_safetensors(path)


def refuse_smaller(path: Path, *, overwrite: bool = False) -> None:
    """Raise the error of `save_smaller` if it can be known before the work that it would fail."""
    refuse_weights(path, overwrite=overwrite)
    refuse_target(plan_beside(path), overwrite=overwrite)


def save_weights(model: nn.Module, path: Path, *, overwrite: bool = False) -> None:
    """Write the state dict of a model, whole or not at all, as `torch.save` does or, by its suffix, as safetensors.

    Raises
    ------
    FileExistsError
        The file exists, and `overwrite` is False.
    ImportError
        It is to be a safetensors file, and safetensors is not installed.
    ValueError
        The state dict cannot be written in this format, or the path is no file.
    OSError
        The directory is missing or not writable, the disk is full, and so on.
    """
    written = _in_bytes(model, path)
    with written_whole(path, overwrite=overwrite) as file:
        file.write(written)


def save_smaller(model: nn.Module, plan: Plan, path: Path, *, overwrite: bool = False) -> None:
    """Write the state dict of a model that has shrunk, and its plan beside it, both whole or neither.

    If the process is killed between the two, the plan alone is there. The errors are those of `save_weights`.
    """
    written, beside = _in_bytes(model, path), plan_beside(path)
    old = beside.read_bytes() if beside.is_file() else None
    with written_whole(beside, overwrite=overwrite) as file:
        file.write(json.dumps(plan.as_dict()).encode())
    try:
        with written_whole(path, overwrite=overwrite) as file:
            file.write(written)
    except BaseException:
        if old is None:
            beside.resolve().unlink()  # a link that led nowhere before stays
        else:
            with written_whole(beside) as file:
                file.write(old)
        raise


def _in_bytes(model: nn.Module, path: Path) -> memoryview | bytes:
    """What is to be in the file of weights.

    It is made before a file is opened, as PyTorch's errors hide those of the file: a full disk is an "unexpected pos".
    """
    _refuse_missing_safetensors(path)
    try:
        state = model.state_dict()
        return _as_safetensors(state) if path.suffix == ".safetensors" else _as_torch(state)
    except Exception as error:  # a model's own state may hold anything, and safetensors has an error class of its own
        raise ValueError(f"the weights cannot be written to {shown(path)}: {first_line(error)}") from error


def _as_torch(state: Mapping[str, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()


def _as_safetensors(state: Mapping[str, Any]) -> bytes:
    from safetensors.torch import save

    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}, and safetensors holds tensors alone")
    # They are copied, as safetensors refuses tensors that share memory.
    copies = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    return save(copies)


def _refuse_missing_safetensors(path: Path) -> None:
    if path.suffix == ".safetensors":
        with needs("safetensors", f"writing {shown(path)}"):
            import safetensors.torch  # noqa: F401
