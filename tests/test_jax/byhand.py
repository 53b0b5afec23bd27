"""Data, layers, and counts by hand: what a site must hold if these arrays entered and left the activation."""

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)


def assert_counts(site, inputs, outputs, examples=None):
    """Assert the counts of a site; each input is an array of one batch whose last axis counts the units."""
    rows = np.concatenate([np.asarray(x, np.float64).reshape(-1, np.shape(x)[-1]) for x in inputs])
    out = np.concatenate([np.asarray(y, np.float64).reshape(-1, np.shape(y)[-1]) for y in outputs])
    assert site.values == len(rows)
    np.testing.assert_array_equal(site.fired, (rows > 0).sum(0))
    np.testing.assert_array_equal(site.below, (rows < 0).any(0))
    np.testing.assert_allclose(site.maximum, rows.max(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(site.mean_output, np.abs(out).mean(0), rtol=1e-5, atol=1e-7)
    assert site.examples == (sum(len(x) for x in inputs) if examples is None else examples)


def names(diagnosis):
    return [site.name for site in diagnosis.sites]


def normal(*shape, seed=1):
    return jax.random.normal(jax.random.key(seed), shape)


def batches(*shape, last=3):
    """Two whole batches and a smaller one."""
    return [normal(*shape, seed=1), normal(*shape, seed=2), normal(*shape, seed=3)[:last]]


def dense(x, layer):
    return x @ layer["w"] + layer["b"]


def layer(inputs, units, seed=0):
    bias = jnp.zeros(units).at[0].set(-100.0)  # one unit is dead
    return {"w": normal(inputs, units, seed=seed + 10), "b": bias}
