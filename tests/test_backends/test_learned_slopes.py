"""Slopes that are learned: their gradients are those of `F.prelu` and of JAX, and x decides which library computes."""

import array_api_strict
import dask.array as da
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import oracle
import pandas as pd
import pytest
import torch
import xarray as xr
from oracle import assert_same
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative, leaky_relu_slope_gradient
from leakyrelu._backends import torch as backend

SPECIAL = [-2.0, -0.0, 0.0, 3.0, float("inf"), -float("inf"), float("nan")]
SHAPES = [((7,), ()), ((4, 3), (3,)), ((4, 3), (1,)), ((2, 3, 5, 4), (3, 1, 1)), ((2, 5, 3), (2, 1, 3)), ((3,), (4, 3))]
FUNCTIONS = {
    "leaky_relu": leaky_relu,
    "derivative": leaky_relu_derivative,
    "backward": lambda x, alpha: leaky_relu_backward(x.sin(), x, alpha),
}


@pytest.fixture(params=[True, False], ids=["native", "without the private name"])
def each_way(request, monkeypatch):
    """With PyTorch's private name for the operation, and as if it were missing."""
    assert backend.native_prelu is not None
    if not request.param:
        monkeypatch.setattr(backend, "native_prelu", None)


def like_prelu(x, slopes):
    """PyTorch's function, for one slope or for one per place on axis 1."""
    return functional.prelu(x, slopes.reshape(-1))


def both(function, x, slopes, grad):
    """The result, and the gradients of x and of the slopes."""
    x, slopes = x.clone().requires_grad_(), slopes.clone().requires_grad_()
    result = function(x, slopes)
    result.backward(grad)
    return result.detach(), x.grad, slopes.grad


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("slopes", [(1,), (3, 1, 1)])
def test_values_and_gradients_are_those_of_prelu_to_the_bit(slopes, dtype):
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(4, 3, 6, 5, generator=generator).to(dtype) for _ in range(2))
    alpha = torch.rand(slopes, generator=generator).to(dtype)
    x[0, 0].flatten()[: len(SPECIAL) - 1] = torch.tensor(SPECIAL[:-1], dtype=dtype)
    for ours, theirs in zip(both(leaky_relu, x, alpha, grad), both(like_prelu, x, alpha, grad), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == dtype


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_does_not_count_reaches_no_gradient(function):
    """Infinite and undefined values, gradients and slopes in the branch that is not taken."""
    x = torch.tensor([float("inf"), 2.0, 3.0, -1.0], requires_grad=True)
    slopes = torch.tensor([0.5, float("inf"), float("nan"), 0.5], requires_grad=True)
    result = function(x, slopes)
    assert not result[:3].isnan()[1:].any()
    grads = torch.autograd.grad(result, [x, slopes], torch.tensor([1.0, 1, float("inf"), 1]), allow_unused=True)
    assert grads[1][:3].tolist() == [0, 0, 0]
    assert grads[1][3] != 0
    if grads[0] is not None and function is leaky_relu:
        assert grads[0].tolist() == [1, 1, float("inf"), 0.5]


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("value", SPECIAL)
def test_special_values_have_the_gradients_of_prelu(value):
    x, alpha = torch.tensor([value]), torch.tensor([0.5])
    for grad in (1.0, 0.0, float("inf"), float("nan")):
        ours, theirs = (both(function, x, alpha, torch.tensor([grad])) for function in (leaky_relu, like_prelu))
        assert_same(torch.stack(ours).numpy(), torch.stack(theirs).numpy())


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize(("shape", "slopes"), SHAPES)
def test_first_and_second_derivatives(shape, slopes, function):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    alpha = torch.rand(slopes, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, (x, alpha))
    assert gradgradcheck(function, (x, alpha))


@pytest.mark.usefixtures("each_way")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch's own forward mode scripts
def test_torch_func_and_vmap():
    x, slopes = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.rand(5)
    found = torch.func.vmap(torch.func.grad(lambda alpha, x: leaky_relu(x, alpha).sum()))(slopes, x)
    torch.testing.assert_close(found, x.clamp(max=0).sum(1))
    _, tangent = torch.func.jvp(lambda alpha: leaky_relu(x[0], alpha), (slopes[0],), (torch.tensor(1.0),))
    torch.testing.assert_close(tangent, x[0].clamp(max=0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace:UserWarning")  # our function is a builtin
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # as dynamo looks at it
def test_compiled_it_learns_the_same():
    x, slopes = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.2, 0.3])
    plain = both(leaky_relu, x, slopes, torch.ones(4, 3))
    compiled = torch.compile(lambda x, alpha: leaky_relu(2 * x, alpha) / 2, backend="aot_eager")
    for ours, theirs in zip(both(compiled, x, slopes, torch.ones(4, 3)), plain, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_slopes_keep_their_digits_beside_halves(dtype):
    x = torch.linspace(-3, 3, 101).to(dtype)
    slope = torch.tensor(0.3, requires_grad=True)
    for alpha in (slope, np.array(0.3), [0.3]):
        result = leaky_relu(x, alpha)
        assert result.dtype == dtype
        assert torch.equal(result.detach(), functional.leaky_relu(x, 0.3))
    leaky_relu(x, slope).float().sum().backward()
    assert slope.grad.dtype == torch.float32
    torch.testing.assert_close(slope.grad, x.float().clamp(max=0).sum())
    backward = leaky_relu_backward(x, x, slope.detach())
    assert torch.equal(backward, leaky_relu_backward(x, x, 0.3))


def test_a_slope_of_another_float_type_gets_its_own_gradient():
    slope = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    result = leaky_relu(torch.tensor([-2.0, 3.0]), slope)
    assert result.dtype == torch.float32
    result.sum().backward()
    assert slope.grad == torch.tensor(-2.0, dtype=torch.float64)


# JAX.


def test_a_slope_in_jax_learns_from_what_counts_alone():
    x = jnp.array([jnp.inf, 2.0, -1.0, jnp.nan])
    ct = jnp.array([1.0, jnp.inf, 2.0, 1.0])
    for function in (leaky_relu, leaky_relu_derivative, lambda x, a: leaky_relu_backward(x, x, a)):
        _, pullback = jax.vjp(lambda a, f=function: f(x, a), jnp.full(4, 0.5))
        (grad,) = pullback(ct)
        assert grad[:2].tolist() == [0, 0]
        assert abs(grad[2]) == 2


@pytest.mark.parametrize("axes", [None, (0, 2)])
def test_the_slopes_gradient_is_that_of_prelu_and_of_jax(axes):
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((2, 6, 3, 5))
    shape = (1, 1, 1) if axes is None else (1, 3, 1)
    found = leaky_relu_slope_gradient(grad, x, axis=axes)
    alpha = torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)
    functional.prelu(torch.tensor(x), alpha.reshape(-1)).backward(torch.tensor(grad))
    np.testing.assert_allclose(found, alpha.grad.squeeze(), rtol=1e-13)
    theirs = jax.grad(lambda a: (jax.nn.leaky_relu(jnp.array(x), a) * grad).sum())(jnp.full(shape, 0.3))
    np.testing.assert_allclose(found, theirs.squeeze(), rtol=1e-5)


# The sum itself, of the arrays of other libraries.


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_every_library_adds_up_its_own_arrays(axis, keepdims):
    rng = np.random.default_rng(0)
    grad, x = rng.standard_normal((2, 4, 3, 5))
    grad[x > 1] = np.inf
    wanted = oracle.leaky_relu_slope_gradient(grad, x, axis, keepdims)
    for asarray, kind in (
        (torch.tensor, torch.Tensor),
        (jnp.asarray, jax.Array),
        (array_api_strict.asarray, type(array_api_strict.ones(1))),
        (lambda values: da.from_array(values, chunks=2), da.Array),
        (np.ma.array, np.ma.MaskedArray),
    ):
        found = leaky_relu_slope_gradient(asarray(grad), asarray(x), axis=axis, keepdims=keepdims)
        assert isinstance(found, kind) or (kind is np.ma.MaskedArray and np.ndim(found) == 0)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5 if kind is jax.Array else 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_added_up_as_float32(dtype):
    many = np.full(5000, 0.1, np.float32)
    exact = -5000 * float(many.astype(dtype if dtype == "float16" else ml_dtypes.bfloat16)[0]) ** 2
    for array in (torch.tensor(many).to(getattr(torch, dtype)), jnp.asarray(many, dtype)):
        found = leaky_relu_slope_gradient(array, -array)
        assert found.dtype == array.dtype
        assert abs(float(found) / exact - 1) < 2**-8
    assert leaky_relu_slope_gradient(torch.tensor([1, 2]), torch.tensor([-1, -3])) == -7.0


def test_dask_stays_lazy_and_keeps_types():
    def fail(block_id):
        raise RuntimeError(f"chunk {block_id} was computed")

    lazy = da.map_blocks(fail, chunks=((2, 2), (3,)), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    found = leaky_relu_slope_gradient(lazy, lazy, axis=0)
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype) == ((3,), np.float32)
    single, double = da.ones(4, dtype=np.float32, chunks=2), -da.ones(4, chunks=2)
    for grad, x in ((single, double), (double, single)):
        assert leaky_relu_slope_gradient(grad, x).dtype == np.float64
    assert leaky_relu_slope_gradient(single, np.full(4, -3)).compute() == -12


def test_pandas_and_xarray_keep_their_labels():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, None]})
    sums = leaky_relu_slope_gradient(frame, pd.DataFrame({"a": [-1, 2], "b": [-2.0, -1]}), axis=0)
    pd.testing.assert_series_equal(sums, pd.Series([-1.0, -6.0], index=["a", "b"]))  # what is missing is left out
    assert leaky_relu_slope_gradient(pd.Series([1.0, 2.0]), pd.Series([-1.0, -3.0])) == -7
    labelled = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("n", "c"), coords={"c": [10, 20]})
    found = leaky_relu_slope_gradient(labelled, -labelled, axis=0)
    xr.testing.assert_equal(found, xr.DataArray([-10.0, -20.0], dims="c", coords={"c": [10, 20]}))
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False])
    assert leaky_relu_slope_gradient(masked, -np.ones(3)) == -5


def test_two_libraries_and_complex_numbers_are_refused():
    for grad, x in ((torch.ones(2), np.ones(2)), (np.ones(2), jnp.ones(2)), (jnp.ones(2), torch.ones(2))):
        with pytest.raises(TypeError, match="must be arrays of one library, got"):
            leaky_relu_slope_gradient(grad, x)
    for array in (torch.tensor([1j]), jnp.array([1j]), array_api_strict.asarray([1j])):
        with pytest.raises(TypeError, match=r"real numbers are wanted, got .*complex"):
            leaky_relu_slope_gradient(array, array)


# Slopes of one library, beside an x of another one.


@pytest.mark.parametrize("x", [np.ones(2), [1.0, -1.0], -1.0, np.float32(-1)], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("make", [torch.nn.Parameter, lambda slopes: slopes.requires_grad_() * 2])
def test_a_tensor_that_learns_beside_an_x_of_numpy(x, make):
    slopes = make(torch.tensor([0.1, 0.2]))
    wanted = (
        rf"x is of type {type(x).__name__}, so NumPy computes, and it cannot read slopes of type (Parameter|Tensor) .*"
        r"to learn the slopes, give torch\.as_tensor\(x\); to keep them fixed, give an array of NumPy$"
    )
    for call in (leaky_relu, leaky_relu_derivative, lambda x, alpha: leaky_relu_backward(x, x, alpha)):
        with pytest.raises(TypeError, match=wanted):
            call(x, slopes)
    assert leaky_relu(torch.as_tensor(x), slopes).requires_grad  # what the message says to do
    assert_same(leaky_relu(np.float32(-1), slopes.detach().numpy()), -slopes.detach().numpy())


@pytest.mark.parametrize("x", [np.ones(2), [1.0, -1.0], -1.0], ids=lambda x: type(x).__name__)
def test_a_traced_slope_beside_an_x_of_numpy(x):
    wanted = r"so NumPy computes, and .* give jax\.numpy\.asarray\(x\); to keep them fixed, give an array of NumPy"
    for transform in (jax.grad, jax.jit):
        with pytest.raises(TypeError, match=wanted):
            transform(lambda alpha: leaky_relu(x, alpha).sum())(0.1)
        transform(lambda alpha: leaky_relu(jnp.asarray(x), alpha).sum())(0.1)


def test_slopes_that_learn_beside_an_x_of_a_third_library():
    learned = torch.tensor([0.1, 0.2], requires_grad=True)
    with pytest.raises(TypeError, match="so JAX computes, and it cannot read slopes of type Tensor"):
        leaky_relu(jnp.ones(2), learned)
    with pytest.raises(TypeError, match="so array_api_strict computes, and it cannot read slopes of type Tensor"):
        leaky_relu(array_api_strict.ones(2), learned)
    with pytest.raises(TypeError, match=r"so PyTorch computes, and it cannot read slopes of type .*Tracer"):
        jax.grad(lambda alpha: leaky_relu(torch.ones(2), alpha).sum())(0.1)
    with pytest.raises(TypeError, match="so NumPy computes, and it cannot read slopes of type Tensor"):
        leaky_relu(da.ones(2), learned)


def test_what_is_wrong_with_slopes_of_numpy_is_said_as_before():
    with pytest.raises(ValueError, match="broadcast"):
        leaky_relu(np.ones(3), np.ones(2))
    with pytest.raises(TypeError, match="alpha must be real, got complex128"):
        leaky_relu(torch.ones(2), np.array([1j]))
