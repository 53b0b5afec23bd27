"""Arrays of JAX: computed by JAX, so that its transformations see what is done."""

from typing import Any

import jax
from jax import numpy as jnp

from leakyrelu._backends.array_api import FORMULAS, floating
from leakyrelu._backends.operands import of_one_library

__all__ = ["compute"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions; the value is that of `jax.nn.leaky_relu`."""
    values = floating(jnp, of_one_library(values, jax.Array, jnp.asarray))
    alpha = alpha if isinstance(alpha, float | int) else jnp.asarray(alpha, values[0].dtype)
    if function == "leaky_relu":
        (x,) = values
        return jax.nn.leaky_relu(x, alpha)
    return FORMULAS[function](jnp, alpha, *values)
