"""Counts in networks of plain JAX, against counts by hand; and what is noted instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_jax.byhand import KEY, assert_counts, batches, dense, layer, names, normal

from leakyrelu.jax import diagnose, leaky_relu


def test_plain_functions_and_generators_and_functions_that_are_compiled_already():
    params = [(normal(4, 8), jnp.zeros(8)), (normal(8, 2), jnp.zeros(2))]

    def apply(params, batch):
        (w, b), (v, c) = params
        return {"logits": jax.nn.relu(batch["x"] @ w + b) @ v + c, "y": batch["y"]}

    data = [{"x": x, "y": np.arange(len(x))} for x in batches(16, 4)]
    hidden = [each["x"] @ params[0][0] for each in data]
    for function in (apply, jax.jit(apply), jax.jit(apply, donate_argnums=0)):
        diagnosis = diagnose(function, params, (each for each in data))
        assert names(diagnosis) == ["0.relu"]
        assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))
    assert params[0][0].sum() == params[0][0].sum()  # not given away


def test_all_operations_and_formulas_and_our_own_function():
    functions = {
        "relu": (jax.nn.relu, lambda h: jnp.maximum(h, 0), lambda h: jnp.maximum(0.0, h), lambda h: h.clip(0),
                 lambda h: jnp.where(h > 0, h, 0), lambda h: jnp.where(h < 0, 0.0, h), lambda h: h * (h > 0),
                 lambda h: jnp.where(h >= 0, h, jnp.zeros_like(h))),
        "relu6": (jax.nn.relu6,),
        "clip": (lambda h: jnp.clip(h, 0, 6), lambda h: jnp.clip(h, 0.0, 1.0)),
        "leaky_relu": (jax.nn.leaky_relu, leaky_relu, lambda h: leaky_relu(h, 0.0),
                       lambda h: jnp.where(h > 0, h, 0.3 * h)),
        "gelu": (jax.nn.gelu, lambda h: jax.nn.gelu(h, approximate=False)),
        "silu": (jax.nn.silu, jax.nn.swish),
        "elu": (jax.nn.elu,),
        "celu": (jax.nn.celu,),
        "selu": (jax.nn.selu,),
    }  # fmt: skip
    params = {"layer": layer(4, 6)}
    data = [normal(9, 4)]
    hidden = [dense(x, params["layer"]) for x in data]
    for operation, several in functions.items():
        for function in several:
            diagnosis = diagnose(lambda p, x: function(dense(x, p["layer"])), params, data)
            assert names(diagnosis) == [f"layer.{operation}"]
            assert_counts(diagnosis.sites[0], hidden, map(function, hidden))
            flat = operation in {"relu", "relu6", "clip"} or float(function(jnp.float32(-1))) == 0
            assert diagnosis.sites[0].flat == flat
            assert not diagnosis.notes


def test_one_layer_that_is_called_twice_has_two_sites():
    params = {"layer": layer(4, 4)}

    def apply(params, x):
        return jax.nn.relu(dense(jax.nn.relu(dense(x, params["layer"])), params["layer"]))

    data = batches(8, 4)
    diagnosis = diagnose(apply, params, data)
    assert names(diagnosis) == ["layer.relu", "layer.relu:2"]
    first = [dense(x, params["layer"]) for x in data]
    second = [dense(jax.nn.relu(h), params["layer"]) for h in first]
    assert_counts(diagnosis.sites[0], first, map(jax.nn.relu, first))
    assert_counts(diagnosis.sites[1], second, map(jax.nn.relu, second))


def test_two_inlined_activations_in_a_row_are_two_sites():
    params = {"layer": layer(4, 5)}
    data = batches(8, 4)
    diagnosis = diagnose(lambda p, x: jax.nn.gelu(jax.nn.gelu(dense(x, p["layer"]))), params, data)
    hidden = [dense(x, params["layer"]) for x in data]
    after = [jax.nn.gelu(h) for h in hidden]
    assert names(diagnosis) == ["layer.gelu", "layer.gelu:2"]
    assert_counts(diagnosis.sites[0], hidden, after)
    assert_counts(diagnosis.sites[1], after, map(jax.nn.gelu, after))


# Control flow.


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_over_layers_has_a_site_per_layer(reverse):
    stack = {"w": normal(3, 6, 6) / 2, "b": normal(3, 6, seed=5)}

    def step(h, each):
        return jax.nn.relu(dense(h, each)), None

    data = batches(7, 6)
    diagnosis = diagnose(lambda p, x: lax.scan(step, x, p["blocks"], reverse=reverse)[0], {"blocks": stack}, data)
    assert names(diagnosis) == ["blocks[0].relu", "blocks[1].relu", "blocks[2].relu"]
    inputs = [[], [], []]
    for x in data:
        h = x
        for i in (2, 1, 0) if reverse else (0, 1, 2):
            inputs[i].append(dense(h, jax.tree.map(lambda leaf: leaf[i], stack)))
            h = jax.nn.relu(inputs[i][-1])
    for site, each in zip(diagnosis.sites, inputs, strict=True):
        assert_counts(site, each, map(jax.nn.relu, each))


def test_an_activation_before_the_layer_of_a_scan_has_a_site_per_iteration_and_a_note():
    stack = {"blocks": {"w": normal(3, 6, 6) / 2}}
    x = normal(7, 6)
    diagnosis = diagnose(
        lambda p, x: lax.scan(lambda h, w: (h + jax.nn.relu(h) @ w, None), x, p["blocks"]["w"])[0], stack, [x]
    )
    assert names(diagnosis) == ["blocks[0].relu", "blocks[1].relu", "blocks[2].relu"]
    for site, w in zip(diagnosis.sites, stack["blocks"]["w"], strict=True):
        assert_counts(site, [x], [jax.nn.relu(x)])
        x = x + jax.nn.relu(x) @ w
    assert diagnosis.notes == (
        "blocks.relu: [i] is iteration i of a scan, and what enters there is from the iteration before",
    )


def test_a_scan_over_time_has_one_site():
    params = {"cell": layer(6, 6), "out": layer(6, 2, seed=3)}

    def apply(params, x):
        def step(h, each):
            h = jax.nn.relu(dense(h + each, params["cell"]))
            return h, h

        return lax.scan(step, jnp.zeros((len(x), 6)), jnp.moveaxis(x, 1, 0))[1] @ params["out"]["w"]

    data = batches(5, 4, 6)
    diagnosis = diagnose(apply, params, data)
    assert names(diagnosis) == ["cell.relu"]
    found = []
    for x in data:
        h = jnp.zeros((len(x), 6))
        steps = []
        for t in range(4):
            steps.append(dense(h + x[:, t], params["cell"]))
            h = jax.nn.relu(steps[-1])
        found.append(jnp.stack(steps, 1))
    assert_counts(diagnosis.sites[0], found, map(jax.nn.relu, found))
    assert diagnosis.sites[0].dead.tolist() == [0]


def test_map_over_examples_is_one_site():
    params = {"layer": layer(4, 5)}
    data = batches(8, 4)
    diagnosis = diagnose(lambda p, x: lax.map(lambda each: jax.nn.relu(dense(each, p["layer"])), x), params, data)
    hidden = [dense(x, params["layer"]) for x in data]
    assert names(diagnosis) == ["layer.relu"]
    assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))


def test_remat_custom_vjp_and_nested_jit():
    @jax.custom_vjp
    def straight(h):
        return jax.nn.relu(h)

    straight.defvjp(lambda h: (straight(h), None), lambda _, g: (g,))
    params = {"layer": layer(4, 5)}
    data = batches(8, 4)
    hidden = [dense(x, params["layer"]) for x in data]
    for function in (
        straight,
        jax.checkpoint(jax.nn.relu),
        jax.jit(jax.jit(straight)),
        jax.vmap(jax.vmap(jax.nn.relu)),
    ):
        diagnosis = diagnose(lambda p, x: function(dense(x, p["layer"])), params, data)
        assert names(diagnosis) == ["layer.relu"]
        assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))


def test_cond_counts_the_branch_that_is_taken():
    params = {"one": layer(4, 5), "other": layer(4, 5, seed=7)}

    def apply(params, x):
        one, other = (lambda h, p=params[name]: jax.nn.relu(dense(h, p)) for name in ("one", "other"))
        return lax.cond(x[0, 0] > 0, one, other, x)

    data = batches(8, 4)
    diagnosis = diagnose(apply, params, data)
    sites = {site.name: site for site in diagnosis.sites}
    for name, taken in (("one", True), ("other", False)):
        inputs = [dense(x, params[name]) for x in data if bool(x[0, 0] > 0) is taken]
        if inputs:
            assert_counts(sites[f"{name}.relu"], inputs, map(jax.nn.relu, inputs))
        else:
            assert f"{name}.relu: was not run on these batches" in diagnosis.notes
    assert diagnosis.examples == 19


def test_a_branch_that_is_never_taken_is_noted():
    params = {"layer": layer(4, 5)}

    def apply(params, x):
        h = jax.nn.relu(dense(x, params["layer"]))
        return lax.cond(h.sum() < 0, lambda h: jax.nn.silu(h @ h.T), lambda h: h @ h.T, h)

    diagnosis = diagnose(apply, params, batches(8, 4)[:2])
    assert names(diagnosis) == ["layer.relu"]
    assert [note for note in diagnosis.notes if "was not run on these batches" in note]


def test_while_counts_each_iteration():
    params = {"layer": layer(5, 5)}

    def apply(params, x):
        return lax.while_loop(
            lambda carry: carry[0] < carry[2],
            lambda carry: (carry[0] + 1, jax.nn.relu(dense(carry[1], params["layer"])), carry[2]),
            (0, x, (x[0, 0] > 0) + 2),
        )

    data = batches(8, 5)
    diagnosis = diagnose(apply, params, data)
    found = []
    for x in data:
        h, steps = x, []
        for _ in range(int(x[0, 0] > 0) + 2):
            steps.append(dense(h, params["layer"]))
            h = jax.nn.relu(steps[-1])
        found.append(jnp.concatenate(steps))
    assert names(diagnosis) == ["layer.relu"]
    assert_counts(diagnosis.sites[0], found, map(jax.nn.relu, found), examples=19)


def test_weights_that_a_loop_chooses_by_its_counter_are_one_site_and_noted():
    stack = normal(3, 6, 6)

    def apply(params, x):
        return lax.fori_loop(0, 3, lambda i, h: jax.nn.relu(h @ params["blocks"]["w"][i]), x)

    diagnosis = diagnose(apply, {"blocks": {"w": stack}}, [normal(4, 6)])
    assert names(diagnosis) == ["blocks.relu"]
    assert diagnosis.sites[0].values == 12
    assert diagnosis.notes == ("blocks.relu: the weight changes in a loop; all iterations are counted as one site",)


def test_what_another_device_runs_is_noted():
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    params = {"layer": layer(4, 5), "out": layer(5, 5, seed=3)}

    def apply(params, x):
        h = jax.shard_map(jax.nn.relu, mesh=mesh, in_specs=spec, out_specs=spec)(dense(x, params["layer"]))
        return jax.nn.relu(dense(h, params["out"]))

    diagnosis = diagnose(apply, params, [normal(8, 4)])
    assert names(diagnosis) == ["out.relu"]
    (note,) = diagnosis.notes
    assert note.startswith("relu within shard_map (test_diagnosis.py, line ")


# Where the units are.


def test_heads_of_a_projection_are_units_each():
    params = {"query": {"w": normal(6, 2, 3)}}
    data = batches(4, 5, 6)
    diagnosis = diagnose(lambda p, x: jax.nn.relu(jnp.einsum("ntd,dhk->nhtk", x, p["query"]["w"])), params, data)
    hidden = [jnp.einsum("ntd,dhk->nthk", x, params["query"]["w"]).reshape(len(x), 5, 6) for x in data]
    assert diagnosis.sites[0].units == 6
    assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))


@pytest.mark.parametrize("out", ["NHWC", "NCHW", "HWNC"])
def test_channels_are_where_the_dimension_numbers_say(out):
    x, w = normal(3, 5, 5, 2), normal(3, 3, 2, 4)

    def apply(params, x):
        return jax.nn.relu(lax.conv_general_dilated(x, params["conv"]["w"], (1, 1), "SAME",
                                                    dimension_numbers=("NHWC", "HWIO", out)))  # fmt: skip

    diagnosis = diagnose(apply, {"conv": {"w": w}}, [x])
    hidden = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert_counts(diagnosis.sites[0], [hidden], [jax.nn.relu(hidden)])


def test_bfloat16_counts_and_maximum():
    params = {"layer": jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), layer(4, 6))}
    data = [x.astype(jnp.bfloat16) for x in batches(300, 4)]
    diagnosis = diagnose(lambda p, x: leaky_relu(dense(x, p["layer"])), params, data)
    hidden = [jax.jit(dense)(x, params["layer"]) for x in data]
    assert_counts(diagnosis.sites[0], hidden, map(leaky_relu, hidden))


def test_sums_of_many_values_are_accurate():
    params = {"layer": {"w": jnp.full((1, 2), 0.1)}}
    diagnosis = diagnose(lambda p, x: jax.nn.relu(x @ p["layer"]["w"]), params, [jnp.ones((10**6, 1))] * 2)
    np.testing.assert_allclose(diagnosis.sites[0].mean_output, float(np.float32(0.1)), rtol=2e-6)
    assert diagnosis.sites[0].fired.tolist() == [2 * 10**6] * 2


def test_nan_is_told():
    params = {"layer": layer(4, 5)}
    x = normal(8, 4)
    diagnosis = diagnose(lambda p, x: jax.nn.relu(dense(x, p["layer"]).at[3, 2].set(jnp.nan)), params, [x, x])
    assert diagnosis.sites[0].nan.tolist() == [2]


# What is no site, and what is noted.


def test_activations_of_parameters_alone_are_noted():
    params = {"layer": layer(4, 5), "scale": normal(5)}
    diagnosis = diagnose(
        lambda p, x: jax.nn.relu(dense(x, p["layer"])) * jax.nn.relu(p["scale"]) + jax.nn.gelu(p["scale"]),
        params,
        [normal(8, 4)],
    )
    assert names(diagnosis) == ["layer.relu"]
    assert len(diagnosis.notes) == 2
    assert all("its input does not depend on the batch" in note for note in diagnosis.notes)


def test_a_variance_by_hand_is_no_site_but_noted():
    def norm(h):
        return (h - h.mean(0)) / jnp.sqrt(jnp.maximum(h.var(0), 0.0) + 1e-5)

    params = {"layer": layer(4, 5)}
    diagnosis = diagnose(lambda p, x: jax.nn.relu(norm(dense(x, p["layer"]))), params, [normal(8, 4)])
    assert names(diagnosis) == ["layer.relu"]
    (note,) = diagnosis.notes
    assert "is not counted, as x is a mean, a sum or a maximum" in note
    assert "test_diagnosis.py, line" in note


def test_constants_that_apply_holds_are_weights_without_a_name():
    params = layer(4, 5)
    diagnosis = diagnose(lambda _, x: jax.nn.relu(dense(x, params)), None, [normal(8, 4)])
    assert names(diagnosis) == ["relu"]
    assert diagnosis.sites[0].units == 5


def test_keys_and_other_leaves_among_the_parameters_stay_what_they_are():
    params = {
        "layer": layer(4, 5),
        "key": jax.random.key(3),
        "rate": 0.5,
        "name": "net",
        "train": True,
        "fn": jax.nn.relu,
    }

    def apply(params, x):
        h = params["fn"](dense(x, params["layer"]))
        assert params["train"] is True
        return jax.random.bernoulli(params["key"], params["rate"], h.shape) * h

    assert names(diagnose(apply, params, [normal(8, 4)])) == ["layer.relu"]


def test_batches_may_be_of_other_libraries_and_hold_other_things():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.asarray(normal(8, 4), dtype)

    params = {"layer": layer(4, 5)}
    diagnosis = diagnose(lambda p, b: jax.nn.relu(dense(b["x"], p["layer"])), params, [{"x": Tensor(), "name": "a"}])
    assert diagnosis.sites[0].values == 8


def test_empty_batches_are_left_out_and_none_at_all_is_an_error():
    params = {"layer": layer(4, 5)}

    def apply(params, x):
        return jax.nn.relu(dense(x, params["layer"]))

    assert diagnose(apply, params, [normal(8, 4), jnp.ones((0, 4))]).examples == 8
    with pytest.raises(ValueError, match="batches is empty"):
        diagnose(apply, params, iter(()))
    with pytest.raises(ValueError, match="the batches hold no examples"):
        diagnose(apply, params, [jnp.ones((0, 4))])
    with pytest.raises(ValueError, match="called no activation that is known"):
        diagnose(lambda p, x: jnp.tanh(dense(x, p["layer"])), params, [normal(8, 4)])
    with pytest.raises(TypeError, match="apply must be a function that is called with params and a batch, got dict"):
        diagnose(params, apply, [normal(8, 4)])


def test_what_apply_raises_is_raised_and_a_note_tells_what_it_was_called_with():
    def apply(params, x):
        raise KeyError(params["w"].shape)

    with pytest.raises(KeyError, match=r"\(4, 5\)") as caught:
        diagnose(apply, {"w": normal(4, 5)}, [(normal(8, 4), np.arange(8))])
    assert caught.value.__notes__[0] == (
        "diagnose called apply(params, batch): params was of type dict and held 1 array; "
        "the batch was of type tuple, with the shapes (8, 4), (8,)"
    )


@pytest.mark.parametrize("batches", [normal(8, 4), np.ones((8, 4)), {"x": normal(8, 4)}, "x", None, 3])
def test_one_batch_is_not_taken_for_several(batches):
    with pytest.raises(TypeError, match=r"^batches must be an iterable of batches, .*, got one \w+: put it in a list$"):
        diagnose(lambda p, x: jax.nn.relu(x @ p), normal(4, 3), batches)


def test_functions_that_are_made_of_activations_are_none():
    functions = (
        *(jax.nn.softplus, jax.nn.mish, jax.nn.log_sigmoid, jax.nn.hard_swish, jax.nn.hard_silu, jax.nn.hard_sigmoid),
        *(jax.nn.sparse_plus, jax.nn.squareplus, jax.nn.soft_sign, lambda h: jnp.logaddexp(h, 0.0), jax.nn.hard_tanh),
    )
    for function in functions:
        diagnosis = diagnose(lambda p, x: (jax.nn.relu(x @ p), function(x @ p)), normal(4, 3), [normal(8, 4)])
        assert (names(diagnosis), diagnosis.notes) == (["relu"], ())


def test_one_compilation_per_shape():
    traces = []

    def apply(params, x):
        traces.append(x.shape)
        return jax.nn.relu(x @ params["w"])

    diagnose(apply, {"w": normal(4, 5)}, [*batches(8, 4), *batches(8, 4)])
    assert traces == [(8, 4), (3, 4)]


def test_an_embedding_is_a_layer():
    params = {"embed": {"table": normal(10, 6)}}
    ids = jax.random.randint(KEY, (4, 7), 0, 10)
    diagnosis = diagnose(lambda p, x: jax.nn.relu(p["embed"]["table"][x]), params, [ids])
    assert names(diagnosis) == ["embed.relu"]
    found = params["embed"]["table"][ids]
    assert_counts(diagnosis.sites[0], [found], [jax.nn.relu(found)])


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "gelu", "silu", "elu", "celu", "selu"])
def test_gradients_within_apply_are_counted_once(name):
    params = {"layer": layer(4, 5)}
    function = getattr(jax.nn, name)
    data = batches(8, 4)
    diagnosis = diagnose(
        lambda p, x: jax.value_and_grad(lambda x: function(dense(x, p["layer"])).sum())(x), params, data
    )
    hidden = [dense(x, params["layer"]) for x in data]
    assert names(diagnosis) == [f"layer.{name}"]
    assert_counts(diagnosis.sites[0], hidden, map(function, hidden))
    assert not diagnosis.notes


def test_a_branch_per_example_runs_both_branches_and_keeps_the_names():
    params = {"layer": layer(4, 5)}

    def one(params, x):
        return lax.cond(x[0] > 0, lambda x: jax.nn.relu(dense(x, params["layer"])), lambda _: jnp.zeros(5), x)

    data = batches(8, 4)
    diagnosis = diagnose(jax.vmap(one, (None, 0)), params, data)
    hidden = [dense(x, params["layer"]) for x in data]
    assert names(diagnosis) == ["layer.relu"]
    assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))


def test_a_while_loop_with_a_condition_per_example_is_noted():
    params = {"layer": layer(5, 5), "out": layer(5, 5, seed=3)}

    def one(params, x):
        h = lax.while_loop(lambda h: h.sum() > 9, lambda h: jax.nn.relu(dense(h, params["layer"])) / 9, x)
        return jax.nn.relu(dense(h, params["out"]))

    diagnosis = diagnose(jax.vmap(one, (None, 0)), params, [normal(8, 5)])
    assert names(diagnosis) == ["out.relu"]
    (note,) = diagnosis.notes
    assert note.startswith("relu within while (test_diagnosis.py, line ")


def test_members_of_an_ensemble_have_units_of_their_own():
    params = {"layer": {"w": normal(3, 4, 5)}}
    data = batches(8, 4)
    diagnosis = diagnose(lambda p, x: jax.vmap(lambda w: jax.nn.relu(x @ w))(p["layer"]["w"]), params, data)
    hidden = [jnp.einsum("nd,mdk->nmk", x, params["layer"]["w"]).reshape(-1, 15) for x in data]
    assert_counts(diagnosis.sites[0], hidden, map(jax.nn.relu, hidden))


def test_scans_within_scans():
    stack = {"blocks": {"w": normal(2, 3, 4, 4)}}

    def inner(h, w):
        return jax.nn.relu(h @ w), None

    x = normal(6, 4)
    diagnosis = diagnose(
        lambda p, x: lax.scan(lambda h, w: (lax.scan(inner, h, w)[0], None), x, p["blocks"]["w"])[0], stack, [x]
    )
    assert names(diagnosis) == [f"blocks[{i}][{j}].relu" for i in range(2) for j in range(3)]
    h = x
    for site, w in zip(diagnosis.sites, stack["blocks"]["w"].reshape(6, 4, 4), strict=True):
        assert_counts(site, [h @ w], [jax.nn.relu(h @ w)])
        h = jax.nn.relu(h @ w)


def test_a_batch_without_arrays_is_refused():
    with pytest.raises(TypeError, match="a batch must be an array, or hold arrays, got list; convert it"):
        diagnose(lambda p, x: jax.nn.relu(jnp.asarray(x) @ p), normal(2, 3), [[[1.0, 2.0]]])


def test_flax_variables_without_their_collections_and_flat_dictionaries_have_names():
    params = {"w1": normal(4, 5), "b1": jnp.zeros(5), "w2": normal(5, 3), "b2": jnp.zeros(3)}

    def apply(p, x):
        return jax.nn.relu(jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"])

    assert names(diagnose(apply, params, [normal(8, 4)])) == ["w1.relu", "w2.relu"]
    several = {"net": {"ws": [normal(4, 5), normal(5, 3)]}}
    assert names(
        diagnose(
            lambda p, x: jax.nn.relu(jax.nn.relu(x @ p["net"]["ws"][0]) @ p["net"]["ws"][1]), several, [normal(8, 4)]
        )
    ) == ["net.ws.0.relu", "net.ws.1.relu"]
