"""`leakyrelu.jax.leaky_relu`: rounded once in 16 bits, with JAX's derivative at zero, under all transformations."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from oracle import assert_same, round_to

import leakyrelu
from leakyrelu.jax import leaky_relu

HALVES = (np.float16, ml_dtypes.bfloat16)
SLOPES = (0.01, 0.3, 1 / 3, 0.25, 0.0, -0.0, 1.0, 1.5, 7.0, -0.7, 1e-3, 1e6, 3e38, 1e-30, 1e-42, 2.0**-10)


def every(dtype):
    return np.arange(2**16, dtype=np.uint16).view(dtype)


def rounded(dtype, exact):
    """Exact numbers, in float64, rounded once to a type of 16 bits."""
    upward = np.arange(2**15, dtype=np.uint16).view(dtype)
    with np.errstate(all="ignore"):
        values = upward.astype(np.float64)
        finite = np.isfinite(exact)
        wanted = np.where(finite, round_to(values[np.isfinite(values)], np.where(finite, exact, 0)), exact)
        return wanted.astype(dtype)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_every_half_is_the_exact_product_rounded_once(dtype, slope):
    values = every(dtype)
    wide = values.astype(np.float64)
    with np.errstate(all="ignore"):
        product = rounded(dtype, wide * np.float64(np.float32(slope)))
    x = jnp.asarray(values)
    expected = np.where(wide >= 0, values, product)
    assert_same(leaky_relu(x, slope), expected)
    assert_same(jax.jit(leaky_relu)(x, slope), expected)
    assert_same(leakyrelu.leaky_relu(x, slope), expected)
    assert_same(leakyrelu.leaky_relu_backward(x, -jnp.ones_like(x), slope), product)
    per_value = jnp.full(x.shape, slope, jnp.float32)
    assert_same(leaky_relu(x, per_value), expected)


@pytest.mark.parametrize("dtype", [*HALVES, np.float32])
def test_the_derivative_has_the_slope_and_is_one_at_zero(dtype):
    x = jnp.asarray(np.array([-2, -0.0, 0.0, 3, np.nan], dtype))
    expected = np.array([0.3, 1, 1, 1, 0.3], np.float32).astype(dtype)
    assert_same(leakyrelu.leaky_relu_derivative(x, 0.3), expected)
    assert_same(jax.grad(lambda x: leaky_relu(x, 0.3).sum())(x), expected)
    assert_same(jax.vmap(jax.grad(leaky_relu))(x, jnp.full(5, 0.3)), expected)
    assert_same(jax.jvp(lambda x: leaky_relu(x, 0.3), (x,), (jnp.ones_like(x),))[1], expected)


def test_the_same_as_jax_in_float32_and_float64():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert_same(leaky_relu(x, 0.3), jax.nn.leaky_relu(x, 0.3))
    enable = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    with enable(True):
        wide = x.astype(np.float64)
        assert_same(leaky_relu(wide, 0.3), leakyrelu.leaky_relu(wide, 0.3))
        assert_same(leaky_relu(x, np.float64(0.3)), leakyrelu.leaky_relu(x, 0.3))
        assert_same(jax.grad(lambda x: leaky_relu(x, 0.3).sum())(wide), leakyrelu.leaky_relu_derivative(wide, 0.3))


@pytest.mark.parametrize("slope_type", [np.float16, np.float32])
@pytest.mark.parametrize("dtype", [*HALVES, np.float32])
def test_the_gradient_of_a_learned_slope_is_summed_in_float32_and_has_its_type(dtype, slope_type):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(20_000, 3)).astype(dtype))
    slopes = jnp.asarray([0.1, 0.2, 0.3], slope_type)
    wide = np.asarray(x).astype(np.float64)
    exact = np.where(wide < 0, wide, 0).sum(0)  # about 8,000: in float16 or bfloat16, the sum would stop growing
    for slope, wanted in ((slopes, exact), (slopes[0], exact.sum())):
        gradient = jax.grad(lambda slope: leaky_relu(x, slope).astype(jnp.float32).sum())(slope)
        assert gradient.dtype == slope_type
        assert gradient.shape == slope.shape
        np.testing.assert_allclose(
            np.asarray(gradient, np.float64), wanted, rtol=1e-3 if slope_type == np.float16 else 1e-5
        )


def test_the_slope_has_no_gradient_from_infinities_on_the_right():
    x = jnp.array([jnp.inf, -2.0])
    assert jax.grad(lambda slope: leaky_relu(x, slope).sum())(0.5) == -2


def test_higher_derivatives_and_both_modes():
    x = jnp.array([-1.0, 2.0, -3.0])
    slope = 0.5

    def loss(x, slope):
        return (leaky_relu(x, slope) ** 2).sum()

    np.testing.assert_allclose(jax.hessian(loss)(x, slope), np.diag([0.5, 2, 0.5]))
    assert jax.hessian(loss, 1)(x, slope) == 2 * (1 + 9)
    np.testing.assert_allclose(jax.jacfwd(jax.grad(loss, 1))(x, slope), 4 * slope * np.where(x < 0, x, 0))
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(leaky_relu)(x, slope), np.diag([0.5, 1, 0.5]))
    half = x.astype(jnp.bfloat16)
    np.testing.assert_allclose(jax.hessian(loss)(half, slope).astype(jnp.float32), np.diag([0.5, 2, 0.5]))
    assert_same(jax.vmap(leaky_relu, (0, 0))(x, jnp.array([0.5, 1, 2])), np.array([-0.5, 2, -6], np.float32))
    assert_same(jax.checkpoint(leaky_relu)(x, 0.5), np.array([-0.5, 2, -1.5], np.float32))


def test_types_and_shapes():
    assert_same(leaky_relu([-1, 2], 0.5), np.array([-0.5, 2], np.float32))
    assert_same(leaky_relu(jnp.array([True, False]), 0.5), np.array([1, 0], np.float32))
    assert_same(leaky_relu(np.array([-2], np.int8), 2), np.array([-4], np.float32))
    assert_same(leaky_relu(jnp.ones((0, 3), jnp.float16)), np.ones((0, 3), np.float16))
    assert leaky_relu(jnp.ones((2, 1)), jnp.ones(3)).shape == (2, 3)
    assert leaky_relu(jnp.ones(2, jnp.float16), np.float64(0.1)).dtype == jnp.float16


@pytest.mark.parametrize(
    ("x", "slope", "error", "words"),
    [
        (jnp.ones(2), float("nan"), ValueError, "negative_slope must be finite, got nan"),
        (jnp.ones(2), True, TypeError, "negative_slope must be a number, got True"),
        (jnp.ones(2), jnp.array([True, False]), TypeError, "negative_slope must be real, got bool"),
        (jnp.ones(2), 1j, TypeError, "negative_slope must be a real number"),
        (jnp.ones(2), jnp.array([1j, 1]), TypeError, "slopes must be real, got complex64"),
        (jnp.array([1j]), 0.1, TypeError, "real numbers are wanted, got complex64"),
    ],
)
def test_what_is_refused(x, slope, error, words):
    with pytest.raises(error, match=words):
        leaky_relu(x, slope)


def test_it_can_be_pickled_and_found():
    assert pickle.loads(pickle.dumps(leaky_relu)) is leaky_relu
    assert leaky_relu.__module__ == "leakyrelu.jax"


def test_without_jax_the_error_says_what_to_install():
    code = """
import sys
sys.modules["jax"] = None
import leakyrelu
assert not hasattr(leakyrelu, "jax")
assert "jax" in dir(leakyrelu)
try:
    import leakyrelu.jax
except ImportError as error:
    assert str(error) == "leakyrelu.jax needs jax, which is missing: pip install 'leakyrelu[jax]'", str(error)
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
