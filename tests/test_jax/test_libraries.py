"""Counts in networks of flax (linen and nnx) and equinox, against counts by hand."""

from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_jax.byhand import KEY, assert_counts, batches, names, normal

from leakyrelu.jax import diagnose


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        h = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x))
        self.sow("seen", "conv", h)
        h = nn.avg_pool(nn.relu(h), (2, 2), (2, 2)).reshape(len(x), -1)
        h = nn.Dense(5)(h)
        self.sow("seen", "dense", h)
        return nn.Dense(3)(nn.leaky_relu(h, 0.2))


@pytest.mark.parametrize("train", [False, True])
def test_linen_cnn_with_batch_norm(train):
    data = batches(6, 8, 8, 1)
    model = ConvNet()
    variables = model.init(KEY, data[0])
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    diagnosis = diagnose(partial(model.apply, train=train, mutable=["batch_stats"]), variables, data)
    seen = [model.apply(variables, x, train=train, mutable=["seen", "batch_stats"])[1]["seen"] for x in data]
    conv = [each["conv"][0] for each in seen]
    hidden = [each["dense"][0] for each in seen]
    assert names(diagnosis) == ["Conv_0.relu", "Dense_0.leaky_relu"]
    if not train:  # with the batch's own mean, the sign of a value hangs on rounding
        assert_counts(diagnosis.sites[0], conv, [nn.relu(h) for h in conv], examples=15)
        assert_counts(diagnosis.sites[1], hidden, [nn.leaky_relu(h, 0.2) for h in hidden])
    assert [site.values for site in diagnosis.sites] == [15 * 64, 15]
    assert [site.flat for site in diagnosis.sites] == [True, False]
    assert diagnosis.examples == 15
    assert not diagnosis.notes


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        h = nn.Dense(12, name="up")(nn.LayerNorm()(x))
        self.sow("seen", "hidden", h)
        return x + nn.Dense(6, name="down")(nn.gelu(h))


def test_linen_transformer_block_with_inlined_gelu():
    data = batches(4, 5, 6)
    model = Block()
    variables = {"params": model.init(KEY, data[0])["params"]}
    diagnosis = diagnose(model.apply, variables, data)
    up = [model.apply(variables, x, mutable=["seen"])[1]["seen"]["hidden"][0] for x in data]
    assert names(diagnosis) == ["up.gelu"]
    assert diagnosis.sites[0].operation == "gelu"
    assert_counts(diagnosis.sites[0], up, [nn.gelu(h) for h in up])
    assert not diagnosis.sites[0].flat


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.hidden = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)])

    def __call__(self, x):
        h = self.norm(self.first(x))
        found = [h]
        h = nnx.relu(h).mean((1, 2))
        for each in self.hidden:
            h = each(h)
            found.append(h)
            h = nnx.silu(h)
        return h, found


# flax reads `.value` of its own variables when it flattens a module of nnx.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nnx_cnn_with_batch_norm_whose_variance_is_no_site():
    model = NnxNet(nnx.Rngs(0))
    data = batches(6, 5, 5, 1)
    before = np.asarray(model.norm.mean[...])
    model.train()
    diagnosis = diagnose(lambda model, x: model(x)[0], model, data)
    assert names(diagnosis) == ["first.relu", "hidden.0.silu", "hidden.1.silu"]
    assert not diagnosis.notes
    np.testing.assert_array_equal(model.norm.mean[...], before)  # the state is not changed
    model.eval()
    diagnosis = diagnose(lambda model, x: model(x)[0], model, data)
    found = [model(x)[1] for x in data]
    for i, (site, function) in enumerate(zip(diagnosis.sites, (nnx.relu, nnx.silu, nnx.silu), strict=True)):
        inputs = [each[i] for each in found]
        assert_counts(site, inputs, [function(x) for x in inputs], examples=15)


def test_equinox_mlp_for_one_example_under_vmap():
    model = eqx.nn.MLP(3, 2, 8, 2, key=KEY)
    data = batches(20, 3)
    diagnosis = diagnose(lambda model, x: jax.vmap(model)(x), model, data)
    assert names(diagnosis) == ["layers.0.relu", "layers.1.relu"]
    first = [jax.vmap(model.layers[0])(x) for x in data]
    second = [jax.vmap(model.layers[1])(jax.nn.relu(h)) for h in first]
    assert_counts(diagnosis.sites[0], first, map(jax.nn.relu, first))
    assert_counts(diagnosis.sites[1], second, map(jax.nn.relu, second))


def test_equinox_cnn_has_its_channels_first_and_under_vmap():
    model = [eqx.nn.Conv2d(1, 3, 3, key=KEY), eqx.nn.BatchNorm(3, "batch", mode="batch"), eqx.nn.GroupNorm(3, 3)]
    conv, _, norm = model
    data = batches(5, 1, 7, 7)
    diagnosis = diagnose(lambda model, x: jax.vmap(lambda each: jax.nn.relu(model[2](model[0](each))))(x), model, data)
    found = [jax.vmap(lambda each: norm(conv(each)))(x) for x in data]
    assert names(diagnosis) == ["0.relu"]
    last = [jnp.moveaxis(h, 1, -1) for h in found]
    assert_counts(diagnosis.sites[0], last, map(jax.nn.relu, last), examples=13)
    assert not diagnosis.notes


def test_a_learned_slope_is_prelu_and_in_linen_too():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.PReLU()(nn.Dense(3)(x))

    data = batches(5, 4)
    variables = Net().init(KEY, data[0])
    diagnosis = diagnose(Net().apply, variables, data)
    assert names(diagnosis) == ["Dense_0.prelu"]
    assert not diagnosis.sites[0].flat


def test_linen_scan_over_layers_and_remat():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def body(module, h, _):
                return nn.relu(nn.Dense(6)(h)), None

            scan = nn.scan(nn.remat(body), variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return scan(self, x, None)[0]

    x = normal(4, 6)
    variables = Net().init(KEY, x)
    assert names(diagnose(Net().apply, variables, [x])) == [f"Dense_0[{i}].relu" for i in range(3)]


def test_dropout_with_a_key_that_apply_holds():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dropout(0.5, deterministic=False)(nn.relu(nn.Dense(7)(x)))

    variables = Net().init({"params": KEY, "dropout": KEY}, normal(4, 3))
    diagnosis = diagnose(lambda v, x: Net().apply({"params": v}, x, rngs={"dropout": KEY}), variables["params"],
                         [normal(4, 3)])  # fmt: skip
    assert names(diagnosis) == ["Dense_0.relu"]


def test_a_module_in_the_place_of_apply_is_refused():
    x, linen = normal(8, 4), nn.Dense(3)
    equinox = eqx.nn.MLP(4, 2, 8, 2, key=KEY)
    for apply, params, message in (
        (linen, linen.init(KEY, x), "got the Dense itself; give its method `apply`"),
        (nn.Dense, linen.init(KEY, x), "got the class Dense"),
        (equinox, equinox, "got the same MLP as for params; give lambda model, batch"),
    ):
        with pytest.raises(TypeError, match=f"^apply must be a function .*, {message}"):
            diagnose(apply, params, [x])
