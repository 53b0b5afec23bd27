"""The attributes of a module that say how large its weights are."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from leakyrelu.torch.removal.plan import GROUPS, Kept

__all__ = ["changed_sizes", "local_name", "outputs_of"]

# By class: the tensor, and which of its dimensions each attribute is.
_KNOWN: tuple[tuple[type | tuple[type, ...], str, dict[str, int]], ...] = (
    (nn.Bilinear, "weight", {"out_features": 0, "in1_features": 1, "in2_features": 2}),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "weight", {"in_channels": 0, "out_channels": 1}),
    ((nn.Embedding, nn.EmbeddingBag), "weight", {"num_embeddings": 0, "embedding_dim": 1}),
    (nn.RNNBase, "weight_ih_l0", {"input_size": 1}),
    (nn.RNNCellBase, "weight_ih", {"input_size": 1}),
)
# In all other classes, attributes are known by their names.
_ROWS = re.compile(r"_?out(put)?_(features|channels|dims?|size)")
_COLUMNS = re.compile(r"_?in(put)?_(features|channels|dims?|size)")
_UNITS = re.compile(r"num_(features|channels|parameters)")

# Where a weight is computed from others: by torch.nn.utils.parametrize, by the older weight_norm and spectral_norm, and
# by torch.nn.utils.prune.
_COMPUTED = re.compile(r"(?:(.*)\.)?parametrizations\.([^.]+)\.original1?|(?:(.*)\.)?([^.]+)_(v|orig|mask)")
_PARTNERS = {"v": "_g", "orig": "_orig", "mask": "_orig"}  # what tells them from other tensors with such names


def local_name(name: str, tensor_names: Mapping[str, object]) -> tuple[str, str]:
    """The name of the module that a weight belongs to, and the weight's name there.

    A weight that is computed from others stands for what is computed. `tensor_names` are those that the model has.
    """
    owner, _, local = name.rpartition(".")
    found = _COMPUTED.fullmatch(name)
    if found is None:
        return owner, local
    if found[2] is not None:
        return found[1] or "", found[2]
    partner = name.removesuffix(f"_{found[5]}") + _PARTNERS[found[5]]
    return (owner, found[4]) if partner in tensor_names else (owner, local)


def changed_sizes(
    module: nn.Module, weight: str, before: Sequence[int], after: Sequence[int], kept: Kept, name: str
) -> Iterator[tuple[str, Any]]:
    """The attributes that say the shape of a weight, as they must be after the cut.

    Raises
    ------
    ValueError
        The groups of the module cannot shrink so. `name` is what the message calls the weight.
    """
    held = vars(module)
    groups = columns = _groups(module, "weight" if GROUPS in kept else weight, len(before))
    if GROUPS in kept and "groups" in held and len(kept[GROUPS]) != groups:
        raise ValueError(f"the plan has {len(kept[GROUPS])} groups for {name}; in this model it has {groups}")
    if groups > 1:
        if "1" in kept:
            raise ValueError(f"the plan cuts {name} along dimension 1, but it has {groups} groups: use {GROUPS!r}")
        columns = _groups_left(module, name, groups, before[0], kept.get("0", range(before[0])))
        attribute = "num_groups" if isinstance(module, nn.GroupNorm) else "groups"
        if columns != groups:
            yield attribute, columns
    for attribute, axis in _dimensions(module, weight, before, groups).items():
        old, new = (shape[axis] * (per if axis == 1 else 1) for shape, per in ((before, groups), (after, columns)))
        if old != new and held.get(attribute) == old:
            yield attribute, new
    if weight == "weight" and held.get("normalized_shape") == tuple(before) != tuple(after):
        yield "normalized_shape", tuple(after)
    padding = held.get("padding_idx")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and padding is not None and "0" in kept:
        if padding not in kept["0"]:
            raise ValueError(f"the plan takes out row {padding} of {name}, which is its padding_idx")
        yield "padding_idx", list(kept["0"]).index(padding)


def _dimensions(module: nn.Module, weight: str, shape: Sequence[int], groups: int) -> dict[str, int]:
    for kind, name, dimensions in _KNOWN:
        if isinstance(module, kind) and weight == name:
            return dimensions
    if any(kind.__name__ == "Conv1D" for kind in type(module).__mro__) and len(shape) == 2:  # of transformers
        return {"nx": 0, "nf": 1}
    if weight != "weight" and sum(parameter.ndim > 1 for parameter in module.parameters(recurse=False)) > 1:
        return {}  # the sizes may be those of another one
    return dict(_by_name(module, shape, groups))


def _by_name(module: nn.Module, shape: Sequence[int], groups: int) -> Iterator[tuple[str, int]]:
    """Which dimension each attribute is, in a class that is not known: one of its size, rows before columns."""
    sizes = [size * (groups if axis == 1 else 1) for axis, size in enumerate(shape)]
    for name, value in vars(module).items():
        if isinstance(value, int) and value in sizes:
            if len(shape) == 1 and _UNITS.fullmatch(name):
                yield name, 0
            elif len(shape) > 1 and (_ROWS.fullmatch(name) or _COLUMNS.fullmatch(name)):
                usual = int(_COLUMNS.fullmatch(name) is not None)
                yield name, usual if sizes[usual] == value else sizes.index(value)


def _groups(module: nn.Module, weight: str, dimensions: int) -> int:
    """Into how many groups the rows of a weight fall."""
    if isinstance(module, nn.GroupNorm) and weight == "weight":
        return module.num_groups
    groups = vars(module).get("groups", 1)
    return groups if weight == "weight" and dimensions > 2 and isinstance(groups, int) else 1


def _groups_left(module: nn.Module, name: str, groups: int, size: int, kept: Sequence[int]) -> int:
    """How many groups are left; all of them must be of one size."""
    per = size // groups
    left = [0] * groups
    for row in kept:
        left[row // per] += 1
    sizes = {rows for rows in left if rows}
    if isinstance(module, nn.GroupNorm) and sizes != {per}:
        raise ValueError(
            f"the plan takes {name} apart within a group, whose statistics would change; whole groups can go"
        )
    if len(sizes) > 1:
        raise ValueError(f"the plan leaves {sorted(sizes)} rows of the groups of {name}; it must be as many in each")
    return sum(rows > 0 for rows in left)


def outputs_of(module: nn.Module, weight: Any) -> int:
    """How many outputs the layer has, and so how long its bias is."""
    for name, value in vars(module).items():
        if isinstance(value, int) and (_ROWS.fullmatch(name) or name == "nf"):
            return value
    return int(weight.shape[0])
