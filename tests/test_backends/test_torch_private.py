"""PyTorch's private names may be missing in another version; then what needs them works in a slower or poorer way."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import fx, nn
from torch.ao.quantization.fx.tracer import QuantizationTracer
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import leakyrelu
from leakyrelu._backends import torch as backend
from leakyrelu._backends import torch_private
from leakyrelu.torch import LeakyReLU, capture, diagnose, leaky_relu

# PyTorch gives this warning whenever it scripts, which its own forward-mode derivatives do, too.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

AUTOGRAD, CORE = torch._C._autograd, torch._C
OF_SAVED_TENSORS = (
    (CORE._functions, "LeakyReluBackward0"),
    (AUTOGRAD, "SavedTensor"),
    (AUTOGRAD, "_saved_tensors_hooks_is_enabled"),
    (AUTOGRAD, "_top_saved_tensors_default_hooks"),
    (forward_ad, "_current_level"),
)


def imported_without(monkeypatch, *names):
    """The module of private names as it would be if PyTorch did not have these."""
    spec = spec_from_file_location("torch_private_without", torch_private.__file__)
    module = module_from_spec(spec)
    with monkeypatch.context() as patch:
        for owner, name in names:
            if isinstance(owner, str):
                patch.setitem(sys.modules, owner, None)
            else:
                patch.delattr(owner, name)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(params=OF_SAVED_TENSORS, ids=lambda name: name[1])
def without_a_name(request, monkeypatch):
    private = imported_without(monkeypatch, request.param)
    assert private.saved_tensors is None
    monkeypatch.setattr(backend, "saved_tensors", private.saved_tensors)


@pytest.mark.usefixtures("without_a_name")
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.5, -0.2])
def test_without_a_name_values_and_gradients_stay_those_of_pytorch(slope):
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0, float("inf"), float("nan")], requires_grad=True)
    reference = x.detach().clone().requires_grad_()
    ours, native = leaky_relu(x, slope), functional.leaky_relu(reference, slope)
    torch.testing.assert_close(ours, native, rtol=0, atol=0, equal_nan=True)
    ours.nan_to_num().sum().backward()
    native.nan_to_num().sum().backward()
    torch.testing.assert_close(x.grad, reference.grad, rtol=0, atol=0, equal_nan=True)
    assert x.detach().equal(reference.detach()) or x.isnan().any()


@pytest.mark.usefixtures("without_a_name")
def test_without_a_name_every_derivative_is_right():
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(leaky_relu, (x, 0.1), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(leaky_relu, (x, 0.1))
    slopes = torch.func.vmap(torch.func.grad(lambda z: leaky_relu(z, 0.1)))(x.detach())
    assert slopes.tolist() == [0.1, 0.1, 1.0, 1.0]


@pytest.mark.usefixtures("without_a_name")
def test_without_a_name_the_output_is_kept_and_not_the_input():
    kept = []
    x = torch.randn(1000, requires_grad=True) * 1.0
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = leaky_relu(x, 0.1)
    assert [tensor.data_ptr() for tensor in kept] == [y.data_ptr()]


@pytest.mark.usefixtures("without_a_name")
def test_without_a_name_a_result_changed_in_place_is_told():
    y = leaky_relu(torch.randn(3, requires_grad=True), 0.1)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.usefixtures("without_a_name")
def test_without_a_name_the_function_of_any_array_and_the_layer_work():
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    assert leakyrelu.leaky_relu(x, 0.5).tolist() == [-1.0, 3.0]
    assert leakyrelu.leaky_relu_derivative(x, 0.5).tolist() == [0.5, 1.0]
    assert LeakyReLU(0.5)(x).tolist() == [-1.0, 3.0]
    assert checkpoint(LeakyReLU(0.5), x, use_reentrant=False).tolist() == [-1.0, 3.0]
    assert torch.jit.trace(LeakyReLU(0.5), torch.randn(2))(x).tolist() == [-1.0, 3.0]
    assert torch.jit.script(LeakyReLU(0.5))(x).tolist() == [-1.0, 3.0]


def test_all_names_are_there_in_this_version():
    assert torch_private.saved_tensors is not None
    assert torch_private.native_leaky_relu is torch._C._nn.leaky_relu


def test_without_the_native_function_the_public_one_is_called(monkeypatch):
    private = imported_without(monkeypatch, (torch._C._nn, "leaky_relu"))
    assert private.native_leaky_relu is functional.leaky_relu
    monkeypatch.setattr(backend, "native_leaky_relu", private.native_leaky_relu)
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    leaky_relu(x, 0.5).sum().backward()
    assert x.grad.tolist() == [0.5, 1.0]


def test_without_the_fast_check_for_overriding_tensors_the_documented_one_is_used(monkeypatch):
    private = imported_without(monkeypatch, (torch.overrides, "has_torch_function_unary"))
    assert not private.has_own_function(torch.empty(0))
    monkeypatch.setattr(backend, "has_own_function", private.has_own_function)
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    leaky_relu(x, 0.5).sum().backward()
    assert x.grad.tolist() == [0.5, 1.0]
    assert fx.symbolic_trace(nn.Sequential(LeakyReLU(0.5)))(x).tolist() == [-1.0, 3.0]


def test_without_the_names_of_the_compiler_nothing_counts_as_compiled(monkeypatch):
    model = nn.Linear(2, 2)
    model.compile()
    assert torch_private.is_compiled(model)
    assert torch_private.is_wrapper_of_compiled(torch.compile(nn.Linear(2, 2)))
    monkeypatch.setitem(sys.modules, "torch._dynamo", SimpleNamespace())
    assert not torch_private.is_wrapper_of_compiled(model)
    monkeypatch.delattr(nn.Module, "_compiled_call_impl")
    assert not torch_private.is_compiled(nn.Linear(2, 2))


def test_without_the_tracer_for_quantization_nothing_is_traced_by_it(monkeypatch):
    tracer = QuantizationTracer([], [])
    tracer.graph = fx.Graph()
    proxy = tracer.create_proxy("placeholder", "x", (), {})
    assert torch_private.is_traced_for_quantization(proxy)
    assert not torch_private.is_traced_for_quantization(fx.Proxy(proxy.node))
    assert not torch_private.is_traced_for_quantization(torch.empty(0))
    monkeypatch.delattr("torch.ao.quantization.fx.tracer.QuantizationTracer")
    assert not torch_private.is_traced_for_quantization(proxy)
    monkeypatch.setitem(sys.modules, "torch.ao.quantization.fx.tracer", None)
    assert not torch_private.is_traced_for_quantization(proxy)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU())

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


def test_without_the_name_that_tells_of_a_backward_pass_nothing_fails(monkeypatch):
    private = imported_without(monkeypatch, (CORE, "_current_graph_task_id"))
    assert not private.backward_is_running()
    monkeypatch.setattr(capture, "backward_is_running", private.backward_is_running)
    assert diagnose(Checkpointed(), [torch.randn(8, 3)]).examples == 8


def test_without_the_name_of_the_mode_that_is_entered_a_pass_ends_all_the_same(monkeypatch):
    private = imported_without(monkeypatch, (torch.overrides, "_get_current_function_mode"))
    assert private.is_entered(object())
    monkeypatch.setattr(capture, "is_entered", private.is_entered)
    assert diagnose(Checkpointed(), [torch.randn(8, 3)]).examples == 8
    assert torch.overrides._get_current_function_mode() is None


def test_without_the_names_for_odd_tensors_usual_ones_are_counted(monkeypatch):
    private = imported_without(
        monkeypatch, (CORE._functorch, "is_functorch_wrapped_tensor"), ("torch._subclasses.fake_tensor", "")
    )
    x = torch.randn(2, 3)
    assert not private.is_within_functorch(x)
    assert not private.is_fake(x)
    assert private.is_fake(x.to("meta"))


def test_without_a_way_around_a_subclass_its_own_functions_answer(monkeypatch):
    class Asked(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    def questions():
        asked.clear()
        assert diagnose(nn.ReLU(), [torch.randn(8, 3).as_subclass(Asked)]).examples == 8
        return len(asked)

    asked = []
    fewer = questions()
    private = imported_without(monkeypatch, (CORE, "DisableTorchFunctionSubclass"))
    monkeypatch.setattr(capture, "without_subclass_functions", private.without_subclass_functions)
    assert questions() > fewer


class Pair(NamedTuple):
    a: int
    b: Any


def test_without_pytorchs_trees_tuples_lists_and_mappings_are_still_searched(monkeypatch):
    private = imported_without(monkeypatch, ("torch.utils._pytree", ""))
    tree = {"x": [1, 2.5, ("a", None)], "y": Pair(3, {"z": 4})}
    assert private.tree_leaves(tree) == torch_private.tree_leaves(tree) == [1, 2.5, "a", None, 3, 4]
    doubled = {"x": [2, 2.5, ("a", None)], "y": Pair(6, {"z": 8})}
    assert private.tree_map_only(int, lambda value: 2 * value, tree) == doubled
    assert torch_private.tree_map_only(int, lambda value: 2 * value, tree) == doubled


def test_a_tensor_without_a_known_base_is_its_own_base():
    weight = nn.Parameter(torch.randn(2, 2))
    assert torch_private.base_of(weight.t()) is weight
    assert torch_private.base_of(weight) is weight
    assert torch_private.base_of(object()).__class__ is object


WITHOUT_ALL = """
import sys
import torch, torch.utils._pytree, torch._subclasses.fake_tensor
from torch.autograd import forward_ad
from torch.nn import functional

private = torch._C
names = [
    (private._functions, "LeakyReluBackward0"), (private._autograd, "SavedTensor"),
    (private._autograd, "_saved_tensors_hooks_is_enabled"), (private._autograd, "_top_saved_tensors_default_hooks"),
    (forward_ad, "_current_level"), (private, "_current_graph_task_id"), (private._nn, "leaky_relu"),
    (torch.overrides, "_get_current_function_mode"),
    (private._functorch, "is_functorch_wrapped_tensor"), (torch.overrides, "has_torch_function_unary"),
    (private, "DisableTorchFunctionSubclass"), (private._dynamo.eval_frame, "get_eval_frame_callback"),
    (private._dynamo.eval_frame, "set_code_exec_strategy"),
]
kept = [(owner, name, getattr(owner, name)) for owner, name in names]
modules = {name: sys.modules[name] for name in ("torch.utils._pytree", "torch._subclasses.fake_tensor")}
for owner, name, _ in kept:
    delattr(owner, name)
sys.modules |= dict.fromkeys(modules)
import leakyrelu
import leakyrelu.torch
for owner, name, value in kept:  # PyTorch itself needs them
    setattr(owner, name, value)
sys.modules |= modules

from leakyrelu.torch import LeakyReLU, Monitor, diagnose, replace_relu, revive
x = torch.tensor([-2.0, 3.0], requires_grad=True)
leakyrelu.leaky_relu(x, 0.5).sum().backward()
assert x.grad.tolist() == [0.5, 1.0]
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
model[0].bias.data[:3] = -100
batches = [{"input": torch.randn(64, 4)}]
assert diagnose(model, batches).dead == 3
with Monitor(model) as monitor:
    model(**batches[0]).sum().backward()
assert monitor.diagnosis().dead == 3
monitor = Monitor(model)
torch.compile(model, backend=monitor.backend("eager"))(**batches[0]).sum().backward()
assert monitor.diagnosis().dead == 3
assert revive(model, batches).after.dead == 0
assert isinstance(replace_relu(model).model[1], LeakyReLU)
"""


@pytest.mark.slow
def test_without_any_private_name_everything_works():
    subprocess.run([sys.executable, "-c", WITHOUT_ALL], check=True)


def test_without_the_stack_of_modes_each_call_counts_as_seen(monkeypatch):
    assert not torch_private.is_seen_by_a_mode()
    assert imported_without(monkeypatch, (CORE, "_len_torch_dispatch_stack")).is_seen_by_a_mode()
