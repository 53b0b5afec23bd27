"""JAX, compiled: it always makes a new output, unless its input is given away ("donated")."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.cells import Arrays
from benchmarks.contenders import Offer


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    jax.config.update("jax_enable_x64", True)
    operation, result = arrays.cell.operation, arrays.cell.result_dtype
    if operation == "out":
        return

    def relu(x: Any) -> Any:
        return jax.nn.leaky_relu(x, slope)

    def derivative(x: Any) -> Any:
        return jnp.where(x >= 0, jnp.ones((), result), jnp.asarray(slope, result))

    def backward(grad: Any, x: Any) -> Any:
        return jax.vjp(relu, x)[1](grad)[0]

    x = jnp.array(arrays.x)  # a copy, in JAX's own memory
    if operation == "inplace":
        # The slope is an argument here. The one for in-place cells is 1 in 16 bits: if it were a constant, the compiler
        # would leave out the whole computation.
        donating, a = jax.jit(jax.nn.leaky_relu, donate_argnums=0), jnp.asarray(slope, result)
        held = [x]
        del x

        def inplace() -> object:
            held[0] = donating(held[0], a).block_until_ready()
            return held[0]

        yield Offer("jax.jit", "peer", {"inplace": inplace})
    elif operation == "backward":
        grad, compiled = jnp.array(arrays.grad), jax.jit(backward)
        yield Offer("jax.jit", "peer", {"backward": lambda: compiled(grad, x).block_until_ready()})
    else:
        compiled = jax.jit(relu if operation == "new" else derivative)
        yield Offer("jax.jit", "peer", {operation: lambda: compiled(x).block_until_ready()})
