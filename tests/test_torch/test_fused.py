"""Bias, activation and gain in one call give what the formula gives, and keep their output alone."""

import copy
import inspect
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import allow_mutation_on_saved_tensors, disable_saved_tensors_hooks, save_on_cpu
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from benchmarks import timing, torch_fused
from benchmarks.torch_activation import storages_kept
from leakyrelu.torch import FusedLeakyReLU, bias_act, fused, fused_leaky_relu

# PyTorch itself scripts formulas, for forward-mode derivatives and for compilation, and warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.[a-z_]+` is deprecated:DeprecationWarning")

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
ROOT = 2**0.5


def along(bias, dim, dimensions):
    return bias.reshape([-1 if axis == dim else 1 for axis in range(dimensions)])


def formula(x, bias=None, negative_slope=0.2, scale=ROOT):
    """The published one."""
    y = x if bias is None else x + along(bias, 1, x.ndim)
    return functional.leaky_relu(y, negative_slope) * scale


def act_formula(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """The published one of `bias_act`, but that the gradient is zero at the limit."""
    y = x if b is None else x + along(b, dim, x.ndim)
    y = {
        "linear": lambda y: y,
        "relu": functional.relu,
        "lrelu": partial(functional.leaky_relu, negative_slope=0.2 if alpha is None else alpha),
    }[act](y)
    y = y * ((1 if act == "linear" else ROOT) if gain is None else gain)
    return y if clamp is None else functional.hardtanh(y, -clamp, clamp)


def same(ours, theirs):
    """Assert equality to the bit, and the same strides where they matter."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    strides = [
        [step for step, length in zip(y.stride(), y.shape, strict=True) if length > 1 and y.numel()]
        for y in (ours, theirs)
    ]
    assert strides[0] == strides[1]
    bits = INTEGERS[ours.element_size()]
    assert torch.equal(ours.detach().contiguous().view(bits), theirs.detach().contiguous().view(bits))


def with_gradients(function, *tensors, **arguments):
    """The output, and the gradients of its weighted sum by the tensors."""
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    y = function(*tensors, **arguments)
    weights = torch.linspace(-2, 3, y.numel(), dtype=y.dtype).reshape(y.shape)
    return y, *torch.autograd.grad(y, tensors, weights)


def same_with_gradients(ours, theirs, *tensors, **arguments):
    for mine, other in zip(*(with_gradients(f, *tensors, **arguments) for f in (ours, theirs)), strict=True):
        same(mine, other)


def kept(y):
    """The activations that are kept; gains are kept, too, as tensors of one number."""
    size = y.untyped_storage().nbytes()
    return {storage.data_ptr() for storage in storages_kept(y) if storage.nbytes() == size}


# Values and gradients.


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2), (0, 3, 4), (2, 3, 0)])
@pytest.mark.parametrize("dtype", TYPES)
def test_it_is_the_formula_to_the_bit(shape, dtype):
    x, bias = torch.randn(shape).to(dtype), torch.randn(3).to(dtype)
    for tensors in ((x,), (x, bias)):
        same_with_gradients(fused_leaky_relu, formula, *tensors)
        same_with_gradients(partial(bias_act, act="lrelu"), formula, *tensors)
    with torch.no_grad():
        same(fused_leaky_relu(x, bias), formula(x, bias))


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0, 2.5, -0.3])
@pytest.mark.parametrize("gain", [ROOT, 1.0, 3.0, 0.7, 1e-3, 0.0, -2.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_gives_the_formula_and_its_gradient_to_the_bit(dtype, gain, slope):
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)[:, None]
    for tensors in ((x,), (x, torch.zeros(1, dtype=dtype))):
        for mine, other in zip(
            *(with_gradients(f, *tensors, negative_slope=slope, scale=gain)[:2] for f in (fused_leaky_relu, formula)),
            strict=True,
        ):
            same(mine, other)


def test_the_slope_counts_on_the_cpu_too():
    # A published function for the CPU has 0.2 for every slope.
    assert fused_leaky_relu(torch.tensor([[-1.0]]), None, 0.5, 1).item() == -0.5
    assert FusedLeakyReLU(1, negative_slope=0.5, scale=2)(torch.tensor([[-1.0]])).item() == -1


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@pytest.mark.parametrize("more", [{}, {"gain": 0.5}, {"gain": 1}, {"clamp": 1.0}, {"clamp": 0.6, "gain": 0.4}])
@pytest.mark.parametrize("alpha", [None, 0.5, -0.1])
@pytest.mark.parametrize(("dim", "length"), [(0, 4), (1, 3), (2, 5)])
def test_bias_act_is_its_formula_to_the_bit(act, more, alpha, dim, length):
    x, bias = torch.randn(4, 3, 5), torch.randn(length)
    arguments = {"dim": dim, "act": act, "alpha": alpha, **more}
    same_with_gradients(bias_act, act_formula, x, bias, **arguments)
    same_with_gradients(bias_act, act_formula, x, **arguments)
    same(bias_act(x, bias, impl="ref", **arguments), act_formula(x, bias, **arguments))


def test_gains_are_the_published_ones():
    x = torch.tensor([[-1.0, 1.0]])
    assert bias_act(x).tolist() == [[-1, 1]]
    torch.testing.assert_close(bias_act(x, act="relu"), torch.tensor([[0, ROOT]]))
    torch.testing.assert_close(bias_act(x, act="lrelu"), torch.tensor([[-0.2 * ROOT, ROOT]]))


def test_at_the_limit_and_beyond_the_gradient_is_zero():
    x = torch.tensor([[-6.0, -2.0, -1.0, 1.0, 2.0, 6.0]], requires_grad=True)
    y = bias_act(x, gain=1, clamp=2)
    y.sum().backward()
    assert y.tolist() == [[-2, -2, -1, 1, 2, 2]]
    assert x.grad.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert bias_act(x, act="lrelu", clamp=0).tolist() == [[0] * 6]


def test_infinite_values_and_nan_are_those_of_the_formula():
    x = torch.tensor([[np.inf], [-np.inf], [np.nan], [1e-45], [-1e-45], [0.0], [-0.0], [3e38], [-3e38]])
    for slope in (0.0, 0.2):
        same_with_gradients(fused_leaky_relu, formula, x, negative_slope=slope)
    same_with_gradients(bias_act, act_formula, x, act="relu", clamp=2)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3),
        lambda x: x[::2, :, 1:, ::3],
        lambda x: x[:, :, :1].expand(-1, -1, 6, -1),
    ],
)
def test_every_layout_stays_what_it_is(layout):
    x = layout(torch.randn(4, 3, 6, 7))
    same_with_gradients(fused_leaky_relu, formula, x, torch.randn(3))
    same_with_gradients(fused_leaky_relu, formula, x)


@pytest.mark.parametrize("arguments", [{}, {"negative_slope": 0.0}, {"scale": 0.5}, {"negative_slope": -0.3}])
@pytest.mark.parametrize("context", [torch.enable_grad, save_on_cpu])
def test_derivatives_of_first_and_second_order_are_right(arguments, context):
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def function(*tensors):
        with context():
            return fused_leaky_relu(*tensors, **arguments)

    for tensors in ((x, bias), (x,)):
        assert gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(lambda *t: function(*(each.sin() for each in t)) ** 2, tensors)


@pytest.mark.parametrize(
    "arguments",
    [{"act": "relu"}, {"act": "lrelu", "clamp": 1.0}, {"clamp": 0.7, "gain": 0.9}, {"act": "relu", "gain": 0.3}],
)
def test_derivatives_of_bias_act_are_right(arguments):
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    for tensors in ((x, bias), (x,)):
        assert gradcheck(partial(bias_act, **arguments), tensors, check_forward_ad=True)
        assert gradgradcheck(lambda *t: bias_act(*(each.sin() for each in t), **arguments) ** 2, tensors)


def test_a_gradient_penalty_trains_the_same():
    results = []
    for function in (fused_leaky_relu, formula):
        torch.manual_seed(0)
        conv, bias = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(4))
        x = torch.randn(2, 3, 8, 8, requires_grad=True)
        score = function(conv(x), bias).sin().sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        slope.square().sum().backward()
        results.append([bias.grad, conv.weight.grad, conv.bias.grad])
    for mine, other in zip(*results, strict=True):
        same(mine, other)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x, b: vmap(lambda z: f(z[None], b))(x),
        lambda f, x, b: vmap(lambda z: f(x, z))(torch.stack([b, 2 * b])),
        lambda f, x, b: grad(lambda z: f(z, b).square().sum())(x),
        lambda f, x, b: grad(lambda z: f(x, z).square().sum())(b),
        lambda f, x, b: vmap(grad(lambda z: f(z[None], b).square().sum()))(x),
        lambda f, x, b: jvp(lambda z: f(z, b), (x,), (x.sin(),))[1],
        lambda f, x, b: jacrev(f)(x, b),
        lambda f, x, b: jacfwd(f)(x, b),
        lambda f, x, b: hessian(lambda z: f(z, b).square().sum())(x),
        lambda f, x, b: torch.autograd.functional.jacobian(lambda z: f(z, b), x, vectorize=True),
    ],
)
def test_transforms_give_the_same(transform):
    x, bias = torch.randn(2, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    ours, theirs = (transform(function, x, bias) for function in (fused_leaky_relu, formula))
    torch.testing.assert_close(ours, theirs)
    if theirs.requires_grad:
        torch.testing.assert_close(*(torch.autograd.grad(y.sin().sum(), x)[0] for y in (ours, theirs)))


# Mixed precision.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_mixed_precision_the_result_is_a_half_and_the_gradient_of_the_bias_is_not_rounded_to_one(dtype):
    x = torch.ones(100_000, 2).to(dtype).requires_grad_()
    bias = torch.tensor([0.5, -3.0], requires_grad=True)
    y = fused_leaky_relu(x, bias, scale=1)
    assert y.dtype == dtype
    assert kept(y) == {y.data_ptr()}
    y.sum(dtype=torch.float32).backward()
    assert bias.grad.dtype == torch.float32
    expected = torch.tensor([100_000, 100_000 * float(torch.tensor(0.2, dtype=dtype))])  # beyond the largest float16
    torch.testing.assert_close(bias.grad, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gradient_of_a_half_bias_is_rounded_once(dtype):
    x, bias = torch.randn(4096, 2).to(dtype), torch.zeros(2, dtype=dtype)
    _, gradient_of_x, gradient = with_gradients(fused_leaky_relu, x, bias)
    torch.testing.assert_close(gradient, gradient_of_x.double().sum(0).to(dtype), rtol=2e-3, atol=0)


def test_under_autocast_a_network_keeps_its_halves():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), FusedLeakyReLU(4))
    with torch.autocast("cpu", torch.bfloat16):
        y = network(torch.randn(2, 3, 8, 8))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert network[1].bias.grad.dtype == torch.float32


def test_in_mixed_precision_it_has_second_derivatives_and_transforms():
    x, bias = torch.randn(3, 2, dtype=torch.bfloat16), torch.randn(2, requires_grad=True)
    (first,) = torch.autograd.grad(fused_leaky_relu(x, bias).float().square().sum(), bias, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), bias)
    torch.testing.assert_close(
        second, 2 * fused_leaky_relu(torch.where(x + bias > 0, 1.0, -1.0)).square().sum(0), rtol=0.02, atol=0
    )
    by_transform = grad(lambda b: fused_leaky_relu(x, b).float().square().sum())(bias)
    torch.testing.assert_close(by_transform, first, rtol=0.02, atol=0.02)


# What is kept.


@pytest.mark.parametrize("tensors", [1, 2])
@pytest.mark.parametrize(
    ("function", "activations"),
    [
        (fused_leaky_relu, 1),
        (partial(bias_act, act="lrelu", clamp=1.0), 1),
        (partial(bias_act, act="relu"), 1),
        (partial(bias_act, clamp=1.0, gain=2.0), 1),
        (partial(bias_act, gain=2.0), 0),
        (partial(bias_act, act="lrelu", alpha=0.0, gain=1), 1),
    ],
)
def test_the_output_alone_is_kept(function, activations, tensors):
    x = torch.randn(4, 3, 5, requires_grad=True) * 1
    y = function(*(x, torch.randn(3, requires_grad=True))[:tensors])
    assert kept(y) == ({y.data_ptr()} if activations else set())
    storage = StorageWeakRef(x.untyped_storage())
    del x
    assert storage.expired()


@pytest.mark.parametrize("arguments", [{"scale": 0.5}, {"scale": -1.0}, {"negative_slope": -0.1}])
def test_one_more_tensor_is_kept_where_the_output_does_not_tell_the_sign(arguments):
    y = fused_leaky_relu(torch.randn(4, 3, requires_grad=True), torch.randn(3), **arguments)
    assert len(kept(y)) == 1
    assert kept(y) != {y.data_ptr()}


def test_it_keeps_less_than_the_formula_between_convolutions():
    conv, x = nn.Conv2d(4, 4, 3, padding=1), torch.randn(2, 4, 8, 8)
    ours, theirs = (conv(f(conv(x), torch.zeros(4, requires_grad=True))) for f in (fused_leaky_relu, formula))
    assert (len(kept(ours) - kept(conv(x))), len(kept(theirs) - kept(conv(x)))) == (1, 2)


def test_what_is_kept_is_freed_with_the_graph():
    y = fused_leaky_relu(torch.randn(4, 3, requires_grad=True), torch.randn(3))
    storage, loss = StorageWeakRef(y.untyped_storage()), y.sum()
    del y
    assert not storage.expired()
    loss.backward()
    assert storage.expired()


@pytest.mark.parametrize("context", [torch.enable_grad, save_on_cpu, partial(disable_saved_tensors_hooks, "none")])
@pytest.mark.parametrize("act", ["lrelu", "relu"])
def test_hooks_that_are_set_or_forbidden_change_nothing(context, act):
    x, bias = torch.randn(4, 3, 5), torch.randn(3)

    def function(*tensors, **arguments):
        with context():
            return bias_act(*tensors, **arguments)

    for tensors in ((x, bias), (x,)):
        same_with_gradients(function, act_formula, *tensors, act=act, clamp=1.5)


@pytest.mark.parametrize("function", [fused_leaky_relu, partial(bias_act, act="relu")])
@pytest.mark.parametrize("tensors", [1, 2])
def test_hooks_see_one_activation(function, tensors):
    seen = []
    x = torch.randn(4, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        function(*(x, torch.randn(3))[:tensors])
    assert len(seen) == 1


def test_a_selective_checkpoint_may_keep_the_sum():
    context = partial(create_selective_checkpoint_contexts, [torch.ops.aten.add.Tensor])
    x, bias = torch.randn(4, 3), torch.randn(3)
    function = partial(checkpoint, fused_leaky_relu, use_reentrant=False, context_fn=context)
    same_with_gradients(function, fused_leaky_relu, x, bias)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("clamp", [0.1, 1 / 3, 0.7, 1.0, 1e-9, 1e-45])
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
def test_no_gradient_passes_at_a_limit_that_the_type_rounds(dtype, clamp, act):
    x = torch.tensor([[-90.0, 90.0, 2.0, -1e-3, 0.0]], dtype=dtype)
    same_with_gradients(bias_act, act_formula, x, act=act, clamp=clamp)


class Instead(TorchFunctionMode):
    """Another activation in place of Leaky ReLU."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is functional.leaky_relu:
            return self.function(args[0])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("other", [functional.softplus, lambda x: functional.leaky_relu(x, 0.3) * 3])
def test_an_operation_that_a_mode_puts_in_its_place_keeps_what_it_needs(other):
    def within(function):
        def call(*tensors):
            with Instead(other):
                return function(*tensors)

        return call

    same_with_gradients(within(fused_leaky_relu), within(formula), torch.randn(4, 3), torch.randn(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bias_of_another_type_is_added_in_the_type_of_the_input_everywhere(dtype):
    x, bias = torch.randn(64, 32).to(dtype), torch.randn(32)
    compiled = torch.compile(fused_leaky_relu, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x, bias), fused_leaky_relu(x, bias))
    with save_on_cpu():
        assert torch.equal(fused_leaky_relu(x.requires_grad_(), bias), fused_leaky_relu(x.detach(), bias))


def test_a_checkpointed_network_trains_the_same():
    layer, x = FusedLeakyReLU(3), torch.randn(4, 3)
    same_with_gradients(partial(checkpoint, layer, use_reentrant=False), layer, x)


def test_changes_in_place_can_be_allowed():
    with allow_mutation_on_saved_tensors():
        x = torch.tensor([[-2.0, 3.0]], requires_grad=True)
        y = fused_leaky_relu(x, torch.zeros(2), 0.5, 2)
        y.zero_()
        (gradient,) = torch.autograd.grad(y.sum() + x.sum(), x)
    assert gradient.tolist() == [[1, 1]]


@pytest.mark.parametrize("function", [fused_leaky_relu, bias_act])
def test_a_result_changed_in_place_is_an_error(function):
    x = torch.randn(2, 3, requires_grad=True)
    y = function(x, torch.zeros(3), **({} if function is fused_leaky_relu else {"act": "relu"}))
    y.mul_(2)
    with pytest.raises(RuntimeError, match=rf"the output of {function.__name__}, of shape \[2, 3\]; change a copy"):
        y.sum().backward()


def test_the_input_is_never_changed():
    x = torch.randn(4, 3)
    before = x.clone()
    for act in ("linear", "relu", "lrelu"):
        for bias in (None, torch.zeros(3)):
            with torch.no_grad():
                bias_act(x, bias, act=act, gain=2, clamp=0.1)
            bias_act(x.requires_grad_(), bias, act=act, gain=2, clamp=0.1)
    assert torch.equal(x.detach(), before)


def test_without_the_private_names_it_is_the_formula(monkeypatch):
    monkeypatch.setattr(fused, "saved_tensors", None)
    same_with_gradients(fused_leaky_relu, formula, torch.randn(4, 3), torch.randn(3))


# The arguments.


def arguments_of(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def test_names_and_defaults_are_the_published_ones():
    empty = inspect.Parameter.empty
    tail = [("negative_slope", 0.2), ("scale", ROOT)]
    assert arguments_of(FusedLeakyReLU) == [("channel", empty), ("bias", True), *tail]
    assert arguments_of(fused_leaky_relu) == [("input", empty), ("bias", None), *tail]
    defaults = {"b": None, "dim": 1, "act": "linear", "alpha": None, "gain": None, "clamp": None, "impl": "cuda"}
    assert arguments_of(bias_act) == [("x", empty), *defaults.items()]


def test_a_module_is_copied_pickled_and_loaded():
    layer = FusedLeakyReLU(3, negative_slope=0.3, scale=2)
    layer.bias.data.normal_()
    x = torch.randn(4, 3)
    other = FusedLeakyReLU(3, negative_slope=0.3, scale=2)
    other.load_state_dict(layer.state_dict(), strict=True)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        same(twin(x), layer(x))
    assert list(layer.state_dict()) == ["bias"]
    assert list(FusedLeakyReLU(3, bias=False).state_dict()) == []
    assert FusedLeakyReLU(3, bias=False).bias is None
    same(FusedLeakyReLU(3, bias=False)(x), formula(x))
    assert repr(FusedLeakyReLU(3, bias=False)) == "FusedLeakyReLU(bias=False, negative_slope=0.2, scale=1.4142)"


@pytest.mark.parametrize("number", [2, np.float32(0.5), np.float64(0.5), np.sqrt(2)])
def test_slopes_and_gains_may_be_any_real_number(number):
    x = torch.randn(4, 3)
    same(fused_leaky_relu(x, None, number, number), formula(x, None, float(number), float(number)))


X, BIAS = torch.randn(4, 3, 5), torch.randn(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fused_leaky_relu(X, torch.ones(5)),
            ValueError,
            r"bias must have one value for each of the 3 channels",
        ),
        (lambda: fused_leaky_relu(X, torch.ones(1)), ValueError, r"on axis 1 of input, .*\[4, 3, 5\]; got shape \[1\]"),
        (lambda: fused_leaky_relu(X, torch.ones(3, 1)), ValueError, r"got shape \[3, 1\]"),
        (lambda: fused_leaky_relu(torch.ones(3), torch.ones(3)), ValueError, "axis 1, got a tensor of 1 dimensions"),
        (lambda: fused_leaky_relu(X.long(), BIAS), TypeError, r"floating-point type, got torch.int64; convert it"),
        (lambda: fused_leaky_relu(X.long()), TypeError, r"input.float\(\)"),
        (lambda: fused_leaky_relu(X, BIAS.int()), TypeError, r"bias must be of a real .*bias.float\(\)"),
        (lambda: fused_leaky_relu(X.to(torch.complex64)), TypeError, "torch.complex64"),
        (lambda: fused_leaky_relu(X.numpy(), BIAS), TypeError, "input must be a torch.Tensor, got ndarray"),
        (lambda: fused_leaky_relu(X, 0.5), TypeError, "bias must be a torch.Tensor, got float"),
        (lambda: fused_leaky_relu(X, BIAS, True), TypeError, "negative_slope must be a number, got True"),
        (lambda: fused_leaky_relu(X, BIAS, scale=False), TypeError, "scale must be a number, got False"),
        (lambda: fused_leaky_relu(X, BIAS, "0.2"), TypeError, "negative_slope must be a number, got str"),
        (lambda: fused_leaky_relu(X, BIAS, torch.ones(3)), TypeError, "negative_slope must be a number, got Tensor"),
        (lambda: bias_act(X, BIAS, act="swish"), ValueError, "act must be 'linear', 'relu' or 'lrelu', got 'swish'"),
        (lambda: bias_act(X, BIAS, act=None), ValueError, "got None"),
        (lambda: bias_act(X, BIAS, dim=3), ValueError, "x must have the bias's axis 3, got a tensor of 3 dimensions"),
        (lambda: bias_act(X, BIAS, dim=-2), ValueError, "axis -2"),
        (lambda: bias_act(X, BIAS, dim=2), ValueError, "b must have one value for each of the 5 channels on axis 2"),
        (lambda: bias_act(X, act="lrelu", alpha=True), TypeError, "alpha must be a number, got True"),
        (lambda: bias_act(X, gain=True), TypeError, "gain must be a number"),
        (lambda: bias_act(X, clamp=-1), ValueError, "clamp must be zero or more, or None for no limit, got -1"),
        (lambda: bias_act(X.int()), TypeError, r"x must be of a real floating-point type, got torch.int32"),
        (lambda: FusedLeakyReLU(3.5), TypeError, "channel must be"),
        (lambda: FusedLeakyReLU(0), ValueError, "channel must be"),
        (lambda: FusedLeakyReLU(3, 0.1), TypeError, "bias must be True or False, got 0.1; write negative_slope=0.1"),
        (lambda: FusedLeakyReLU(3, negative_slope=True), TypeError, "negative_slope must be a number, got True"),
        (lambda: FusedLeakyReLU(3, scale=np.inf), ValueError, "scale must be finite"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_given_and_what_is_wanted(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Compilers, tracers, devices.


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_whole_it_gives_the_same(backend):
    x, bias = torch.randn(4, 3, 5), torch.randn(3)
    for function, theirs in ((fused_leaky_relu, formula), (partial(bias_act, act="lrelu", clamp=1.0), None)):
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        for mine, other in zip(
            *(with_gradients(f, x, bias) for f in (compiled, theirs or partial(act_formula, act="lrelu", clamp=1.0))),
            strict=True,
        ):
            torch.testing.assert_close(mine, other)
    layer = FusedLeakyReLU(3)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend=backend)(x), formula(x))


@pytest.mark.usefixtures("compiler")
def test_compiled_it_refuses_wrong_arguments_too():
    with pytest.raises(Exception, match="bias must have one value for each of the 3 channels"):
        torch.compile(fused_leaky_relu, backend="eager")(X, torch.ones(5))


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:`torch.jit.[a-z_]+` is deprecated:DeprecationWarning")
def test_exported_scripted_and_traced_it_gives_the_same():
    layer, x = FusedLeakyReLU(3), torch.randn(4, 3, 5)
    layer.bias.data.normal_()
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    file.seek(0)
    made = [
        torch.jit.load(file),
        torch.jit.trace(layer, x),
        torch.export.export(layer, (x,)).module(),
        torch.fx.symbolic_trace(layer),
    ]
    for each in made:
        torch.testing.assert_close(each(x), formula(x, layer.bias), rtol=0, atol=0)
    assert [node.target for node in made[3].graph.nodes if node.op == "call_function"] == [fused_leaky_relu]
    traced = torch.fx.symbolic_trace(lambda x, b: bias_act(x, b, act="lrelu"))
    same(traced(x, layer.bias), formula(x, layer.bias))


def test_on_the_meta_device():
    x = torch.ones(2, 3, device="meta", requires_grad=True)
    assert fused_leaky_relu(x, torch.ones(3, device="meta")).shape == (2, 3)


def test_functional_call_gives_the_same():
    layer, x, bias = FusedLeakyReLU(3), torch.randn(4, 3), torch.randn(3)
    same(functional_call(layer, {"bias": bias}, x), formula(x, bias))


def test_a_subclass_stays_one():
    class Subclass(torch.Tensor):
        pass

    assert type(fused_leaky_relu(torch.randn(4, 3).as_subclass(Subclass), torch.zeros(3))) is Subclass


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_the_benchmark_prints_both_tables(capsys):
    torch_fused.main([(2, 3, 4, 4)], timing.Effort(batch=0, budget=0, fewest=2, most=2), backend="aot_eager")
    lines = capsys.readouterr().out.splitlines()
    assert {"| formula | 16 |", "| `fused_leaky_relu` | 9 |"} <= set(lines)
    assert sum(line.startswith("| 2 x 3 x 4 x 4 | forward") for line in lines) == 2
