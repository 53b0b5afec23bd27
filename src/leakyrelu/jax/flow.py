"""What is known of each value of a jaxpr, beside the value: the layer that it comes from, and where its units are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from leakyrelu.units.layout import Factor, Part, Shape, Units, agreed, contracted, kept, reshaped, spread

__all__ = ["Info", "Layer", "joined", "made", "sliced", "stacked"]


class Layer(NamedTuple):
    """The parameter that a layer multiplies with."""

    name: str  # its place among the parameters; "" if it is none of them
    order: int = 0  # how many layers come before
    loops: frozenset[object] = frozenset()  # the scans that take another slice of it in each iteration
    varies: bool = False  # whether it is chosen by a number that changes in a loop
    is_before: bool = False  # whether it is that of the iteration before, of a scan in `loops`


@dataclass(frozen=True, eq=False)
class Info:
    """What is known of a value. Two names of the same value have the same `Info`."""

    shape: Shape
    is_data: bool = False  # whether it is computed from the batch
    units: Units | None = None  # where they are; of a weight, where its values differ; None if that is not known
    layer: Layer | None = None  # of data: the last layer; of all else: the parameter that it is made of
    number: float | None = None  # its value, if that is one constant number
    made_by: str = ""  # the operation
    made_of: tuple["Info", ...] = ()
    is_reduced: bool = False  # whether it is a sum, mean or maximum of what came from the last layer
    varies: bool = False  # whether it is the same for all data, but changes from iteration to iteration of a loop


Infos: TypeAlias = Sequence[Info]


def made(eqn: Any, operands: Infos, order: int) -> list[Info]:
    """What is known of the results of an operation; `order` is for a layer, if it is one."""
    name = eqn.primitive.name
    shapes = [tuple(getattr(var.aval, "shape", ())) for var in eqn.outvars]
    if name == "select_n" and len({id(_source(each)) for each in operands[1:]}) == 1:
        return [operands[1]]  # vmap of a branch selects between a value and the same value
    if not any(operand.is_data for operand in operands):
        return [_of_no_data(name, eqn.params, operands, shape) for shape in shapes]
    layer = _new_layer(name, operands, order)
    known = max((each.layer for each in operands if each.is_data and each.layer), key=_order, default=None)
    is_reduced = layer is None and (
        ("axes" in eqn.params and name.startswith("reduce_")) or any(each.is_reduced for each in operands)
    )
    rule = _RULES.get(name) or (_reduction if is_reduced and "axes" in eqn.params else _elementwise)
    return [
        Info(
            shape,
            is_data=True,
            units=rule(eqn.params, operands, shape),
            layer=layer or known,
            made_by=name,
            made_of=tuple(operands),
            is_reduced=is_reduced,
        )
        for shape in shapes
    ]


def joined(infos: Infos) -> Info:
    """What is known of a value that may be any one of several, as after a branch or an iteration."""
    first = infos[0]
    if all(info is first for info in infos):
        return first
    units = next((info.units for info in infos if info.units is not None), None)
    layers = [info.layer for info in infos if info.layer]
    return Info(
        first.shape,
        is_data=any(info.is_data for info in infos),
        units=units,
        layer=max(layers, key=_order, default=None),
        is_reduced=any(info.is_reduced for info in infos),
        varies=any(info.varies for info in infos),
    )


def sliced(info: Info, loop: object) -> Info:
    """One slice along the first axis, as an iteration of a scan gets it."""
    units = None if info.units is None else tuple(_moved_by(part, -1) for part in info.units if part.axis)
    layer = info.layer
    if layer and not info.is_data:
        layer = layer._replace(loops=layer.loops | {loop})
    return replace(info, shape=info.shape[1:], units=units, layer=layer, made_by="", made_of=())


def stacked(info: Info, length: int) -> Info:
    """The results of all iterations along a new first axis."""
    units = None if info.units is None else tuple(_moved_by(part, 1) for part in info.units)
    return replace(info, shape=(length, *info.shape), units=units, number=None, made_by="", made_of=())


def _moved_by(part: Part, step: int) -> Part:
    return part._replace(axis=part.axis + step)


def _order(layer: Layer) -> int:
    return layer.order


_SAME_NUMBER = {"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze", "stop_gradient"}


def _source(info: Info) -> Info:
    while info.made_by in {"stop_gradient", "copy"}:
        (info,) = info.made_of
    return info


def _of_no_data(name: str, params: Any, operands: Infos, shape: Shape) -> Info:
    number = operands[0].number if len(operands) == 1 and name in _SAME_NUMBER else None
    largest = max((each for each in operands if each.layer), key=lambda each: math.prod(each.shape), default=None)
    layer = largest.layer if largest else None
    varies = any(each.varies for each in operands)
    if layer and varies and name in {"dynamic_slice", "gather"}:
        layer, varies = layer._replace(varies=True), False
    units = None
    if name in _SAME_NUMBER and operands[0].shape == shape:
        units = operands[0].units
    elif name == "broadcast_in_dim":
        lengths = zip(params["broadcast_dimensions"], operands[0].shape, strict=True)
        units = tuple(Part(int(axis)) for axis, length in lengths if length == shape[axis])
    return Info(shape, units=units, layer=layer, number=number, made_by=name, made_of=tuple(operands), varies=varies)


def _new_layer(name: str, operands: Infos, order: int) -> Layer | None:
    """The layer, if this operation takes data and a weight."""
    if name == "gather":  # the rows of an embedding
        weight = operands[0]
        return None if weight.is_data or weight.layer is None else weight.layer._replace(order=order)
    if name not in {"dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general"}:
        return None
    weights = [each for each in operands[:2] if not each.is_data]
    if not weights or all(each.is_data for each in operands[:2]):
        return None
    return (weights[0].layer or Layer(""))._replace(order=order)


# Where the units of a result are, by the name of the operation.


def _elementwise(_: Any, operands: Infos, shape: Shape) -> Units | None:
    data = [each for each in operands if each.is_data and each.units is not None]
    full = [each.units for each in data if each.shape == shape and each.units is not None]
    if full:
        return agreed(full)
    return next((_kept(each, shape) for each in data if len(each.shape) == len(shape) > 0), None)


def _kept(info: Info, shape: Shape) -> Units | None:
    return None if info.units is None else kept(info.units, info.shape, shape)


def _dot(params: Any, operands: Infos, shape: Shape) -> Units | None:
    left, right = operands[:2]
    (left_summed, right_summed), (left_batch, right_batch) = params["dimension_numbers"]
    names: list[dict[int, str]] = [{}, {}]
    for kind, lefts, rights in (("sum", left_summed, right_summed), ("batch", left_batch, right_batch)):
        for i, (axis, other) in enumerate(zip(lefts, rights, strict=True)):
            names[0][axis] = names[1][other] = f"{kind}{i}"
    free = [[axis for axis in range(len(each.shape)) if axis not in names[i]] for i, each in enumerate((left, right))]
    for i, side in enumerate(("left", "right")):
        names[i] |= {axis: f"{side}{axis}" for axis in free[i]}
    result = [f"batch{i}" for i in range(len(left_batch))]
    result += [names[i][axis] for i in (0, 1) for axis in free[i]]
    labels = tuple(tuple(names[i][axis] for axis in range(len(each.shape))) for i, each in enumerate((left, right)))
    return contracted((_factor(left), _factor(right)), labels, tuple(result), shape)


def _factor(info: Info) -> Factor:
    everything = tuple(Part(axis) for axis, length in enumerate(info.shape) if length > 1) or tuple(
        Part(axis) for axis in range(len(info.shape))
    )
    if not info.is_data:
        return Factor(info.shape, everything if info.units is None else info.units, "weight")
    if info.units is None:
        return Factor(info.shape, everything, "unknown")
    return Factor(info.shape, info.units, "known")


def _convolution(params: Any, operands: Infos, _: Shape) -> Units | None:
    if operands[1].is_data:  # a product of two activations
        return None
    return (Part(int(params["dimension_numbers"].out_spec[1])),)


def _embedding(params: Any, operands: Infos, shape: Shape) -> Units | None:
    if not operands[0].is_data:
        offsets = params["dimension_numbers"].offset_dims
        return (Part(int(offsets[-1])),) if offsets else None
    return _kept(operands[0], shape) if len(shape) == len(operands[0].shape) else None


def _reshaping(_: Any, operands: Infos, shape: Shape) -> Units | None:
    (info, *_) = operands
    return None if info.units is None else reshaped(info.units, info.shape, shape)


def _transposing(params: Any, operands: Infos, _: Shape) -> Units | None:
    return _replaced(operands[0].units, {int(old): new for new, old in enumerate(params["permutation"])})


def _squeezing(params: Any, operands: Infos, _: Shape) -> Units | None:
    return _without(operands[0], {int(axis) % len(operands[0].shape) for axis in params["dimensions"]})


def _reduction(params: Any, operands: Infos, _: Shape) -> Units | None:
    return _without(operands[0], {int(axis) for axis in params["axes"]})


def _without(info: Info, gone: set[int]) -> Units | None:
    left = [axis for axis in range(len(info.shape)) if axis not in gone]
    return _replaced(info.units, {old: new for new, old in enumerate(left)})


def _replaced(units: Units | None, places: dict[int, int]) -> Units | None:
    if units is None:
        return None
    return tuple(part._replace(axis=places[part.axis]) for part in units if part.axis in places)


def _broadcasting(params: Any, operands: Infos, shape: Shape) -> Units | None:
    (info, *_) = operands
    places = {old: int(new) for old, new in enumerate(params["broadcast_dimensions"])}
    units = _replaced(info.units, places)
    if units is None:
        return None
    lengths = [1] * len(shape)
    for old, new in places.items():
        lengths[new] = info.shape[old]
    return spread(units, tuple(lengths), shape)


def _concatenating(_: Any, operands: Infos, shape: Shape) -> Units | None:
    found = [units for each in operands if each.is_data and (units := _kept(each, shape)) is not None]
    return agreed(found)


_RULES: dict[str, Callable[[Any, Infos, Shape], Units | None]] = {
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "gather": _embedding,
    "reshape": _reshaping,
    "transpose": _transposing,
    "squeeze": _squeezing,
    "broadcast_in_dim": _broadcasting,
    "concatenate": _concatenating,
}
