"""Where the units are in a tensor: the functions that make units tell, and others keep them where they are.

The shape of a tensor is what it is known by: backends give tensors no names, and the sums and products between a
convolution and its activation keep the shape.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from leakyrelu.keras.private import keras

__all__ = ["RULES", "Axes", "Units"]

Units: TypeAlias = tuple[int, ...]  # axes; units on several axes are numbered in their order
Shape: TypeAlias = tuple[int, ...]


class Axes:
    """The units' axes that are known in one pass."""

    def __init__(self) -> None:
        self._by_shape: dict[Shape, Units] = {}
        self._latest: dict[int, Units] = {}  # by the number of axes

    def remember(self, value: Any, units: Units) -> None:
        """Store where a tensor's units are."""
        shape = tuple(value.shape)
        if len(shape) > 1:
            self._by_shape[shape] = self._latest[len(shape)] = units

    def of(self, value: Any) -> Units:
        """Where a tensor's units are: as in the latest tensor of this shape, or of this many axes, that is known."""
        shape = tuple(value.shape)
        known = self._by_shape.get(shape) or self._latest.get(len(shape))
        if known is not None:
            return known
        if len(shape) > 3 and keras.config.image_data_format() == "channels_first":
            return (1,)
        return (len(shape) - 1,) if len(shape) > 1 else ()


Rule: TypeAlias = Callable[[Axes, Mapping[str, Any], Any], Units]  # of the known axes, the arguments, and the result


def _last(_: Axes, __: Mapping[str, Any], result: Any) -> Units:
    return (len(result.shape) - 1,)


def _convolution(_: Axes, arguments: Mapping[str, Any], result: Any) -> Units:
    data_format = arguments["data_format"] or keras.config.image_data_format()
    return (1,) if data_format == "channels_first" else (len(result.shape) - 1,)


def _batch_normalization(_: Axes, arguments: Mapping[str, Any], result: Any) -> Units:
    return (arguments["axis"] % len(result.shape),)


def _transpose(axes: Axes, arguments: Mapping[str, Any], result: Any) -> Units:
    order = arguments["axes"] or range(len(result.shape))[::-1]
    places = [axis % len(result.shape) for axis in order]
    return tuple(sorted(places.index(axis) for axis in axes.of(arguments["x"])))


def _einsum(axes: Axes, arguments: Mapping[str, Any], result: Any) -> Units:
    """The axes that a weight brings, such as the heads and what each of them has."""
    operands = arguments["operands"]
    if len(operands) != 2 or not isinstance(operands[1], keras.Variable):
        return _last(axes, arguments, result)
    inputs, arrow, made = arguments["subscripts"].replace(" ", "").partition("->")
    one, _, weight = inputs.partition(",")
    before, dots, after = made.partition("...")
    missing = ["..."] * (len(result.shape) - len(before + after)) if dots else []
    labels: Sequence[str] = [*before, *missing, *after]
    units = tuple(axis for axis, label in enumerate(labels) if label in weight and label not in one)
    return units if arrow and units else _last(axes, arguments, result)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv", "depthwise_conv", "separable_conv", "conv_transpose"), _convolution),
    "batch_normalization": _batch_normalization,
    "matmul": _last,
    "einsum": _einsum,
    "transpose": _transpose,
}
