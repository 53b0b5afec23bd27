"""The functions beside their peers on the same inputs, and on arrays of other libraries.

Each known difference is asserted in a test that names it.
"""

import array_api_strict
import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pandas as pd
import pytest
import xarray as xr
from oracle import assert_same
from test_backends.peers import SLOPES, every_negative_half, inputs

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative


@pytest.mark.parametrize("other", [jnp.ones(2), array_api_strict.ones(2)])
def test_two_libraries_in_one_call_are_refused(other):
    with pytest.raises(TypeError, match="must be arrays of one library, got"):
        leaky_relu_backward(np.ones(2), other)
    with pytest.raises(TypeError, match="must be arrays of one library, got"):
        leaky_relu_backward(other, np.ones(2))


def test_slopes_of_another_library_are_taken_by_numpy():
    assert_same(leaky_relu(-1.0, jnp.array([0.5])), np.array([-0.5]))


# JAX.


@pytest.mark.parametrize("alpha", SLOPES)
def test_jax_gives_the_same_values_and_gradients(alpha):
    x = inputs(np.float32)
    assert_same(leaky_relu(x, alpha), jax.nn.leaky_relu(x, alpha))
    gradient = jax.vmap(jax.grad(lambda z: jax.nn.leaky_relu(z, alpha)))(x)
    assert_same(leaky_relu_derivative(x, alpha), gradient)  # at zero, too


@pytest.mark.parametrize(("alpha", "differences"), [(0.01, 7765), (0.3, 6896)])
def test_jax_rounds_the_slope_for_float16_to_float16(alpha, differences):
    x = every_negative_half()
    theirs = np.asarray(jax.nn.leaky_relu(jnp.asarray(x), alpha))
    assert np.count_nonzero(leaky_relu(x, alpha) != theirs) == differences


def test_jax_arrays_stay_jax_arrays():
    x = jnp.array([-2.0, 0.0, 3.0])
    for result, expected in (
        (leaky_relu(x, 0.1), [-0.2, 0, 3]),
        (leaky_relu_derivative(x, 0.1), [0.1, 1, 1]),
        (leaky_relu_backward(2 * jnp.ones(3), x, 0.1), [0.2, 2, 2]),
        (leaky_relu_derivative(jnp.array([-1, 1]), 0.1), [0.1, 1]),
        (leaky_relu(x, np.array([0.5, 1, 1])), [-1, 0, 3]),
    ):
        assert isinstance(result, jax.Array)
        assert_same(result, np.array(expected, np.float32))


def test_jax_arrays_keep_their_type_and_refuse_complex_numbers():
    x = jnp.array([-2.0, 3.0], jnp.float16)
    for slopes in (np.array([0.5]), jnp.array([0.5])):
        assert leaky_relu(x, slopes).dtype == jnp.float16
    assert leaky_relu_backward(1.0, x).dtype == jnp.float16
    with pytest.raises(TypeError, match="real numbers are wanted, got complex64"):
        leaky_relu(jnp.array([1j]))


def test_jax_transforms_work():
    x = jnp.array([-2.0, 3.0])
    assert_same(jax.jit(leaky_relu)(x, 0.5), np.array([-1, 3], np.float32))
    assert_same(jax.vmap(jax.grad(leaky_relu))(x), np.array([0.01, 1], np.float32))
    assert_same(jax.grad(lambda a: leaky_relu(x, a).sum())(0.5), np.float32(-2))


# The array API, and NumPy's ufunc protocol.


@pytest.mark.parametrize("alpha", [0.1, 2, np.float32(0.5), np.array([0.5, 0.25, 1.0])])
def test_array_api_arrays_stay_in_their_namespace(alpha):
    for values in ([-2.0, 0.0, 3.0], [-2, 0, 3]):
        x = array_api_strict.asarray(values)
        wide = np.array(values, np.float64)
        for result, expected in (
            (leaky_relu(x, alpha), oracle.leaky_relu(wide, alpha)),
            (leaky_relu_derivative(x, alpha), oracle.leaky_relu_derivative(wide, alpha)),
            (leaky_relu_backward(x, x, alpha), oracle.leaky_relu_backward(wide, wide, alpha)),
        ):
            assert isinstance(result, type(x))
            assert_same(np.asarray(result), expected)


def test_array_api_arrays_keep_their_float_type():
    x = array_api_strict.asarray([-2.0, 3.0], dtype=array_api_strict.float32)
    assert leaky_relu(x).dtype == array_api_strict.float32


def test_a_python_number_beside_integers_keeps_its_fraction():
    for make in (jnp.asarray, array_api_strict.asarray):
        result = leaky_relu_backward(1.5, make([-1, 1]), 0.5)
        np.testing.assert_array_equal(np.asarray(result), [0.75, 1.5])


def test_array_api_devices_are_kept():
    x = array_api_strict.asarray([-2.0, 3.0], device=array_api_strict.Device("device1"))
    for result in (leaky_relu(x, [0.5]), leaky_relu_backward(1.0, x), leaky_relu_derivative(x)):
        assert result.device == x.device


def test_array_api_gradient_and_input_promote():
    single = array_api_strict.ones(2, dtype=array_api_strict.float32)
    double = array_api_strict.ones(2, dtype=array_api_strict.float64)
    assert leaky_relu_backward(single, double).dtype == array_api_strict.float64
    assert leaky_relu_backward(single, -1.0).dtype == array_api_strict.float32
    with pytest.raises(TypeError, match="real numbers are wanted"):
        leaky_relu_backward(array_api_strict.ones(2, dtype=array_api_strict.complex64), single)


def test_dask_stays_lazy_and_keeps_its_chunks():
    x = inputs(np.float32)
    lazy = dask.array.from_array(x, chunks=300)
    for function in (leaky_relu, leaky_relu_derivative, lambda z, alpha: leaky_relu_backward(z, z, alpha)):
        result = function(lazy, 0.1)
        assert isinstance(result, dask.array.Array)
        assert result.chunks == lazy.chunks
        assert result.dtype == np.float32
        assert_same(result.compute(), function(x, 0.1))
    assert leaky_relu(lazy, np.float64(0.1)).dtype == np.float32


def test_xarray_keeps_its_coordinates():
    x = xr.DataArray([[-1.0, 2.0]], dims=("a", "b"), coords={"b": [10, 20]}, name="x", attrs={"unit": "V"})
    result = leaky_relu(x, 0.5)
    assert isinstance(result, xr.DataArray)
    xr.testing.assert_equal(result, xr.DataArray([[-0.5, 2.0]], dims=("a", "b"), coords={"b": [10, 20]}))
    assert isinstance(leaky_relu(xr.Dataset({"x": x})), xr.Dataset)


def test_pandas_keeps_its_index_and_its_missing_values():
    series = pd.Series([-1.0, 2.0], index=["a", "b"], dtype=np.float32)
    pd.testing.assert_series_equal(leaky_relu(series, 0.5), pd.Series([-0.5, 2], index=["a", "b"], dtype=np.float32))
    frame = pd.DataFrame({"a": [-1, 2], "b": [0.5, -0.5]})
    pd.testing.assert_frame_equal(leaky_relu(frame, 0.5), pd.DataFrame({"a": [-0.5, 2.0], "b": [0.5, -0.25]}))
    missing = leaky_relu(pd.Series([-1, None], dtype="Int64"), 0.5)
    assert missing[0] == -0.5
    assert missing[1] is pd.NA


def test_masked_arrays_keep_their_mask():
    result = leaky_relu(np.ma.array([-1.0, 2.0, -3.0], mask=[False, False, True]), 0.5)
    assert isinstance(result, np.ma.MaskedArray)
    assert result.tolist() == [-0.5, 2.0, None]
