"""The short way past NumPy's machinery gives what the ufunc gives, and leaves to NumPy what it cannot do."""

import inspect
import itertools
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import assert_same

import leakyrelu
from leakyrelu import _ufuncs, leaky_relu, leaky_relu_backward, leaky_relu_derivative

TYPES = [
    *(np.bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64),
    *(np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble),
]
CALLS = [
    (leaky_relu, _ufuncs.leaky_relu, 1),
    (leaky_relu_derivative, _ufuncs.leaky_relu_derivative, 1),
    (leaky_relu_backward, _ufuncs.leaky_relu_backward, 2),
]


def numbers(shape, dtype, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 50).astype(dtype)


def same(function, ufunc, operands, alpha):
    """Check that the function and the ufunc give the same values in the same layout, and return the function's."""
    actual, expected = function(*operands, alpha), ufunc(*operands, alpha)
    assert type(actual) is type(expected)
    assert_same(actual, expected)
    if actual.size:
        assert [actual.strides[i] for i, size in enumerate(actual.shape) if size > 1] == [
            expected.strides[i] for i, size in enumerate(expected.shape) if size > 1
        ]
    out = np.empty_like(expected)
    assert function(*operands, alpha, out=out) is out
    assert_same(out, expected)
    return actual


shapes = st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)


@given(shapes, st.permutations(range(4)), st.sampled_from(TYPES), st.sampled_from(CALLS), st.floats(-2, 2))
def test_one_slope_in_any_layout(shape, order, dtype, call, alpha):
    function, ufunc, inputs = call
    axes = [axis for axis in order if axis < len(shape)]
    operands = [numbers(shape, dtype, seed).transpose(axes) for seed in range(inputs)]
    same(function, ufunc, operands, alpha)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.permutations(range(4)),
    st.sampled_from(TYPES),
    st.sampled_from([np.float32, np.float64, np.float16, np.int8]),
    st.sampled_from(CALLS),
    st.integers(0, 3),
)
def test_slopes_along_any_axes(shape, along, order, dtype, slope_type, call, missing):
    function, ufunc, inputs = call
    axes = [axis for axis in order if axis < len(shape)]
    # In memory the axes come in the order of `axes`, and in the array in the order of `shape`.
    operands = [
        numbers([shape[axis] for axis in axes], dtype, seed).transpose(np.argsort(axes)) for seed in range(inputs)
    ]
    slopes = [size if varies else 1 for size, varies in zip(shape, along, strict=False)]
    while missing and slopes and slopes[0] == 1:
        slopes, missing = slopes[1:], missing - 1
    alpha = numbers(slopes, slope_type, seed=9)
    same(function, ufunc, operands, alpha)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize(
    ("shape", "slopes"),
    [
        ((2, 3, 50, 50), (3, 1, 1)),  # long runs
        ((2, 512, 7, 7), (512, 1, 1)),  # short runs, written out
        ((100, 3), (3,)),  # a short period, written out many times
        ((3, 5000), (5000,)),
        ((3, 40_000, 2), (40_000, 1)),  # short runs in a period too long to be written out
        ((4, 3, 20, 20), (4, 3, 1, 1)),
        ((3, 1, 11), (3, 1, 1)),
    ],
)
def test_one_slope_per_channel(dtype, count, shape, slopes):
    before = _ufuncs.set_threading_threshold(0)
    try:
        with leakyrelu.num_threads(count):
            for (function, ufunc, inputs), order in itertools.product(CALLS, ["C", "F"]):
                operands = [np.asarray(numbers(shape, dtype, seed), order=order) for seed in range(inputs)]
                same(function, ufunc, operands, np.random.default_rng(1).uniform(0.1, 2, slopes))
    finally:
        _ufuncs.set_threading_threshold(before)


def test_channels_last_in_memory():
    x = numbers((2, 8, 8, 3), np.float32).transpose(0, 3, 1, 2)
    alpha = np.array([0.1, 0.2, 0.3], np.float32).reshape(3, 1, 1)
    assert same(leaky_relu, _ufuncs.leaky_relu, [x], alpha).strides == x.strides


@pytest.mark.parametrize("shift", [-3, -1, 1, 3])
def test_results_that_overlap_their_input(shift):
    memory = np.arange(-50.0, 50.0)
    expected = leaky_relu(memory[10:60].copy(), 0.5)
    leaky_relu(memory[10:60], 0.5, out=memory[10 + shift : 60 + shift])
    assert_same(memory[10 + shift : 60 + shift], expected)


def test_results_may_replace_the_slopes():
    x, alpha = np.full((4, 3), -1.0), np.zeros((4, 3))
    alpha[0] = [0.1, 0.2, 0.3]
    leaky_relu(x, alpha[0], out=alpha)
    assert_same(alpha, np.tile([-0.1, -0.2, -0.3], (4, 1)))


@pytest.mark.parametrize("which", [0, 1])
def test_the_backward_pass_may_replace_either_operand(which):
    operands = [np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])]
    assert leaky_relu_backward(*operands, 0.5, out=operands[which]) is operands[which]
    assert_same(operands[which], np.array([0.5, 2.0, 3.0]))


def test_a_result_may_replace_integers_of_the_same_width():
    memory = np.array([-2, 3])
    leaky_relu(memory, 0.5, out=memory.view(np.float64))
    assert_same(memory.view(np.float64), np.array([-1.0, 3.0]))


def test_byte_order_alignment_and_gaps_are_left_to_numpy():
    x = np.array([-2.0, 3.0, -4.0])
    unaligned = np.zeros(25, np.uint8)[1:].view(np.float64)
    unaligned[:] = x
    with_gaps = np.repeat(x, 2)[::2]
    for other in (x.astype(">f8"), unaligned, with_gaps):
        assert_same(leaky_relu(other, 0.5), np.array([-1.0, 3.0, -2.0]))
        out = np.zeros_like(other)
        assert leaky_relu(x, 0.5, out=out) is out
        np.testing.assert_array_equal(out, [-1.0, 3.0, -2.0])


def test_a_read_only_result_is_refused():
    out = np.zeros(2)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        leaky_relu(np.ones(2), out=out)


def test_a_result_of_another_shape_or_type_is_left_to_numpy():
    assert leaky_relu(np.ones(3), out=np.zeros((2, 3))).shape == (2, 3)
    assert leaky_relu(np.ones(3, np.float32), out=np.zeros(3)).dtype == np.float64
    with pytest.raises(ValueError, match="broadcast"):
        leaky_relu(np.ones(3), out=np.zeros(2))
    with pytest.raises(TypeError, match="Cannot cast"):
        leaky_relu(np.ones(3), out=np.zeros(3, int))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble, np.int8])
@pytest.mark.parametrize("alpha", [0.01, -3.0, 1e300, 5e-324])
def test_extreme_slopes(dtype, alpha):
    x = np.array([-1, 0, 1]).astype(dtype)
    with np.errstate(all="ignore"):
        assert_same(leaky_relu(x, alpha), _ufuncs.leaky_relu(x, alpha))


def test_floats_give_what_the_textbook_says():
    for x, alpha in itertools.product(
        [-2.0, -0.0, 0.0, 3.0, float("inf"), -float("inf"), 5e-324], [0.01, 0.0, -1.0, 2.0]
    ):
        for value, expected in [
            (leaky_relu(x, alpha), x if x >= 0 else alpha * x),
            (leaky_relu_derivative(x, alpha), 1 if x >= 0 else alpha),
            (leaky_relu_backward(7.0, x, alpha), 7.0 if x >= 0 else alpha * 7.0),
        ]:
            assert repr(value) == repr(expected)
    assert leaky_relu(-3.0) == -0.03
    assert leaky_relu(-3.0, alpha=0.5) == -1.5
    assert np.isnan(leaky_relu(float("nan")))


@pytest.mark.parametrize("function", [leaky_relu, leaky_relu_derivative, leaky_relu_backward])
def test_it_is_a_function_like_any_other(function):
    names = ["grad", "x"] if function is leaky_relu_backward else ["x"]
    signature = inspect.signature(function)
    assert list(signature.parameters) == [*names, "alpha", "keywords"]
    assert signature.parameters["alpha"].default == 0.01
    assert function.__module__ == "leakyrelu.functions"
    assert function.__doc__.split("\n", 1)[0].endswith(".")
    assert pickle.loads(pickle.dumps(function)) is function
    values = {name: np.array([-1.0]) for name in names}
    assert function(**values, alpha=0.5).shape == (1,)
    with pytest.raises(TypeError, match="required positional argument"):
        function()
    with pytest.raises(TypeError, match="nonsense"):
        function(*values.values(), nonsense=1)
    with pytest.raises(TypeError, match="multiple values"):
        function(*values.values(), 0.1, alpha=0.1)


def test_only_the_three_functions_have_a_short_way():
    def other():
        """Some function."""

    with pytest.raises(ValueError, match="no kernel called 'other'"):
        _ufuncs.direct(other)


def test_errors_and_warnings_name_the_function():
    x = np.array([-1e300])
    with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu_backward"):
        leaky_relu_backward(x, x, 1e300)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in leaky_relu"):
        leaky_relu(x, 1e300)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        leaky_relu(np.array([-np.inf]), 0.0)


def test_no_reference_is_lost():
    x, out, alpha = np.ones((4, 3)), np.ones((4, 3)), np.ones(3)
    read_only = np.ones((4, 3))
    read_only.flags.writeable = False
    counted = [x, out, alpha, read_only]
    before = [sys.getrefcount(value) for value in counted]
    for _ in range(100):
        leaky_relu(x, out=out)
        leaky_relu(x, alpha, out=out)
        leaky_relu_backward(x, x, alpha=alpha)
        leaky_relu(x[::2], alpha)
        with pytest.raises(ValueError, match="read-only"):
            leaky_relu(x, out=read_only)
    assert [sys.getrefcount(value) for value in counted] == before
