"""Finds the units of a Keras model that are dead on given data."""

from collections.abc import Iterator
from inspect import signature
from itertools import islice
from typing import Any

import numpy as np

from leakyrelu._shared.arguments import positive_integer
from leakyrelu._shared.wording import kind_of
from leakyrelu.keras.backends import running_eagerly
from leakyrelu.keras.capture import Capture
from leakyrelu.keras.counts import Counts
from leakyrelu.keras.patches import observed_by
from leakyrelu.keras.private import TorchDataLoaderAdapter, flatten_layers, get_data_adapter, keras
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["check_data", "diagnose"]


def diagnose(model: keras.Model, x: Any, *, batch_size: int = 32, steps: int | None = None) -> Diagnosis:
    """Find the units of a Keras model that never fire on given data, and say how sure that is.

    The model predicts, with ``training=False`` and run eagerly, also if it is compiled with ``jit_compile=True``. Each
    call of ReLU, Leaky ReLU, PReLU, ReLU6, threshold, clip at zero, maximum with zero, GELU, SiLU, ELU, CELU and SELU
    is a site, whether it is an argument ``activation``, a layer or a function of `keras.ops` or `keras.activations`. A
    unit is a channel of a convolution (also with ``channels_first``), counted over batch and space, or a feature of a
    dense or recurrent layer, counted over the batch and all time steps. What counts is the value that enters the
    activation. Nothing of the model is changed: neither weights, nor the states of random generators, nor metrics.

    Parameters
    ----------
    model : keras.Model
        The model. If it is not built, it is built on the first batch, as by `predict`.
    x : array, list or dict of arrays, tf.data.Dataset, keras.utils.PyDataset, torch DataLoader or generator
        The data, as `predict` takes them. Of a dataset that yields tuples, the first item is the input.
    batch_size : int, default 32
        How many examples of an array are a batch. Datasets have batches of their own.
    steps : int, optional
        How many batches are taken, for a dataset without an end.

    Returns
    -------
    Diagnosis
        It has one `Site` per call of an activation, in the order of the calls. A layer that is an activation gives the
        site its name, as ``"re_lu"`` or ``"encoder/re_lu"``; a layer that calls one, and the operation, as
        ``"dense.relu"``; ``":2"`` is appended at the second call.

    Raises
    ------
    TypeError
        `model` is no Keras model or layer, or `x` is no data, or `batch_size` or `steps` no integer.
    ValueError
        `x` has no examples, or is none of the kinds above; or the model calls no activation that is known.

    See Also
    --------
    DeadUnits : does the same at the end of each epoch of `fit`.

    Notes
    -----
    Time steps that Keras's masks hide (``Embedding(mask_zero=True)``, `Masking`) do not count. Where a layer has
    dropped the mask, the one of the same forward pass that fits the values is taken; if there is no such mask or there
    are several, padding counts, and a note says so.

    Other threads compute what they always do. On PyTorch and TensorFlow, their compiled code runs eagerly meanwhile.

    An activation written with other functions (``keras.ops.where(h > 0, h, 0)``, or a function of the backend, such as
    `torch.relu` or `jax.nn.relu`) is not seen. A note names each layer whose activation is such a function, each
    `Lambda` layer without a known activation, and each layer that wraps a module of another library.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from leakyrelu.keras import diagnose
    >>> dense = keras.layers.Dense(3, activation="relu", bias_initializer=lambda shape, dtype: [0.0, -100.0, 100.0])
    >>> model = keras.Sequential([keras.Input((4,)), dense, keras.layers.Dense(2)])
    >>> diagnosis = diagnose(model, np.random.default_rng(0).normal(size=(100, 4)))
    >>> diagnosis.dead, diagnosis.units, diagnosis.dead_fraction
    (1, 3, 0.3333333333333333)
    >>> site = diagnosis.sites[0]
    >>> site.name.endswith(".relu"), site.dead.tolist(), site.always_on.tolist()
    (True, [1], [2])
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model must be a Keras model, got {kind_of(model)}")
    check_data(x, batch_size, steps)
    if hasattr(model, "jax_state_sync"):  # in the middle of an epoch, Keras keeps JAX's weights elsewhere
        model.jax_state_sync()
    counts = Counts()
    capture = Capture(counts)
    examples = 0
    with running_eagerly(model):
        for batch in _batches(x, batch_size, steps):
            given = _first_length(batch)
            if not given:
                continue
            if not examples:
                _build(model, batch)
            examples += given
            # What a layer changes in a call, such as the state of a random generator, is lost with the scope.
            with keras.StatelessScope(), observed_by(capture):
                capture.new_pass()
                _run(model, batch)
            counts.end_of_pass(given)
    if not examples:
        raise ValueError("x has no examples, so nothing was diagnosed; a generator that was used up before has none")
    sums = counts.sums()
    notes = [*capture.notes, *(f"{site.name}: all its values are padding" for site in sums if not site.values)]
    sites = tuple(site.site() for site in sums if site.values)
    if not sites:
        told = "".join(f"; {note}" for note in notes)
        raise ValueError(
            f"{type(model).__name__} called no activation that is known (ReLU, Leaky ReLU, GELU and so on){told}"
        )
    return Diagnosis(sites, examples, tuple(notes))


def check_data(x: Any, batch_size: int, steps: int | None) -> None:
    """Raise an error if `diagnose` does not take this."""
    positive_integer("batch_size", batch_size)
    if steps is not None:
        positive_integer("steps", steps)
    if x is None or callable(x):
        raise TypeError(f"x must be data as Model.predict takes them, such as an array, got {kind_of(x)}")
    if isinstance(x, list | tuple | dict) and not keras.tree.flatten(x):
        raise ValueError(f"x must hold an array for each input of the model, got {x!r}")


def _run(model: Any, batch: Any) -> None:
    training = {"training": False} if "training" in signature(model.call).parameters else {}
    model(batch, **training)


def _build(model: Any, batch: Any) -> None:
    """Create weights that do not exist yet, as `predict` does."""
    if not all(layer.built for layer in flatten_layers(model)):
        with keras.StatelessScope():
            _run(model, batch)


def _batches(x: Any, batch_size: int, steps: int | None) -> Iterator[Any]:
    """The inputs of the batches that `predict` would take."""
    adapter = get_data_adapter(x, batch_size=batch_size)
    adapter.on_epoch_begin()
    if isinstance(adapter, TorchDataLoaderAdapter):  # its own iterator takes a tensor apart
        batches = (keras.tree.map_structure(lambda value: np.asarray(value.cpu()), batch) for batch in x)
    else:
        batches = adapter.get_numpy_iterator()
    for data in islice(batches, steps or adapter.num_batches):
        yield keras.utils.unpack_x_y_sample_weight(data)[0]
    adapter.on_epoch_end()


def _first_length(batch: Any) -> int:
    return int(keras.tree.flatten(batch)[0].shape[0])
