"""The private names of Keras that the counting needs, in one place; an error says which of them is missing."""

from importlib import import_module
from operator import attrgetter
from typing import Any, NamedTuple

from leakyrelu._shared.extras import needs

with needs("leakyrelu[keras]", "leakyrelu.keras"):
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise
        raise ImportError(
            f"Keras's backend needs {error.name}, which is missing; install it, or set the environment variable "
            "KERAS_BACKEND to 'jax', 'tensorflow' or 'torch' before Keras is imported",
            name=error.name,
        ) from error

__all__ = [
    "TARGETS",
    "Target",
    "TorchDataLoaderAdapter",
    "flatten_layers",
    "get_data_adapter",
    "get_keras_mask",
    "in_symbolic_scope",
    "keras",
]


class Target(NamedTuple):
    """What is replaced while a model is observed: an attribute of a module or of a class."""

    owner: Any
    name: str


def _found(module: str, name: str) -> Any:
    try:
        return attrgetter(name)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"leakyrelu.keras does not know how Keras {keras.__version__} computes activations ({module}.{name} is "
            "missing); install another version of one of the two"
        ) from error


# Whatever the user calls (an argument `activation`, a layer, a function of `keras.ops`), it ends in one of these, and
# Keras looks each of them up by its name when it is called.
_NEEDED = {
    "keras.src.backend.nn": (
        *("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu"),
        *("conv", "depthwise_conv", "batch_normalization"),
    ),
    "keras.src.backend.numpy": ("maximum", "clip", "matmul", "einsum", "transpose"),
    "keras.src.backend": ("rnn",),
    "keras.src.activations.activations.ReLU": ("static_call",),
    "keras.src.layers.PReLU": ("call",),
    "keras.src.layers.TimeDistributed": ("call",),
    "keras.src.layers.Layer": ("__call__",),
}
_NOT_IN_ALL_VERSIONS = {
    "keras.src.backend.nn": ("celu", "threshold", "separable_conv", "conv_transpose"),
    "keras.src.backend": ("gru", "lstm"),
    "keras.src.backend.core": ("scan", "map", "while_loop", "fori_loop", "vectorized_map", "remat"),
}


def _targets() -> dict[str, Target]:
    targets = {}
    for names, needed in ((_NEEDED, True), (_NOT_IN_ALL_VERSIONS, False)):
        for path, attributes in names.items():
            owner = _found("keras.src", path.removeprefix("keras.src."))
            for name in attributes:
                if needed:
                    _found("keras.src", f"{path}.{name}".removeprefix("keras.src."))
                if hasattr(owner, name):
                    key = f"{owner.__name__}.{name}" if isinstance(owner, type) else name
                    targets[key] = Target(owner, name)
    return targets


TARGETS = _targets()
flatten_layers = _found("keras.src.layers", "Layer._flatten_layers")  # a layer, and all layers within it
get_data_adapter = _found("keras.src.trainers.data_adapters", "get_data_adapter")
TorchDataLoaderAdapter = _found("keras.src.trainers.data_adapters", "TorchDataLoaderAdapter")
get_keras_mask = _found("keras.src.backend", "get_keras_mask")
in_symbolic_scope = _found("keras.src.backend", "in_symbolic_scope")
