"""`leakyrelu.keras`: counts that equal those made by hand, on each backend of Keras.

The tests run on the backend that KERAS_BACKEND names; `test_other_backends` runs this file on the others.
"""

import csv
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from interrupts import interrupted_everywhere

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),  # Keras with later versions of its backends
    pytest.mark.filterwarnings("ignore:.*jax.core.Tracer.*"),
]

pytest.importorskip("keras")

import keras
from keras import layers, ops

from leakyrelu.keras import DeadUnits, Diagnosis, diagnose, patches
from leakyrelu.keras import private as private_names

BACKEND = keras.backend.backend()
NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
rng = np.random.default_rng(0)
DATA = rng.normal(size=(100, 6)).astype("float32")
IMAGES = rng.normal(size=(20, 8, 10, 3)).astype("float32")


def counts(site):
    return site.name, site.operation, site.values, site.fired.tolist(), site.below.tolist()


def by_hand(name, operation, preactivation, threshold=0.0):
    """The counts of values whose units are on the last axis."""
    rows = preactivation.reshape(-1, preactivation.shape[-1])
    return name, operation, len(rows), (rows > threshold).sum(0).tolist(), (rows < threshold).any(0).tolist()


def dense(x, layer):
    kernel, bias = layer.get_weights()
    return x.astype("float64") @ kernel + bias


def convolution(x, layer):
    """Of images with the channels last, without padding."""
    kernel, bias = layer.get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), kernel.shape[:2], (1, 2))
    return np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + bias


def relu(x):
    return np.maximum(x, 0)


def randomized(model, scale=0.7):
    """The same weights on every backend, biases included."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=weight.shape, scale=scale) for weight in model.get_weights()])
    return model


# Counts by hand


def test_a_perceptron_is_counted_as_by_hand():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(7, activation="relu", name="one"),
            layers.Dense(5, name="two"),
            layers.LeakyReLU(negative_slope=0.1, name="leaky"),
            layers.Dense(2, name="out"),
        ]
    )
    randomized(model)
    diagnosis = diagnose(model, DATA, batch_size=32)
    first = dense(DATA, model.layers[0])
    second = dense(relu(first), model.layers[1])
    assert list(map(counts, diagnosis.sites)) == [
        by_hand("one.relu", "relu", first),
        by_hand("leaky", "leaky_relu", second),
    ]
    assert diagnosis.examples == 100
    assert not diagnosis.notes
    for site, values, slope in zip(diagnosis.sites, (first, second), (0, 0.1), strict=True):
        assert site.examples == 100
        assert site.flat == (slope == 0)
        np.testing.assert_allclose(site.maximum, values.max(0), rtol=1e-5)
        output = np.where(values > 0, values, slope * values)
        np.testing.assert_allclose(site.mean_output, np.abs(output).mean(0), rtol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_convolutional_network_is_counted_as_by_hand(data_format):
    axis = -1 if data_format == "channels_last" else 1
    shape = (8, 10, 3) if data_format == "channels_last" else (3, 8, 10)
    conv = {"data_format": data_format}
    inputs = keras.Input(shape)
    h = layers.Conv2D(4, 3, activation="relu", name="one", **conv)(inputs)
    h = layers.Conv2D(5, (2, 3), name="two", **conv)(h)
    h = layers.ReLU(name="act")(h + 0.0)
    h = layers.MaxPooling2D(2, padding="same", **conv)(h)
    h = layers.ReLU(name="pooled")(h * 1.0 - 0.5)
    h = layers.BatchNormalization(axis=axis)(layers.Conv2D(2, 1, name="three", **conv)(h))
    h = ops.relu(h)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D(**conv)(h))), 0.4)
    norm = next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    norm.set_weights([np.array([1.5, -1]), np.array([0.1, 0.2]), np.zeros(2), np.ones(2)])
    diagnosis = diagnose(model, IMAGES if axis == -1 else IMAGES.transpose(0, 3, 1, 2), batch_size=8)

    first = convolution(IMAGES, model.get_layer("one"))
    second = convolution(relu(first), model.get_layer("two"))
    padded = np.pad(relu(second), [(0, 0), (0, 1), (0, 0), (0, 0)])
    pooled = padded.reshape(20, 3, 2, 3, 2, 5).max((2, 4))
    third = convolution(relu(pooled - 0.5), model.get_layer("three"))
    normed = third * np.array([1.5, -1]) / np.sqrt(1 + norm.epsilon) + [0.1, 0.2]
    assert list(map(counts, diagnosis.sites)) == [
        by_hand("one.relu", "relu", first),
        by_hand("act", "relu", second),
        by_hand("pooled", "relu", pooled - 0.5),
        by_hand("relu", "relu", normed),
    ]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_units_are_channels_in_any_number_of_dimensions(rank):
    kinds = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
    model = keras.Sequential([keras.Input((*[5] * rank, 4)), kinds[rank](11, 5, activation="relu", name="conv")])
    kernel = np.ones((*[5] * rank, 4, 11))
    kernel[..., :2] = 0
    model.set_weights([kernel, np.zeros(11)])
    (site,) = diagnose(model, np.ones((9, *[5] * rank, 4))).sites
    assert (site.dead.tolist(), site.units, site.values) == ([0, 1], 11, 9)
    model.set_weights([0 * kernel, np.zeros(11)])
    assert diagnose(model, np.ones((9, *[5] * rank, 4))).dead == 11
    model.set_weights([np.ones_like(kernel), np.zeros(11)])
    assert diagnose(model, np.ones((9, *[5] * rank, 4))).dead == 0


def test_features_of_tokens_are_units():
    model = keras.Sequential([keras.Input((3, 4)), layers.Dense(11, activation="relu", use_bias=False, name="dense")])
    for dead in range(3):
        kernel = np.ones((4, 11))
        kernel[:, :dead] = 0
        model.set_weights([kernel])
        (site,) = diagnose(model, np.ones((9, 3, 4))).sites
        assert (site.dead.tolist(), site.values, site.examples) == (list(range(dead)), 27, 9)


def test_grouped_convolutions():
    layer = layers.Conv2D(6, 3, groups=3, activation="relu", name="conv")
    model = randomized(keras.Sequential([keras.Input((8, 10, 3)), layer]))
    (site,) = diagnose(model, IMAGES).sites
    output = model.predict(IMAGES, verbose=0)
    assert (site.units, site.values) == (6, 20 * 6 * 8)
    assert site.fired.tolist() == (output > 0).sum((0, 1, 2)).tolist()


def test_heads_and_their_features_are_units():
    layer = layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 5), activation="relu", name="heads")
    model = randomized(keras.Sequential([keras.Input((4, 6)), layer]))
    x = rng.normal(size=(10, 4, 6)).astype("float32")
    (kernel,) = layer.get_weights()
    assert counts(diagnose(model, x).sites[0]) == by_hand(
        "heads.relu", "relu", np.einsum("abc,cde->abde", x.astype("float64"), kernel).reshape(10, 4, 10)
    )


ACTIVATIONS = {
    "relu": ("relu", True, 0),
    "relu6": ("relu6", True, 0),
    "leaky_relu": ("leaky_relu", False, 0),
    "elu": ("elu", False, 0),
    "selu": ("selu", False, 0),
    "gelu": ("gelu", False, 0),
    "swish": ("silu", False, 0),
}


def layer_kinds():
    yield from ((layers.Activation(name), expected) for name, expected in ACTIVATIONS.items())
    yield layers.ReLU(), ("relu", True, 0)
    yield layers.ReLU(max_value=6.0), ("relu6", True, 0)
    yield layers.ReLU(max_value=2.0), ("relu", True, 0)
    yield layers.ReLU(threshold=0.5), ("threshold", True, 0.5)
    yield layers.ReLU(threshold=0.5, max_value=3.0), ("threshold", True, 0.5)
    yield layers.ReLU(negative_slope=0.1), ("leaky_relu", False, 0)
    yield layers.ReLU(negative_slope=0.1, threshold=0.5, max_value=3.0), ("leaky_relu", False, 0.5)
    yield layers.LeakyReLU(negative_slope=0.0), ("leaky_relu", True, 0)
    yield layers.PReLU(), ("prelu", False, 0)
    yield layers.ELU(), ("elu", False, 0)
    yield layers.Activation(ops.relu), ("relu", True, 0)
    yield layers.Activation(keras.activations.get("leaky_relu")), ("leaky_relu", False, 0)
    if hasattr(ops, "celu"):
        yield layers.Activation("celu"), ("celu", False, 0)


@pytest.mark.parametrize(("layer", "expected"), [*layer_kinds()], ids=str)
def test_layers_that_are_activations(layer, expected):
    operation, flat, threshold = expected
    model = keras.Sequential([keras.Input((6,)), layer])
    diagnosis = diagnose(model, DATA)
    (site,) = diagnosis.sites
    assert counts(site) == by_hand(layer.name, operation, DATA, threshold)
    assert site.flat is flat
    np.testing.assert_allclose(site.maximum, DATA.max(0) - threshold, rtol=1e-6)
    output = ops.convert_to_numpy(layer(DATA))
    np.testing.assert_allclose(site.mean_output, np.abs(output).mean(0), rtol=1e-5)
    assert not diagnosis.notes


FUNCTIONS = {
    "relu": (ops.relu, 0),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.3), 0),
    "maximum": (lambda x: ops.maximum(x, 0), 0),
    "maximum of an array": (lambda x: ops.maximum(np.float32(0), x), 0),
    "clip": (lambda x: ops.clip(x, 0, 4), 0),
    "relu of keras.activations": (lambda x: keras.activations.relu(x, threshold=1.0), 1.0),
}
if hasattr(ops, "threshold"):
    FUNCTIONS["threshold"] = (lambda x: ops.threshold(x, 0.5, 0.0), 0.5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("inline", [True, False])
def test_functions_inline_and_as_arguments(name, inline):
    function, threshold = FUNCTIONS[name]
    operation = "threshold" if "keras.activations" in name else name.partition(" ")[0]
    inputs = keras.Input((6,))
    if inline:
        model = keras.Model(inputs, function(layers.Dense(5, name="dense")(inputs)))
    else:
        model = keras.Model(inputs, layers.Dense(5, activation=function, name="dense")(inputs))
    randomized(model)
    expected = by_hand(
        operation if inline else f"dense.{operation}", operation, dense(DATA, model.layers[1]), threshold
    )
    diagnosis = diagnose(model, DATA)
    assert list(map(counts, diagnosis.sites)) == [expected]
    assert not diagnosis.notes


def test_what_is_no_activation_is_no_site():
    inputs = keras.Input((6,))
    h = layers.Dense(5, activation="tanh")(ops.clip(inputs, -1, 1))
    h = layers.Softmax()(ops.maximum(h, 0.5))
    for activation in ("hard_sigmoid", "hard_silu", "softplus", "mish", "linear"):  # some backends make these of ReLU6
        h = layers.Dense(5, activation=activation)(h)
    h = layers.Dense(5, activation="relu", name="dense")(layers.Maximum()([h, h - 1.0]))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(h))
    diagnosis = diagnose(model, DATA)
    assert [site.name for site in diagnosis.sites] == ["dense.relu"]
    assert not diagnosis.notes


# Names


class Block(keras.Model):
    """A subclass whose layers are called twice, with functions between."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.dense = layers.Dense(6, activation="relu", name="dense")
        self.act = layers.ReLU(name="act")

    def call(self, x, training=False):
        assert not training
        return self.act(ops.relu(self.dense(self.act(self.dense(x)))) - 0.1)


def test_sites_of_shared_nested_and_subclassed_models_have_their_own_names():
    inputs = keras.Input((6,))
    shared = layers.Dense(6, activation="relu", name="shared")
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="a"), layers.LeakyReLU(name="b")], name="inner")
    h = shared(shared(inputs))
    h = Block(name="block")(inner(h))
    model = randomized(keras.Model(inputs, [h, inner(h)]))
    diagnosis = diagnose(model, DATA)
    assert [(site.name, site.operation) for site in diagnosis.sites] == [
        ("shared.relu", "relu"),
        ("shared.relu:2", "relu"),
        ("inner/b", "leaky_relu"),
        ("block/dense.relu", "relu"),
        ("block/act", "relu"),
        ("block/dense.relu:2", "relu"),
        ("block.relu", "relu"),
        ("block/act:2", "relu"),
        ("inner/b:2", "leaky_relu"),
    ]
    first = dense(DATA, shared)
    second = dense(relu(first), shared)
    assert [counts(site)[2:] for site in diagnosis.sites[:2]] == [by_hand("", "", each)[2:] for each in (first, second)]


def test_an_activation_layer_as_an_argument_and_a_lambda_layer():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, activation=layers.LeakyReLU(name="leaky"), name="dense"),
            layers.Lambda(ops.relu, name="function"),
        ]
    )
    diagnosis = diagnose(model, DATA)
    assert [site.name for site in diagnosis.sites] == ["dense/leaky", "function.relu"]
    assert not diagnosis.notes


def test_an_unbuilt_model_is_built_and_counted():
    model = keras.Sequential([layers.Dense(5, activation="relu", name="dense")])
    (site,) = diagnose(model, DATA).sites
    assert counts(site) == by_hand("dense.relu", "relu", dense(DATA, model.layers[0]))


# Masks and loops

LENGTHS = np.array([3, 1, 6, 3, 1, 6])
TOKENS = rng.integers(1, 12, size=(6, 6)) * (np.arange(6) < LENGTHS[:, None])


def token_model(*rest, length=None, **embedding):
    table = layers.Embedding(12, 6, name="embedding", **embedding)
    return randomized(keras.Sequential([keras.Input((length,), dtype="int32"), table, *rest]))


def unpadded(model):
    """The counts of a model that runs on one example at a time, without padding."""
    total = {}
    for tokens, length in zip(TOKENS, LENGTHS, strict=True):
        for site in diagnose(model, tokens[None, :length]).sites:
            name, operation, values, fired, below = counts(site)
            before = total.get(name, (name, operation, 0, [0] * len(fired), [False] * len(fired)))
            total[name] = (
                name,
                operation,
                before[2] + values,
                [a + b for a, b in zip(before[3], fired, strict=True)],
                [a or b for a, b in zip(before[4], below, strict=True)],
            )
    return list(total.values())


RECURRENT = {
    "dense": lambda: [layers.Dense(5, activation="relu", name="a"), layers.ReLU(name="b")],
    "rnn": lambda: [layers.SimpleRNN(5, activation="relu", return_sequences=True, name="rnn")],
    "lstm": lambda: [layers.LSTM(4, activation="relu", name="lstm"), layers.ReLU(name="b")],
    "gru": lambda: [layers.GRU(4, activation="leaky_relu", go_backwards=True, name="gru")],
    "bidirectional": lambda: [layers.Bidirectional(layers.SimpleRNN(3, activation="relu"), name="both")],
    "time_distributed": lambda: [
        layers.TimeDistributed(keras.Sequential([layers.Dense(4, activation="relu"), layers.ELU()]), name="each"),
        layers.Dense(2, activation="relu", name="after"),
    ],
    "lost": lambda: [Lost(name="lost"), layers.Dense(4, activation="relu", name="after")],
}


class Lost(layers.Layer):
    """A layer that does not support masks, as the layers that people write."""

    def __init__(self, name):
        super().__init__(name=name)
        self.dense = layers.Dense(6, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return ops.relu(self.dense(x) + 0.1)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("kind", RECURRENT)
def test_padding_does_not_count(kind):
    model = token_model(*RECURRENT[kind](), mask_zero=True)
    padded = diagnose(model, TOKENS, batch_size=3)
    assert [site.examples for site in padded.sites] == [6] * len(padded.sites)
    assert not padded.notes
    assert list(map(counts, padded.sites)) == unpadded(model)


def test_a_recurrent_layer_is_counted_as_by_hand():
    layer = layers.SimpleRNN(4, activation="relu", name="rnn")
    model = randomized(keras.Sequential([keras.Input((5, 3)), layer]), 0.5)
    x = rng.normal(size=(20, 5, 3)).astype("float32")
    kernel, recurrent, bias = layer.get_weights()
    state, steps = np.zeros((20, 4)), []
    for t in range(5):
        steps.append(x[:, t].astype("float64") @ kernel + bias + state @ recurrent)
        state = relu(steps[-1])
    (site,) = diagnose(model, x).sites
    assert counts(site) == by_hand("rnn/simple_rnn_cell.relu", "relu", np.stack(steps))
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), state, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"go_backwards": True}, {"return_sequences": True}, {"unroll": True}])
@pytest.mark.parametrize(("kind", "calls"), [("GRU", 1), ("LSTM", 2), ("SimpleRNN", 1)])
def test_all_time_steps_of_a_layer_are_one_site(kind, calls, options):
    layer = getattr(layers, kind)(4, activation="relu", name="rnn", **options)
    diagnosis = diagnose(keras.Sequential([layer]), DATA[:80].reshape(16, 5, 6))
    assert [site.values for site in diagnosis.sites] == [16 * 5] * calls
    assert [site.examples for site in diagnosis.sites] == [16] * calls


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_a_mask_that_fits_nothing_is_told():
    model = token_model(layers.Conv1D(4, 3, activation="relu", name="conv"), mask_zero=True, length=6)
    diagnosis = diagnose(model, TOKENS)
    assert diagnosis.notes == ("conv.relu: no mask fits its values, so padding counts there",)
    assert diagnosis.sites[0].values == 6 * 4


def test_examples_that_are_all_padding_count_for_nothing():
    model = token_model(layers.Dense(5, activation="relu", name="a"), mask_zero=True)
    with pytest.raises(ValueError, match=r"called no activation that is known .*; a\.relu: all its values are padding"):
        diagnose(model, np.zeros((3, 6), "int32"))


def test_cells_in_a_stack_are_counted_in_their_loop_alone():
    cells = [layers.GRUCell(4, activation="relu", name="a"), layers.SimpleRNNCell(3, activation="relu", name="b")]
    model = keras.Sequential([keras.Input((5, 6)), layers.RNN(cells, name="rnn")])
    sites = diagnose(model, rng.normal(size=(10, 5, 6))).sites
    assert [(site.name.rpartition("/")[2], site.values) for site in sites] == [("a.relu", 50), ("b.relu", 50)]


@pytest.mark.parametrize("loop", ["fori_loop", "scan", "map", "while_loop"])
def test_the_steps_of_a_loop_are_one_site(loop):
    class Loop(layers.Layer):
        def call(self, x):
            if loop == "fori_loop":
                return ops.fori_loop(0, 3, lambda _, h: ops.relu(h - 0.5), x)
            if loop == "scan":
                return ops.scan(lambda h, _: (ops.relu(h - 0.5), h), x, ops.zeros((3, 1)))[0]
            if loop == "map":
                return ops.map(lambda h: ops.relu(h[None] - 0.5)[0], x)
            return ops.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, ops.relu(h - 0.5)), (0, x))[1]

        def compute_output_shape(self, shape):
            return shape

    model = keras.Sequential([Loop(name="loop")])
    (site,) = diagnose(model, DATA).sites
    steps = [DATA - 0.5]
    while loop != "map" and len(steps) < 3:
        steps.append(relu(steps[-1]) - 0.5)
    assert counts(site) == by_hand("loop.relu", "relu", np.stack(steps))


def test_a_vectorized_map_is_told():
    class Mapped(layers.Layer):
        def call(self, x):
            return ops.relu(ops.vectorized_map(ops.relu, x))

    diagnosis = diagnose(keras.Sequential([Mapped(name="mapped")]), DATA)
    assert [site.name for site in diagnosis.sites] == ["mapped.relu:2"]
    assert diagnosis.notes == ("mapped.relu: it is called in keras.ops.vectorized_map, which does not show its values",)


# What the model is


def compiled_function():
    if BACKEND == "jax":
        import jax

        return jax.jit(ops.relu)
    if BACKEND == "torch":
        return ops.relu  # torch.compile takes half a minute
    import tensorflow as tf

    return tf.function(ops.relu)


def test_compiled_code_is_seen():
    function = compiled_function()

    class Compiled(layers.Layer):
        def call(self, x):
            return function(x)

    model = keras.Sequential([keras.Input((6,)), Compiled(name="compiled")])
    model.compile("sgd", "mse", jit_compile=BACKEND == "jax")
    model.predict(DATA, verbose=0)
    assert list(map(counts, diagnose(model, DATA).sites)) == [by_hand("compiled.relu", "relu", DATA)]


def test_rematerialization_hides_nothing():
    if not hasattr(keras, "RematScope"):
        pytest.skip("this Keras has none")
    with keras.RematScope(mode="full"):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu", name="dense")])
    (site,) = diagnose(model, DATA).sites
    assert counts(site) == by_hand("dense.relu", "relu", dense(DATA, model.layers[0]))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(policy):
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 unless it is told so when it starts")
    layer = layers.Dense(5, activation="relu", dtype=policy, name="dense")
    model = randomized(keras.Sequential([keras.Input((6,), dtype=policy.replace("mixed_", "")), layer]))
    (site,) = diagnose(model, DATA).sites
    output = ops.convert_to_numpy(ops.cast(model(DATA.astype("float32")), "float32"))
    assert site.fired.tolist() == (output > 0).sum(0).tolist()
    np.testing.assert_allclose(site.maximum, dense(DATA, layer).max(0), rtol=0.03)
    np.testing.assert_allclose(site.mean_output, output.mean(0), rtol=1e-3)


def test_a_nan_is_told():
    x = DATA.copy()
    x[3, 2] = np.nan
    for layer in (layers.ReLU(), layers.LeakyReLU(), layers.Activation("gelu")):
        (site,) = diagnose(keras.Sequential([layer]), x).sites
        assert np.isnan(site.maximum).tolist() == [False, False, True, False, False, False]
        assert site.nan.tolist() == [2]


def test_infinities_are_counted():
    x = np.array([[np.inf, -np.inf], [-1, -np.inf]], "float32")
    (site,) = diagnose(keras.Sequential([layers.ReLU()]), x).sites
    assert (site.fired.tolist(), site.maximum.tolist(), site.dead.tolist()) == ([1, 0], [np.inf, -np.inf], [1])


@pytest.mark.parametrize(
    ("layer", "note"),
    [
        (
            lambda: layers.Dense(3, activation=lambda x: ops.where(x > 0, x, 0), name="here"),
            "here: its activation <lambda> calls none that Keras has, so its units are not counted",
        ),
        (
            lambda: layers.Lambda(lambda x: ops.where(x > 0, x, 0), name="here"),
            "here: it is a Lambda layer that calls no activation of Keras; one that it computes otherwise is not counted",
        ),
    ],
)
def test_what_is_not_seen_is_told(layer, note):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="relu", name="dense"), layer()])
    diagnosis = diagnose(model, DATA)
    assert [site.name for site in diagnosis.sites] == ["dense.relu"]
    assert diagnosis.notes == (note,)
    with pytest.raises(ValueError, match=r"called no activation that is known .*; here: "):
        diagnose(keras.Sequential([keras.Input((6,)), layer()]), DATA)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's modules are layers there alone")
def test_a_module_of_pytorch_is_told():
    import torch

    wrapped = layers.TorchModuleWrapper(torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.ReLU()), name="wrapped")
    model = keras.Sequential([wrapped, layers.ReLU(name="relu")])
    model(DATA)
    wrapped.module.train()
    diagnosis = diagnose(model, DATA)
    assert [site.name for site in diagnosis.sites] == ["relu"]
    assert diagnosis.notes == (
        "wrapped: it is a TorchModuleWrapper, whose activations are not Keras's and are not seen",
    )
    assert wrapped.module.training


# Nothing is changed


def functions():
    return {name: vars(owner)[attribute] for name, (owner, attribute) in private_names.TARGETS.items()}


def test_the_model_and_keras_are_as_before():
    dropout = layers.Dropout(0.5, seed=1)

    class Random(layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(0)

        def call(self, x):
            return x + keras.random.normal(ops.shape(x), seed=self.generator)

    regularized = layers.Dense(4, activation="relu", activity_regularizer="l2")
    frozen = layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((6,)), regularized, dropout, frozen, Random(), layers.BatchNormalization()])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(DATA, DATA[:, :4], verbose=0)
    keep = [np.array(ops.convert_to_numpy(variable)) for variable in [*model.variables, *model.metrics_variables]]
    names, attributes = functions(), {layer.name: set(vars(layer)) for layer in model.layers}
    results, history = model.get_metrics_result(), model.history
    diagnose(model, DATA)
    after = [ops.convert_to_numpy(variable) for variable in [*model.variables, *model.metrics_variables]]
    for one, other in zip(keep, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert functions() == names
    assert {layer.name: set(vars(layer)) for layer in model.layers} == attributes
    assert model.get_metrics_result() == results
    assert model.history is history
    assert [layer.trainable for layer in model.layers] == [True, True, False, True, True]


def test_an_error_of_the_model_leaves_keras_as_it_was():
    class Fails(layers.Layer):
        def call(self, x):
            ops.relu(x)
            raise RuntimeError("on purpose")

    names = functions()
    inner = Fails(name="fails")
    for layer in (inner, layers.TimeDistributed(inner)):
        model = keras.Sequential([layer])
        with pytest.raises(RuntimeError, match="on purpose"):
            diagnose(model, DATA[:, None] if layer is not inner else DATA)
        assert functions() == names
        assert "call" not in vars(inner)
    (site,) = diagnose(keras.Sequential([layers.ReLU(name="relu")]), DATA).sites
    assert counts(site) == by_hand("relu", "relu", DATA)


def test_another_thread_is_not_counted_and_computes_what_it_always_does():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu", name="dense")])
    expected = ops.convert_to_numpy(model(DATA))
    entered, leave, results = threading.Event(), threading.Event(), []

    class Waits(layers.Layer):
        def call(self, x):
            entered.set()
            assert leave.wait(60)
            return ops.relu(x)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    waiting = keras.Sequential([keras.Input((6,)), Waits(name="waits")])
    thread = threading.Thread(target=lambda: results.append(diagnose(waiting, DATA)))
    names = functions()
    thread.start()
    assert entered.wait(60)
    assert functions() != names
    np.testing.assert_allclose(ops.convert_to_numpy(model(DATA)), expected, rtol=1e-6)
    (site,) = diagnose(model, DATA).sites
    assert counts(site) == by_hand("dense.relu", "relu", dense(DATA, model.layers[0]))
    leave.set()
    thread.join()
    assert functions() == names
    assert list(map(counts, results[0].sites)) == [by_hand("waits.relu", "relu", DATA)]


# What x is


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return DATA[25 * i : 25 * i + 25], DATA[25 * i : 25 * i + 25, 0]


def data_kinds():
    yield "float64", lambda: DATA.astype("float64")
    yield "dataset", Batches
    yield "generator", lambda: ((DATA[i : i + 10], 0 * DATA[i : i + 10]) for i in range(0, 100, 10))
    yield "tensor", lambda: ops.convert_to_tensor(DATA)
    if find_spec("pandas"):
        yield "frame", lambda: __import__("pandas").DataFrame(DATA)
    if find_spec("torch"):
        yield "loader", torch_loader
        yield "loader of tensors", torch_loader_of_tensors
    if find_spec("tensorflow"):
        yield "tf.data", tf_dataset


def torch_loader():
    import torch

    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(DATA)), batch_size=7)


def torch_loader_of_tensors():
    import torch

    return torch.utils.data.DataLoader(torch.tensor(DATA), batch_size=7)


def tf_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((DATA, DATA[:, 0])).batch(13)


@pytest.mark.parametrize(("kind", "make"), [*data_kinds()], ids=lambda each: each if isinstance(each, str) else "")
def test_data_of_all_kinds_that_predict_takes(kind, make):
    model = keras.Sequential([keras.Input((6,)), layers.ReLU(name="relu")])
    diagnosis = diagnose(model, make())
    assert list(map(counts, diagnosis.sites)) == [by_hand("relu", "relu", DATA)]
    assert diagnosis.examples == 100


def test_several_inputs_and_outputs():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    total = layers.Add(name="add")([a, b])
    model = keras.Model({"a": a, "b": b}, {"one": layers.ReLU(name="one")(total), "two": ops.relu(total - 1.0)})
    by_name = diagnose(model, {"a": DATA, "b": -2 * DATA})
    expected = [by_hand("one", "relu", -DATA), by_hand("relu", "relu", -DATA - 1)]
    assert sorted(map(counts, by_name.sites)) == expected
    in_order = keras.Model([a, b], [layers.ReLU(name="one")(total), ops.relu(total - 1.0)])
    assert sorted(map(counts, diagnose(in_order, [DATA, -2 * DATA]).sites)) == expected


def test_some_batches_of_a_dataset():
    model = keras.Sequential([keras.Input((6,)), layers.ReLU(name="relu")])
    assert diagnose(model, Batches(), steps=2).examples == 50
    endless = ((DATA[:10],) for _ in iter(int, 1))
    assert diagnose(model, endless, steps=3).examples == 30


def test_what_is_wrong_is_said():
    model = keras.Sequential([keras.Input((6,)), layers.ReLU()])
    with pytest.raises(TypeError, match="model must be a Keras model, got int"):
        diagnose(3, DATA)
    with pytest.raises(ValueError, match="x has no examples"):
        diagnose(model, DATA[:0])
    with pytest.raises(ValueError, match=r"x must hold an array for each input of the model, got \[\]"):
        diagnose(model, [])
    for name in ("batch_size", "steps"):
        for wrong, error in ((0, ValueError), (1.5, TypeError), ("all", TypeError)):
            with pytest.raises(error, match=f"^{name} must be "):
                diagnose(model, DATA, **{name: wrong})
            with pytest.raises(error, match=f"^{name} must be "):
                DeadUnits(DATA, **{name: wrong})
    for x in (None, model, rng.normal):
        with pytest.raises(TypeError, match=r"^x must be data as Model\.predict takes them, such as an array, got \w+"):
            diagnose(model, x)
        with pytest.raises(TypeError, match=r"^x must be data"):
            DeadUnits(x)
    with pytest.raises(TypeError, match="model must be a Keras model, got the class Dense, not an instance"):
        diagnose(layers.Dense, DATA)
    with pytest.raises(TypeError, match="x is a generator, which is used up after one epoch"):
        DeadUnits(DATA[:10] for _ in range(3))
    with pytest.raises(ValueError, match="Sequential called no activation that is known"):
        diagnose(keras.Sequential([keras.Input((6,)), layers.Dense(3)]), DATA)
    with pytest.raises(ValueError, match="freq must be at least 1, got 0"):
        DeadUnits(DATA, freq=0)
    with pytest.raises(ValueError, match=r"kinds must be some of dead, .* got 'dead'"):
        DeadUnits(DATA, kinds="dead")


# The callback


def classifier():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu", name="hidden"), layers.Dense(1)])
    model.layers[0].bias.assign(np.where(np.arange(8) < 3, -1000.0, 0.0))
    model.compile("sgd", "mse")
    return model


def fit(model, *callbacks, epochs=3, **keywords):
    return model.fit(DATA, DATA[:, :1], epochs=epochs, verbose=0, callbacks=list(callbacks), **keywords)


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.keys = []

    def on_epoch_end(self, epoch, logs=None):
        self.keys.append(sorted(logs))


def test_the_callback_writes_to_the_logs_of_those_that_stand_after_it(tmp_path):
    before, after, units = Seen(), Seen(), DeadUnits(DATA, per_site=True, kinds=("dead", "dormant"))
    file = tmp_path / "log.csv"
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "model.keras", monitor="units/dead_fraction", mode="min", save_best_only=True
    )
    model = classifier()
    history = fit(model, before, units, after, keras.callbacks.CSVLogger(file), checkpoint).history
    keys = ["units/dead_fraction", "units/dead_fraction/hidden.relu", "units/dormant_fraction"]
    assert before.keys == [["loss"]] * 3
    assert after.keys == [["loss", *keys]] * 3
    assert all(history[key] == [0.375] * 3 for key in keys)
    assert isinstance(units.diagnosis, Diagnosis)
    assert units.diagnosis.sites[0].dead.tolist() == [0, 1, 2]
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["units/dead_fraction"] for row in rows] == ["0.375"] * 3
    assert [row["units/dead_fraction/hidden.relu"] for row in rows] == ["0.375"] * 3
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert diagnose(saved, DATA).dead == 3


def test_early_stopping_sees_it():
    stopping = keras.callbacks.EarlyStopping("units/dead_fraction", mode="min", patience=1)
    assert len(fit(classifier(), DeadUnits(DATA), stopping, epochs=9).history["loss"]) == 2


def test_training_goes_on_as_without_it():
    losses = []
    for callbacks in ([], [DeadUnits(DATA)]):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.Dense(1)])
        model.compile("adam", "mse")
        losses.append(fit(model, *callbacks, validation_data=(DATA, DATA[:, :1])).history["loss"])
    assert losses[0] == losses[1]


def test_between_diagnoses_the_last_values_are_repeated(tmp_path):
    calls = []

    class Counted(DeadUnits):
        def on_epoch_end(self, epoch, logs=None):
            before = self.diagnosis
            super().on_epoch_end(epoch, logs)
            calls.append(self.diagnosis is not before)

    units, file = Counted(DATA, freq=3), tmp_path / "log.csv"
    history = fit(classifier(), units, keras.callbacks.CSVLogger(file), epochs=5).history
    assert calls == [True, False, False, True, False]
    assert len(history["units/dead_fraction"]) == 5
    assert "NA" not in [row["units/dead_fraction"] for row in csv.DictReader(file.read_text().splitlines())]
    calls.clear()
    fit(classifier(), units, epochs=2)
    assert calls == [True, False]  # another fit begins anew


def test_a_loop_of_ones_own_may_call_it_without_logs():
    units = DeadUnits(DATA)
    units.set_model(classifier())
    units.on_epoch_end(0)
    assert units.diagnosis.dead == 3


def test_tensorboard_writes_it(tmp_path):
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is missing")
    fit(classifier(), DeadUnits(DATA), keras.callbacks.TensorBoard(tmp_path), epochs=2)
    tags = set()
    for file in tmp_path.rglob("*tfevents*"):
        for record in tensorflow.data.TFRecordDataset(str(file)):
            event = tensorflow.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert "epoch_units/dead_fraction" in tags


# Imports


def test_a_keras_without_a_private_name_is_told(monkeypatch):
    with pytest.raises(ImportError, match=r"does not know how Keras .* \(keras.src.backend.nothing is missing\)"):
        private_names._found("keras.src.backend", "nothing")


def test_a_backend_that_is_missing_is_told():
    program = "import sys; sys.modules['jax'] = None\nimport leakyrelu.keras"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "set the environment variable KERAS_BACKEND" in result.stderr.splitlines()[-1]
    program = "import sys; sys.modules['keras'] = None\nimport leakyrelu.keras"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stderr.endswith("leakyrelu.keras needs Keras, which is missing: pip install 'leakyrelu[keras]'\n")


if "LEAKYRELU_OTHER_BACKEND" not in os.environ:

    @pytest.mark.slow
    @pytest.mark.parametrize("backend", sorted({"jax", "tensorflow", "torch"} - {BACKEND}))
    def test_other_backends(backend):
        if not find_spec(backend):
            pytest.skip(f"{NAMES[backend]} is missing")
        environment = os.environ | {
            "KERAS_BACKEND": backend,
            "LEAKYRELU_OTHER_BACKEND": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # it compiles each operation, which takes most of the time
        }
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(Path(__file__))]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


def test_an_interrupt_at_any_place_leaves_no_observer():
    def observe():
        with patches.observed_by(lambda name, function, args, kwargs: seen.append(name)):
            pass

    seen = []
    for place in interrupted_everywhere(observe):
        ops.relu(np.ones(3, "float32"))
        assert seen == [], place
    assert ops.relu(np.ones(3, "float32")) is not None
    observe()
    assert not patches._originals
