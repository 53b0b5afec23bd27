"""Other people's functions are judged as what they are: with their own names, slopes, classes and results."""

import inspect
import json

import numpy as np
import pytest
from commands import invoke

import leakyrelu
from leakyrelu.check import check, check_named, check_source
from leakyrelu.check.asking import with_default
from leakyrelu.check.cases import LEVELS, cases_of

NAMED = {
    "alpha": lambda z, alpha=0.01: z if z >= 0 else alpha * z,
    "negative_slope": lambda z, negative_slope=0.01: z if z >= 0 else negative_slope * z,
    "an odd name": lambda z, beta_of_mine=0.01: z if z >= 0 else beta_of_mine * z,
    "by position alone": lambda z, a=0.01, /: z if z >= 0 else a * z,
    "a flag after it": lambda z, slope=0.01, derivative=False: z if z >= 0 else slope * z,
    "any keywords": lambda z, *slope, **named: z if z >= 0 else [*slope, *named.values(), 0.01][0] * z,
    "many parameters": lambda z, leak=0.01, name="lrelu", axis=None: z if z >= 0 else leak * z,
}


@pytest.mark.parametrize("function", NAMED.values(), ids=NAMED)
def test_the_slope_may_have_any_name_at_every_level(function):
    report = check(function)
    assert report.passed, report

    def of_arrays(x, *slope, **named):
        return np.vectorize(lambda z: float(function(z, *slope, **named)), otypes=[float])(x)

    of_arrays.__signature__ = inspect.signature(function)
    assert not any(
        case.got.startswith("raised") for case in check(of_arrays, level="derivative", derivative=of_arrays).cases
    )


def test_the_call_is_written_as_it_was_made():
    report = check(lambda x, leak=0.2, /: x if x >= 0 else leak * x)
    assert [case.call for case in report.failures] == [
        f"<lambda>({z})" for z in ("-1", "-250.0", "-0.03", "-2", "-0.004", "-1e200", "-1")
    ]
    assert report.cases[3].call == "<lambda>(-2, 0.1)"
    assert check(NAMED["negative_slope"]).cases[3].call == "<lambda>(-2, negative_slope=0.1)"
    assert check(NAMED["negative_slope"]).cases[10].call == "<lambda>(-2, 0.5)"


def test_in_the_exercise_the_slope_comes_second_and_is_a_parameter():
    assert "second argument" in check(lambda z, *, alpha=0.01: z if z >= 0 else alpha * z).failures[0].why
    assert "the number first" in check(lambda alpha, z=0.01: z if z >= 0 else alpha * z).cause
    assert "must be a parameter called alpha" in check(lambda z: z if z >= 0 else 0.01 * z).cause
    assert "must be a parameter called alpha" in check(lambda z, prime=False: z if z >= 0 else 0.01 * z).cause


def test_from_arrays_on_a_slope_that_is_not_second_is_given_by_its_name():
    def third(x, derivative=False, alpha=0.01):
        assert derivative is False
        return leakyrelu.leaky_relu(x, alpha)

    assert check(third, level="array").passed


def by_name_alone(x, **names):
    return leakyrelu.leaky_relu(x, **names)


def test_the_slope_can_be_named():
    def odd(x, mode=0, k=0.01):
        assert mode == 0
        return leakyrelu.leaky_relu(x, k)

    assert not check(odd, level="array").passed
    assert check(odd, level="array", slope_name="k").passed
    assert check(by_name_alone, level="array", slope_name="alpha").passed
    assert check(by_name_alone, level="array").passed
    assert check(odd, slope_name="q").error == "there is no parameter 'q'; the parameters are (x, mode, k)"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("default", [0.3, 0.2, 0.0, 1.0])
def test_another_default_slope_can_be_asked_for(level, default):
    def function(x, alpha=default):
        return leakyrelu.leaky_relu(x, alpha)

    def derivative(x, alpha=default):
        return leakyrelu.leaky_relu_derivative(x, alpha)

    report = check(function, level=level, derivative=derivative, default=default)
    assert report.passed, report
    assert not check(function, level=level, derivative=derivative).passed
    assert not check(leakyrelu.leaky_relu, level=level, default=default).passed
    assert not any("0.01" in case.why for case in report.cases)


@pytest.mark.parametrize(("own", "asked"), [(0.01, 0.3), (0.1, 0.3), (0.37, 0.2), (0.3, 0.01)])
def test_the_cause_names_the_default_slope_that_was_asked_for(own, asked):
    def function(x, alpha=own):
        return x if x >= 0 else alpha * x

    def derivative(x, alpha=own):
        return 1 if x >= 0 else alpha

    assert check(function, default=asked).cause == f"the default slope is {own:g}; it must be {asked:g}"
    assert check(function, default=own).passed
    if own != 0.37:  # the function's is read off, the derivative's is one of a few
        cause = check(
            lambda x, alpha=asked: np.where(x >= 0, x, alpha * x)[()],
            level="derivative",
            derivative=np.vectorize(derivative, otypes=[float]),
            default=asked,
        ).cause
        assert f"its default slope is {own:g}; it must be {asked:g}" in cause


def test_a_function_without_a_default_can_be_asked_for():
    def function(x, alpha):
        return leakyrelu.leaky_relu(x, alpha)

    assert "alpha needs a default" in check(function).cause
    for level in LEVELS[:3]:
        report = check(function, level=level, default=None)
        assert report.passed, report
    assert report.cases[2].call == "function(-1, alpha=0.01)"


def test_a_default_that_is_no_slope_is_refused():
    for default in (np.nan, np.inf):
        with pytest.raises(ValueError, match="default must be finite or None"):
            check(leakyrelu.leaky_relu, default=default)
    assert all(case.default == 0.5 for case in with_default(cases_of("array"), 0.5))


FIXED = {
    "x alone": lambda x: leakyrelu.leaky_relu(x, 0.1),
    "and a flag": lambda x, derivative=False: leakyrelu.leaky_relu(x, 0.1),
    "and a name": lambda x, name=None: leakyrelu.leaky_relu(x, 0.1),
}


@pytest.mark.parametrize("function", FIXED.values(), ids=FIXED)
@pytest.mark.parametrize("level", ["array", "ieee"])
def test_a_fixed_slope_is_judged_at_its_own_value(function, level):
    report = check(function, level=level)
    assert report.passed, report
    calls = [case.call for case in report.cases]
    assert len(calls) == len(set(calls))
    assert "<lambda>(-1)" in calls
    assert not any("alpha=" in call or "0.1)" in call for call in calls)


@pytest.mark.parametrize("refused", [int, int | float])
def test_a_fixed_slope_is_known_where_numbers_are_refused(refused):
    def function(x):
        if isinstance(x, refused):
            raise TypeError(x)
        return leakyrelu.leaky_relu(x, 0.1)

    report = check(function, level="ieee")
    assert report.failures
    assert all(case.got.startswith("raised") for case in report.failures)


def test_a_fixed_slope_can_be_asked_for_at_the_exercise_and_with_its_derivative():
    function, derivative = (
        lambda x: leakyrelu.leaky_relu(x, 0.2),
        lambda x: leakyrelu.leaky_relu_derivative(x, 0.2),
    )
    assert check(function, slope_name=None).passed
    assert check(function, level="derivative", derivative=derivative, slope_name=None).passed
    assert check(function, slope_name=None, default=0.2).passed
    assert not check(function, slope_name=None, default=0.3).passed
    wrong = check(function, level="derivative", derivative=lambda x: leakyrelu.leaky_relu_derivative(x, 0.1))
    assert {case.of for case in cases_of("derivative")} == {"function", "derivative"}
    assert {case.level for case in wrong.failures} == {"derivative"}


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (lambda x: np.maximum(x, 0), "it is the ReLU"),
        (np.abs, ""),
        (lambda x: x, ""),
        (lambda x: np.where(np.asarray(x) >= 0, x, 0.1 * np.asarray(x) - 0.1), ""),
        (np.tanh, ""),
        (lambda x: None, "returns nothing"),
        (lambda x: "text", "a text came back"),
        (lambda x: 10**400, ""),
    ],
)
def test_another_function_is_no_leaky_relu_of_a_slope_of_its_own(function, cause):
    report = check(function, level="array")
    assert not report.passed
    assert report.failures[0].got
    assert cause in report.cause


def test_of_a_tuple_the_first_value_counts_from_arrays_on():
    def with_cache(x, alpha=0.01):
        return leakyrelu.leaky_relu(x, alpha), {"x": x}

    assert "a tuple came back" in check(with_cache).cause
    assert check(with_cache, level="ieee").passed
    assert "a tuple came back" in check(lambda x, alpha=0.01: (leakyrelu.leaky_relu(x, alpha),), level="array").cause
    swapped = check(lambda x, alpha=0.01: (x, leakyrelu.leaky_relu(x, alpha)), level="array")
    assert "it returns z unchanged" in swapped.cause


class ByConstructor:
    def __init__(self, leaky_param=0.01):
        self.slope = leaky_param

    def __call__(self, x):
        return leakyrelu.leaky_relu(x, self.slope)


class ByCall:
    def __call__(self, x, slope=0.01):
        return leakyrelu.leaky_relu(x, slope)


class Both:
    def __init__(self, alpha=0.5):
        self.alpha = alpha

    def __call__(self, x, alpha=0.01):
        return leakyrelu.leaky_relu(x, alpha)


class Layer:
    def __init__(self, inputs, outputs):
        raise AssertionError(inputs, outputs)

    def __call__(self, x, alpha=0.01):
        return leakyrelu.leaky_relu(x, alpha)


@pytest.mark.parametrize(
    ("made", "call"),
    [
        (ByConstructor, "ByConstructor(leaky_param=0.1)(-2)"),
        (ByCall, "ByCall()(-2, slope=0.1)"),
        (Both, "Both()(-2, alpha=0.1)"),
        (Layer, "Layer.__new__(Layer)(-2, alpha=0.1)"),
        (ByCall(), "ByCall(-2, slope=0.1)"),
        (Both().__call__, "__call__(-2, alpha=0.1)"),
    ],
)
def test_a_class_is_made_for_each_call(made, call):
    report = check(made)
    assert report.passed, report
    assert report.cases[3].call == call
    assert check(made, level="ieee").passed


def test_a_class_that_is_not_called_names_its_methods():
    class Two:
        def forward(self): ...
        def backward(self): ...

    assert check(Two).error == "Two is a class without __call__; name one of its methods: Two.forward, Two.backward"
    assert check(type("None_", (), {})).error == "None_ is a class without __call__; it has no methods either"
    assert "ByConstructor is made of (leaky_param)" in check(ByConstructor, slope_name="q").error


CLASSES = """
import numpy as np

class Activation:
    def __call__(self, x):
        return self.forward(np.asarray(x))

class Leaky(Activation):
    def __init__(self, alpha=0.01):
        self.alpha = alpha
        self.cache = None

    def forward(self, x):
        self.cache = x
        return np.where(x > 0, x, self.alpha * x), self.cache

class Fixed(Activation):
    def forward(self, x):
        return np.where(x > 0, x, 0.25 * x)

class Required:
    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, x):
        return np.where(x > 0, x, self.alpha * x)

class Network:
    def __init__(self, layers, rate):
        self.layers = layers

    def lrelu(self, x, alpha=0.01):
        return np.where(x > 0, x, alpha * x)

    def uses(self, x, alpha=0.01):
        return self.layers * x

    @staticmethod
    def static(x, alpha=0.01):
        return np.where(x > 0, x, alpha * x)

    @classmethod
    def of_class(cls, x, alpha=0.01):
        return cls.static(x, alpha)

    class Inner:
        def f(self, x, k=0.01):
            return np.where(x > 0, x, k * x)

def alone(x):
    return np.where(x > 0, x, 0.25 * x)

instance = Leaky()
"""


@pytest.mark.parametrize(
    ("name", "keywords", "call"),
    [
        ("Leaky.forward", {"level": "array"}, "Leaky().forward(-1)"),
        ("Leaky", {"level": "array"}, "Leaky()(-1)"),
        ("Fixed", {"level": "array"}, "Fixed()(-1)"),
        ("Fixed.forward", {"slope_name": None}, "Fixed().forward(-1)"),
        ("Required.forward", {"default": None}, "Required(alpha=0.01).forward(-1)"),
        ("Network.lrelu", {}, "Network.__new__(Network).lrelu(-1)"),
        ("Network.static", {}, "static(-1)"),
        ("Network.of_class", {}, "of_class(-1)"),
        ("Network.Inner.f", {}, "Inner().f(-1)"),
        ("alone", {"level": "array"}, "alone(-1)"),
        ("instance", {"level": "array"}, "instance(-1)"),
    ],
)
def test_methods_and_classes_of_a_file_are_asked(name, keywords, call):
    report = check_source(CLASSES, name=name, **keywords)
    assert report.error is None
    assert report.cases[2].call == call
    assert all("[-2, 0, 3]" in case.call for case in report.failures)  # np.where takes no list


def test_what_a_class_has_not_is_told():
    assert (
        check_source(CLASSES, name="Network.relu").error
        == "there is no 'relu' in the class Network; methods there: lrelu, uses"
    )
    report = check_source(CLASSES, name="Network.uses")
    assert "has no attribute 'layers'" in report.cases[0].got
    assert "alpha needs a default" in check_source(CLASSES, name="Required.forward").cause


def test_modules_of_pytorch_and_functions_that_ask_for_tensors_are_given_tensors():
    torch = pytest.importorskip("torch")

    class Mine(torch.nn.Module):
        def __init__(self, slope=0.01):
            super().__init__()
            self.slope = slope

        def forward(self, x):
            return torch.where(x >= 0, x, self.slope * x)

    def mine(x: torch.Tensor, slope: float = 0.01) -> torch.Tensor:
        return torch.where(x >= 0, x, slope * x)

    for function in (Mine, mine, torch.nn.LeakyReLU):
        cases = {case.name: case for case in check(function, level="derivative").cases}
        for name in ("an array and a slope", "float32", "slope 2", "the derivative with slope 2"):
            assert cases[name].passed, cases[name]
    assert cases["an array and a slope"].call.startswith("LeakyReLU(negative_slope=0.1)(np.array(")


def test_the_command_asks_other_peoples_functions(tmp_path):
    (tmp_path / "net.py").write_text(CLASSES + "def lrelu(x, training, k=0.3): return x if x >= 0 else k * x\n")
    for words in (
        ["net.py:Network.static"],
        ["net.py:Fixed.forward", "--slope-name", "none"],
        ["net.py:Required.forward", "--default", "none"],
    ):
        result = invoke("check", *words, cwd=tmp_path)
        assert result.exit_code == 0, result.stdout
    result = invoke("check", "net.py:Fixed.forward", "--slope-name", "none", "--default", "0.3", "--json", cwd=tmp_path)
    assert not json.loads(result.stdout)["passed"]
    result = invoke("check", "net.py:lrelu", "--slope-name", "q", cwd=tmp_path)
    assert "there is no parameter 'q'" in result.stdout
    result = invoke("check", "net.py:lrelu", "--default", "small", cwd=tmp_path)
    assert result.stderr == "leakyrelu: --default must be a number or none, got 'small'\n"


def test_a_function_of_an_installed_module_may_be_a_class():
    assert check_named("leakyrelu.check:Report").error.startswith("Report is a class without __call__")


STATES = """
class Sticky:
    def forward(self, z, alpha=None):
        if alpha is not None:
            self.alpha = alpha
        return z if z >= 0 else getattr(self, "alpha", 0.01) * z
class Doubling:
    def __init__(self, alpha=0.01):
        self.alpha = alpha
    def __call__(self, z):
        result = z if z >= 0 else self.alpha * z
        self.alpha *= 2
        return result
class First:
    def __init__(self, alpha=0.01):
        self.alpha, self.cache = alpha, {}
    def __call__(self, z):
        z = self.cache.setdefault("z", z)
        return z if z >= 0 else self.alpha * z
class Layer:
    def __init__(self, alpha=0.01):
        self.alpha = alpha
    def forward(self, z):
        self.z = z
        return z if z >= 0 else self.alpha * z
"""


@pytest.mark.parametrize("name", ["Sticky.forward", "Doubling", "First", "Layer.forward"])
def test_what_an_object_keeps_may_not_change_the_next_call(name):
    assert check_source(STATES, name=name).passed == name.startswith("Layer")


CHOICE = "import torch\ndef leaky_relu(x: torch.Tensor, alpha=0.01):\n    "


@pytest.mark.parametrize("level", ["exercise", "array"])
@pytest.mark.parametrize("name", ["torch.nn.functional:leaky_relu", "torch.nn:LeakyReLU", "leakyrelu.torch:leaky_relu"])
def test_a_function_of_tensors_need_not_take_integers(name, level):
    pytest.importorskip("torch")
    report = check_named(name, level=level)
    assert report.passed, report
    hints = {case.name: case.hint for case in report.cases if case.hint}
    assert level == "exercise" or "functions of PyTorch refuse integers" in hints["int8"]


@pytest.mark.parametrize(
    "line", ["return torch.nn.functional.leaky_relu_(x, alpha)", "x[x < 0] *= alpha\n    return x"]
)
def test_a_function_of_tensors_must_leave_its_input_as_it_was(line):
    pytest.importorskip("torch")
    floats = "if not x.is_floating_point():\n        x = x.double()\n    "
    assert "it changes its input" in check_source(CHOICE + floats + line, level="array").cause
    copied = check_source(CHOICE + "x = x.clone()\n    " + line, level="array")
    assert copied.passed, copied
