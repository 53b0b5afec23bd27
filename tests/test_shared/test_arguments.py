"""Slopes, whole numbers and ranges: which values are taken, and what the errors say about all others."""

import re
from fractions import Fraction
from math import inf, nan

import ml_dtypes
import numpy as np
import pytest

from leakyrelu._shared.arguments import (
    ascending_pair,
    finite_slope,
    one_slope,
    positive_integer,
    refuse_bool,
    true_or_false,
)


@pytest.mark.parametrize("alpha", [0.1, -2, 0, 1e300, Fraction(1, 4), np.float32(0.5), np.int8(-3), np.array(0.25)])
def test_one_slope_is_a_float_of_the_same_value(alpha):
    assert type(one_slope(alpha)) is float
    assert one_slope(alpha) == alpha


@pytest.mark.parametrize("alpha", [[0.1], (0.1, 0.2), np.array([0.1])])
def test_several_slopes_are_not_one(alpha):
    with pytest.raises(TypeError, match=r"^alpha must be one slope, got "):
        one_slope(alpha)


@pytest.mark.parametrize("check", [one_slope, finite_slope])
@pytest.mark.parametrize("alpha", [nan, inf, -inf, np.float32(nan), np.array(inf), np.float16(-inf)])
def test_a_slope_is_finite(check, alpha):
    with pytest.raises(ValueError, match=r"^alpha must be finite, got (nan|-?inf)$"):
        check(alpha)


@pytest.mark.parametrize("check", [one_slope, finite_slope])
@pytest.mark.parametrize(
    ("alpha", "what"),
    [
        ("0.1", "a real number or an array of them, got str; write float(alpha)"),
        (None, "a real number or an array of them, got NoneType"),
        (1j, "a real number or an array of them, got complex; write alpha.real"),
        (np.complex64(1), "real, got complex64"),
        (np.array("0.1"), "real, got <U3"),
    ],
)
def test_a_slope_is_real(check, alpha, what):
    with pytest.raises(TypeError, match=rf"^alpha must be {re.escape(what)}$"):
        check(alpha)


@pytest.mark.parametrize("check", [one_slope, finite_slope, refuse_bool])
@pytest.mark.parametrize("alpha", [True, False, np.True_])
def test_a_bool_is_no_slope(check, alpha):
    written = f"^alpha must be a number, got {alpha}; write {float(alpha)} for a slope of {int(alpha)}$"
    with pytest.raises(TypeError, match=written):
        check(alpha)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy", "array_api_strict", "pandas", "dask.array"])
@pytest.mark.parametrize("check", [finite_slope, refuse_bool])
def test_an_array_of_bools_is_no_array_of_slopes(check, library):
    module = pytest.importorskip(library)
    make = {"torch": "tensor", "pandas": "Series", "dask.array": "from_array"}.get(library, "asarray")
    values = np.array([True, False]) if library == "dask.array" else [True, False]
    with pytest.raises(
        TypeError, match=r"^alpha must be real, got [a-z._]*bool; convert it to floats if it holds slopes$"
    ):
        check(getattr(module, make)(values))


@pytest.mark.parametrize("alpha", [[True, False], (True,), [[False]], np.array(True)])
def test_bools_in_lists_are_no_slopes(alpha):
    with pytest.raises(TypeError, match=r"^alpha must be real, got bool"):
        finite_slope(alpha)


def test_a_nullable_bool_of_pandas_is_a_bool():
    alpha = pytest.importorskip("pandas").Series([True, None], dtype="boolean")
    with pytest.raises(TypeError, match=r"^alpha must be real, got boolean"):
        finite_slope(alpha)


def test_the_error_names_the_call_that_may_be_meant():
    with pytest.raises(
        TypeError, match=r"^slope must be a number, got True; write f\(flag=True\) if you mean inplace, or "
    ):
        refuse_bool(True, "slope", instead="f(flag={})")


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_a_bool_is_true_or_false(value):
    assert true_or_false("inplace", value) is bool(value)


@pytest.mark.parametrize("value", [0, 1, 0.2, None, "True", [], np.array(True)])
def test_anything_else_is_neither(value):
    with pytest.raises(TypeError, match=r"^inplace must be True or False, got "):
        true_or_false("inplace", value)


@pytest.mark.parametrize("alpha", [0.1, -2, 0])
def test_a_python_number_is_taken_as_it_is(alpha):
    assert finite_slope(alpha) is alpha


@pytest.mark.parametrize("alpha", [np.float32(0.5), np.int64(2), np.array(0.25), Fraction(1, 2)])
def test_other_single_numbers_become_floats(alpha):
    assert type(finite_slope(alpha)) is float
    assert finite_slope(alpha) == alpha


def test_a_longdouble_keeps_its_precision():
    alpha = np.longdouble(1) / 3
    assert finite_slope(alpha) is alpha


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, ml_dtypes.bfloat16])
def test_an_array_of_slopes_is_taken_as_it_is(dtype):
    alpha = np.ones(3, dtype)
    assert finite_slope(alpha) is alpha


def test_an_array_of_slopes_is_not_searched_for_nan_and_infinity():
    alpha = np.array([0.1, nan])
    assert finite_slope(alpha) is alpha


def test_a_list_of_slopes_is_an_array():
    assert finite_slope([0.1, 0.2]).tolist() == [0.1, 0.2]


def test_an_array_of_another_library_is_taken_as_it_is():
    torch = pytest.importorskip("torch")
    alpha = torch.tensor([0.1, nan])
    assert finite_slope(alpha) is alpha
    with pytest.raises(TypeError, match=r"^alpha must be one slope, got "):
        one_slope(alpha)


def test_an_array_of_slopes_is_real_too():
    with pytest.raises(TypeError, match=r"^alpha must be real, got complex128$"):
        finite_slope(np.ones(3, complex))


@pytest.mark.parametrize("value", [1, 7, np.int8(3), np.uint64(2)])
def test_a_whole_number_of_any_type_is_an_integer(value):
    assert type(positive_integer("width", value)) is int
    assert positive_integer("width", value) == value


@pytest.mark.parametrize("value", [2.0, "2", None, True, np.float64(1), [1]])
def test_what_is_no_integer_is_refused_and_named(value):
    with pytest.raises(TypeError, match=r"^width must be a positive integer, got "):
        positive_integer("width", value)


@pytest.mark.parametrize("value", [0, -1])
def test_an_integer_below_one_is_not_positive(value):
    with pytest.raises(ValueError, match=f"^width must be at least 1, got {value}$"):
        positive_integer("width", value)


@pytest.mark.parametrize("value", [(-1, 2), [-1, 2], np.array([-1, 2]), ("-1", "2")])
def test_a_range_is_two_floats(value):
    assert ascending_pair("limits", value) == (-1.0, 2.0)
    assert all(type(end) is float for end in ascending_pair("limits", value))


@pytest.mark.parametrize("value", [3, None, (1,), (1, 2, 3), "ab", (1, None), (False, True), (0.1, np.True_)])
def test_what_is_not_two_numbers_is_no_range(value):
    with pytest.raises(ValueError, match=r"^limits must be two numbers, the smaller first, got "):
        ascending_pair("limits", value)


@pytest.mark.parametrize("value", [(2, 1), (1, 1), (nan, 1), (0, nan), (-inf, 0), (0, inf)])
def test_a_range_ascends_and_is_finite(value):
    with pytest.raises(ValueError, match=r"^limits must be two finite numbers, the smaller first, got "):
        ascending_pair("limits", value)


@pytest.mark.parametrize("value", [(0, 1), (-1, 1), (2, 1)])
def test_a_range_may_have_to_be_above_zero(value):
    assert ascending_pair("limits", (1e-300, 1), above_zero=True) == (1e-300, 1.0)
    with pytest.raises(ValueError, match=r"^limits must be two finite numbers above zero, the smaller first, got "):
        ascending_pair("limits", value, above_zero=True)
