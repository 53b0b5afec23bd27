"""PyTorch's tensors: beside PyTorch on the same inputs, and through this library's functions.

Known differences are asserted, each in a test that names it.
"""

import re

import numpy as np
import pytest
import torch
from oracle import assert_same
from test_backends.peers import SLOPES, every_negative_half, inputs
from torch import Tensor

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative


@pytest.mark.parametrize("alpha", SLOPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_gives_the_same_values(dtype, alpha):
    x = inputs(dtype)
    theirs = torch.nn.functional.leaky_relu(torch.from_numpy(x), alpha).numpy()
    if alpha < 0:
        x, theirs = x[x != 0], theirs[x != 0]  # see the next test
    assert_same(leaky_relu(x, alpha), theirs)


def test_torch_turns_the_sign_of_zero_with_a_negative_slope():
    x = np.array([0.0, -0.0])
    theirs = torch.nn.functional.leaky_relu(torch.from_numpy(x), -0.5).numpy()
    assert_same(theirs, np.array([-0.0, 0.0]))
    assert_same(leaky_relu(x, -0.5), x)


@pytest.mark.parametrize("alpha", SLOPES)
def test_torch_gives_the_same_gradients_except_at_zero(alpha):
    x = inputs(np.float32)
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    torch.nn.functional.leaky_relu(tensor, alpha).sum().backward()
    theirs = tensor.grad.numpy()
    zero = x == 0
    assert_same(leaky_relu_derivative(x, alpha)[~zero], theirs[~zero])
    assert_same(theirs[zero], np.full(2, alpha, np.float32))
    assert_same(leaky_relu_derivative(x, alpha)[zero], np.ones(2, np.float32))


@pytest.mark.parametrize(("alpha", "differences"), [(0.01, 20), (0.3, 63)])
def test_torch_rounds_some_float16_products_twice(alpha, differences):
    x = every_negative_half()
    theirs = torch.nn.functional.leaky_relu(torch.from_numpy(x), alpha).numpy()
    assert np.count_nonzero(leaky_relu(x, alpha) != theirs) == differences


def test_tensors_stay_tensors_with_autograd():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = leaky_relu(x, 0.1)
    assert isinstance(y, torch.Tensor)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.1, 0.1, 1.0]))  # at zero the slope, as in PyTorch
    torch.testing.assert_close(leaky_relu_derivative(x, 0.1), x.grad)
    torch.testing.assert_close(leaky_relu_backward(torch.full((3,), 2.0), x, 0.1), 2 * x.grad)


def test_tensors_with_one_slope_per_channel():
    x = torch.tensor([[-2.0, -2.0], [3.0, 0.0]])
    slopes = torch.tensor([0.1, 0.5], requires_grad=True)
    y = leaky_relu(x, slopes)
    torch.testing.assert_close(y, torch.tensor([[-0.2, -1.0], [3.0, 0.0]]))
    y.sum().backward()
    torch.testing.assert_close(slopes.grad, torch.tensor([-2.0, -2.0]))
    torch.testing.assert_close(leaky_relu(x, np.array([0.1, 0.5])), y.detach())
    torch.testing.assert_close(leaky_relu_derivative(x, [0.1, 0.5]), torch.tensor([[0.1, 0.5], [1.0, 0.5]]))


def test_tensors_refuse_numpys_keywords_and_a_slope_that_is_not_finite():
    with pytest.raises(TypeError, match="out: for NumPy arrays only, got Tensor"):
        leaky_relu(torch.ones(2), out=np.ones(2))
    with pytest.raises(ValueError, match="alpha must be finite"):
        leaky_relu(torch.ones(2), np.nan)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8])
def test_integer_tensors_become_pytorchs_default_floats(dtype):
    x = torch.tensor([-2, 0, 3], dtype=dtype)
    torch.testing.assert_close(leaky_relu(x, 0.5), torch.tensor([-1.0, 0.0, 3.0]))
    torch.testing.assert_close(leaky_relu_derivative(x, 0.5), torch.tensor([0.5, 0.5, 1.0]))
    for grad in (1.5, [1.5, 1.5, 1.5], torch.full((3,), 1.5)):
        torch.testing.assert_close(leaky_relu_backward(grad, x, 0.5), torch.tensor([0.75, 0.75, 1.5]))
    torch.testing.assert_close(leaky_relu_backward(x, -0.5, 0.5), torch.tensor([-1.0, 0.0, 1.5]))
    wide = torch.full((3,), 1.5, dtype=torch.float64)
    torch.testing.assert_close(leaky_relu_backward(wide, x, 0.5), wide * torch.tensor([0.5, 0.5, 1.0]))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_bool_and_unsigned_tensors_become_pytorchs_default_floats(dtype):
    x = torch.tensor([0, 1]).to(dtype)
    torch.testing.assert_close(leaky_relu(x, 0.5), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(leaky_relu(x, torch.tensor([0.5])), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(leaky_relu_backward(-0.5, x, 0.5), torch.tensor([-0.25, -0.5]))


def test_integer_tensors_follow_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        assert leaky_relu(torch.tensor([-2])).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


DENSE = torch.tensor([[-2.0, 0.0], [0.0, 3.0]])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta", "ignore:.*nested tensors is in prototype")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("make", "words", "plain"),
    [
        (DENSE.to_sparse, "tensors that are not dense, got torch.sparse_coo; write x.to_dense()", Tensor.to_dense),
        (DENSE.to_sparse_csr, "tensors that are not dense, got torch.sparse_csr; write x.to_dense()", Tensor.to_dense),
        (
            lambda: torch.nested.nested_tensor([DENSE[0], DENSE[1]]),
            "nested tensors; write x.to_padded_tensor(0.0)",
            lambda x: x.to_padded_tensor(0.0),
        ),
        (
            lambda: torch.quantize_per_tensor(DENSE, 0.5, 10, torch.quint8),
            "quantized tensors, got torch.quint8; write x.dequantize()",
            Tensor.dequantize,
        ),
        (
            lambda: DENSE.to(torch.float8_e4m3fn),
            "numbers of 8 bits, got torch.float8_e4m3fn; write x.float()",
            Tensor.float,
        ),
    ],
)
def test_tensors_that_pytorch_does_not_compute_with_are_refused_with_what_to_write(make, words, plain):
    x = make()
    for call in (lambda x: leaky_relu_derivative(x, 0.5), lambda x: leaky_relu_backward(x, x, 0.5)):
        with pytest.raises(TypeError, match=f"^leaky_relu_[a-z]+ is not made for {re.escape(words)}$"):
            call(x)
        assert call(plain(x)).shape == (2, 2)


def test_an_error_about_plain_tensors_stays_pytorchs_own():
    with pytest.raises(RuntimeError, match=r"must match the size|broadcast"):
        leaky_relu_backward(torch.ones(3), torch.ones(2))


@pytest.mark.parametrize("slopes", [[0.5], np.array([0.5]), torch.tensor([0.5])])
def test_integer_tensors_with_an_array_of_slopes_become_floats(slopes):
    x = torch.tensor([-2, 3])
    torch.testing.assert_close(leaky_relu(x, slopes), torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(leaky_relu_derivative(x, slopes), torch.tensor([0.5, 1.0]))


def test_complex_tensors_are_refused():
    for function in (leaky_relu, leaky_relu_derivative, lambda z: leaky_relu_backward(z, z)):
        with pytest.raises(TypeError, match=r"real numbers are wanted, got torch\.complex64"):
            function(torch.tensor([1j]))


def test_a_python_number_or_a_list_beside_a_tensor():
    x = torch.tensor([-2.0, 3.0])
    torch.testing.assert_close(leaky_relu_backward([2.0, 2.0], x, 0.5), torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(leaky_relu_backward(x, [-1, 1], [0.5]), torch.tensor([-1.0, 3.0]))


def test_a_tensor_and_an_array_in_one_call_are_refused():
    for gradient, x in ((np.ones(2), torch.ones(2)), (torch.ones(2), np.ones(2))):
        with pytest.raises(TypeError, match="must be arrays of one library, got"):
            leaky_relu_backward(gradient, x)


def test_slopes_in_a_tensor_are_taken_by_numpy():
    assert_same(leaky_relu(np.array([-1.0, 2.0]), torch.tensor([0.5, 0.5])), np.array([-0.5, 2.0]))
