"""Names for the parameters of a network: where they are in its tree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

__all__ = ["names_of"]


def names_of(params: Any, places: Sequence[int]) -> list[str]:
    """The names of the leaves at these places: those of the layers that they belong to, such as ``Dense_0``.

    The last part of a path, such as ``kernel``, is left out where it is the only one with that many axes.
    """
    every, _ = jax.tree_util.tree_flatten_with_path(params)
    leaves = [every[place] for place in places]
    paths = [_parts(path) for path, _ in leaves]
    if isinstance(params, Mapping) and "params" in params:  # the collections of flax linen
        paths = [path[1:] for path in paths]
    axes = [(path[:-1], leaf.ndim) for path, (_, leaf) in zip(paths, leaves, strict=True)]
    most: dict[tuple[str, ...], int] = {}
    for layer, ndim in axes:
        most[layer] = max(ndim, most.get(layer, 0))
    weights = Counter(layer for layer, ndim in axes if ndim == most[layer])
    return [".".join(path[:-1] if path[:-1] and weights[path[:-1]] == 1 else path) for path in paths]


def _parts(path: Sequence[Any]) -> tuple[str, ...]:
    if len(path) > 1 and isinstance(path[-1], GetAttrKey) and path[-1].name in {"value", "raw_value"}:
        path = path[:-1]  # a variable of flax nnx
    return tuple(_part(key) for key in path)


def _part(key: Any) -> str:
    match key:
        case DictKey() | FlattenedIndexKey():
            return str(key.key)
        case SequenceKey():
            return str(key.idx)
        case GetAttrKey():
            return str(key.name)
    return str(key)
