"""What the backends have under different names: to run eagerly or compiled, and to tell a tensor without values."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import lru_cache, wraps
from typing import Any

from leakyrelu.keras.private import flatten_layers, keras

__all__ = ["compiled", "is_symbolic", "running_as_keras_does", "running_eagerly"]


@contextmanager
def running_eagerly(model: Any) -> Iterator[None]:
    """Run what is compiled (`jax.jit`, `tf.function`, `torch.compile`) as it is written, and without gradients."""
    with ExitStack() as stack:
        backend = keras.backend.backend()
        if backend == "jax":
            import jax

            stack.enter_context(jax.disable_jit())
        elif backend == "tensorflow":
            stack.enter_context(_tensorflow_functions(eager=True))
        elif backend == "torch":
            import torch

            modules = {module for layer in flatten_layers(model) for module in layer.modules()}
            modes = [(module, module.training) for module in modules]
            stack.callback(_set_modes, modes)
            if "_dynamo" in vars(torch):  # otherwise nothing was compiled, and its import takes seconds
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(torch.no_grad())
        yield


def _set_modes(modes: Iterable[tuple[Any, bool]]) -> None:
    for module, mode in modes:
        module.training = mode


@contextmanager
def _tensorflow_functions(*, eager: bool) -> Iterator[None]:
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    try:
        tf.config.run_functions_eagerly(eager)
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def running_as_keras_does() -> AbstractContextManager[None]:
    """Let Keras compile the functions that TensorFlow does not have without that, such as grouped convolutions."""
    return _tensorflow_functions(eager=False) if keras.backend.backend() == "tensorflow" else nullcontext()


def is_symbolic(value: Any) -> bool:
    """Whether a tensor belongs to a graph, so that it has no values yet."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return isinstance(value, jax.core.Tracer)
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.is_symbolic_tensor(value))
    if backend == "torch":
        return bool(getattr(value, "is_meta", False))
    return False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, compiled by JAX, where each operation by itself takes long; keywords are constants."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    @lru_cache(256)
    def with_constants(*constants: tuple[str, Any]) -> Any:
        return jax.jit(lambda *args: function(*args, **dict(constants)))

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jax.disable_jit(disable=False):
            return with_constants(*kwargs.items())(*args)

    return call
