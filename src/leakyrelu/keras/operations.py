"""The activations that are counted, and what the arguments of a call say of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = ["READERS", "Activation", "Read"]


class Activation(NamedTuple):
    """One call of an activation."""

    operation: str
    flat: bool  # whether it is flat below its threshold, so that no gradient passes there
    threshold: float = 0.0


Arguments: TypeAlias = Mapping[str, Any]  # all of a call, by name, with the defaults
Read: TypeAlias = tuple[Activation, Any]  # and the tensor that enters it


def _of(operation: str, flat: bool) -> Callable[[Arguments], Read | None]:
    return lambda arguments: (Activation(operation, flat), arguments["x"])


def _leaky_relu(arguments: Arguments) -> Read | None:
    return Activation("leaky_relu", flat=_is(0, arguments["negative_slope"])), arguments["x"]


def _threshold(arguments: Arguments) -> Read | None:
    number = _number(arguments["threshold"])
    return None if number is None else (Activation("threshold", flat=True, threshold=number), arguments["x"])


def _clip(arguments: Arguments) -> Read | None:
    return (Activation("clip", flat=True), arguments["x"]) if _is(0, arguments["x_min"]) else None


def _maximum(arguments: Arguments) -> Read | None:
    one, other = arguments["x1"], arguments["x2"]
    if _is(0, one) or _is(0, other):
        return Activation("maximum", flat=True), one if _is(0, other) else other
    return None


def _relu(arguments: Arguments) -> Read | None:
    """`keras.activations.relu`, which has a slope, a largest value and a threshold."""
    threshold = _number(arguments["threshold"])
    if threshold is None:
        return None
    if not _is(0, arguments["negative_slope"]):
        activation = Activation("leaky_relu", flat=False, threshold=threshold)
    elif threshold:
        activation = Activation("threshold", flat=True, threshold=threshold)
    else:
        activation = Activation("relu6" if _is(6, arguments["max_value"]) else "relu", flat=True)
    return activation, arguments["x"]


def _prelu(arguments: Arguments) -> Read | None:
    return Activation("prelu", flat=False), arguments["inputs"]


def _number(value: Any) -> float | None:
    """A number, or an array that holds a single one; None for anything else."""
    try:
        return float(value) if isinstance(value, int | float) or getattr(value, "shape", None) == () else None
    except (TypeError, ValueError):  # a graph's tensor, whose value is not known yet
        return None


def _is(number: int, value: Any) -> bool:
    return _number(value) == number


READERS: dict[str, Callable[[Arguments], Read | None]] = {
    **{name: _of(name, flat=True) for name in ("relu", "relu6")},
    **{name: _of(name, flat=False) for name in ("elu", "celu", "selu", "gelu", "silu")},
    "leaky_relu": _leaky_relu,
    "threshold": _threshold,
    "clip": _clip,
    "maximum": _maximum,
    "ReLU.static_call": _relu,
    "PReLU.call": _prelu,
}
