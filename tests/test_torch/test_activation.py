"""Leaky ReLU for PyTorch replaces PyTorch's own wherever that works, and keeps as little memory as ReLU."""

import copy
import gc
import importlib
import importlib.util
import inspect
import io
import pickle
import subprocess
import sys
import unittest
from abc import ABC
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.func import functional_call, functionalize, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import leakyrelu
from benchmarks import timing, torch_activation
from benchmarks.torch_activation import activations_kept, convolutional, images, linear, rows, storages_kept
from leakyrelu.torch import LeakyReLU, leaky_relu, replace_relu

# PyTorch itself scripts formulas, for forward-mode derivatives and for compilation, and warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script(_method)?` is deprecated:DeprecationWarning")

native = functional.leaky_relu

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SLOPES = [0.0, 1e-40, 0.01, 0.3, 1.0, 2.5, -0.5, np.inf, np.nan]
SPECIAL = [
    0.0,
    -0.0,
    np.nan,
    -np.nan,
    np.inf,
    -np.inf,
    1e-7,
    -1e-7,
    1e-40,
    -1e-40,
    5e-324,
    -5e-324,
    6e4,
    -6e4,
    1.0,
    -1.0,
]
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

in_the_open, under_hooks = torch.enable_grad, save_on_cpu  # the code takes another way if hooks are set already
either_way = pytest.mark.parametrize("context", [in_the_open, under_hooks])


def same(ours, theirs):
    """Assert equality to the bit, including the sign of zero and the kind of NaN, and equal strides."""
    assert type(ours) is type(theirs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert steps(ours) == steps(theirs)
    integers = INTEGERS[ours.element_size()]
    assert torch.equal(ours.detach().contiguous().view(integers), theirs.detach().contiguous().view(integers))


def steps(x):
    """The strides of the axes that are longer than 1; the others do not matter."""
    return [stride for stride, length in zip(x.stride(), x.shape, strict=True) if x.numel() and length > 1]


def gradient(function, x, *arguments, weights=None):
    """The output, and the gradient of its weighted sum."""
    x = x.detach().requires_grad_()
    y = function(x, *arguments)
    weights = torch.linspace(-2, 3, y.numel(), dtype=y.dtype).reshape(y.shape) if weights is None else weights
    return y, *torch.autograd.grad(y, x, weights)


def same_with_gradient(x, *arguments):
    for ours, theirs in zip(gradient(leaky_relu, x, *arguments), gradient(native, x, *arguments), strict=True):
        same(ours, theirs)


def model(activation, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), activation(0.1), nn.Linear(7, 6), activation(0.3))


def trained(activation, step):
    """The output of a model, and the gradients of its parameters."""
    network = model(activation)
    y = step(network, torch.linspace(-1, 1, 20).reshape(4, 5))
    if y.requires_grad:
        (y * torch.linspace(-2, 3, y.numel()).reshape(y.shape)).sum().backward()
    return [y, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


def trains_the_same(step=nn.Module.__call__):
    results = trained(LeakyReLU, step), trained(nn.LeakyReLU, step)
    assert len(results[0]) > 2
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs)


# Values and gradients.


@either_way
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", TYPES)
def test_special_values_and_their_gradients_are_the_same_to_the_bit(dtype, slope, context):
    x = torch.tensor(SPECIAL, dtype=torch.float64).to(dtype)
    x, weights = x.repeat_interleave(len(x)), x.repeat(len(x))
    with context():
        for ours, theirs in zip(*(gradient(f, x, slope, weights=weights) for f in (leaky_relu, native)), strict=True):
            same(ours, theirs)


@either_way
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_is_the_same_to_the_bit(dtype, slope, context):
    with context():
        same_with_gradient(torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype), slope)


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40),
    st.floats(width=32),
)
def test_any_float32_and_any_slope_are_the_same_to_the_bit(bits, slope):
    same_with_gradient(torch.tensor(bits, dtype=torch.int32).view(torch.float32), slope)


def test_denormals_are_the_same_where_they_are_flushed():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush")
    try:
        same_with_gradient(torch.tensor([1e-40, -1e-40, 1e-37, -1e-37]))
    finally:
        torch.set_flush_denormal(False)


@either_way
@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: x.transpose(1, 3),
        lambda x: x.permute(3, 1, 0, 2),
        lambda x: x[::2, :, 1:, ::3],
        lambda x: x[:, :1].expand(-1, 5, -1, -1),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.contiguous(memory_format=torch.channels_last)[:, 1:],
        lambda x: x[:, :0],
        lambda x: x[1, 2, 0, 1],
        lambda x: x.flatten()[:1],
    ],
)
def test_every_layout_stays_what_it_is(layout, context):
    with context():
        same_with_gradient(layout(torch.randn(4, 3, 6, 7)), 0.1)


@pytest.mark.parametrize("slope", [1, np.float32(0.1), torch.tensor(0.1)])
def test_slopes_may_have_any_type_that_pytorch_takes(slope):
    same_with_gradient(torch.tensor([-2.0, 3.0]), slope)


# It replaces PyTorch's own: the arguments, the class, the weights.


def test_the_arguments_are_the_same():
    def arguments(callable_):
        return [(p.name, p.default, p.kind) for p in inspect.signature(callable_).parameters.values()]

    assert arguments(leaky_relu) == arguments(native)
    assert arguments(LeakyReLU) == arguments(nn.LeakyReLU)
    assert arguments(LeakyReLU.forward) == arguments(nn.LeakyReLU.forward)


@pytest.mark.parametrize("arguments", [(), (0.2,), (0.2, True)])
def test_a_module_is_one_of_pytorchs(arguments):
    ours, theirs = LeakyReLU(*arguments), nn.LeakyReLU(*arguments)
    assert isinstance(ours, nn.LeakyReLU)
    assert repr(ours) == repr(theirs)
    assert ours.extra_repr() == theirs.extra_repr()
    assert ours.state_dict() == theirs.state_dict()
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(twin) is LeakyReLU
        assert (twin.negative_slope, twin.inplace) == (ours.negative_slope, ours.inplace)


BOOLS = [True, False, np.True_, np.array(True), torch.tensor(False), torch.tensor([True, False])]


@pytest.mark.parametrize("slope", BOOLS)
def test_a_bool_is_no_slope(slope):
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    layer = LeakyReLU()
    layer.negative_slope = slope
    for call in (
        lambda: LeakyReLU(slope),
        lambda: LeakyReLU(negative_slope=slope, inplace=True),
        lambda: leaky_relu(x, slope),
        lambda: leaky_relu(x.detach(), negative_slope=slope),
        lambda: leakyrelu.leaky_relu(x, slope),
        lambda: layer(x),
        lambda: replace_relu(nn.Sequential(nn.ReLU()), slope),
    ):
        with pytest.raises(TypeError, match=r"^(negative_slope|alpha) must be (a number|real|one slope), got "):
            call()


def test_the_error_says_how_inplace_is_written():
    written = (
        r"^negative_slope must be a number, got {0}; write {1} if you mean inplace, or {2} for a slope of {2:.0f}$"
    )
    for value in (True, False):
        with pytest.raises(TypeError, match=written.format(value, rf"LeakyReLU\(inplace={value}\)", float(value))):
            LeakyReLU(value)
        with pytest.raises(TypeError, match=written.format(value, rf"leaky_relu\(x, inplace={value}\)", float(value))):
            leaky_relu(torch.ones(2), value)


@pytest.mark.parametrize("inplace", [0.2, 1, -0.1, "yes", [True], torch.tensor(0.1)])
def test_a_second_slope_is_no_bool(inplace):
    x = torch.tensor([-2.0, 3.0])
    for call in (lambda: LeakyReLU(0.1, inplace), lambda: leaky_relu(x, 0.1, inplace)):
        with pytest.raises(TypeError, match=r"^inplace must be True or False, got "):
            call()
    same(x, torch.tensor([-2.0, 3.0]))


@pytest.mark.parametrize("inplace", [0, 0.0, None])
def test_the_layer_takes_no_number_for_false(inplace):
    with pytest.raises(TypeError, match=rf"^inplace must be True or False, got {inplace}$"):
        LeakyReLU(0.1, inplace)


@pytest.mark.parametrize(
    ("slope", "what"),
    [
        ("0.1", "be a real number or an array of them, got str"),
        (None, "be a real number or an array of them, got NoneType"),
        (1j, "be a real number or an array of them, got complex"),
        ([0.1], r"be one slope, got \[0.1\]"),
        (torch.tensor([0.1]), r"be one slope, got tensor\(\[0.1000\]\)"),
        (nn.Parameter(torch.tensor(0.1)), "be a number that stays the same, got a tensor that requires a gradient"),
    ],
)
def test_the_layer_takes_one_real_number(slope, what):
    with pytest.raises(TypeError, match=f"^negative_slope must {what}"):
        LeakyReLU(slope)


@pytest.mark.parametrize("slope", [np.nan, np.inf, torch.tensor(-np.inf), np.float32(np.nan)])
def test_the_slope_of_the_layer_is_finite(slope):
    with pytest.raises(ValueError, match=r"^negative_slope must be finite, got "):
        LeakyReLU(slope)


@pytest.mark.parametrize("slope", [1, np.float32(0.5), np.array(0.25), torch.tensor(0.5), Fraction(1, 4), -2])
def test_the_layer_keeps_its_slope_as_a_float_and_inplace_as_a_bool(slope):
    layer = LeakyReLU(slope, np.True_)
    assert (type(layer.negative_slope), type(layer.inplace)) == (float, bool)
    assert (layer.negative_slope, layer.inplace) == (slope, True)
    same(layer(torch.tensor([-2.0, 3.0])), native(torch.tensor([-2.0, 3.0]), float(slope)))


def test_a_subclass_is_initialized_with_all_its_bases():
    class Named(nn.Module, ABC):
        def __init__(self):
            super().__init__()
            self.name = type(self).__name__

    class Both(LeakyReLU, Named):
        pass

    assert (Both(0.2).negative_slope, Both().name) == (0.2, "Both")


def test_weights_go_to_and_from_a_model_with_pytorchs():
    ours, theirs = model(LeakyReLU, 1), model(nn.LeakyReLU, 2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(3, 5)
    same(ours(x), theirs(x))


def test_a_whole_model_is_saved_and_loaded():
    file = io.BytesIO()
    torch.save(model(LeakyReLU), file)
    file.seek(0)
    x = torch.randn(3, 5)
    same(torch.load(file, weights_only=False)(x), model(nn.LeakyReLU)(x))


def test_in_place_the_input_is_overwritten():
    for function in (leaky_relu, native):
        x = torch.tensor([-2.0, 3.0], requires_grad=True)
        z = x.clone()
        y = function(z, 0.1, inplace=True)
        assert y is z
        same(y, torch.tensor([-0.2, 3.0]))
        same(*torch.autograd.grad(y.sum(), x), torch.tensor([0.1, 1.0]))
    trains_the_same(lambda network, x: (setattr(network[1], "inplace", True), network(x))[1])


def raised(function, *arguments):
    with pytest.raises((TypeError, ValueError, RuntimeError, OverflowError)) as error:
        function(*arguments).sum().backward()
    return error.type


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.ones(2, dtype=torch.int32),),
        (torch.ones(2, dtype=torch.bool),),
        (torch.ones(2, dtype=torch.complex64),),
        (torch.ones(2, dtype=torch.complex64, requires_grad=True),),
        (torch.ones(2, requires_grad=True), 0.1, True),
        (torch.ones(2, requires_grad=True).clone(), -0.1, True),
        (torch.ones(2, requires_grad=True), None),
        (torch.ones(2, requires_grad=True), "0.1"),
        (torch.ones(2, requires_grad=True), 10**400),
        (torch.ones(2, requires_grad=True), 1e300),
        (torch.ones(2, requires_grad=True), torch.tensor(0.1, requires_grad=True)),
        (torch.ones(2).to_sparse().requires_grad_(),),
        ([1.0],),
        (np.ones(2),),
        (),
    ],
)
def test_what_pytorch_refuses_is_refused_with_the_same_error(arguments):
    assert raised(leaky_relu, *arguments) is raised(native, *arguments)
    assert hooks_in_force() is None  # the refused call has left no hooks behind


def hooks_in_force():
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


# Derivatives of every kind.


@either_way
@pytest.mark.parametrize("slope", [0.0, 0.3, 2.0, -0.5])
def test_derivatives_of_first_and_second_order_are_right(slope, context):
    x = torch.tensor([[-2.0, -0.5, 0.7], [3.0, -1.0, 1.5]], dtype=torch.float64, requires_grad=True)

    def function(x):
        with context():
            return leaky_relu(x, slope)

    assert gradcheck(
        function,
        x,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_backward_ad=True,
    )
    assert gradgradcheck(lambda x: function(x.sin()) ** 2, x, check_batched_grad=True, check_fwd_over_rev=True)


def test_the_second_derivative_by_the_input_is_zero_and_not_missing():
    for function in (leaky_relu, native):
        x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
        (first,) = torch.autograd.grad(function(x, 0.1).sum(), x, create_graph=True)
        same(*torch.autograd.grad(first.sum(), x), torch.zeros(3))


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")  # linearize, on its own
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: f(x),
        lambda f, x: vmap(f)(x),
        lambda f, x: vmap(f, in_dims=1, out_dims=1)(x),
        lambda f, x: vmap(vmap(f))(x),
        lambda f, x: vmap(lambda scale: f(x * scale))(torch.tensor([2.0, -3.0])),
        lambda f, x: vmap(lambda _: f(x))(torch.ones(2)),
        lambda f, x: vmap(grad(lambda z: f(z).pow(2).sum()))(x),
        lambda f, x: grad(lambda z: vmap(f)(z).pow(2).sum())(x),
        lambda f, x: grad(lambda z: grad(lambda z: f(z).pow(3).sum())(z).sum())(x),
        lambda f, x: jvp(f, (x,), (x.sin(),))[1],
        lambda f, x: vjp(f, x)[1](x.sin())[0],
        lambda f, x: jvp(grad(lambda z: f(z).pow(2).sum()), (x,), (x.sin(),))[1],
        lambda f, x: jacrev(f)(x),
        lambda f, x: jacfwd(f)(x),
        lambda f, x: hessian(lambda z: f(z).pow(2).sum())(x),
        lambda f, x: linearize(f, x)[1](x.sin()),
        lambda f, x: grad(lambda z: linearize(f, z)[1](z).sum())(x),
        lambda f, x: make_fx(grad(lambda z: f(z).pow(2).sum()))(x.sin())(x),
        lambda f, x: functionalize(f)(x),
        lambda f, x: functionalize(grad(lambda z: f(z).pow(2).sum()))(x),
        lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True),
        lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True, strategy="forward-mode"),
        lambda f, x: torch.autograd.functional.hessian(lambda z: f(z).pow(2).sum(), x),
        lambda f, x: torch.autograd.grad(f(x), x, torch.eye(6).reshape(6, 2, 3), is_grads_batched=True)[0],
    ],
)  # fmt: skip
def test_transforms_give_the_same(transform):
    x = torch.tensor([[-2.0, 0.0, 3.0], [0.5, -0.5, -0.0]], requires_grad=True)
    ours, theirs = (transform(partial(f, negative_slope=0.1), x) for f in (leaky_relu, native))
    same(ours, theirs)
    assert ours.requires_grad == theirs.requires_grad
    if ours.requires_grad:
        same(*(torch.autograd.grad(y.sin().sum(), x)[0] for y in (ours, theirs)))


def test_forward_mode_and_reverse_mode_on_top_of_it_give_the_same():
    results = []
    for function in (leaky_relu, native):
        x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
        direction = torch.tensor([2.0, 3.0, 4.0], requires_grad=True)
        with forward_ad.dual_level():
            y, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(x, direction), 0.1))
            results.append([y, tangent, *torch.autograd.grad((y * tangent).sum(), (x, direction))])
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs)


def test_functional_call_gives_the_same():
    def step(network, x):
        return functional_call(network, {name: 2 * value for name, value in network.named_parameters()}, x)

    trains_the_same(step)


# Compilers, tracers, exporters.


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_compiled_whole_it_gives_the_same():
    compiled = torch.compile(lambda x: leaky_relu(2 * x, 0.1) + leaky_relu(x, -0.5), fullgraph=True)
    x = torch.tensor(SPECIAL)
    for ours, theirs in zip(
        gradient(compiled, x), gradient(lambda x: native(2 * x, 0.1) + native(x, -0.5), x), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.usefixtures("compiler")
def test_a_compiled_model_trains_the_same():
    trains_the_same(lambda network, x: torch.compile(network, fullgraph=True, backend="aot_eager")(x))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("arguments", [(), (0.2,), (2, True)])
def test_a_layer_that_a_compiled_function_makes_gives_the_same(arguments):
    compiled = torch.compile(lambda x: LeakyReLU(*arguments)(x + 1), fullgraph=True, backend="eager")
    same(compiled(torch.tensor([-2.0, 3.0])), nn.LeakyReLU(*arguments)(torch.tensor([-1.0, 4.0])))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("slope", [1, np.float32(0.5)])
def test_compiled_it_takes_other_numbers_too(slope):
    compiled = torch.compile(lambda x: leaky_relu(x, slope), backend="eager")
    same(compiled(torch.tensor([-2.0, 3.0])), native(torch.tensor([-2.0, 3.0]), slope))


@pytest.mark.usefixtures("compiler")
def test_a_bool_is_no_slope_where_it_is_compiled_or_traced():
    for call in (
        torch.compile(Applied(True), backend="eager"),
        vmap(Applied(True)),
        lambda _: torch.fx.symbolic_trace(Applied(True)),
        lambda x: torch.fx.symbolic_trace(leaky_relu)(x, True),
        lambda x: torch.export.export(Applied(True), (x,), strict=False),
    ):
        with pytest.raises(
            TypeError, match=r"^negative_slope must be a number, got True; write leaky_relu\(x, inplace"
        ):
            call(torch.ones(2))


class Applied(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return leaky_relu(x, self.slope)


def test_a_slope_and_inplace_that_fx_records_are_arguments_of_the_traced_function():
    traced = torch.fx.symbolic_trace(leaky_relu)
    assert [node.op for node in traced.graph.nodes] == 3 * ["placeholder"] + ["call_function", "output"]
    x = torch.tensor([-2.0, 3.0])
    assert traced(x, 0.2, True) is x


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.usefixtures("compiler")
def test_a_compiled_backward_pass_gives_the_same():
    def step(network, x):
        y = network(x)
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            y.sum().backward()
        return y.detach()

    trains_the_same(step)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.usefixtures("compiler")
def test_exported_it_is_the_native_operation(strict, training):
    exported = torch.export.export(nn.Sequential(LeakyReLU(0.1)).train(training), (torch.ones(3),), strict=strict)
    assert [node.target for node in exported.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.leaky_relu.default
    ]
    same(exported.module()(torch.tensor([-2.0, 0, 3])), torch.tensor([-0.2, 0, 3]))


@pytest.mark.filterwarnings("ignore:`torch.jit.[a-z_]+` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_scripted_or_traced_it_is_the_native_operation(how, requires_grad):
    x = torch.randn(4, 5).requires_grad_(requires_grad)
    network = model(LeakyReLU)
    made = torch.jit.script(network) if how == "script" else torch.jit.trace(network, x)
    file = io.BytesIO()
    torch.jit.save(made, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    if how == "trace":  # when scripted, it has other branches, too
        operations = [node.kind() for node in loaded.inlined_graph.nodes() if node.kind().startswith("aten")]
        assert operations == 2 * ["aten::linear", "aten::leaky_relu"]
    same(loaded(x), network(x))
    trains_the_same(lambda network, x: torch.jit.script(network)(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.[a-z_]+` is deprecated:DeprecationWarning")
def test_a_scripted_function_may_call_it():
    scripted = torch.jit.script(calls_it)
    same(scripted(torch.tensor([-2.0, 3.0])), torch.tensor([-0.4, 3.0]))


def calls_it(x: torch.Tensor) -> torch.Tensor:
    return leaky_relu(x, 0.2)


def test_traced_by_fx_it_is_one_call_that_keeps_its_output():
    network = linear(LeakyReLU)
    traced = torch.fx.symbolic_trace(network)
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    assert [node.target for node in calls] == 8 * [leaky_relu]
    x = rows()
    same(traced(x), network(x))
    assert activations_kept(traced, x) == 9


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode:UserWarning")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")  # TorchScript's export, its own
@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning")
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dynamo", [True, False])
def test_in_onnx_it_is_one_node(dynamo, requires_grad, tmp_path):
    network = model(LeakyReLU).train(requires_grad)
    x = torch.randn(4, 5).requires_grad_(requires_grad)
    torch.onnx.export(network, (x,), tmp_path / "model.onnx", dynamo=dynamo, input_names=["x"], verbose=False)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [node.op_type for node in nodes] == 2 * ["Gemm", "LeakyRelu"]
    assert [a.f for node in nodes if node.op_type == "LeakyRelu" for a in node.attribute] == pytest.approx([0.1, 0.3])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (y,) = session.run(None, {"x": x.detach().numpy()})
    torch.testing.assert_close(torch.from_numpy(y), network(x).detach())


# Everything else that may surround a call.


def under_autocast(network, x):
    with torch.autocast("cpu", torch.bfloat16):
        return network(x).float()


@pytest.mark.parametrize(
    "step",
    [
        under_autocast,
        lambda network, x: checkpoint(network, x, use_reentrant=False),
        lambda network, x: checkpoint(network, x.requires_grad_(), use_reentrant=True),
        lambda network, x: torch.utils.checkpoint.checkpoint_sequential(network, 2, x, use_reentrant=False),
    ],
)
def test_a_model_trains_the_same(step):
    trains_the_same(step)


class Mode(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        self.seen.append((function, keywords))
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize(
    "context",
    [
        save_on_cpu,
        torch.autograd.detect_anomaly,
        lambda: disable_saved_tensors_hooks("none here"),
        lambda: torch.autograd.set_multithreading_enabled(False),
        lambda: torch.device("cpu"),
        Mode,
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
def test_a_model_trains_the_same_in_a_context(context):
    def step(network, x):
        with context():
            return network(x)

    trains_the_same(step)


def test_a_channels_last_network_trains_the_same():
    results = []
    for activation in (LeakyReLU, nn.LeakyReLU):
        torch.manual_seed(0)
        network = convolutional(activation).to(memory_format=torch.channels_last)
        y = network(images().contiguous(memory_format=torch.channels_last))
        y.pow(2).sum().backward()
        assert y.is_contiguous(memory_format=torch.channels_last)
        results.append([y, *(parameter.grad for parameter in network.parameters())])
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs)


def test_a_residual_connection_trains_the_same():
    trains_the_same(lambda network, x: network[2:]((h := network[0](x)) + network[1](h)))


class Subclass(torch.Tensor):
    pass


def test_a_subclass_stays_one_and_keeps_its_output():
    x = torch.tensor([-2.0, 3.0]).as_subclass(Subclass).requires_grad_()
    for ours, theirs in zip(gradient(leaky_relu, x, 0.1), gradient(native, x, 0.1), strict=True):
        assert type(ours) is Subclass
        same(ours, theirs)
    y = leaky_relu(x, 0.1)
    assert [storage.data_ptr() for storage in storages_kept(y)] == [y.data_ptr()]


def test_a_subclass_and_a_mode_see_the_call():
    seen = []

    class Spy(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), keywords=None):
            seen.append((function, keywords))
            return super().__torch_function__(function, types, arguments, keywords)

    x = torch.ones(2)
    leaky_relu(x.as_subclass(Spy), 0.1)
    with Mode() as mode:
        leaky_relu(x, 0.1)
    assert seen == mode.seen == [(leaky_relu, {"negative_slope": 0.1, "inplace": False})]


def test_a_dispatch_mode_sees_the_native_operation():
    seen = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            seen.append(function)
            return function(*arguments, **(keywords or {}))

    with Listener():
        trains_the_same()
    assert seen.count(torch.ops.aten.leaky_relu.default) == 4
    assert seen.count(torch.ops.aten.leaky_relu_backward.default) == 4


def test_hooks_of_modules_and_tensors_see_the_same():
    def seen(activation):
        log = []
        network = model(activation)
        network[1].register_forward_pre_hook(lambda _, inputs: log.extend(inputs))
        network[1].register_forward_hook(lambda _, inputs, output: log.extend((*inputs, output)))
        network[1].register_full_backward_pre_hook(lambda _, outer: log.extend(outer))
        network[1].register_full_backward_hook(lambda _, inner, outer: log.extend((*inner, *outer)))
        y = network(torch.linspace(-1, 1, 20).reshape(4, 5))
        y.register_hook(lambda g: 2 * g)
        y.retain_grad()
        y.sum().backward()
        return [*log, y.grad]

    ours, theirs = seen(LeakyReLU), seen(nn.LeakyReLU)
    assert len(ours) == 7
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)


def test_threads_do_not_see_each_other():
    xs = [torch.randn(1000) for _ in range(64)]

    def work(x):
        with under_hooks() if x[0] > 0 else in_the_open():
            return gradient(leaky_relu, x, 0.1)

    with ThreadPoolExecutor(8) as pool:
        for x, ours in zip(xs, pool.map(work, xs), strict=True):
            for mine, other in zip(ours, gradient(native, x, 0.1), strict=True):
                same(mine, other)


def test_forward_in_one_thread_and_backward_in_others():
    x = torch.randn(1000, requires_grad=True)
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda slope: leaky_relu(x, slope).sum(), [0.1] * 16))
        list(pool.map(lambda y: y.backward(), outputs))
    torch.testing.assert_close(x.grad, 16 * gradient(native, x, 0.1, weights=torch.ones(1000))[1])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_kept(mode):
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    with mode():
        y = leaky_relu(x, 0.1)
    assert not y.requires_grad
    assert y.is_inference() == (mode is torch.inference_mode)
    same(y, torch.tensor([-0.2, 3.0]))


def test_on_the_meta_device():
    assert leaky_relu(torch.ones(2, 3, device="meta", requires_grad=True)).shape == (2, 3)


def test_a_copy_on_write_tensor_is_not_copied():
    x = torch._lazy_clone(torch.tensor([-2.0, 3.0])).requires_grad_()
    torch.autograd.grad(leaky_relu(x).sum(), x)
    assert torch._C._is_cow_tensor(x)


DISTRIBUTED = """
import os
import sys
import torch
from torch import distributed, nn
from leakyrelu.torch import LeakyReLU

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
gradients = []
for activation in (LeakyReLU, nn.LeakyReLU):
    torch.manual_seed(0)
    network = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(5, 7), activation(0.1), nn.Linear(7, 6)))
    for _ in range(2):
        network(torch.full((3, 5), 1.0 - 2 * rank)).pow(2).sum().backward()
    gradients.append([parameter.grad for parameter in network.parameters()])
assert all(map(torch.equal, *gradients))
distributed.barrier()
os._exit(0)  # the threads of gloo do not always end by themselves
"""


@pytest.mark.slow
def test_two_processes_train_the_same(tmp_path):
    with ExitStack() as stack:
        processes = []
        for rank in range(2):
            command = [sys.executable, "-c", DISTRIBUTED, str(rank), str(tmp_path / "store")]
            processes.append(stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
            stack.callback(processes[-1].kill)
        for process in processes:
            _, complaint = process.communicate(timeout=60)
            assert process.returncode == 0, complaint


# What is kept.


@pytest.mark.parametrize(("build", "x", "kept"), [(linear, rows, (9, 16)), (convolutional, images, (17, 24))])
def test_it_keeps_as_much_as_relu(build, x, kept):
    assert activations_kept(build(LeakyReLU), x()) == activations_kept(build(nn.ReLU), x()) == kept[0]
    assert activations_kept(build(nn.LeakyReLU), x()) == kept[1]


@pytest.mark.parametrize(("activation", "kept"), [(LeakyReLU, 9), (nn.ReLU, 9), (nn.LeakyReLU, 16)])
def test_hooks_that_are_set_already_see_as_much_as_with_relu(activation, kept):
    network, x = linear(activation), rows()
    storages = set()

    def pack(tensor):
        storages.add(tensor.untyped_storage().data_ptr())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        y = network(x)
    assert len(storages - {parameter.data_ptr() for parameter in network.parameters()}) == kept
    y.sum().backward()


@pytest.mark.parametrize(
    ("slope", "keeps_input"), [(-0.1, True), (np.nan, True), (-0.0, False), (0.0, False), (2, False)]
)
def test_the_input_is_kept_only_where_the_output_does_not_tell_its_sign(slope, keeps_input):
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    y = leaky_relu(x, slope)
    assert [storage.data_ptr() for storage in storages_kept(y)] == [(x if keeps_input else y).data_ptr()]


@pytest.mark.parametrize("context", [in_the_open, partial(saved_tensors_hooks, torch.clone, torch.clone)])
@pytest.mark.parametrize("backward", [False, True])
def test_memory_is_freed_at_once(context, backward):
    gc.collect()
    gc.disable()
    try:
        x = torch.randn(100, requires_grad=True)
        with context():
            y = leaky_relu(x)
        storage = StorageWeakRef(y.untyped_storage())
        loss = y.sum()
        del y
        assert storage.expired() == (context is not in_the_open)
        if backward:
            loss.backward()
        else:
            del loss
        assert storage.expired()
    finally:
        gc.enable()


def test_the_input_is_freed_when_nothing_else_uses_it():
    z = torch.randn(100, requires_grad=True) * 2
    storage = StorageWeakRef(z.untyped_storage())
    y = leaky_relu(z)
    del z
    assert storage.expired()
    y.sum().backward()


@either_way
def test_a_result_changed_in_place_is_an_error(context):
    for activation in (leaky_relu, torch.relu):
        x = torch.randn(2, 3, requires_grad=True)
        y = activation(x)
        with context():
            y[0].mul_(2)
        with pytest.raises(RuntimeError, match="needed for gradient computation has been modified by an inplace"):
            y.sum().backward()


def test_the_error_says_what_to_do():
    y = leaky_relu(torch.randn(2, 3, requires_grad=True))
    y += 1
    with pytest.raises(RuntimeError, match=r"the output of leaky_relu, of shape \[2, 3\]; change a copy of it instead"):
        y.sum().backward()


def test_the_input_may_be_changed_in_place():
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    z = x.clone()
    y = leaky_relu(z, 0.1)
    z.zero_()
    same(*torch.autograd.grad(y.sum(), x), torch.tensor([0.1, 1.0]))


def test_changes_in_place_can_be_allowed_as_for_any_operation():
    with allow_mutation_on_saved_tensors():
        x = torch.tensor([-2.0, 3.0], requires_grad=True)
        y = leaky_relu(x, 0.1)
        y.zero_()
        same(*torch.autograd.grad(y.sum() + 0 * x.sum(), x), torch.zeros(2))


def test_the_graph_may_be_kept_for_another_backward_pass():
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    y = leaky_relu(x, 0.1).sum()
    y.backward(retain_graph=True)
    y.backward()
    same(x.grad, torch.tensor([0.2, 2.0]))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


# PyTorch's own checks.


@pytest.fixture(scope="module")
def upstream():
    """The samples that PyTorch tests its own operation and module with."""
    with pytest.MonkeyPatch.context() as patch:
        # Not needed here: a base class for tests, and the freezing of flags such as those of cuDNN.
        if importlib.util.find_spec("expecttest") is None:
            patch.setitem(sys.modules, "expecttest", SimpleNamespace(TestCase=unittest.TestCase))
        flag = "__allow_nonbracketed_mutation_flag"
        patch.setattr(torch.backends, flag, getattr(torch.backends, flag))
        op_db = importlib.import_module("torch.testing._internal.common_methods_invocations").op_db
        module_db = importlib.import_module("torch.testing._internal.common_modules").module_db
    (operation,) = (info for info in op_db if info.name == "nn.functional.leaky_relu")
    (module,) = (info for info in module_db if info.module_cls is nn.LeakyReLU)
    return SimpleNamespace(operation=operation, module=module)


@pytest.mark.parametrize("dtype", TYPES)
def test_pytorchs_samples_of_the_operation_give_the_same(upstream, dtype):
    assert dtype in upstream.operation.dtypes
    samples = [
        *upstream.operation.sample_inputs("cpu", dtype, requires_grad=True),
        *upstream.operation.reference_inputs("cpu", dtype, requires_grad=True),
    ]
    assert samples
    for sample in samples:
        ours, theirs = (gradient(partial(f, **sample.kwargs), sample.input, *sample.args) for f in (leaky_relu, native))
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other)
        same(leaky_relu(sample.input.detach().clone(), *sample.args, **sample.kwargs, inplace=True), ours[0].detach())


def test_pytorchs_samples_of_the_operation_pass_its_checks(upstream):
    info = upstream.operation
    for sample in [*info.sample_inputs("cpu", torch.float64, requires_grad=True)][:2]:
        call = partial(lambda x, sample: leaky_relu(x, *sample.args, **sample.kwargs), sample=sample)
        small = sample.input.detach()[:3, :4].clone().requires_grad_()
        assert gradcheck(
            call,
            small,
            check_batched_grad=info.check_batched_grad,
            check_forward_ad=info.supports_forward_ad,
            check_batched_forward_grad=info.check_batched_forward_grad,
        )
        assert gradgradcheck(
            call,
            small,
            check_batched_grad=info.check_batched_gradgrad,
            check_fwd_over_rev=info.supports_fwgrad_bwgrad,
            gen_non_contig_grad_outputs=True,
        )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_pytorchs_samples_of_the_module_give_the_same(upstream, dtype, training):
    info = upstream.module
    for sample in info.module_inputs_func(info, "cpu", dtype, True, training):
        made, (x,) = sample.constructor_input, sample.forward_input.args
        ours, theirs = (cls(*made.args, **made.kwargs).train(training) for cls in (LeakyReLU, nn.LeakyReLU))
        for mine, other in zip(gradient(ours, x), gradient(theirs, x), strict=True):
            same(mine, other)
        if sample.reference_fn is not None:
            same(ours(x), sample.reference_fn(ours, x))


# The benchmark.


def test_the_benchmark_prints_both_tables(capsys):
    torch_activation.main([3], timing.Effort(batch=0, budget=0, fewest=2, most=2))
    lines = capsys.readouterr().out.splitlines()
    assert "| ours | 9 | 17 |" in lines
    assert sum(line.startswith("| 3 | forward") for line in lines) == 2
