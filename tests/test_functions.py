"""The public functions: which input goes where, and what comes out."""

import array
import math
import subprocess
import sys
from datetime import timedelta
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import assert_same

import leakyrelu
from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative

FUNCTIONS = [leaky_relu, leaky_relu_derivative, lambda x, alpha=0.01: leaky_relu_backward(x, x, alpha)]


def test_public_names():
    assert leakyrelu.__all__ == [
        "get_num_threads",
        "leaky_relu",
        "leaky_relu_backward",
        "leaky_relu_derivative",
        "leaky_relu_slope_gradient",
        "num_threads",
        "set_num_threads",
    ]


def test_optional_modules_load_on_first_use():
    code = (
        "import sys, leakyrelu\n"
        "assert 'leakyrelu.plot' not in sys.modules\n"
        "assert leakyrelu.plot.plot_leaky_relu and leakyrelu.demo.run\n"
        "try: leakyrelu.nonsense\n"
        "except AttributeError as error: assert 'nonsense' in str(error)\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_textbook_examples_to_the_letter():
    assert str(leaky_relu(0)) == "0"
    assert str(leaky_relu(1)) == "1"
    assert str(leaky_relu(-1)) == "-0.01"
    assert str(leaky_relu(-2, alpha=0.1)) == "-0.2"
    assert str(leaky_relu(np.array([-2, -1, 0, 1, 2]))) == "[-0.02 -0.01  0.    1.    2.  ]"


@given(st.one_of(st.integers(), st.floats()), st.floats(allow_nan=False, allow_infinity=False))
def test_python_numbers_give_what_python_computes(x, alpha):
    if isinstance(x, int) and abs(x) > 2**1000:
        x //= 2 ** (x.bit_length() - 1000)
    result = leaky_relu(x, alpha)
    assert type(result) in (int, float)
    expected = x if x >= 0 else alpha * x
    assert result == expected or (math.isnan(result) and math.isnan(expected))
    assert math.copysign(1, result) == math.copysign(1, expected) or math.isnan(expected)
    assert leaky_relu_derivative(x, alpha) == (1 if x >= 0 else alpha)
    assert leaky_relu_backward(3.0, x, alpha) == (3.0 if x >= 0 else alpha * 3.0)


@pytest.mark.parametrize("alpha", [np.float64(0.25), np.float32(0.25), Fraction(1, 4), np.array(0.25)])
def test_python_numbers_stay_python_numbers_with_any_scalar_slope(alpha):
    for result in (leaky_relu(-2, alpha), leaky_relu_derivative(-2.0, alpha), leaky_relu_backward(1, -2, alpha)):
        assert type(result) is float
    assert leaky_relu(2, alpha) == 2
    assert type(leaky_relu(2, alpha)) is int


def test_python_numbers_work_where_numpy_is_never_called(monkeypatch):
    monkeypatch.setattr("leakyrelu.functions._on_arrays", None)
    assert leaky_relu(-1) == -0.01
    assert leaky_relu_derivative(-1.5, alpha=2) == 2
    assert leaky_relu_backward(10, -1.0, alpha=-0.5) == -5


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(
    "alpha",
    [0.1, 1, np.float64(0.1), np.float16(0.1), np.longdouble(0.1), [0.1], np.array([0.1]), np.array([1], np.int8)],
)
def test_floats_keep_their_type_whatever_the_slopes(function, dtype, alpha):
    assert function(np.array([-1, 2], dtype), alpha).dtype == dtype
    result = function(np.array([-1], dtype)[0], alpha)
    assert result.dtype == dtype
    assert isinstance(result, np.generic) == (np.ndim(alpha) == 0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("code", "?bBhHiIlLqQ")
def test_bools_and_integers_of_any_width_give_float64(function, code):
    for alpha in (0.1, 1, np.float16(0.1), [0.5]):
        assert function(np.array([0, 1], code), alpha).dtype == np.float64
    assert type(function(np.array(1, code)[()])) is np.float64


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "x", [[-1, 2], (-1.0, 2), [[-1], [2]], [], [np.float16(-1)], [np.float32(2), -1], True, np.bool(True)]
)
def test_lists_and_bools_give_float64(function, x):
    result = function(x)
    assert result.dtype == np.float64
    assert result.shape == np.shape(x)


def test_lists_of_longdouble_lose_nothing():
    assert leaky_relu([np.longdouble(-1)]).dtype == np.longdouble


def test_gradient_and_input_promote():
    single, double = np.ones(2, np.float32), np.ones(2)
    assert leaky_relu_backward(single, double).dtype == np.float64
    assert leaky_relu_backward(single, np.ones(2, np.int8)).dtype == np.float32
    assert leaky_relu_backward(single.astype(np.float16), single).dtype == np.float32
    with pytest.raises(TypeError, match="got float16 and bfloat16"):
        leaky_relu_backward(np.ones(2, np.float16), np.ones(2, ml_dtypes.bfloat16))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("x", [-1, -1.0, np.float32(-1), np.ones(2), [1, 2], np.ones(0)])
@pytest.mark.parametrize(
    "alpha", [math.nan, math.inf, -math.inf, np.float32(np.nan), np.array(np.inf), np.longdouble("inf")]
)
def test_a_slope_that_is_not_finite_is_refused(function, x, alpha):
    with pytest.raises(ValueError, match=r"alpha must be finite, got (nan|inf|-inf)"):
        function(x, alpha)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("x", [-1, np.ones(2)])
@pytest.mark.parametrize(
    ("alpha", "name"),
    [
        (1j, "complex"),
        ("0.1", "str"),
        (None, "NoneType"),
        ([1j], "list with complex128; write numpy.real"),
        (["a"], "list with str_; write numpy.asarray"),
        (np.array([None]), "object"),
        (np.complex64(1), "complex64"),
        ({}, "dict"),
    ],
)
def test_a_slope_that_is_not_real_is_refused(function, x, alpha, name):
    with pytest.raises(TypeError, match=rf"alpha must be .*real.*got {name}"):
        function(x, alpha)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("x", "name"),
    [
        (np.array(["text"]), "str_"),
        (np.array([b"text"]), "bytes_"),
        (np.array([None]), "object_"),
        (np.array(["2000-01-01"], "datetime64[D]"), "datetime64"),
        (np.array([1], "timedelta64[s]"), "timedelta64"),
        (np.zeros(2, "i4,f4"), "void"),
        (np.ones(2, np.complex64), "complex64"),
    ],
)
def test_what_is_not_a_real_number_is_refused(function, x, name):
    with pytest.raises(TypeError, match=rf"takes .*real.*got {name}"):
        function(x)


@pytest.mark.parametrize("value", [None, timedelta(1), object()])
def test_what_holds_no_numbers_is_refused(value):
    for name, call in (("x", lambda: leaky_relu(value)), ("alpha", lambda: leaky_relu(-1.0, value))):
        with pytest.raises(
            TypeError, match=f"^{name} must be a real number or an array of them, got {type(value).__name__}$"
        ):
            call()


@pytest.mark.parametrize("kind", ["range", "memoryview", "array"])
def test_sequences_are_taken_as_numbers_and_as_slopes(kind):
    values = np.arange(-2.0, 2.0)
    given = {"range": range(-2, 2), "memoryview": memoryview(values), "array": array.array("d", values)}[kind]
    assert_same(leaky_relu(given, 0.5), np.array([-1, -0.5, 0, 1]))
    assert_same(leaky_relu(-1.0, given), np.array([2.0, 1, -0.0, -1]))


def test_lists_of_integers_wider_than_any_type_are_floats():
    assert_same(leaky_relu([-(2**70), 2**70], 0.5), np.array([-(2.0**69), 2.0**70]))
    with pytest.raises(OverflowError, match="too large"):
        leaky_relu([10**400])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.longdouble])
@pytest.mark.parametrize("number", [1, -1.0, 300])
def test_a_python_number_beside_an_array_takes_its_type(number, dtype):
    array = np.array([-2, 3], dtype)
    assert leaky_relu_backward(number, array).dtype == dtype
    assert leaky_relu_backward(array, number).dtype == dtype


def test_a_python_number_beside_dates_is_refused_as_dates_are():
    for values in ((np.array(["2000-01-01"], "M8[D]"), 1.0), (1.0, np.array([1], "m8[s]"))):
        with pytest.raises(TypeError, match=r"takes a gradient and x of real types"):
            leaky_relu_backward(*values)


@pytest.mark.parametrize("code", "?bBq")
def test_a_python_number_beside_integers_is_a_float64(code):
    array = np.array([0, 1], code)
    assert_same(leaky_relu_backward(-300, array), np.array([-300.0, -300.0]))
    assert_same(leaky_relu_backward(array, -300, 0.5), np.array([0, 0.5]))


def test_integers_too_large_for_a_float():
    assert leaky_relu(10**400) == 10**400
    assert leaky_relu(-(10**400), alpha=2) == -2 * 10**400
    for arguments in ((-(10**400),), (-1.0, 10**400), (np.ones(2), 10**400)):
        with pytest.raises(OverflowError, match="too large"):
            leaky_relu(*arguments)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        leaky_relu(np.ones(3), np.ones(2))


def test_ufunc_keywords_reach_the_ufunc_for_every_kind_of_input():
    out = np.zeros(2)
    assert leaky_relu([-1, 2], out=out) is out
    assert leaky_relu(-1, dtype=np.float32).dtype == np.float32
    assert_same(leaky_relu(np.array([-1.0, 2.0]), 0.5, out=out, where=[True, False]), np.array([-0.5, 2.0]))
    with pytest.raises(TypeError):
        leaky_relu(np.ones(2), nonsense=1)


class Halves(np.ndarray):
    """A subclass with no code of its own."""


def test_subclasses_stay():
    assert type(leaky_relu(np.ones(3).view(Halves))) is Halves
    assert type(leaky_relu(np.ones(3).view(Halves), subok=False)) is np.ndarray


def test_ufunc_protocol_is_followed():
    class Logged:
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc.__name__, method, inputs[1], keywords

    assert leaky_relu(Logged(), 0.1) == ("leaky_relu", "__call__", 0.1, {})
    assert leaky_relu_derivative(Logged(), where=True)[3] == {"where": True}


def test_frameworks_that_are_only_half_imported_are_left_alone(monkeypatch):
    for name in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    assert_same(leaky_relu([1, -2]), np.array([1, -0.02]))


def test_imported_anew_the_functions_are_the_same():
    code = (
        "import sys, ml_dtypes, numpy as np\n"
        "x = np.array([-2], ml_dtypes.bfloat16)\n"
        "for _ in range(2):\n"
        "    import leakyrelu\n"
        "    assert leakyrelu.leaky_relu(x, 0.5).dtype == x.dtype\n"
        "    for name in [name for name in sys.modules if name.startswith('leakyrelu')]: del sys.modules[name]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_loads_numpy_and_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import leakyrelu\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in names if not name.startswith('_')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "['leakyrelu', 'numpy']\n"
