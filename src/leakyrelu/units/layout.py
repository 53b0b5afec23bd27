"""Where the units are in a tensor: on one axis, on several or on a part of one. All follows from shapes and units."""

import math
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Factor",
    "Labels",
    "Part",
    "Shape",
    "Units",
    "agreed",
    "contracted",
    "guessed",
    "kept",
    "refined",
    "reshaped",
    "settled",
    "spread",
]


class Part(NamedTuple):
    """An axis that counts units or, where it was merged with another one, a part of it.

    At `index` on the axis it counts ``index // step % length``. On an axis of 3 examples times 4 heads, the heads are
    ``Part(axis, 1, 4)``.
    """

    axis: int
    step: int = 1
    length: int | None = None  # None: the whole axis, however long


Shape: TypeAlias = tuple[int, ...]
Units: TypeAlias = tuple[Part, ...]  # the most significant part first; () if all values belong to one unit
Labels: TypeAlias = tuple[str | int, ...]  # one per axis, as the letters of an einsum


def guessed(shape: Shape, examples: int | None) -> Units:
    """Where the units are if only the shape is known: on the last of two or three axes, on the second of more."""
    if len(shape) < 2:
        return () if not shape or shape[0] == examples else (Part(0),)  # one number per example
    return (Part(len(shape) - 1 if len(shape) <= 3 else 1),)


@lru_cache(1024)  # a model has the same shapes again and again
def reshaped(units: Units, old: Shape, new: Shape) -> Units | None:
    """Where the units are after a change of shape, which leaves the order of the values as it is."""
    old, new = (tuple(max(1, length) for length in shape) for shape in (old, new))
    made: list[Part] = []
    for axis, step, length in units:
        stride, count = step * math.prod(old[axis + 1 :]), length or old[axis]
        parts = _found(stride, count, new)
        if parts is None or (len(parts) > 1 and len(units) == 1 and _is_made_an_image(old, axis, new)):
            return None
        made += parts
    return _merged(made, new)


def _found(stride: int, count: int, shape: Shape) -> list[Part] | None:
    """The parts of axes that make up ``position // stride % count``, if the position counts all values of a shape."""
    parts = []
    for axis, length in enumerate(shape):
        inner = math.prod(shape[axis + 1 :])
        low, high = max(stride, inner), min(stride * count, inner * length)
        if low < high:
            if low % stride or low % inner or high % low or stride * count % high or inner * length % high:
                return None
            parts.append(Part(axis, low // inner, high // low))
        elif (stride, count) == (inner, length):  # an axis of length 1
            return [Part(axis)]
    return parts


def _merged(parts: Sequence[Part], shape: Shape) -> Units:
    """The same with whole axes instead of the parts that make up a whole axis."""
    counts = {axis: math.prod(part.length or 1 for part in parts if part.axis == axis) for axis, *_ in parts}
    merged = [Part(part.axis) if counts[part.axis] == shape[part.axis] else part for part in parts]
    return tuple(reversed(dict.fromkeys(reversed(merged))))  # where its least significant part was


def _is_made_an_image(old: Shape, axis: int, new: Shape) -> bool:
    """Whether the axis of the units is split into three or four axes, all but the first one, as in a decoder of images.

    Only what follows tells which of them has the channels: a norm, or a permutation of (N, H, W, C). So the axis is
    not known from here on, and of four or five axes the second one is taken. Splitting into the heads of an attention,
    (B, T, H, D), is another case: it keeps the axes before.
    """
    if len(new) not in (4, 5) or new[0] != math.prod(old[:axis]) or math.prod(old[axis + 1 :]) != 1:
        return False
    if axis == len(old) - 1:
        return axis < 2 or new[:axis] != old[:axis]
    return new[-1] > 1  # otherwise they are groups of the channels of one pixel


@lru_cache(1024)
def settled(units: Units) -> Units:
    """Which units to count where some are on a part of an axis.

    - The part counts if it was merged with examples (channels in (N * C, H, W)), or if a whole axis is less significant
      (heads in (T, N * H, D)).
    - The inner part of an axis does not if all whole axes are more significant: as in `nn.PixelShuffle`, its units
      are positions now.
    - Otherwise the whole axis counts, so the columns of flattened maps are units.
    """
    last = max((i for i, part in enumerate(units) if part.length is None), default=-1)
    found: dict[Part, None] = {}
    for i, part in enumerate(units):
        if part.length is None or part.axis == 0 or i < last:
            found[part] = None
        elif last < 0 or part.step > 1:
            found[Part(part.axis)] = None
    return tuple(part for part in found if part.length is None or Part(part.axis) not in found)


def refined(units: Units, shape: Shape) -> tuple[list[int], list[int]]:
    """A shape in which the units have axes of their own, and these axes."""
    lengths: list[int] = []
    places: dict[Part, int] = {}
    for axis, length in enumerate(shape):
        bounds = [length]
        for part in sorted((part for part in units if part.axis == axis), key=lambda part: -part.step):
            count = part.length or length
            places[part] = len(lengths) + len(bounds)
            bounds += [part.step * count, part.step]
        lengths += [above // below if below else above for above, below in pairwise([*bounds, 1])]
    return lengths, [places[part] for part in units]


def kept(units: Units, old: Shape, new: Shape) -> Units | None:
    """Where the units are if all axes stay but change in length: parts of such an axis are no longer known."""
    if old == new:
        return units
    if len(old) != len(new):
        return None
    units = settled(units)
    left = tuple(part for part in units if part.length is None or old[part.axis] == new[part.axis])
    return left if left or not units else None


def spread(units: Units, old: Shape, new: Shape) -> Units | None:
    """Where the units are after broadcasting; None if each value now belongs to several units."""
    shift = len(new) - len(old)
    left = tuple(
        part._replace(axis=part.axis + shift) for part in units if not old[part.axis] == 1 < new[part.axis + shift]
    )
    return left if left or not units else None


def agreed(full: Iterable[Units], partial: Iterable[Units] = ()) -> Units | None:
    """Where the units are in a sum, a product by elements or a concatenation of tensors whose units are known.

    The operands that are as large as the result tell: one of them if it has all parts of the others, as heads and
    features have those of features, otherwise the parts that all of them have. If these have no units, the operands
    that are broadcast tell: each combination of their units, as in an outer sum, is one.
    """
    full, partial = list(full), list(partial)
    several = [units for units in full if units]
    if several:
        finest = max(several, key=len)
        common = tuple(part for part in finest if all(part in units for units in several))
        return finest if all(set(units) <= set(finest) for units in several) else common or None
    return tuple(dict.fromkeys(part for units in partial for part in units)) if full or partial else None


class Factor(NamedTuple):
    """A tensor in a product: a weight, a tensor whose units are known, or one of which nothing is known."""

    shape: Shape
    units: Units  # all axes if nothing is known; all axes along which its values differ if it is a weight
    kind: Literal["weight", "known", "unknown"]


@lru_cache(1024)
def contracted(factors: tuple[Factor, ...], labels: tuple[Labels, ...], result: Labels, made: Shape) -> Units | None:
    """Where the units are in a product that sums over the labels which its result does not have, as an einsum does.

    A weight makes new units. Without one, the units stay that are on axes of the result. If all were summed over, the
    axes of a matrix of which nothing is known, such as the columns of a fixed projection, are new units.
    """
    lengths = dict(zip(result, made, strict=True))

    def left(kind: str, but: Container[str | int] = ()) -> Units:
        parts = (
            part._replace(axis=result.index(names[part.axis]))
            for factor, names in zip(factors, labels, strict=True)
            for part in factor.units
            if factor.kind == kind and names[part.axis] not in but
            if factor.shape[part.axis] == lengths.get(names[part.axis])  # neither summed over nor broadcast
        )
        return tuple(dict.fromkeys(parts))

    kinds = {factor.kind for factor in factors}
    if kinds == {"weight"}:
        return (Part(len(made) - 1),)
    new = left("weight")
    if new or "known" not in kinds:
        return new if "weight" in kinds else None
    stay = left("known")
    if stay or "unknown" not in kinds:
        return stay
    known = {name for factor, names in zip(factors, labels, strict=True) if factor.kind == "known" for name in names}
    return left("unknown", known) or None
