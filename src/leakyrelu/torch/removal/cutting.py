"""Takes rows and columns out of a tensor."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from leakyrelu.torch.removal.plan import GROUPS, Kept

__all__ = ["cut", "cut_state", "like", "refuse_misfit"]

_Held = TypeVar("_Held", bound=Tensor)


def cut(tensor: Tensor, kept: Kept) -> Tensor:
    """A new tensor of what stays, in the same order in memory (such as channels last)."""
    result = tensor.detach()
    if GROUPS in kept:
        slabs = result.chunk(len(kept[GROUPS]))
        result = torch.cat([_selected(slab, 1, group) for slab, group in zip(slabs, kept[GROUPS], strict=True)])
    for dimension, indices in kept.items():
        if dimension != GROUPS:
            result = _selected(result, int(dimension), indices)
    if not kept:
        result = result.clone()
    if tensor.layout is not torch.strided:  # a sparse gradient
        return result
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda dimension: -strides[dimension])
    back = [order.index(dimension) for dimension in range(tensor.ndim)]
    return result.permute(order).contiguous().permute(back)


def _selected(tensor: Tensor, dimension: int, indices: Sequence[int]) -> Tensor:
    return tensor.index_select(dimension, torch.tensor(indices, device=tensor.device))


def like(old: _Held, values: Tensor, kept: Kept) -> _Held:
    """The values in place of a parameter or buffer, with its Python attributes, and with its gradient cut."""
    new: Any = values
    if isinstance(old, nn.Parameter):
        new = type(old)(values, old.requires_grad)
    elif old.requires_grad:
        new.requires_grad_()
    vars(new).update(vars(old))
    if old.is_leaf and old.grad is not None:
        new.grad = cut(old.grad, kept)
    return new  # type: ignore[no-any-return]


def refuse_misfit(name: str, tensor: Tensor, kept: Kept, shape: Sequence[int] | None) -> None:
    """Raise a `ValueError` unless what is kept is in the tensor, and the tensor has this shape, if that is known."""
    if shape is not None and tuple(tensor.shape) != tuple(shape):
        raise ValueError(
            f"the plan was made for a model whose {name} has the shape {tuple(shape)}; in this model it is "
            f"{tuple(tensor.shape)}; make the model with the sizes that it had before units were removed"
        )
    for dimension, indices in kept.items():
        axis = 1 if dimension == GROUPS else int(dimension)
        if axis >= tensor.ndim:
            raise ValueError(f"the plan cuts {name} along dimension {axis}, but in this model it has {tensor.ndim}")
        last = max(group[-1] for group in indices) if dimension == GROUPS else indices[-1]
        if last >= tensor.shape[axis]:
            raise ValueError(
                f"the plan keeps index {last} of {name} along dimension {axis}, where this model has the size "
                f"{tensor.shape[axis]}; it was made for another model"
            )
        if dimension == GROUPS and tensor.shape[0] % len(indices):
            raise ValueError(f"{name} has {tensor.shape[0]} rows, which are not {len(indices)} equal groups")


def cut_state(state: Mapping[str, Any], shape: Sequence[int], kept: Kept) -> dict[str, Any] | None:
    """What an optimizer keeps for a parameter of this shape, cut alike; None if something does not map to it."""
    new: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Tensor):
            axes = _axes(key, value, shape)
            if axes is None:
                return None
            new[key] = cut(value, _kept_of_state(value, axes, shape, kept))
        elif value is None or isinstance(value, bool | int | float | str):
            new[key] = value
        else:
            return None
    return new


def _axes(key: str, state: Tensor, shape: Sequence[int]) -> Sequence[int] | None:
    """Which dimension of the parameter each dimension of a state is; a state may have size 1 where it is a mean."""
    if state.ndim == 0:
        return ()
    if state.ndim == len(shape) and all(size in {1, whole} for size, whole in zip(state.shape, shape, strict=True)):
        return range(len(shape))
    # Adafactor as in transformers: means over the last dimension, and over the last but one.
    axes: list[int] = list(range(len(shape)))
    if len(shape) > 1 and key.endswith(("row", "col")):
        del axes[-1 if key.endswith("row") else -2]
    return axes if tuple(state.shape) == tuple(shape[axis] for axis in axes) else None


def _kept_of_state(state: Tensor, axes: Sequence[int], shape: Sequence[int], kept: Kept) -> Kept:
    whole = {axis: at for at, axis in enumerate(axes) if state.shape[at] == shape[axis]}
    new: dict[str, Sequence[Any]] = {}
    for dimension, indices in kept.items():
        if dimension == GROUPS:
            if whole.get(0) == 0 and whole.get(1) == 1:  # otherwise it is a mean over the inputs
                new[GROUPS] = indices
        elif int(dimension) in whole:
            new[str(whole[int(dimension)])] = indices
    return new
