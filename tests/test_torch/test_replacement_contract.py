"""What `replace` promises about activations, names, batches and errors, and what a replaced model can be put into."""

import copy
import importlib
import inspect
import linecache
import multiprocessing
import pickle
import re
import subprocess
import sys
import textwrap
import traceback
import warnings
from pathlib import Path

import pytest
import torch
from test_torch.patterns import calls, classes, control, features, holding, layout
from test_torch.patterns.reference import SLOPE, leaky, same
from test_torch.patterns.registry import PATTERNS, Layers, random_tensor
from torch import nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it
from torch.utils.data import DataLoader, TensorDataset

from leakyrelu.torch import LeakyReLU, diagnose, replace, replace_relu

FILES = (calls, classes, control, features, holding, layout)  # importing them fills PATTERNS
X = random_tensor(5, 4)

# ruff: noqa: PLW0108  # a lambda is source that calls the function; the function itself would have none


def named(value):
    """A name for a test, the same in each process."""
    return getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-f]+", "", str(value))


def replaced(model, new=None, **keywords):
    return replace(model, new or {nn.ReLU: LeakyReLU(SLOPE)}, **keywords)


# Other activations


class Called(Layers):
    """Each activation as a function, with and without arguments."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(self.linear(x))


CALLS = {
    nn.ReLU: [lambda x: F.relu(x), lambda x: x.relu_(), lambda x: nn.ReLU(inplace=True)(x)],
    nn.ReLU6: [lambda x: F.relu6(x), lambda x: nn.ReLU6()(x), lambda x: F.relu6(x, inplace=True)],
    nn.Hardtanh: [lambda x: F.hardtanh(x), lambda x: F.hardtanh(x, -0.5, 0.5), lambda x: nn.Hardtanh(-2, 2)(x)],
    nn.Threshold: [lambda x: F.threshold(x, 0.1, 20.0), lambda x: nn.Threshold(0.5, -1.0)(x)],
    nn.LeakyReLU: [
        lambda x: F.leaky_relu(x),
        lambda x: F.leaky_relu(x, 0.3),
        lambda x: F.leaky_relu(x, negative_slope=0.3, inplace=True),
        lambda x: nn.LeakyReLU(0.3)(x),
    ],
    nn.ELU: [
        lambda x: F.elu(x),
        lambda x: F.elu(x, alpha=0.5),
        lambda x: F.elu(x, 2.0, True),
        lambda x: nn.ELU(0.3)(x),
    ],
    nn.CELU: [lambda x: F.celu(x), lambda x: torch.celu(x, alpha=2.0), lambda x: nn.CELU(2.0)(x)],
    nn.SELU: [lambda x: F.selu(x), lambda x: torch.selu(x), lambda x: F.selu(x, inplace=True)],
    nn.GELU: [lambda x: F.gelu(x), lambda x: F.gelu(x, approximate="tanh"), lambda x: nn.GELU("tanh")(x)],
    nn.SiLU: [lambda x: F.silu(x), lambda x: F.silu(x, inplace=True), lambda x: nn.SiLU()(x)],
    nn.RReLU: [lambda x: F.rrelu(x), lambda x: F.rrelu(x, 0.1, 0.3, training=False), lambda x: nn.RReLU()(x)],
    nn.PReLU: [lambda x: F.prelu(x, torch.tensor([0.3])), lambda x: torch.prelu(x, torch.tensor([0.3]))],
}
PAIRS = [(kind, number) for kind, each in CALLS.items() for number in range(len(each))]
IDS = [f"{kind.__name__}-{number}" for kind, number in PAIRS]


def written(lines, path):
    """The class `Model` that a file defines."""
    path.write_text(
        "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n" + textwrap.dedent(lines)
    )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module.Model()


@pytest.mark.parametrize(("kind", "number"), PAIRS, ids=IDS)
def test_any_call_of_an_activation_becomes_any_other(kind, number):
    model = Called(CALLS[kind][number])
    replacement = replaced(model, {kind: nn.Tanh()}, batches=[X])
    assert len(replacement.replaced) == 1
    assert replacement.skipped == {}
    assert torch.equal(model(X), model.linear(X).tanh())
    replacement.undo()
    torch.manual_seed(0)
    expected = CALLS[kind][number](model.linear(X))
    torch.manual_seed(0)
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize(("kind", "number"), PAIRS, ids=IDS)
def test_activations_that_are_not_named_are_left(kind, number):
    model = Called(CALLS[kind][number])
    other = nn.SiLU if kind is not nn.SiLU else nn.GELU
    torch.manual_seed(0)
    expected = model(X)
    assert replaced(model, {other: nn.Tanh()}, batches=[X]).replaced == ()
    torch.manual_seed(0)
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize("kind", CALLS)
def test_any_module_becomes_any_other(kind):
    module = kind(0.1, 20.0) if kind is nn.Threshold else kind()
    model = nn.Sequential(nn.Linear(4, 4), module)
    replacement = replaced(model, {kind: nn.Softplus(beta=2)}, batches=[X])
    assert replacement.replaced == ("1",)
    assert torch.equal(model(X), F.softplus(model[0](X), beta=2))
    assert replacement.undo()[1] is module


class Swapped(Layers):
    def __init__(self):
        super().__init__()
        self.relu, self.silu = nn.ReLU(), nn.SiLU()

    def forward(self, x):
        return F.relu(self.silu(self.linear(x))) + self.relu(F.silu(x))


def test_two_activations_can_be_swapped():
    model = Swapped()
    replacement = replaced(model, {nn.ReLU: nn.SiLU(), nn.SiLU: nn.ReLU()}, batches=[X])
    assert replacement.skipped == {}
    assert torch.equal(model(X), F.silu(F.relu(model.linear(X))) + F.silu(F.relu(X)))
    before = Swapped()
    before.load_state_dict(model.state_dict())
    assert torch.equal(replacement.undo()(X), before(X))


def test_new_activations_are_not_replaced_again():
    model = nn.Sequential(nn.SiLU(), nn.GELU())
    replaced(model, {nn.SiLU: nn.GELU(), nn.GELU: nn.ReLU()})
    assert torch.equal(model(X), F.relu(F.gelu(X)))


class InPlaceUnused(Layers):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        a, b, c, d, e = (self.linear(x) for _ in range(5))
        torch.relu_(a)
        b.relu_()
        F.relu(c, inplace=True)
        nn.ReLU(True)(d)
        self.act(e)
        return a, b, c, d, e


@pytest.mark.parametrize("new", [nn.GELU(), LeakyReLU(SLOPE), nn.Tanh(), nn.SiLU()], ids=named)
def test_what_works_in_place_is_replaced_by_what_does(new):
    model = InPlaceUnused()
    replacement = replaced(model, {nn.ReLU: new}, batches=[X])
    assert replacement.skipped == {}
    with torch.no_grad():
        expected = new(model.linear(X))
        assert all(torch.equal(each, expected) for each in model(X))


def test_in_place_on_a_slice_changes_the_slice():
    class Model(Layers):
        def forward(self, x):
            x = self.linear(x)
            x[:, :2].relu_()
            return x

    model = Model()
    replaced(model, {nn.ReLU: nn.Tanh()}, batches=[X])
    expected = model.linear(X)
    expected[:, :2] = expected[:, :2].tanh()
    assert torch.equal(model(X), expected)


def test_what_does_not_work_in_place_leaves_its_input():
    class Model(Layers):
        def forward(self, x):
            x = self.linear(x)
            return x, F.relu(x), x.relu(), nn.ReLU()(x)

    model = Model()
    replaced(model, {nn.ReLU: nn.LeakyReLU(SLOPE, inplace=True)}, batches=[X])
    assert torch.equal(model(X)[0], model.linear(X))


# Activations with parameters


class TwoSites(Layers):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return F.relu(self.out(self.act(self.linear(x)))) + x.relu()


def test_each_site_has_parameters_of_its_own_and_they_are_trained():
    model = TwoSites()
    before = list(model.state_dict())
    replacement = replaced(model, {nn.ReLU: nn.PReLU(init=0.3)}, batches=[X])
    assert len(replacement.parameters) == 3
    assert set(model.state_dict()) == {*before, *replacement.parameters}
    parameters = dict(model.named_parameters())
    assert len({id(parameters[name]) for name in replacement.parameters}) == 3
    assert all(name in str(replacement) for name in replacement.parameters)
    model(X).sum().backward()
    assert all(parameters[name].grad.abs().sum() > 0 for name in replacement.parameters)
    assert torch.equal(
        model(X), F.leaky_relu(model.out(F.leaky_relu(model.linear(X), 0.3)), 0.3) + F.leaky_relu(X, 0.3)
    )


def test_new_parameters_move_with_the_model():
    model = TwoSites()
    names = replaced(model, {nn.ReLU: nn.PReLU()}, batches=[X]).parameters
    model.double()
    assert all(model.get_parameter(name).dtype == torch.float64 for name in names)
    assert model(X.double()).dtype == torch.float64
    assert all(value.is_meta for value in model.to("meta").state_dict().values())


def test_new_parameters_have_the_type_of_the_model():
    model = TwoSites().double()
    replaced(model, {nn.ReLU: nn.PReLU()})
    assert model(X.double()).dtype == torch.float64


def test_new_parameters_are_loaded_copied_and_pickled():
    model, other = TwoSites(), TwoSites()
    for each in (model, other):
        replaced(each, {nn.ReLU: nn.PReLU()}, batches=[X])
    for parameter in model.parameters():
        parameter.data.uniform_(-1, 1)
    other.load_state_dict(model.state_dict())
    for each in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(each(X), model(X))
        assert list(each.state_dict()) == list(model.state_dict())
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.data.zero_()
    assert not torch.equal(copied(X), model(X))


def test_undo_takes_the_parameters_away():
    model = TwoSites()
    before = list(model.state_dict())
    replaced(model, {nn.ReLU: nn.PReLU()}, batches=[X]).undo()
    assert list(model.state_dict()) == before
    assert [name for name, _ in model.named_modules()] == ["", "linear", "out", "act"]


def test_the_module_that_is_given_is_not_the_one_that_is_used():
    model, new = TwoSites(), nn.PReLU(init=0.3)
    names = replaced(model, {nn.ReLU: new}, batches=[X]).parameters
    new.weight.data.fill_(7)
    assert all(model.get_parameter(name).item() == pytest.approx(0.3) for name in names)


def test_a_prelu_that_is_replaced_takes_its_parameter_along():
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU())
    replacement = replaced(model, {nn.PReLU: LeakyReLU(0.1)})
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert "1.weight" in str(replacement)
    assert list(replacement.undo().state_dict()) == ["0.weight", "0.bias", "1.weight"]


class Own(nn.Module):
    """A user's own activation, with a buffer, a parameter and chance."""

    def __init__(self, scale=2.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return torch.tanh(x) * self.scale


def test_a_users_own_activation_with_a_state():
    model = TwoSites()
    replacement = replaced(model, {nn.ReLU: Own()}, batches=[X])
    assert replacement.skipped == {}
    assert len(replacement.parameters) == 3
    assert torch.equal(model(X), torch.tanh(model.out(torch.tanh(model.linear(X)) * 2)) * 2 + torch.tanh(X) * 2)


def test_a_random_activation_follows_the_mode_of_the_model():
    model = TwoSites()
    replaced(model, {nn.ReLU: nn.RReLU(0.1, 0.9)}, batches=[X])
    model.eval()
    assert torch.equal(model(X), model(X))
    model.train()
    assert not torch.equal(model(X), model(X))


@pytest.mark.parametrize(
    "name", ["RegistryOfClasses", "GlobalPartial", "ModuleMadeInTheForward", "ThreeLevels", "Lambdas"]
)
def test_parameters_in_many_patterns_belong_to_the_model(name):
    pattern = PATTERNS[name]
    model = pattern.model()
    replacement = replaced(model, {nn.ReLU: nn.PReLU()}, batches=[X])
    assert replacement.parameters or replacement.skipped
    assert set(replacement.parameters) <= set(dict(model.named_parameters()))
    model(X)
    assert set(model.state_dict()) == {*pattern.model().state_dict(), *replacement.parameters}


# only=


class Many(Layers):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.linear(x))
        x = F.relu(x - 0.1) - F.relu(x - 0.2)
        y = torch.relu(x + 1)
        for _ in range(2):
            x = x.relu() - 0.1
        return x + y


def test_names_of_modules_need_no_batches():
    model = Many()
    assert replaced(model, only=["act"]).replaced == ("act",)
    assert isinstance(model.act, LeakyReLU)


def test_names_of_calls_need_batches_and_the_error_says_so():
    model = Many()
    with pytest.raises(ValueError, match="batches"):
        replaced(model, only=["relu"])
    assert type(model) is Many


@pytest.mark.parametrize("name", ["relu", "relu:2", "relu:3"])
def test_a_single_call_is_replaced(name):
    model = Many()
    assert name in [site.name for site in diagnose(model, [X]).sites]
    replacement = replaced(model, only=[name], batches=[X])
    assert replacement.replaced == (name,)
    slope = {each: SLOPE if each == name else 0.0 for each in ("relu", "relu:2", "relu:3")}
    h = F.relu(model.linear(X))
    h = F.leaky_relu(h - 0.1, slope["relu"]) - F.leaky_relu(h - 0.2, slope["relu:2"])
    y = F.leaky_relu(h + 1, slope["relu:3"])
    for _ in range(2):
        h = F.relu(h) - 0.1
    assert torch.equal(model(X), h + y)


def test_both_names_on_one_line():
    model = Many()
    assert set(replaced(model, only=["relu", "relu:2"], batches=[X]).replaced) == {"relu", "relu:2"}


@pytest.mark.parametrize("name", ["relu:4", "relu:5"])
def test_one_run_of_an_expression_cannot_be_replaced_alone(name):
    model, other = Many(), Many()
    other.load_state_dict(model.state_dict())
    replacement = replaced(model, only=[name], batches=[X])
    assert replacement.replaced == ()
    assert list(replacement.skipped) == [name]
    assert torch.equal(model(X), other(X))


def test_all_runs_of_an_expression_can_be_replaced():
    assert set(replaced(Many(), only=["relu:4", "relu:5"], batches=[X]).replaced) == {"relu:4", "relu:5"}


@pytest.mark.parametrize("name", ["relu:9", "nothing", "", "act.relu", "linear", "act:2"])
def test_an_unknown_name_is_an_error_that_changes_nothing(name):
    model = Many()
    with pytest.raises(ValueError, match=name or "''"):
        replaced(model, only=["act", name], batches=[X])
    assert type(model) is Many
    assert type(model.act) is nn.ReLU


def test_a_single_string_is_no_list():
    with pytest.raises(TypeError, match="only"):
        replaced(Many(), only="act")


def test_no_names_replace_nothing():
    model = Many()
    assert replaced(model, only=[], batches=[X]).replaced == ()
    assert type(model) is Many


def test_only_on_one_of_two_blocks_of_a_class():
    model = nn.Sequential(classes.Base(), classes.Base())
    replacement = replaced(model, only=["1.relu"], batches=[X])
    assert replacement.replaced == ("1.relu",)
    assert torch.equal(model(X), leaky(model[1].linear(F.relu(model[0].linear(X)))))
    assert type(model[0]) is classes.Base


# batches


class Mapped(Layers):
    def forward(self, a, b=None):
        return F.relu(self.linear(a)) if b is None else F.relu(self.linear(a)) + b.relu()


@pytest.mark.parametrize(
    "batches",
    [
        [X],
        (X,),
        iter([X, X]),
        DataLoader(TensorDataset(X, torch.zeros(5)), 2),
        [(X, torch.zeros(5))],
        [[X]],
        [{"a": X, "b": X}],
    ],
    ids=["list", "tuple", "iterator", "loader", "pairs", "lists", "dictionaries"],
)
def test_batches_are_as_those_of_diagnose(batches):
    model = Mapped()
    replacement = replaced(model, batches=batches)
    assert replacement.skipped == {}
    assert set(replacement.replaced) >= {"relu"}
    assert torch.equal(model(X), leaky(model.linear(X)))


@pytest.mark.parametrize(
    "batches", [[], iter([]), DataLoader(TensorDataset(X[:0]), 2)], ids=["list", "iterator", "loader"]
)
def test_no_batches_are_an_error_that_changes_nothing(batches):
    model = Mapped()
    with pytest.raises(ValueError, match="batches"):
        replaced(model, batches=batches)
    assert type(model) is Mapped
    assert torch.equal(model(X), F.relu(model.linear(X)))


@pytest.mark.parametrize(
    "batches", [X, {"a": X}, "batch", 3, [3], [None], [object()]], ids=lambda value: type(value).__name__
)
def test_what_is_no_batch_is_an_error_that_changes_nothing(batches):
    model = Mapped()
    with pytest.raises(TypeError, match="batch"):
        replaced(model, batches=batches)
    assert type(model) is Mapped


@pytest.mark.parametrize("number", [0, 1])
def test_a_model_that_fails_on_a_batch_is_as_before(number):
    model = nn.Sequential(Mapped(), nn.ReLU())
    modes = [module.train(number == 0) for module in model.modules()]
    batches = [X, X]
    batches[number] = torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        replaced(model, batches=batches)
    assert [type(module) for module in model.modules()] == [nn.Sequential, Mapped, nn.Linear, nn.Linear, nn.ReLU]
    assert modes == list(model.modules())
    assert same([model(X)], [F.relu(F.relu(model[0].linear(X)))])


class FailsIfLeaky(Layers):
    def forward(self, x):
        x = F.relu(self.linear(x))
        assert (x >= 0).all(), "a ReLU is never below zero"
        return x


def test_a_model_that_fails_on_the_new_activation_is_as_before():
    model = FailsIfLeaky()
    with pytest.raises(AssertionError, match="never below zero"):
        replaced(model, batches=[X])
    assert type(model) is FailsIfLeaky
    assert torch.equal(model(X), F.relu(model.linear(X)))


def test_modes_random_states_and_gradients_are_as_before():
    model = control.ChanceOfPython()
    model.linear.eval()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    replaced(model, batches=[X])
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.training, model.linear.training) == (True, False)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_batches_are_not_changed():
    x = X.clone()
    replaced(InPlaceOnTheInput(), batches=[x])
    assert torch.equal(x, X)


class InPlaceOnTheInput(nn.Module):
    def forward(self, x):
        return x.relu_()


# Errors


@pytest.mark.parametrize(
    "kind",
    [F.relu, torch.relu, "relu", nn.ReLU(), nn.Linear, nn.Tanh, nn.Module, None, int],
    ids=named,
)
def test_a_key_is_the_class_of_an_activation(kind):
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match=r"nn\.ReLU"):
        replace(model, {kind: nn.Tanh()})
    assert type(model[0]) is nn.ReLU


@pytest.mark.parametrize("new", [nn.Tanh, torch.tanh, None, 0.1, "tanh", lambda x: x], ids=named)
def test_a_value_is_a_module(new):
    model = nn.Sequential(nn.ReLU(), nn.SiLU())
    with pytest.raises(TypeError):
        replace(model, {nn.SiLU: nn.Tanh(), nn.ReLU: new})
    assert [type(module) for module in model] == [nn.ReLU, nn.SiLU]


def test_an_empty_mapping_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        replace(nn.ReLU(), {})


@pytest.mark.parametrize("activations", [None, nn.Tanh(), [nn.ReLU], 0.1, [(nn.ReLU, nn.Tanh())]], ids=named)
def test_activations_are_a_mapping(activations):
    with pytest.raises(TypeError, match="mapping"):
        replace(nn.ReLU(), activations)


@pytest.mark.parametrize("slope", [True, False, "0.1", None, [0.1], 1j])
def test_a_slope_is_a_number(slope):
    with pytest.raises(TypeError, match="slope"):
        replace_relu(nn.ReLU(), slope)


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -float("inf")])
def test_a_slope_is_finite(slope):
    with pytest.raises(ValueError, match="slope"):
        replace_relu(nn.ReLU(), slope)


@pytest.mark.parametrize("slope", [True, False])
def test_a_flag_is_no_slope_of_the_layer(slope):
    with pytest.raises(TypeError, match="inplace"):
        LeakyReLU(slope)


@pytest.mark.parametrize(
    "model", [None, F.relu, nn.ReLU, "model", [nn.ReLU()]], ids=["None", "function", "class", "text", "list"]
)
def test_a_model_is_a_module(model):
    with pytest.raises(TypeError, match="model"):
        replace(model, {nn.ReLU: nn.Tanh()})


def scripted(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(model)


@pytest.mark.parametrize("batches", [None, [X]])
def test_scripted_parts_are_listed(batches):
    model = nn.Sequential(classes.Base(), scripted(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), nn.ReLU())
    replacement = replaced(model, batches=batches)
    assert set(replacement.replaced) == {"0.relu", "2"}
    assert replacement.skipped
    assert "script" in str(replacement).lower()
    h = F.relu(model[1][0](leaky(model[0].linear(X))))
    assert torch.equal(model(X), leaky(h))


def test_compiled_models_are_listed_or_refused():
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model = torch.compile(inner, backend="eager")
    try:
        replacement = replaced(model)
    except TypeError as error:
        assert "compile" in str(error)  # noqa: PT017  # either is right
    else:
        assert replacement.skipped
        assert "compile" in str(replacement)
    assert torch.equal(model(X), F.relu(inner[0](X)))


# What a replaced model can be put into

NAMES = [
    *("plain_sequential", "ThreeLevels", "Mixins", "KeywordArguments", "StaticAndClassMethods", "NestedFunction"),
    *(
        "HuggingFaceRegistryInTheConstructor",
        "ModuleMadeInTheForward",
        "RegistryByAName",
        "DefaultArgument",
        "Partials",
    ),
    *("ListedLayersAlsoAdded", "ListOfFunctions", "ClassAttributeFunction", "SharedModule", "HelperOfAnotherFile"),
    *(
        "MangledNames",
        "GetattrOfFunctional",
        "InPlaceChosenByTheMode",
        "ClosureOfAFactory",
        "Wrapped",
        "OnlyInTraining",
    ),
    *("ChainedMethods", "Operators", "SuperWithArguments", "ComprehensionOverFunctions", "transformer_encoder"),
    *("Properties", "Diamond", "ModuleContainers", "DictionaryOfFunctions", "GlobalModule", "SeveralOnOneLine"),
    *("Lambdas", "BuiltinAsClassAttribute", "UnboundMethod", "RegistryOfObjects", "TupleOfFunctions", "Children"),
]


@pytest.fixture(params=NAMES)
def pair(request):
    """The pattern, an original and a replaced model, in eval mode."""
    pattern = PATTERNS[request.param]
    model = pattern.model()
    replaced(model, batches=[pattern.sample()])
    return pattern, pattern.model().eval(), model.eval()


def test_a_replaced_model_compiles_as_before(pair):
    pattern, original, model = pair
    torch._dynamo.reset()
    try:
        torch.compile(original, fullgraph=True, backend="eager")(pattern.sample())
    except Exception:  # noqa: BLE001  # whatever the compiler does not like
        return  # the original cannot be compiled either
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert same([compiled(pattern.sample())], [model(pattern.sample())])


@pytest.mark.parametrize("name", ["ThreeLevels", "ListedLayersAlsoAdded", "HelperOfAnotherFile"])
def test_a_replaced_model_compiles_with_autograd(name):
    pattern = PATTERNS[name]
    model = pattern.model()
    replaced(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(X).sum().backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    model(X).sum().backward()
    wanted = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.allclose(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_replaced_model_is_traced_by_jit_as_before(pair):
    pattern, original, model = pair
    try:
        torch.jit.trace(original, pattern.sample())
    except Exception:  # noqa: BLE001  # whatever the tracer does not like
        return  # the original cannot be traced either
    graph = torch.jit.trace(model, pattern.sample())
    x = pattern.sample().flip(0)
    assert same([graph(x)], [model(x)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_replaced_model_is_scripted_as_before(pair):
    pattern, original, model = pair
    try:
        graph = torch.jit.script(original)
        as_before = same([graph(pattern.sample())], [original(pattern.sample())])  # wrappers are lost, for example
    except Exception:  # noqa: BLE001  # whatever the compiler does not like
        as_before = False
    if not as_before:
        return  # the original cannot be scripted either
    graph = torch.jit.script(model)
    assert same([graph(pattern.sample())], [model(pattern.sample())])


@pytest.mark.parametrize(
    "name", ["ThreeLevels", "ListedLayersAlsoAdded", "HelperOfAnotherFile", "ListOfFunctions", "Partials"]
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_replaced_model_is_exported(name):
    model = PATTERNS[name].model().eval()
    replaced(model, batches=[X])
    program = torch.export.export(model, (X,), strict=False)
    assert same([program.module()(X)], [model(X)])


def test_a_state_is_loaded_into_a_fresh_replaced_model():
    model, other = classes.ThreeLevels(), classes.ThreeLevels()
    state = copy.deepcopy(model.state_dict())
    replaced(model)
    replaced(other)
    other.load_state_dict(state)
    assert torch.equal(other(X), model(X))


LOADED = """
import sys, torch
model = torch.load(sys.argv[1], weights_only=False)
torch.save([model(torch.load(sys.argv[2])), type(model).__name__], sys.argv[3])
"""


@pytest.mark.parametrize("name", ["ThreeLevels", "RegistryByAName", "ListOfFunctions", "MangledNames"])
def test_another_process_loads_a_saved_model(name, tmp_path):
    model = PATTERNS[name].model()
    replaced(model, batches=[X])
    torch.save(model, tmp_path / "model.pt")
    torch.save(X, tmp_path / "x.pt")
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n" + LOADED]
    files = [str(tmp_path / file) for file in ("model.pt", "x.pt", "y.pt")]
    done = subprocess.run(command + files, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result, kind = torch.load(tmp_path / "y.pt")
    assert torch.equal(result, model(X))
    assert kind == name


def test_a_model_goes_to_another_process():
    model = classes.ThreeLevels()
    replaced(model)
    context = multiprocessing.get_context("spawn")
    data = pickle.dumps(model)
    with context.Pool(1) as pool:
        assert torch.equal(pool.apply(_output, (data,)), model(X))


def _output(data):
    return pickle.loads(data)(X).detach()


FILE = """
class Model(nn.Module):
    def forward(self, x):
        y = F.relu(x)

        if x.sum() > 1e9:
            raise ValueError("too large")  # the line of the error
        return y.relu()
"""


def test_a_traceback_shows_the_line_of_the_file(tmp_path):
    model = written(FILE, tmp_path / "tracebacks.py")
    replaced(model, batches=[X])
    with pytest.raises(ValueError, match="too large") as error:
        model(X.abs() * 1e12)
    frame = traceback.extract_tb(error.value.__traceback__)[-1]
    lines = (tmp_path / "tracebacks.py").read_text().splitlines()
    assert "the line of the error" in frame.line
    assert lines[frame.lineno - 1].strip() == frame.line


def test_the_source_shows_the_edited_line(tmp_path):
    model = written(FILE, tmp_path / "sources.py")
    original = inspect.getsource(type(model).forward)
    replaced(model)
    edited = inspect.getsource(type(model).forward)
    assert len(edited.splitlines()) == len(original.splitlines())
    changed = [(a, b) for a, b in zip(original.splitlines(), edited.splitlines(), strict=True) if a != b]
    assert [a.strip() for a, _ in changed] == ["y = F.relu(x)", "return y.relu()"]


def test_a_flag_of_the_module_is_read_at_each_call():
    model = ReadsAFlag()
    replaced(model, batches=[X])
    with pytest.MonkeyPatch.context() as patch:
        for flag, expected in ((True, leaky(X)), (False, leaky(X) - 1)):
            patch.setattr(sys.modules[__name__], "FLAG", flag)
            assert torch.equal(model(X), expected)


FLAG = True


class ReadsAFlag(nn.Module):
    def forward(self, x):
        return F.relu(x) if FLAG else F.relu(x) - 1


def test_a_file_that_was_edited_since_is_not_taken_for_the_source(tmp_path):
    model = written(FILE, tmp_path / "edited.py")
    before = model(X)
    text = (tmp_path / "edited.py").read_text()
    (tmp_path / "edited.py").write_text(text.replace("y = F.relu(x)", "y = F.relu(x) * 100"))
    linecache.checkcache()
    replacement = replaced(model, batches=[X])
    assert set(replacement.skipped) == {"relu", "relu:2"} or torch.equal(model(X), leaky(leaky(X)))
    assert torch.equal(replacement.undo()(X), before)


def test_a_file_whose_lines_have_moved_is_not_taken_for_the_source(tmp_path):
    model = written(FILE, tmp_path / "moved.py")
    path = tmp_path / "moved.py"
    path.write_text("\n\n\nZ = 1\n" + path.read_text())
    linecache.checkcache()
    replacement = replaced(model, batches=[X])
    assert replacement.skipped or torch.equal(model(X), leaky(leaky(X)))


def test_a_file_that_is_gone_is_listed(tmp_path):
    model = written(FILE, tmp_path / "gone.py")
    (tmp_path / "gone.py").unlink()
    linecache.clearcache()
    replacement = replaced(model, batches=[X])
    assert set(replacement.skipped) == {"relu", "relu:2"}
    assert torch.equal(model(X), F.relu(X))


@pytest.mark.parametrize(
    ("encoding", "first", "newline"),
    [
        ("utf-8-sig", "", "\n"),
        ("latin-1", "# -*- coding: latin-1 -*-\n", "\n"),
        ("utf-8", "", "\r\n"),
        ("utf-8", "", "\r"),
        ("utf-8", "\x0c\n", "\n"),
    ],
    ids=["bom", "latin-1", "crlf", "cr", "form feed"],
)
def test_files_of_other_encodings_and_line_ends(encoding, first, newline, tmp_path):
    text = (
        first
        + "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
        + textwrap.dedent(
            '''
        class Model(nn.Module):
            def forward(self, x):
                größe = "é"; y = F.relu(x) * len(größe)
                text = """
        à"""
                return y.relu()
        '''
        )
    )
    path = tmp_path / f"encoded_{encoding.replace('-', '_')}_{len(newline)}_{len(first)}_{ord(newline[0])}.py"
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model()
    replacement = replaced(model, batches=[X])
    assert replacement.skipped == {}
    assert torch.equal(model(X), leaky(leaky(X)))


def test_a_second_replacement_finds_what_the_first_put_there():
    model = classes.ThreeLevels()
    first = replaced(model, batches=[X])
    assert replaced(model, batches=[X]).replaced == ()
    expected = model(X)
    second = replaced(model, {nn.LeakyReLU: nn.Tanh()}, batches=[X])
    assert second.replaced
    assert second.skipped == {}
    second.undo()
    assert torch.equal(model(X), expected)
    first.undo()
    assert type(model) is classes.ThreeLevels


def test_two_models_are_replaced_by_different_activations():
    first, second, third = (PATTERNS["ThreeLevels"].model() for _ in range(3))
    one, other = replaced(first), replaced(second, {nn.ReLU: nn.Tanh()})
    results = [first(X), second(X), third(X)]
    assert len({tuple(result.flatten().tolist()) for result in results}) == 3
    one.undo()
    assert torch.equal(first(X), results[2])
    assert torch.equal(second(X), results[1])
    other.undo()
    assert torch.equal(second(X), results[2])


def test_a_copy_outlives_the_undoing_of_its_model():
    model = PATTERNS["ThreeLevels"].model()
    replacement = replaced(model)
    expected, copied, data = model(X), copy.deepcopy(model), pickle.dumps(model)
    replacement.undo()
    assert torch.equal(copied(X), expected)
    assert torch.equal(pickle.loads(data)(X), expected)
    assert not torch.equal(model(X), expected)


@pytest.mark.parametrize(
    "name", ["ThreeLevels", "RegistryByAName", "ListOfFunctions", "HelperOfAnotherFile", "Lambdas"]
)
def test_a_new_object_of_the_class_of_a_replaced_model_is_made_without_error(name):
    model = PATTERNS[name].model()
    replaced(model, batches=[X])
    type(model)()(X)
