"""Arrays of JAX: computed by JAX, so that its transformations see what is done; the slope is not rounded to 16 bits."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero

from leakyrelu._backends.array_api import floating, floats
from leakyrelu._backends.operands import of_one_library, slopes_of_another_library
from leakyrelu._shared.arguments import finite_slope

__all__ = ["compute", "leaky_relu", "slope_gradient"]

_HALVES = (jnp.float16, jnp.bfloat16)


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> jax.Array:
    """Leaky ReLU, element by element: ``x`` where ``x >= 0``, ``negative_slope * x`` elsewhere.

    It replaces `jax.nn.leaky_relu`. There, a float16 or bfloat16 array makes the slope a number of 16 bits, too; here
    the slope stays a float32, and each result is the exact product, rounded once.

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    negative_slope : float or array_like, default 0.01
        The slope for negative `x`: any finite number, or an array of slopes that broadcasts against `x`, such as a
        learned slope per channel.

    Returns
    -------
    jax.Array
        It has the shape that `x` and `negative_slope` broadcast to. Floats keep their type, whatever that of
        `negative_slope`; bools and integers give JAX's default type.

    Raises
    ------
    TypeError
        `x` or `negative_slope` is not real, or `negative_slope` is a bool or an array of bools.
    ValueError
        `negative_slope` is a single number that is NaN or infinite, or the shapes do not broadcast.

    See Also
    --------
    leakyrelu.leaky_relu : for any array; there the slope is called ``alpha``.

    Notes
    -----
    The derivative at zero is 1, as in JAX. All of JAX's transformations work: `jit`, `vmap`, forward and reverse mode,
    and derivatives of any order. The gradient of a learned slope is summed in float32 at least, and has the slope's
    own type.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from leakyrelu.jax import leaky_relu
    >>> x = jnp.array([-2.0, 0.0, 3.0])
    >>> jax.grad(lambda x: leaky_relu(x, 0.5).sum())(x).tolist()
    [0.5, 1.0, 1.0]
    >>> jax.grad(lambda slope: leaky_relu(x, slope).sum())(0.5).tolist()
    -2.0
    """
    x = floats(jnp, jnp.asarray(x))
    result: jax.Array = _jitted(x, _slopes(finite_slope(negative_slope, "negative_slope"), x))
    return result


leaky_relu.__module__ = "leakyrelu.jax"  # where users and pickle find it


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions of `leakyrelu`."""
    values = _floating(values)
    x = values[-1]
    slopes = _slopes(alpha, x)
    if function == "leaky_relu":
        return _jitted(x, slopes)
    return _scaled(jnp.ones_like(x) if function == "leaky_relu_derivative" else values[0], _is_left(x), slopes)


def slope_gradient(values: tuple[Any, ...], axis: Any, keepdims: bool) -> jax.Array:
    """The gradient with respect to the slope; products of numbers of 16 bits are added up as float32."""
    grad, x = _floating(values)
    left, wide = _is_left(x), _wide(x.dtype)
    products = jnp.where(left, grad, 0).astype(wide) * jnp.where(left, x, 0).astype(wide)
    return jnp.sum(products, axis=axis, keepdims=keepdims).astype(x.dtype)


def _floating(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return floating(jnp, of_one_library(values, jax.Array, partial(floats, jnp), jnp.asarray))


def _wide(dtype: Any) -> Any:
    """The type of a product: float32 for types of 16 bits, the type itself for all others."""
    return jnp.float32 if dtype in _HALVES else dtype


def _slopes(slope: Any, x: jax.Array) -> jax.Array:
    """The slopes in the type of the product."""
    slope = slopes_of_another_library(slope, x, "JAX", jnp.asarray)
    if not jnp.issubdtype(slope.dtype, jnp.floating) and not jnp.issubdtype(slope.dtype, jnp.integer):
        raise TypeError(f"slopes must be real, got {slope.dtype}")
    slopes: jax.Array = slope.astype(_wide(x.dtype))
    return slopes


def _in_one_call(x: jax.Array, slopes: jax.Array) -> jax.Array:
    return _scaled(x, _is_left(x), slopes)


_in_one_call.__name__ = "leaky_relu"  # what the call is named in a jaxpr, as that of jax.nn.leaky_relu is
_jitted = jax.jit(_in_one_call)


def _is_left(x: jax.Array) -> jax.Array:
    """Where the slope counts: below zero, and at NaN."""
    if x.dtype not in _HALVES:
        left: jax.Array = ~(x >= 0)
        return left
    # A comparison of floats would take a subnormal number for zero, as XLA flushes it.
    bits = lax.bitcast_convert_type(x, jnp.int16)
    return ((bits < 0) & (bits != np.iinfo(np.int16).min)) | jnp.isnan(x)


@jax.custom_jvp
def _scaled(values: jax.Array, left: jax.Array, slopes: jax.Array) -> jax.Array:
    """The values; where `left`, times the slopes."""
    return jnp.where(left, _product(values, slopes), values)


def _tangent(primals: Any, tangents: Any) -> Any:
    values, left, slopes = primals
    d_values, _, d_slopes = tangents
    wide = slopes.dtype
    terms = []
    if not isinstance(d_values, SymbolicZero):
        terms.append(d_values.astype(wide) * jnp.where(left, slopes, 1))
    if not isinstance(d_slopes, SymbolicZero):
        products = jnp.where(left, values, 0).astype(wide) * d_slopes
        terms.append(jnp.where(left, products, 0))  # backward, an infinite gradient times zero would be NaN
    result = _scaled(values, left, slopes)
    return result, sum(terms[1:], terms[0]).astype(values.dtype)


_scaled.defjvp(_tangent, symbolic_zeros=True)


def _product(values: jax.Array, slopes: jax.Array) -> jax.Array:
    """The exact product, rounded once to the type of the values."""
    if values.dtype not in _HALVES:
        return values * slopes.astype(values.dtype)
    bits = lax.bitcast_convert_type(slopes, jnp.uint32)
    # XLA would flush a subnormal slope to zero, and infinity times zero is NaN. Finite values are computed below.
    is_subnormal = (bits & 0x7F800000 == 0) & (bits & 0x7FFFFFFF != 0)
    normal = lax.bitcast_convert_type(jnp.where(is_subnormal, bits | 0x00800000, bits), slopes.dtype)
    plain = values.astype(slopes.dtype) * normal
    return jnp.where(jnp.isfinite(plain), _rounded_once(values, slopes), plain.astype(values.dtype))


def _rounded_once(values: jax.Array, slopes: jax.Array) -> jax.Array:
    """The product of numbers of 16 bits and float32 slopes, all of them finite, in integers alone.

    A float32 product would be rounded twice, and XLA flushes subnormal floats to zero. The product of the significands
    has up to 35 bits. Bits that do not fit into 31 only tell whether the rest is zero, in the lowest bit.
    """
    fraction = 10 if values.dtype == jnp.float16 else 7  # how many bits it has
    one, few = jnp.uint32(1), jnp.uint32(15)
    bits = lax.bitcast_convert_type(values, jnp.uint16).astype(jnp.uint32)
    x, x_exponent = _significand(bits & 0x7FFF, fraction)
    slope_bits = lax.bitcast_convert_type(slopes, jnp.uint32)
    slope, slope_exponent = _significand(slope_bits & 0x7FFFFFFF, 23)
    low = x * (slope & few)
    product = x * (slope >> 4) + (low >> 4) | ((low & few) != 0)
    # The exponent of the result, as if it had the most significant bit of the product at place `fraction + 19`.
    exponent = x_exponent + slope_exponent - 127
    top = lax.clz(product).astype(jnp.int32)
    exponent += 12 - fraction - top
    drops = 31 - fraction - top + jnp.maximum(1 - exponent, 0)  # at least 1, as the product has a bit to spare
    drop = jnp.clip(drops, 0, 31).astype(jnp.uint32)
    kept = product >> drop
    rest, half = product & ((one << drop) - 1), (one << drop) >> 1
    kept += (rest > half) | ((rest == half) & (kept & 1 == 1))
    # The bit before the fraction adds one to the exponent; so does a carry.
    magnitude = kept + (jnp.maximum(exponent - 1, 0).astype(jnp.uint32) << fraction)
    infinity = jnp.uint32(0x7FFF >> fraction << fraction)
    magnitude = jnp.where((product == 0) | (drops > 31), 0, jnp.minimum(magnitude, infinity))
    sign = (bits ^ (slope_bits >> 16)) & 0x8000
    return lax.bitcast_convert_type((magnitude | sign).astype(jnp.uint16), values.dtype)


def _significand(bits: jax.Array, fraction: int) -> tuple[jax.Array, jax.Array]:
    """The significand of a number above zero as an integer, and its exponent as it is stored (1 for subnormals)."""
    exponent = (bits >> fraction).astype(jnp.int32)
    hidden = jnp.uint32(1) << fraction
    return (bits & (hidden - 1)) | jnp.where(exponent > 0, hidden, 0), jnp.maximum(exponent, 1)
