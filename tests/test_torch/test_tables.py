"""Tools that look up the type of a module in a table of their own treat `LeakyReLU` as PyTorch's own layer."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import fx, nn
from torch.ao import quantization
from torch.ao.nn import quantized
from torch.ao.quantization import quantization_mappings, quantize_fx
from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
from torch.ao.quantization.fx.tracer import QuantizationTracer

from leakyrelu.torch import LeakyReLU, leaky_relu

ENGINES = [name for name in torch.backends.quantized.supported_engines if name != "none"]
BOTH = (LeakyReLU, nn.LeakyReLU)

pytestmark = [  # what PyTorch warns of when it quantizes
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel and:UserWarning"),
    pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max to specify the range:UserWarning"),
]


def network(activation):
    torch.manual_seed(0)
    layers = (nn.Linear(5, 16), activation(0.1), nn.Linear(16, 16), activation(0.3), nn.Linear(16, 3))
    return nn.Sequential(*layers).eval()


def rows(seed=1):
    return torch.randn(64, 5, generator=torch.Generator().manual_seed(seed))


def attributed(method, activation, *arguments, **keywords):
    explain = getattr(pytest.importorskip("captum.attr"), method)
    return explain(network(activation)).attribute(rows().requires_grad_(), *arguments, target=1, **keywords)


# Quantization.


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    monkeypatch.setattr(torch.backends.quantized, "engine", request.param)
    return request.param


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(rows()).pow(2).sum().backward()
        optimizer.step()
    return model.eval()


def calibrated(model):
    model(rows())
    return model


def after_training(model, engine):
    model = quantization.QuantWrapper(model)
    model.qconfig = quantization.get_default_qconfig(engine)
    return quantization.convert(calibrated(quantization.prepare(model)))


def in_training(model, engine):
    model = quantization.QuantWrapper(model).train()
    model.qconfig = quantization.get_default_qat_qconfig(engine)
    return quantization.convert(trained(quantization.prepare_qat(model)))


def by_graph_after_training(model, engine):
    mapping = quantization.get_default_qconfig_mapping(engine)
    return quantize_fx.convert_fx(calibrated(quantize_fx.prepare_fx(model, mapping, (rows(),))))


def by_graph_in_training(model, engine):
    mapping = quantization.get_default_qat_qconfig_mapping(engine)
    return quantize_fx.convert_fx(trained(quantize_fx.prepare_qat_fx(model.train(), mapping, (rows(),))))


@pytest.mark.parametrize("quantize", [after_training, in_training])
def test_quantization_converts_the_layer(quantize, engine):
    ours, theirs = (quantize(network(activation), engine) for activation in BOTH)
    assert [type(module) for module in ours.modules()] == [type(module) for module in theirs.modules()]
    assert sum(type(module) is quantized.LeakyReLU for module in ours.modules()) == 2
    assert torch.equal(ours(rows(2)), theirs(rows(2)))


@pytest.mark.parametrize("quantize", [by_graph_after_training, by_graph_in_training])
def test_quantization_of_a_graph_converts_the_layer(quantize, engine):
    ours, theirs = (quantize(network(activation), engine) for activation in BOTH)
    # No activation is computed in floats. PyTorch's own is converted to a module, a function to a function.
    assert [node.target for node in ours.graph.nodes].count(torch.ops.quantized.leaky_relu) == 2
    assert leaky_relu not in [node.target for node in ours.graph.nodes]
    assert torch.equal(ours(rows(2)), theirs(rows(2)))


class Calls(nn.Module):
    def forward(self, x):
        return leaky_relu(x, 0.1) + leaky_relu(-x, 0.3, inplace=True)


def test_quantization_of_a_graph_converts_the_function():
    made = by_graph_after_training(Calls().eval(), "qnnpack")
    calls = [node for node in made.graph.nodes if node.target is torch.ops.quantized.leaky_relu]
    assert [(node.kwargs["negative_slope"], node.kwargs["inplace"]) for node in calls] == [(0.1, False), (0.3, True)]


def test_a_graph_for_quantization_may_take_the_slope_as_an_argument():
    tracer = QuantizationTracer([], [])
    graph = tracer.trace(leaky_relu)
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [nn.functional.leaky_relu]
    x = rows()
    assert torch.equal(fx.GraphModule(nn.Module(), graph)(x, 0.2, False), nn.functional.leaky_relu(x, 0.2))


def test_a_graph_may_keep_the_layer_whole():
    whole = PrepareCustomConfig().set_non_traceable_module_classes([LeakyReLU])
    mapping = quantization.get_default_qconfig_mapping("qnnpack")
    prepared = quantize_fx.prepare_fx(network(LeakyReLU), mapping, (rows(),), whole)
    assert sum(type(module) is LeakyReLU for module in prepared.modules()) == 2
    assert torch.equal(prepared(rows()), network(LeakyReLU)(rows()))


# Attributions.


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes on non-linear:UserWarning")
@pytest.mark.parametrize("method", ["DeepLift", "DeepLiftShap"])
def test_deeplift_gives_the_same_and_its_contributions_sum_to_the_difference(method):
    ours, delta = attributed(method, LeakyReLU, rows(2), return_convergence_delta=True)
    assert torch.equal(ours, attributed(method, nn.LeakyReLU, rows(2)))
    assert delta.abs().max() < 1e-6  # above 0.1 where Captum does not know the layer


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations:UserWarning")
@pytest.mark.parametrize("method", ["GuidedBackprop", "Deconvolution", "IntegratedGradients"])
def test_other_attributions_give_the_same(method):
    assert torch.equal(*(attributed(method, activation) for activation in BOTH))


LATER = """
import sys
import torch
from leakyrelu.torch import LeakyReLU
model = torch.nn.Sequential(torch.nn.Linear(3, 4), LeakyReLU(0.1), torch.nn.Linear(4, 2))
assert "captum" not in sys.modules
from captum.attr import DeepLift
x = torch.randn(5, 3)
_, delta = DeepLift(model).attribute(x, -x, target=1, return_convergence_delta=True)
assert delta.abs().max() < 1e-6, delta
"""


@pytest.mark.slow
def test_captum_may_be_imported_when_the_model_is_there_already():
    pytest.importorskip("captum")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LATER], capture_output=True, text=True)
    assert not done.returncode, done.stderr


# The tables themselves.


@pytest.fixture
def table(monkeypatch):
    """A stand-in for Captum, whose table does not know `LeakyReLU` yet."""
    module = ModuleType("captum.attr._core.deep_lift")
    module.SUPPORTED_NON_LINEAR = {nn.LeakyReLU: "the rule", nn.ReLU: "another"}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.SUPPORTED_NON_LINEAR


def test_the_rule_is_there_when_a_model_is_walked_through(table):
    seen = []
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(LeakyReLU()))
    assert model.apply(lambda module: seen.append((type(module), table.get(type(module))))) is model
    assert (LeakyReLU, "the rule") in seen
    assert len(table) == 3


def test_a_rule_that_somebody_set_stays(table):
    table[LeakyReLU] = "mine"
    LeakyReLU().apply(lambda module: None)
    assert table[LeakyReLU] == "mine"


@pytest.mark.parametrize("state", ["no row", "no table", "no module"])
def test_without_such_a_table_a_model_is_walked_through_as_ever(table, state, monkeypatch):
    table.clear()
    if state == "no table":
        monkeypatch.delattr(sys.modules["captum.attr._core.deep_lift"], "SUPPORTED_NON_LINEAR")
    if state == "no module":
        monkeypatch.setitem(sys.modules, "captum.attr._core.deep_lift", None)
    layer, seen = LeakyReLU(), []
    assert layer.apply(seen.append) is layer
    assert seen == [layer]
    assert not table


def test_a_subclass_may_compute_something_else_and_gets_no_row(table):
    class Shifted(LeakyReLU):
        def forward(self, x):
            return super().forward(x) + 1

    Shifted().apply(lambda module: None)
    assert Shifted not in table
    assert Shifted not in quantization_mappings.get_default_static_quant_module_mappings()
