"""What is counted of each activation in a graph of `torch.compile`, as further nodes of the graph."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.proxy import GraphAppendingTracer

from leakyrelu._backends.torch_private import hint_of, is_decided_by_data, is_known_multiple
from leakyrelu.torch.operations import Activation
from leakyrelu.units.layout import Part, Units, refined

__all__ = ["Group", "Place", "Site", "SiteSums", "count", "output_tells", "stand_in"]

_ABOVE_ZERO = {"relu", "relu6", "leaky_relu", "hardtanh", "clamp", "clamp_min", "clip"}


class Place(NamedTuple):
    """The module that calls an activation, and which call of it that is."""

    path: str
    operation: str  # "" if the module is the activation
    call: int = 1

    def name(self, activation: Activation) -> str:
        """The name of the site."""
        name = f"{self.path}.{self.operation}".strip(".") or activation.operation
        return name if self.call == 1 else f"{name}:{self.call}"


class Site(NamedTuple):
    """A call of an activation in a graph."""

    order: int  # among the calls in the graph
    place: Place
    activation: Activation
    units: int | None  # None: as many as the graph gives sums, as it depends on the inputs
    values: int | None  # per unit; None: the graph gives the number of all values, as it depends on the inputs
    has_examples: bool
    enters: bool  # whether what enters is counted, too


class Group(NamedTuple):
    """Sites on one device, whose sums a graph gives together."""

    device: torch.device
    sites: list[Site]

    @property
    def entering(self) -> list[Site]:
        """The sites of which is counted what enters, too."""
        return [site for site in self.sites if site.enters]

    @property
    def outputs(self) -> int:
        """How many outputs the group has."""
        return 2 + 2 * bool(self.entering) + sum(site.values is None for site in self.sites)


class SiteSums(NamedTuple):
    """What is counted of one site: proxies of tensors with one entry per unit."""

    call: fx.Node
    fired: Any
    magnitude: Any
    below: Any = None
    maximum: Any = None


def count(
    tracer: GraphAppendingTracer,
    node: fx.Node,
    value: Tensor,
    units: Units,
    activation: Activation,
    place: Place,
    enters: bool,
) -> tuple[Site, SiteSums] | None:
    """Count a call of an activation; None if it cannot be counted for inputs of other sizes."""
    sizes = node.meta["example_value"].shape  # where a size depends on the inputs, `value` has the present one
    if enters and any(map(is_decided_by_data, sizes)):
        return None  # no values have no maximum
    if all(part.length is None for part in units):
        lengths, axes = list(value.shape), [part.axis for part in units]
        pieces: list[tuple[int, list[int]]] = []
        varies = not all(isinstance(sizes[axis], int) for axis in axes)
    else:
        lengths, axes = refined(units, value.shape)
        split = _pieces(units, value.shape, sizes)
        if split is None:
            return None
        pieces, varies = split
    total_units = math.prod(lengths[axis] for axis in axes)
    rest = tuple(axis for axis in range(len(lengths)) if axis not in axes)
    order = [sorted(axes).index(axis) for axis in axes]
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    threshold = activation.threshold

    def spread(proxy: Any) -> Any:
        """The values, with axes of their own for units."""
        values = proxy.detach()
        for axis, parts in pieces:
            values = values.unflatten(axis, parts)
        return values

    def per_unit(proxy: Any) -> Any:
        return (proxy.permute(order) if order != sorted(order) else proxy).reshape(-1)

    def total(proxy: Any, dtype: torch.dtype | None = None) -> Any:
        return per_unit(proxy.sum(rest, dtype=dtype) if rest else proxy.to(dtype or torch.int64))

    entering: Any = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))
    below = maximum = None
    if enters:
        with node.graph.inserting_before(node):  # it may work in place
            values = spread(fx.Proxy(entering, tracer))
            fired = total(values > threshold)
            below = per_unit(values.amin(rest) if rest else values) < threshold
            maximum = per_unit(values.amax(rest) if rest else values).to(exact)
    with node.graph.inserting_before(node.next):
        left = spread(fx.Proxy(node, tracer))
        if not enters:
            fired = total(left > threshold)
        magnitude = total(left.abs() if enters else left, exact)
    static = _has_plain_sizes(node.meta["example_value"])
    per = None if not static else value.numel() // total_units if total_units else 0
    site = Site(
        0, place, activation, None if varies else total_units, per, bool(value.ndim) and units != (Part(0),), enters
    )
    return site, SiteSums(node, fired, magnitude, below, maximum)


def _pieces(
    units: Units, shape: Sequence[int], sizes: Sequence[Any]
) -> tuple[list[tuple[int, list[int]]], bool] | None:
    """The axes that are split, the last one first, with the lengths of their pieces; whether the units vary in number.

    The length of one piece is -1: the one that varies where the length of the axis does. None if that cannot be told.
    """
    found, varies = [], False
    for axis in range(len(shape) - 1, -1, -1):
        here = tuple(part._replace(axis=0) for part in units if part.axis == axis)
        if here:
            lengths, places = refined(here, (shape[axis],))
            is_plain = isinstance(sizes[axis], int)
            varying = 0 if is_plain else _varying(lengths, sizes[axis])
            if varying is None:
                return None
            varies |= varying in places and not is_plain
            found.append((axis, [*lengths[:varying], -1, *lengths[varying + 1 :]]))
    return found, varies


def _varying(lengths: Sequence[int], size: Any) -> int | None:
    """Which of the pieces of an axis varies with its size; None if that cannot be told."""
    total = math.prod(lengths)
    may = [i for i, length in enumerate(lengths) if length and is_known_multiple(size, total // length)]
    shortest = min((lengths[i] for i in may), default=0)
    found = [i for i in may if lengths[i] == shortest]
    return found[0] if len(found) == 1 else None


def output_tells(activation: Activation, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the output is above zero just where what enters is."""
    if not activation.flat or activation.operation not in _ABOVE_ZERO:
        return False
    limit = kwargs.get("max", kwargs.get("max_val"))
    return not any(isinstance(each, Tensor) for each in (*args[1:], limit))


def _has_plain_sizes(value: Tensor) -> bool:
    return all(isinstance(size, int) for size in (*value.shape, *value.stride(), value.storage_offset()))


def stand_in(value: Any) -> Any:
    """The same with plain numbers for sizes that depend on the inputs: those that the graph was made with."""
    if isinstance(value, tuple | list):
        return type(value)(*map(stand_in, value)) if hasattr(value, "_fields") else type(value)(map(stand_in, value))
    if isinstance(value, torch.SymInt):
        return hint_of(value)
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided or _has_plain_sizes(value):
        return value
    shape = [hint_of(length) for length in value.shape]
    strides = [hint_of(stride) for stride in value.stride()]
    offset = hint_of(value.storage_offset())
    reach = 1 + offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True) if length)
    memory = torch.empty(reach, dtype=value.dtype, device="meta")
    return memory.as_strided(shape, strides, offset)
