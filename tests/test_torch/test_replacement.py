"""replace_relu: what it has replaced computes Leaky ReLU, and nothing else about the model changes."""

import copy
import inspect
import io
import math
import pickle
import warnings
from types import ModuleType

import pytest
import torch
from test_torch.patterns.reference import SLOPE, Forced, leaky
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it
from torch.nn.functional import relu as rectified
from torch.nn.utils import parametrize

from leakyrelu.torch import LeakyReLU, diagnose
from leakyrelu.torch.replacement import Replacement, replace, replace_relu


def functions(cls):
    return [value for value in vars(cls).values() if inspect.isfunction(value)]


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def forced(model, *inputs):
    with Forced():
        return model(*inputs)


def replaced(model, **keywords):
    replacement = replace_relu(model, SLOPE, **keywords)
    assert not replacement.skipped
    return replacement.model


def skipped(model):
    """The name and the reason of the only site, which was skipped; nothing has been replaced."""
    before = dict(vars(model))
    modes = {module: module.training for module in model.modules()}
    replacement = replace_relu(model, SLOPE)
    assert replacement.model is model
    assert replacement.replaced == ()
    assert vars(model).keys() == before.keys()
    assert all(value is before[key] for key, value in vars(model).items())
    assert modes == {module: module.training for module in model.modules()}
    ((name, reason),) = replacement.skipped.items()
    assert name in str(replacement)
    assert reason in str(replacement)
    return name, reason


class Calling(nn.Module):
    """A layer, and functions for the forwards below."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    @staticmethod
    def static(x):
        return F.relu(x)


class Block(Calling):
    """A block as in a ResNet: with one shared activation in place, or with the function."""

    def __init__(self, relu):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(3)
        self.downsample = None
        self.relu = relu

    def forward(self, x):
        identity = x
        out = self.bn1(self.conv1(x))
        out = self.relu(out)
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class FunctionalBlock(Block):
    def __init__(self):
        super().__init__(None)

    def forward(self, x):
        identity = x
        out = self.bn1(self.conv1(x))
        out = F.relu(out, inplace=True)
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return F.relu(out)


def network(block):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(block(), block()), nn.Flatten(), nn.LazyLinear(5))


def same_in_both_modes(model, expected, *inputs, **keywords):
    for mode in (True, False):
        model.train(mode)
        expected.train(mode)
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                torch.manual_seed(1)
                left = model(*inputs, **keywords)
                torch.manual_seed(1)
                assert torch.allclose(left, expected(*inputs, **keywords), atol=1e-6)


# Modules


def test_modules_become_leaky_under_every_kind_of_container():
    class Model(nn.Module):
        def __init__(self, relu):
            super().__init__()
            self.a = nn.Sequential(nn.Linear(4, 4), relu())
            self.b = nn.ModuleList([nn.Linear(4, 4), relu()])
            self.c = nn.ModuleDict({"linear": nn.Linear(4, 4), "relu": relu()})
            self.relu = relu()

        def forward(self, x):
            for part in (*self.a, *self.b, *self.c.values(), self.relu):
                x = part(x)
            return x

    model = Model(nn.ReLU)
    expected = Model(lambda: nn.LeakyReLU(SLOPE))
    expected.load_state_dict(model.state_dict())
    replacement = replace_relu(model, SLOPE)
    assert replacement.model is model
    assert replacement.replaced == ("a.1", "b.1", "c.relu", "relu")
    assert replacement.skipped == {}
    same_in_both_modes(model, expected, random(5, 4))


def test_a_shared_module_stays_shared():
    relu = nn.ReLU()
    model = replaced(nn.Sequential(nn.Linear(4, 4), relu, nn.Sequential(relu, nn.Linear(4, 4)), relu))
    assert isinstance(model[1], LeakyReLU)
    assert model[1] is model[3] is model[2][0]


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("mode", [True, False])
def test_in_place_and_the_mode_are_kept(inplace, mode):
    relu = replaced(nn.Sequential(nn.ReLU(inplace).train(mode)))[0]
    assert (relu.inplace, relu.training, relu.negative_slope) == (inplace, mode, SLOPE)


def test_hooks_of_a_module_are_kept_and_their_handles_remove_them():
    calls = []
    model = nn.Sequential(nn.ReLU())
    handle = model[0].register_forward_hook(lambda *args: calls.append(args))
    replaced(model)
    model(torch.ones(2))
    assert isinstance(calls[0][0], LeakyReLU)
    handle.remove()
    model(torch.ones(2))
    assert len(calls) == 1


def test_a_model_that_is_a_relu_gives_a_new_one():
    relu = nn.ReLU()
    replacement = replace_relu(relu, SLOPE)
    assert isinstance(replacement.model, LeakyReLU)
    assert replacement.replaced == ("relu",)
    assert isinstance(relu, nn.ReLU)


def test_subclasses_of_relu_go_by_their_forward():
    class Named(nn.ReLU):
        pass

    class Shifted(nn.ReLU):
        def forward(self, x):
            return super().forward(x) - 1

    model = nn.Sequential(Named(), Shifted())
    replacement = replace_relu(model)
    assert replacement.replaced == ("0",)
    assert replacement.skipped == {"1": "its forward is not that of nn.ReLU"}
    assert isinstance(model[1], Shifted)


def test_other_activations_are_left_alone():
    model = nn.Sequential(nn.ReLU6(), nn.LeakyReLU(), nn.GELU(), nn.Hardtanh(), nn.PReLU())
    before = list(model)
    assert replace_relu(model).replaced == ()
    assert list(model) == before


# Attributes


@pytest.mark.parametrize("function", [F.relu, torch.relu, torch.Tensor.relu, torch.relu_])
def test_a_function_held_as_an_attribute(function):
    class Model(Calling):
        def __init__(self):
            super().__init__()
            self.act = function

        def forward(self, x):
            return self.act(self.linear(x)) if x.sum() > -1e9 else x

    model = Model()
    keys = list(model.state_dict())
    replacement = replace_relu(model, SLOPE)
    assert replacement.replaced == ("relu",)
    assert list(model.state_dict()) == keys
    x = random(5, 4)
    assert torch.equal(model(x), leaky(model.linear(x)))


def test_attributes_that_cannot_be_hashed_are_no_obstacle():
    model = nn.Sequential(nn.ReLU())
    model.sizes = [1, 2]
    model.scale = torch.ones(2)
    replaced(model)


@pytest.mark.parametrize("activation", [F.relu, nn.ReLU(), torch.relu])
@pytest.mark.parametrize("masked", [True, False])
def test_a_transformer_encoder_is_leaky_in_training_and_on_the_fast_path(activation, masked):
    def encoder(activation):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, batch_first=True)
        return nn.TransformerEncoder(layer, 2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some say that they take no nested tensors
        expected = encoder(nn.LeakyReLU(SLOPE))
        model = replaced(encoder(activation))
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if masked else None
    same_in_both_modes(model, expected, 10 * random(2, 5, 8), src_key_padding_mask=mask)
    same_in_both_modes(copy.deepcopy(model), expected, 10 * random(2, 5, 8), src_key_padding_mask=mask)


@pytest.mark.parametrize("activation", [F.relu, nn.ReLU()])
def test_a_transformer_decoder_is_leaky_and_its_copies_are(activation):
    torch.manual_seed(0)
    model = nn.TransformerDecoderLayer(8, 2, 16, 0.0, activation)
    expected = nn.TransformerDecoderLayer(8, 2, 16, 0.0, leaky)
    expected.load_state_dict(model.state_dict())
    target, memory = 10 * random(5, 2, 8), random(4, 2, 8)
    assert not torch.allclose(model(target, memory), expected(target, memory))
    replaced(model)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_in_both_modes(each, expected, target, memory)


def test_the_names_of_a_transformer():
    replacement = replace_relu(nn.Transformer(8, 2, 1, 2, 16, batch_first=True))
    assert replacement.replaced == ("encoder.layers.0.relu", "decoder.layers.0.relu", "decoder.layers.1.relu")


# Functions


def functional(x):
    return F.relu(x)


helpers = ModuleType("helpers")
helpers.rectify = functional


class Forwards:
    """Ways to call the function."""

    def of_functional(self, x):
        return F.relu(self.linear(x))

    def of_functional_in_place(self, x):
        return F.relu(self.linear(x), inplace=True)

    def of_functional_by_keyword(self, x):
        return F.relu(input=self.linear(x), inplace=False)

    def of_functional_by_position(self, x):
        return F.relu(self.linear(x), True)

    def of_torch(self, x):
        return torch.relu(self.linear(x))

    def of_torch_in_place(self, x):
        return torch.relu_(self.linear(x))

    def of_tensor(self, x):
        return self.linear(x).relu()

    def of_tensor_in_place(self, x):
        return self.linear(x).relu_()

    def of_a_function_that_calls_it(self, x):
        return functional(self.linear(x))

    def of_a_function_of_an_imported_module(self, x):
        return helpers.rectify(self.linear(x))

    def of_a_static_method(self, x):
        return self.static(self.linear(x))

    def of_an_import_under_another_name(self, x):
        return rectified(self.linear(x))

    def of_a_comprehension(self, x):
        return sum([F.relu(self.linear(each)) for each in (x,)])

    def of_a_local_import(self, x):
        from torch.nn.functional import relu  # noqa: PLC0415  # the case

        return relu(self.linear(x))


@pytest.mark.parametrize("forward", functions(Forwards), ids=lambda forward: forward.__name__)
def test_every_call_of_the_function(forward):
    model = type("Model", (Calling,), {"forward": forward})()
    replacement = replace_relu(model, SLOPE)
    assert replacement.model is model
    assert replacement.replaced == ("relu",)
    x = random(5, 4)
    y = model(x)
    assert torch.equal(y, leaky(model.linear(x)))
    assert (y < 0).any()


def written(source, file):
    """A module whose forward is in a file, where inspect finds it."""
    file.write_text(source)
    namespace = {"F": F, "torch": torch}
    exec(compile(source, file, "exec"), namespace)
    return type("Model", (nn.Module,), {"forward": namespace["forward"]})()


def test_the_source_may_have_a_comment_or_a_string_at_the_margin(tmp_path):
    source = 'if True:\n    def forward(self, x):\n# a comment\n        """A\nstring."""\n        return F.relu(x)\n'
    x = random(5)
    assert torch.equal(replaced(written(source, tmp_path / "model.py"))(x), leaky(x))


@pytest.mark.parametrize("call", ["F.relu(x, inplace=True)", "F.relu(x, True)", "torch.relu_(x)", "x.relu_()"])
def test_in_place_stays_in_place(call, tmp_path):
    model = replaced(written(f"def forward(self, x):\n    return {call}\n", tmp_path / "model.py"))
    x = random(5)
    expected = leaky(x)
    assert model(x) is x
    assert torch.equal(x, expected)


class Method(Calling):
    """It is at the top of this file so that a pickle can name it."""

    def forward(self, x):
        return self.branch(x) + 1

    def branch(self, x):
        return self.linear(x).relu()

    @staticmethod
    def unused():
        with torch.no_grad():
            pass


def test_a_layer_that_extends_one_of_pytorch():
    class Rectified(nn.Linear):
        def forward(self, x):
            return F.relu(super().forward(x))

    model = Rectified(4, 4)
    x = random(5, 4)
    assert torch.equal(replaced(model)(x), leaky(F.linear(x, model.weight, model.bias)))


def test_calls_in_a_method_of_the_class():
    model = replaced(Method())
    x = random(5, 4)
    assert torch.equal(model(x), leaky(model.linear(x)) + 1)


def test_blocks_as_in_a_resnet():
    expected = network(lambda: Block(nn.LeakyReLU(SLOPE)))
    x = random(4, 2, 7, 7)
    expected(x)
    for block, names in (
        (lambda: Block(nn.ReLU(inplace=True)), ("1.0.relu", "1.1.relu")),
        (lambda: Block(F.relu), ("1.0.relu", "1.1.relu")),
        (FunctionalBlock, ("1.0.relu", "1.0.relu:2", "1.1.relu", "1.1.relu:2")),
    ):
        model = network(block)
        model(x)
        model.load_state_dict(expected.state_dict())
        replacement = replace_relu(model, SLOPE)
        assert replacement.replaced == names
        assert not replacement.skipped
        same_in_both_modes(model, expected, x)
        model.load_state_dict(expected.state_dict())


def test_gradients_are_those_of_leaky_relu():
    model = Method()
    expected = copy.deepcopy(model)
    expected.branch = lambda x: leaky(expected.linear(x))
    for each in (replaced(model), expected):
        each(random(5, 4)).square().sum().backward()
    assert torch.equal(model.linear.weight.grad, expected.linear.weight.grad)


def test_a_block_in_a_model_that_depends_on_its_data():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Method()

        def forward(self, x):
            return self.block(x) if x.sum() > -1e9 else F.relu(x)

    model = Model()
    replacement = replace_relu(model, SLOPE)
    assert replacement.replaced == ("relu", "block.relu")
    assert not replacement.skipped
    x = random(5, 4)
    assert torch.equal(model(x), leaky(model.block.linear(x)) + 1)
    assert torch.equal(model(torch.full((4,), -1e9)), leaky(torch.full((4,), -1e9)))


def test_a_block_called_twice_is_replaced_once():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = self.again = Method()

        def forward(self, x):
            return self.again(self.block(x))

    model = Model()
    assert replace_relu(model, SLOPE).replaced == ("block.relu",)
    assert model.block is model.again


def test_a_grandchild_named_relu_is_not_taken_for_the_function():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Block(nn.ReLU())

        def forward(self, x):
            return self.net.relu(x) if x.sum() > 0 else x

    replacement = replace_relu(Model())
    assert replacement.replaced == ("net.relu",)
    assert replacement.skipped == {}


def test_forwards_without_relu_are_not_traced():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x) if x.sum() > 0 else x

    model = Model()
    assert replace_relu(model).replaced == ("relu",)
    assert type(model) is Model


# What remains as it was


class Stateful(Method):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(4))
        self.register_buffer("scratch", torch.ones(4), persistent=False)
        self.unused_layer = nn.ModuleList([nn.Linear(2, 2)])
        self.unused_weight = nn.Parameter(torch.ones(2))
        self.out_channels = 4

    def forward(self, x, offset=2.0):
        return super().forward(x) * self.scale + offset


def copies():
    def saved(model):
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    return [lambda model: model, copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), saved]


@pytest.mark.parametrize("copied", copies())
@pytest.mark.parametrize("mode", [True, False])
def test_copies_and_pickles_are_as_the_model(copied, mode):
    original = Stateful().train(mode)
    parameters = list(original.parameters())
    keys = list(original.state_dict())
    model = replaced(original)
    assert all(left is right for left, right in zip(model.parameters(), parameters, strict=True))
    model = copied(model)
    x = random(5, 4)
    assert torch.equal(model(x), leaky(model.linear(x)) + 1 + 2)
    assert torch.equal(model(x, offset=3.0), leaky(model.linear(x)) + 1 + 3)
    assert list(model.state_dict()) == keys
    assert isinstance(model, Stateful)
    assert (type(model).__name__, type(model).__module__) == ("Stateful", Stateful.__module__)
    assert model.training == mode
    assert model.out_channels == 4
    assert isinstance(model.unused_layer, nn.ModuleList)
    assert repr(model) == repr(Stateful())
    if model is not original:
        model.linear.weight.data.zero_()
        assert original.linear.weight.any() or model.linear is original.linear


def test_an_optimizer_made_before_goes_on():
    model = Method()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model.linear.weight.clone()
    replaced(model)(random(5, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.linear.weight, before)


def test_hooks_of_a_module_that_calls_the_function_are_kept():
    calls = []
    model = Method()
    handle = model.register_forward_hook(lambda *args: calls.append(args))
    replaced(model)(random(5, 4))
    handle.remove()
    model(random(5, 4))
    assert len(calls) == 1


def test_a_second_time_there_is_nothing_to_do():
    model = nn.Sequential(nn.ReLU(), Method(), nn.TransformerEncoderLayer(4, 1))
    assert len(replace_relu(model).replaced) == 3
    replacement = replace_relu(model)
    assert (replacement.replaced, replacement.skipped) == ((), {})
    assert str(replacement).splitlines() == [
        "nothing replaced; its source does not show whether it calls ReLU",
        "only a run is sure: give batches",
    ]


@pytest.mark.parametrize("operation", ["+=", "-=", "*=", "/=", "//=", "%=", "**="])
def test_in_place_arithmetic_changes_the_tensor_under_all_its_names(operation, tmp_path):
    source = f"def forward(self, x):\n    half = x[:2]\n    half {operation} 3\n    return F.relu(x)\n"
    model = written(source, tmp_path / "model.py")
    x = random(5)
    expected = x.clone()
    model(expected)  # changes it in place
    assert not torch.equal(expected, x)
    assert torch.equal(replaced(model)(x), leaky(expected))


def test_in_place_arithmetic_on_a_number_makes_another():
    class Model(nn.Module):
        def forward(self, x):
            size = bigger = x.size(0)
            bigger += 1
            return F.relu(x) * size

    x = random(5)
    assert torch.equal(replaced(Model())(x), leaky(x) * 5)


def test_a_child_named_relu_is_not_taken_for_the_function():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return F.relu(self.relu(x) - 1)

    model = Model()
    assert len(replace_relu(model, SLOPE).replaced) == 2
    calls = []
    model.relu.register_forward_hook(lambda *args: calls.append(args))
    x = random(5)
    assert torch.equal(model(x), leaky(leaky(x) - 1))
    assert len(calls) == 1


def test_buffers_are_read_at_every_call():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.zeros(()))

        def forward(self, x):
            return F.relu(x + (self.shift + 1))

    model = replaced(Model())
    model.shift += 2
    assert torch.equal(model(torch.ones(1)), torch.full((1,), 4.0))


def test_a_graph_module_is_edited():
    model = fx.symbolic_trace(nn.Sequential(Method(), Method()))
    replacement = replace_relu(model, SLOPE)
    assert replacement.replaced == ("relu", "relu:2")
    x = random(5, 4)
    expected = leaky(model.get_submodule("1.linear")(leaky(model.get_submodule("0.linear")(x)) + 1)) + 1
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(each(x), expected)


@pytest.mark.parametrize("inplace", [True, False])
def test_an_exported_program_is_edited(inplace):
    model = torch.export.export(nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace)), (random(5, 4),)).module()
    replacement = replace_relu(model, SLOPE)
    assert len(replacement.replaced) == 1
    x = random(5, 4)
    assert torch.equal(model(x), leaky(F.linear(x, model.get_parameter("0.weight"), model.get_parameter("0.bias"))))


@pytest.mark.parametrize(("model", "x"), [(Method(), random(5, 4)), (FunctionalBlock(), random(2, 3, 4, 4))])
def test_a_replaced_model_is_traced_compiled_and_exported(model, x):
    replaced(model).eval()
    assert torch.equal(fx.symbolic_trace(model)(x), model(x))
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))
    assert torch.equal(torch.export.export(model, (x,)).module()(x), model(x))


def test_a_replaced_model_is_scripted():
    model = replaced(Method())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert torch.equal(torch.jit.script(model)(random(5, 4)), model(random(5, 4)))


# What is skipped


@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_kernels_are_skipped(bidirectional):
    model = nn.Sequential(nn.RNN(4, 4, nonlinearity="relu", bidirectional=bidirectional), nn.RNN(4, 4))
    assert skipped(model) == ("0", "fused: its ReLU is part of the recurrent kernel")
    assert skipped(nn.RNNCell(4, 4, nonlinearity="relu"))[0] == "model"


def test_scripted_models_are_skipped():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    for model, name in ((scripted, "model"), (nn.Sequential(scripted), "0")):
        replacement = replace_relu(model)
        assert replacement.skipped == {name: "scripted; replace before torch.jit.script"}
        assert replacement.replaced == ()


def test_a_scripted_child_is_no_obstacle():
    model = Method()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model.linear = torch.jit.script(model.linear)
    replacement = replace_relu(model, SLOPE)
    assert replacement.replaced == ("relu",)
    assert replacement.skipped == {"linear": "scripted; replace before torch.jit.script"}
    x = random(5, 4)
    assert torch.equal(model(x), leaky(model.linear(x)) + 1)


def test_compiled_models_are_skipped():
    compiled = torch.compile(nn.Sequential(nn.Sequential(nn.ReLU())), backend="eager")
    in_place = nn.Sequential(nn.Sequential(nn.ReLU()))
    in_place.compile(backend="eager")
    for model in (compiled, in_place):
        assert replace_relu(model).skipped == {"model": "compiled; replace before torch.compile"}
        replacement = replace_relu(nn.Sequential(nn.ReLU(), model))
        assert replacement.replaced == ("0",)
        assert replacement.skipped == {"1": "compiled; replace before torch.compile"}


def constantly(x):
    with torch.no_grad():
        return x + 1


helpers.detached = constantly


def silently(function):
    def call(*args):
        with torch.no_grad():
            return function(*args)

    return call


class Deciding:
    """Forwards that decide by their data or by chance, and that do more than compute their result."""

    def on_data(self, x):
        return F.relu(x) if x.sum() > 0 else x

    def on_the_shape(self, x):
        assert x.shape[0] > 1
        return F.relu(x)

    def on_variable_arguments(self, *x):
        return F.relu(sum(x))

    def on_training(self, x):
        return F.dropout(F.relu(x), training=self.training)

    def on_training_by_if(self, x):
        return F.relu(x) if self.training else x

    def on_training_of_a_child(self, x):
        return F.relu(x) if self.linear.training else x

    def on_gradients_being_wanted(self, x):
        return F.relu(x) if torch.is_grad_enabled() else x

    def on_none(self, x, skip=None):
        if skip is not None:
            x = x + skip
        return F.relu(x)

    def on_none_as_a_value(self, x, skip=None):
        plain = skip is None
        return F.relu(x) if plain else x

    def on_none_by_match(self, x, skip=None):
        match skip:
            case None:
                return F.relu(x)
        return x

    def on_true(self, x, flag=False):
        return F.relu(x) if flag is True else x

    def on_a_type(self, x):
        return F.relu(x if isinstance(x, torch.Tensor) else x[0])

    def without_gradients(self, x):
        with torch.no_grad():
            return F.relu(x)

    def without_gradients_in_a_function(self, x):
        return F.relu(constantly(x))

    def without_gradients_in_a_function_of_a_module(self, x):
        return F.relu(helpers.detached(x))

    @torch.no_grad()
    def decorated(self, x):
        return F.relu(x)

    @silently
    def decorated_by_a_with_block(self, x):
        return F.relu(x)

    def noisy(self, x):
        return F.relu(x + torch.randn(4))

    def constant(self, x):
        return F.relu(x + torch.ones(4))

    def counting(self, x):
        self.calls = 1
        return F.relu(x)

    def collecting(self, x):
        self.collected.append(x)
        return F.relu(x)

    def filling(self, x):
        self.collected[0] = x
        return F.relu(x)

    def calling_globally(self, x):
        global latest  # noqa: PLW0603  # the case
        latest = x
        return F.relu(x)

    def counting_in_place(self, x):
        self.linear.bias.data.add_(1)
        return F.relu(x)

    def setting(self, x):
        setattr(self, "calls", 1)  # noqa: B010  # seen by the trace alone
        return F.relu(x)

    def trying(self, x):
        try:
            return F.relu(x.view(-1))
        except RuntimeError:
            return x

    def storing(self, x):
        x[0] = 1
        return F.relu(x)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("forward", functions(Deciding), ids=lambda forward: forward.__name__)
def test_all_but_the_activation_is_as_before(forward, mode):
    cls = type("Model", (Calling,), {"forward": forward})
    model = cls().train(mode)
    model.collected = [None]
    expected, given = copy.deepcopy(model), cls
    replacement = replace_relu(model, SLOPE)
    assert (replacement.replaced, replacement.skipped) == (("relu",), {})
    for grad, x in [(True, random(5, 4)), (False, -random(5, 4))]:
        with torch.set_grad_enabled(grad):
            torch.manual_seed(0)
            left = model(x.clone())
            torch.manual_seed(0)
            right = forced(expected, x.clone())
        assert torch.equal(left, right)
        assert left.requires_grad == right.requires_grad
    assert len(model.collected) == len(expected.collected)
    assert getattr(model, "calls", 0) == getattr(expected, "calls", 0)
    assert torch.equal(model.linear.bias, expected.linear.bias)
    assert replacement.undo() is model
    assert type(model) is given


def test_a_forward_without_source_is_skipped_if_it_names_relu():
    namespace = {"F": F}
    exec("def forward(self, x): return F.relu(x)\ndef other(self, x): return x + 1", namespace)
    model = type("Model", (nn.Module,), {"forward": namespace["forward"]})()
    assert skipped(model) == ("relu", "forward cannot be edited: its source is not available")
    replacement = replace_relu(type("Model", (nn.Module,), {"forward": namespace["other"]})())
    assert (replacement.replaced, replacement.skipped) == ((), {})


@pytest.mark.parametrize("model", [Method(), nn.Linear(1, 1)])
def test_a_forward_set_on_the_object_is_rewritten(model):
    model.forward = lambda x: F.relu(x) + 1
    before = model.forward
    replacement = replace_relu(model, SLOPE)
    x = random(5)
    assert torch.equal(model(x), leaky(x) + 1)
    replacement.undo()
    assert model.forward is before


def test_parametrized_modules():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return F.relu(self.weight * x)

    x = random(5, 4)
    model = Model()
    parametrize.register_parametrization(model, "weight", Doubled())
    assert torch.equal(replaced(model)(x), leaky(2 * x))
    parametrize.remove_parametrizations(model, "weight")
    assert torch.equal(model(x), leaky(2 * x))
    model = Method()
    parametrize.register_parametrization(model.linear, "weight", Doubled())
    assert torch.equal(replaced(model)(x), leaky(model.linear(x)) + 1)


# What is not a call of the function


def evaluate(model, batches):  # a function that many scripts have
    with torch.no_grad():
        return [model(batch) for batch in batches]


def test_a_child_is_not_taken_for_a_function_of_its_name():
    class Model(Calling):
        def __init__(self):
            super().__init__()
            self.evaluate = nn.Linear(4, 2)

        def forward(self, x):
            return self.evaluate(F.relu(self.linear(x)))

    model, x = Model(), random(5, 4)
    assert torch.equal(replaced(model)(x), model.evaluate(leaky(model.linear(x))))


def test_a_variable_is_not_taken_for_a_function_of_its_name():
    class Model(Calling):
        def forward(self, x):
            evaluate = self.linear
            return F.relu(evaluate(x))

    model, x = Model(), random(5, 4)
    assert torch.equal(replaced(model)(x), leaky(model.linear(x)))


class Acting(Calling):
    """torch.fx could not trace its forward, which calls nothing but modules."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(s, x, skip=None):  # noqa: N805  # the case
        x = s.relu(s.linear(x))
        return x if skip is None else x + skip


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Acting(), Acting()])


class Holders:
    def over_blocks(self, x, scale=None):
        for block in self.blocks:
            x = block.relu(block(x))
        return x if scale is None else scale * x

    def over_numbered_blocks(self, x, scale=None):
        for _i, block in enumerate(self.blocks):
            x = block.relu(block(x))
        return x if scale is None else scale * x

    def over_pairs(self, x, scale=None):
        for one, other in zip(self.blocks, reversed(self.blocks), strict=True):
            x = one.relu(other(x))
        return x if scale is None else scale * x

    def over_numbers(self, x, scale=None):
        for i in range(len(self.blocks)):
            x = self.blocks[i].relu(self.blocks[i](x))
        return x if scale is None else scale * x

    def by_variables(self, x, scale=None):
        blocks = self.blocks
        first, last = blocks[0], blocks[-1]
        x = last.relu(last(first.relu(first(x))))
        return x if scale is None else scale * x

    def over_children(self, x, scale=None):
        for block in self.blocks.children():
            x = block.relu(block(x))
        return x if scale is None else scale * x


@pytest.mark.parametrize("forward", functions(Holders), ids=lambda forward: forward.__name__)
def test_a_relu_of_a_part_of_the_model_is_a_module_whatever_it_is_called(forward):
    model = type("Model", (Holding,), {"forward": forward})()
    replacement = replace_relu(model, SLOPE)
    assert (replacement.replaced, replacement.skipped) == (("blocks.0.relu", "blocks.1.relu"), {})
    assert all(isinstance(block.relu, LeakyReLU) for block in model.blocks)


def test_a_module_is_replaced_by_the_name_that_diagnose_gives():
    model = nn.Sequential(Acting())
    names = [site.name for site in diagnose(model, [random(9, 4)]).sites]
    assert names == ["0.relu"]
    assert replace_relu(model, SLOPE, only=names).replaced == ("0.relu",)
    assert isinstance(model[0].relu, LeakyReLU)


class Functions:
    def of_a_tensor_that_replaces_a_part(self, x, scale=None):
        for part in self.blocks:
            part = part(x)  # noqa: PLW2901  # the case
            x = part.relu()
        return x if scale is None else scale * x

    def of_what_a_part_computes(self, x, scale=None):
        x = self.blocks[0](x).relu()
        return x if scale is None else scale * x

    def of_what_is_changed(self, x, scale=None):
        y = 0
        y += x
        return y.relu() if scale is None else scale * y

    def of_what_was_collected(self, x, scale=None):
        collected = []
        for part in self.blocks:
            collected.append(part(x))  # noqa: PERF401  # the case
        return sum(each.relu() if scale is None else each for each in collected)

    @staticmethod
    def of_a_first_argument_that_is_no_module(x, scale=None):
        return x.relu() if scale is None else scale * x

    def of_all_arguments(*args):
        return args[1].relu() if args[-1] is None else args[1]

    def of_an_inner_argument(self, x, scale=None):
        return [part.relu() if scale is None else part for part in x][0]  # noqa: RUF015  # the case


@pytest.mark.parametrize("name", [name for name in vars(Functions) if name.startswith("of")])
def test_a_relu_of_a_tensor_is_the_function_whatever_it_is_called(name):
    model = type("Model", (Holding,), {"forward": vars(Functions)[name]})()
    model.blocks = nn.ModuleList([nn.Linear(4, 4)])
    x = random(5, 4)
    expected = forced(model, x)
    assert replace_relu(model, SLOPE).replaced == ("relu",)
    assert torch.equal(model(x), expected)


# What else is flat below zero

BOUNDED = {"relu6": "ReLU6 is bounded above", "hardtanh": "Hardtanh is bounded above", "threshold": "a threshold has"}
BOUNDED |= dict.fromkeys(("clamp", "clamp_min", "clip"), "a clamp at zero")
FLAT = {
    "clamp": ["x.clamp(0)", "torch.clamp(x, 0, 1)", "x.clamp_(min=0.0)"],
    "clamp_min": ["x.clamp_min(0)", "torch.clamp_min(x, 0)"],
    "clip": ["x.clip(min=0)"],
    "relu6": ["F.relu6(x)", "torch.nn.functional.hardtanh(x, 0.0, 6.0)"],
    "hardtanh": ["F.hardtanh(x, min_val=0)"],
    "threshold": ["F.threshold(x, 0, 0)"],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in FLAT.items() for call in calls])
@pytest.mark.parametrize("before", ["x = -x", "x = F.relu(-x)", "x = x if skip is None else x + skip"])
def test_functions_that_are_flat_below_zero_are_listed_as_skipped(name, call, before, tmp_path):
    model = written(f"def forward(self, x, skip=None):\n    {before}\n    return {call}\n", tmp_path / "model.py")
    x = random(9, 4)
    names = {site.name for site in diagnose(model, [x]).sites} - {"relu"}
    replacement = replace_relu(model, SLOPE)
    assert replacement.replaced == (("relu",) if "relu" in before else ())
    assert replacement.skipped.keys() == names == {name}
    assert replacement.skipped[name].startswith(BOUNDED[name])
    assert replace_relu(model, only=[name], batches=[x]).skipped.keys() == {name}


@pytest.mark.parametrize(
    "call", ["x.clamp(1)", "x.clamp(max=0)", "F.hardtanh(x)", "self.clamp(x, 0)", "x.clamp(min=skip)", "F.gelu(x)"]
)
def test_what_is_not_flat_below_zero_is_not_listed(call, tmp_path):
    model = written(f"def forward(self, x, skip=None):\n    return {call}\n", tmp_path / "model.py")
    replacement = replace_relu(model)
    assert (replacement.replaced, replacement.skipped) == ((), {})


def test_modules_that_are_flat_below_zero_are_listed_as_skipped():
    model = nn.Sequential(nn.ReLU6(), nn.Hardtanh(0, 1), nn.Threshold(0, 0), nn.Hardtanh(), nn.LeakyReLU(), nn.GELU())
    replacement = replace_relu(model)
    names = {site.name for site in diagnose(model, [random(9, 4)]).sites if site.flat}
    assert replacement.replaced == ()
    assert replacement.skipped.keys() == names == {"0", "1", "2"}


# only=


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(-F.relu(self.act(x)) - 1) + torch.relu(-x)


def test_only_what_is_named_is_replaced():
    model = nn.Sequential(nn.ReLU(), nn.ReLU(), Twice())
    replacement = replace_relu(model, SLOPE, only=iter(["1", "2.relu:2"]), batches=[random(5)])
    assert replacement.replaced == ("1", "2.relu:2")
    assert isinstance(model[0], nn.ReLU)
    assert isinstance(model[2].act, nn.ReLU)
    x = random(5)
    assert torch.equal(model[2](x), F.relu(-F.relu(x) - 1) + leaky(-x))
    assert replace_relu(model, SLOPE).replaced == ("0", "2.relu", "2.act")
    assert torch.equal(model[2](x), leaky(-leaky(leaky(x)) - 1) + leaky(-x))


def test_one_call_of_a_shared_module_cannot_be_replaced_alone():
    model = Twice()
    replacement = replace_relu(model, only=["act:2"])
    assert replacement.replaced == ()
    assert replacement.skipped == {"act:2": "a later call cannot be replaced alone; 'act' stands for all of them"}
    assert isinstance(model.act, nn.ReLU)
    replacement = replace_relu(model, only=["act", "act:2"])
    assert (replacement.replaced, replacement.skipped) == (("act",), {})


def test_a_later_call_of_what_is_skipped_has_its_reason():
    model = nn.Sequential()
    model.rnn = nn.RNN(4, 4, nonlinearity="relu")
    replacement = replace_relu(model, only=["rnn:2"])
    assert replacement.skipped == {"rnn:2": "fused: its ReLU is part of the recurrent kernel"}


@pytest.mark.parametrize("name", ["2", "act", "0:x", ""])
def test_an_unknown_name_is_an_error_and_replaces_nothing(name):
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match=f"no ReLU is named '{name}'; the names are: 0, 1"):
        replace_relu(model, only=["0", name])
    assert isinstance(model[0], nn.ReLU)
    with pytest.raises(ValueError, match="the names are: none"):
        replace_relu(nn.Linear(1, 1), only=["0"])


def test_a_string_is_not_a_list_of_names():
    with pytest.raises(TypeError, match=r"only must be a list of names, got a string; write only=\['0'\]"):
        replace_relu(nn.Sequential(nn.ReLU()), only="0")


# Arguments and results


@pytest.mark.parametrize("slope", [math.nan, math.inf, -math.inf])
def test_the_slope_is_finite(slope):
    with pytest.raises(ValueError, match=f"negative_slope must be finite, got {slope}"):
        replace_relu(nn.ReLU(), slope)


@pytest.mark.parametrize("model", [nn.ReLU, F.relu, None, [nn.ReLU()]])
def test_the_model_is_a_module(model):
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got "):
        replace_relu(model)


def test_the_text_says_what_was_done():
    model = nn.Sequential(*(nn.ReLU() for _ in range(10)), nn.RNN(1, 1, nonlinearity="relu"))
    assert str(replace_relu(model)).splitlines() == [
        "replaced by Leaky ReLU: 10 (0, 1, 2, 3, 4, 5, 6, 7, ...)",
        "skipped: 10: fused: its ReLU is part of the recurrent kernel",
    ]
    assert str(replace_relu(nn.Linear(1, 1))) == "no ReLU found, nothing replaced"


def test_a_replacement_is_frozen():
    replacement = replace_relu(nn.Linear(1, 1))
    assert isinstance(replacement, Replacement)
    with pytest.raises(AttributeError):
        replacement.model = None


def test_new_parameters_are_refused_in_a_model_that_is_wrapped_already():
    model = nn.DataParallel(nn.Sequential(nn.ReLU()))
    with pytest.raises(TypeError, match="the model is wrapped for distributed training"):
        replace(model, {nn.ReLU: nn.PReLU()})
    assert isinstance(model.module[0], nn.ReLU)
    assert replace(model, {nn.ReLU: nn.GELU()}).replaced == ("0",)


def test_what_was_replaced_comes_back_in_the_mode_of_the_model():
    model = nn.Sequential(nn.RReLU(), nn.Dropout())
    replacement = replace(model, {nn.RReLU: LeakyReLU(SLOPE)})
    model.eval()
    replacement.undo()
    assert isinstance(model[0], nn.RReLU)
    assert not model[0].training


def test_a_replacement_is_taken_back_before_those_that_came_before_it():
    model = Method()
    first = replace_relu(model, SLOPE)
    second = replace(model, {nn.LeakyReLU: nn.Tanh()})
    assert second.replaced == ("leaky_relu",)
    with pytest.raises(RuntimeError, match="was changed since; undo the later changes first"):
        first.undo()
    x = random(5, 4)
    assert torch.equal(model(x), torch.tanh(model.linear(x)) + 1)
    second.undo()
    first.undo()
    assert type(model) is Method
    assert torch.equal(model(x), F.relu(model.linear(x)) + 1)


class Sigmoidal(nn.Module):
    def forward(self, x):
        return F.silu(x)


REGISTRY = {"silu": Sigmoidal}


def test_what_only_a_run_shows_is_never_called_absent():
    class Model(nn.Module):
        def forward(self, x):
            return REGISTRY["silu"]()(x)

    model, x = Model(), random(5, 4)
    assert [site.operation for site in diagnose(model, [x]).sites] == ["silu"]
    replacement = replace(model, {nn.SiLU: LeakyReLU(SLOPE)})
    assert replacement.replaced == ()
    assert "no SiLU" not in str(replacement)
    assert "only a run is sure: give batches" in str(replacement)
    (reason,) = replace(model, {nn.SiLU: LeakyReLU(SLOPE)}, batches=[x]).skipped.values()
    assert "still called at" in reason
    assert "Sigmoidal.forward" in reason
