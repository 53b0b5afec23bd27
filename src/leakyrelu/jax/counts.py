"""Counts what enters and leaves an activation, per unit, with operations that JAX compiles."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from leakyrelu.units.layout import Units, refined
from leakyrelu.units.sums import Sums

__all__ = ["Counts", "Seen", "added", "counted", "nothing", "over_iterations", "sums_of"]


class Counts(NamedTuple):
    """Counts of one site; in front of the units may be axes that count the slices of a scan."""

    calls: Any
    fired: Any
    below: Any
    maximum: Any
    magnitude: Any  # the sum of |output|


class Seen(NamedTuple):
    """A site, and what was counted there."""

    name: str  # of the layer
    operation: str
    flat: bool
    values: int  # per unit and call
    counts: Counts
    loops: frozenset[object] = frozenset()  # the scans that take another slice of the layer's weight
    lengths: tuple[int, ...] = ()  # of the axes in front of the units


def counted(x: jax.Array, output: jax.Array, units: Units) -> tuple[Counts, int]:
    """The counts of one call, and how many values each unit had."""
    lengths, places = refined(units, x.shape)
    others = tuple(axis for axis in range(len(lengths)) if axis not in places)
    order = [sorted(places).index(place) for place in places]
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def by_unit(array: jax.Array) -> jax.Array:
        return array if len(lengths) == array.ndim else array.reshape(lengths)

    def flat(result: jax.Array) -> jax.Array:
        return result.transpose(order).reshape(-1)

    x, output = by_unit(x), by_unit(output)
    values = math.prod(lengths[axis] for axis in others)
    # On a CPU, XLA adds up floats several times as fast as integers and bools; they are exact up to 2**24.
    one = jnp.float32(1) if values <= 2**24 else jnp.int32(1)
    # With `abs`, XLA computes an expensive activation a second time, while it adds up.
    magnitudes = jnp.where(output < 0, -output, output)
    counts = Counts(
        calls=jnp.int32(1),
        fired=flat(jnp.sum(jnp.where(x > 0, one, 0), others).astype(jnp.int32)),
        below=flat(jnp.min(x, others, initial=jnp.inf) < 0),
        maximum=flat(jnp.max(x, others, initial=-jnp.inf).astype(wide)),
        magnitude=flat(jnp.sum(magnitudes, others, dtype=wide)),
    )
    return counts, values


def nothing(like: Any) -> Counts:
    """The counts before the first call."""
    return Counts(
        calls=jnp.zeros_like(like.calls),
        fired=jnp.zeros_like(like.fired),
        below=jnp.zeros_like(like.below),
        maximum=jnp.full_like(like.maximum, -jnp.inf),
        magnitude=jnp.zeros_like(like.magnitude),
    )


def added(one: Counts, other: Counts) -> Counts:
    """The counts of two calls together."""
    return Counts(
        calls=one.calls + other.calls,
        fired=one.fired + other.fired,
        below=one.below | other.below,
        maximum=jnp.maximum(one.maximum, other.maximum),
        magnitude=one.magnitude + other.magnitude,
    )


def over_iterations(counts: Counts) -> Counts:
    """The counts of all iterations of a scan together."""
    return Counts(
        calls=counts.calls.sum(0),
        fired=counts.fired.sum(0),
        below=counts.below.any(0),
        maximum=counts.maximum.max(0, initial=-jnp.inf),
        magnitude=counts.magnitude.sum(0),
    )


def sums_of(seen: Seen, counts: Counts, examples: int) -> list[Sums]:
    """The sums of a site, or of each slice of a scan; `counts` are arrays of NumPy."""
    found = []
    for place in np.ndindex(*seen.lengths):
        layer = seen.name + "".join(f"[{index}]" for index in place)
        calls, fired, below, maximum, magnitude = (np.asarray(array)[place] for array in counts)
        sums = Sums(
            name=f"{layer}.{seen.operation}".removeprefix("."),
            operation=seen.operation,
            flat=seen.flat,
            examples=examples if calls else 0,
            values=int(calls) * seen.values,
            fired=fired.astype(np.int64),
            below=np.asarray(below),
            maximum=maximum.astype(np.float64),
            magnitude=magnitude.astype(np.float64),
        )
        found.append(sums)
    return found
