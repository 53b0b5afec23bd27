"""Counts what enters and leaves an activation, per unit, on the device of the model and by Keras's own functions."""

from math import prod
from typing import Any, NamedTuple

import numpy as np

from leakyrelu.keras.axes import Units
from leakyrelu.keras.backends import compiled
from leakyrelu.keras.operations import Activation
from leakyrelu.keras.private import keras
from leakyrelu.units.sums import Sums

__all__ = ["Counts", "Key", "rows"]


class Key(NamedTuple):
    """What tells a site from others."""

    name: str
    activation: Activation
    units: int


class Counts:
    """Running counts of all sites of a model."""

    def __init__(self) -> None:
        self._sums: dict[Key, Sums] = {}
        self._pass: dict[Key, list[dict[str, Any]]] = {}

    def add(self, name: str, activation: Activation, values: Any, output: Any, units: Units, mask: Any) -> None:
        """Count one call. Where `mask` is False, values do not count; its axes are the first that hold no units."""
        key = Key(name, activation, prod(values.shape[axis] for axis in units))
        counted = _counted(values, output, mask, units=units, threshold=activation.threshold)
        self._pass.setdefault(key, []).append(counted)

    def end_of_pass(self, examples: int) -> None:
        """Fetch what was counted in one pass of the model; not earlier, as each fetch waits for the device."""
        for key, parts in self._pass.items():
            for i, part in enumerate(parts):
                numbers = {name: _fetched(value) for name, value in part.items()}
                sums = Sums(
                    name=key.name,
                    operation=key.activation.operation,
                    flat=key.activation.flat,
                    threshold=key.activation.threshold,
                    examples=0 if i else examples,  # calls in a loop are of the same examples
                    values=int(numbers["values"]),
                    fired=numbers["fired"].astype(np.int64).reshape(-1),
                    below=numbers["below"].astype(np.bool_).reshape(-1),
                    maximum=numbers["maximum"].astype(np.float64).reshape(-1),
                    magnitude=numbers["magnitude"].astype(np.float64).reshape(-1),
                )
                self._sums[key] = self._sums[key] + sums if key in self._sums else sums
        self._pass.clear()

    def sums(self) -> list[Sums]:
        """All that was counted, in the order of the first calls."""
        return list(self._sums.values())


def rows(values: Any, units: Units) -> tuple[int, ...]:
    """The axes that hold no units."""
    return tuple(axis for axis in range(len(values.shape)) if axis not in units)


@compiled
def _counted(values: Any, output: Any, mask: Any, *, units: Units, threshold: float) -> dict[str, Any]:
    ops = keras.ops
    axes = rows(values, units)
    above, below = values > threshold, values < threshold
    exact = "float64" if keras.backend.standardize_dtype(values.dtype) == "float64" else "float32"
    magnitude = ops.abs(ops.cast(output, exact))
    real = 1
    if mask is not None:
        real = ops.cast(mask, "bool")
        masked = axes[: len(mask.shape)]
        here = ops.reshape(real, [length if axis in masked else 1 for axis, length in enumerate(values.shape)])
        above, below = ops.logical_and(above, here), ops.logical_and(below, here)
        values = ops.where(here, values, ops.cast(-np.inf, values.dtype))
        magnitude = ops.where(here, magnitude, ops.cast(0, exact))
        real = ops.sum(ops.cast(real, "int32"))
    unmasked = axes[0 if mask is None else len(mask.shape) :]
    return {
        "values": real * prod(values.shape[axis] for axis in unmasked),
        "fired": ops.sum(ops.cast(above, "int32"), axes),
        "below": ops.max(ops.cast(below, "int32"), axes),  # `any` takes one axis with some versions of Keras
        "maximum": ops.cast(ops.max(values, axes), exact),
        "magnitude": ops.sum(magnitude, axes),
    }


def _fetched(value: Any) -> Any:
    return value if isinstance(value, int) else keras.ops.convert_to_numpy(value)
