"""The gradient with respect to the slope of NumPy's arrays: for any shape, type, layout and number of threads."""

import hashlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_same, bits

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_slope_gradient, num_threads
from leakyrelu._ufuncs import instruction_set, set_threading_threshold, slope_gradient

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
FLOATS = [*HALVES, *map(np.dtype, (np.float32, np.float64, np.longdouble))]
LARGE = [  # with the axes: for several threads, cut between rows and between columns
    ((300_007,), None),
    ((3, 200_003), 1),
    ((20_011, 20), 0),
    ((3, 100_003), 0),
    ((40, 300, 17), (0, 2)),
    ((64, 20, 15, 15), (0, 2, 3)),
    ((7, 1000, 33), 1),
    ((5, 11, 40, 100), (1, 3)),
]


def numbers(shape, dtype, seed):
    """Of both signs, with zeros of both signs."""
    x = np.random.default_rng(seed).standard_normal(shape)
    x[x > 1] = 0
    x[x < -1.5] = -0.0
    return x.astype(dtype)


def exact_sum(grad, x):
    """The sum without any rounding, then rounded once to float64."""
    terms = [g * v for g, v in zip(grad.ravel().tolist(), x.ravel().tolist(), strict=True) if v < 0]
    return math.fsum(terms)


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (7,), (3, 0), (0, 3), (2, 3), (5, 4, 33), (2, 3, 1, 17), (3, 4, 2, 5)]
)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_choice_of_axes(dtype, shape):
    grad, x = numbers(shape, dtype, 0), numbers(shape, dtype, 1)
    wide = np.result_type(dtype, np.float64)
    choices = [axes for n in range(x.ndim + 1) for axes in itertools.combinations(range(x.ndim), n)]
    for axis, keepdims in itertools.product([None, *choices], (False, True)):
        found = leaky_relu_slope_gradient(grad, x, axis=axis, keepdims=keepdims)
        wanted = oracle.leaky_relu_slope_gradient(grad.astype(wide), x.astype(wide), axis, keepdims)
        assert type(found) is (np.ndarray if np.ndim(wanted) else dtype.type)
        assert found.dtype == dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.astype(wide), wanted, rtol=2 * ml_dtypes.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("axis", [0, -1, (0, -1), [0, 2], np.int64(1), (2, 0)])
def test_axes_as_in_numpy(axis):
    grad, x = numbers((3, 4, 5), np.float64, 0), numbers((3, 4, 5), np.float64, 1)
    wanted = oracle.leaky_relu_slope_gradient(grad, x, tuple(axis) if isinstance(axis, list) else axis)
    np.testing.assert_allclose(leaky_relu_slope_gradient(grad, x, axis=axis), wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_axes_that_do_not_exist(axis):
    with pytest.raises(np.exceptions.AxisError, match="out of bounds for array of dimension 2"):
        leaky_relu_slope_gradient(np.ones((2, 3)), np.ones((2, 3)), axis=axis)


def test_axes_that_make_no_sense():
    with pytest.raises(ValueError, match="repeated axis"):
        leaky_relu_slope_gradient(np.ones((2, 3)), np.ones((2, 3)), axis=(0, -2))
    with pytest.raises(TypeError):
        leaky_relu_slope_gradient(np.ones((2, 3)), np.ones((2, 3)), axis=0.5)


@settings(max_examples=300)
@given(data=st.data(), dtype=st.sampled_from(FLOATS), seed=st.integers(0, 2**32 - 1))
def test_any_layout_gives_what_its_copy_gives(data, dtype, seed):
    """Transposed, reversed, with gaps and broadcast."""

    def view(array):
        array = array.transpose(data.draw(st.permutations(range(array.ndim))))
        steps = data.draw(st.lists(st.sampled_from([1, 1, 2, -1, -3]), min_size=array.ndim, max_size=array.ndim))
        return array[tuple(slice(None, None, step) for step in steps)]

    shape = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    x = view(numbers(shape, dtype, seed))
    repeated = [data.draw(st.sampled_from([size, size, 1])) for size in x.shape]
    grad = view(numbers(repeated[:: data.draw(st.sampled_from([1, -1]))], dtype, seed + 1))
    try:
        grad, x = np.broadcast_arrays(grad, x)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            leaky_relu_slope_gradient(grad, x)
        return
    axis = tuple(data.draw(st.sets(st.integers(0, x.ndim - 1))))
    wide = np.result_type(dtype, np.float64)
    found = leaky_relu_slope_gradient(grad, x, axis=axis)
    wanted = oracle.leaky_relu_slope_gradient(grad.astype(wide), x.astype(wide), axis)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.astype(wide), wanted, rtol=2 * ml_dtypes.finfo(dtype).eps, atol=1e-7)


@settings(max_examples=200)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 30))
def test_float32_is_the_exact_sum_rounded_once(size, seed, spread):
    rng = np.random.default_rng(seed)
    grad, x = ((rng.standard_normal(size) * 2.0 ** rng.integers(-spread, spread + 1, size)).astype("f") for _ in "ab")
    exact = exact_sum(grad, x)
    # The products are exact as float64, and so are all sums but for their last bits.
    error = size * 2.0**-53 * exact_sum(np.abs(grad), -np.abs(x))
    found = float(leaky_relu_slope_gradient(grad, x))
    assert np.float32(exact - abs(error)) <= found <= np.float32(exact + abs(error))


@pytest.mark.parametrize(("shape", "axis"), LARGE, ids=str)
def test_float64_is_as_exact_as_a_sum_of_pairs(shape, axis):
    grad, x = numbers(shape, np.float64, 0), numbers(shape, np.float64, 1)
    wide = [array.astype(np.longdouble) for array in (grad, x)]
    exact = oracle.leaky_relu_slope_gradient(*wide, axis)
    size = oracle.leaky_relu_slope_gradient(np.abs(wide[0]), -np.abs(wide[1]), axis)
    error = np.abs(leaky_relu_slope_gradient(grad, x, axis=axis) - exact)
    assert (error <= 3e-15 * -size).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_gradient_counts_only_where_x_is_below_zero(value, dtype):
    for shape in ((5,), (40,), (3, 50), (50, 3), (4, 3, 20)):
        x = numbers(shape, dtype, 0)
        grad = np.where(x < 0, numbers(shape, dtype, 1), dtype.type(value)).astype(dtype)
        for axis in (None, 0, -1):
            wanted = leaky_relu_slope_gradient(np.where(x < 0, grad, dtype.type(0)).astype(dtype), x, axis=axis)
            assert_same(leaky_relu_slope_gradient(grad, x, axis=axis), wanted)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_and_infinities(dtype):
    grad = np.array([1, 2, 0, np.inf, 1, np.inf, np.nan], dtype)
    x = np.array([np.nan, -np.inf, -np.inf, -1, np.inf, np.inf, -1], dtype)
    wanted = np.array([np.nan, -np.inf, np.nan, -np.inf, 0, 0, np.nan], dtype)
    assert_same(leaky_relu_slope_gradient(grad[None], x[None], axis=0), wanted)
    assert_same(leaky_relu_slope_gradient(grad, x, axis=()), wanted)


def test_errors_of_arithmetic_are_reported_as_numpy_is_told_to():
    large = np.full(3, 1e300)
    with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu_slope_gradient"):
        assert leaky_relu_slope_gradient(large, -large) == -np.inf
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        leaky_relu_slope_gradient(large.astype("f"), -np.full(3, 1e38, "f") * 100)
    with np.errstate(all="raise"):
        assert leaky_relu_slope_gradient(np.full(3, np.inf), [np.nan, 0, 2]) != 0


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_added_up_wide_and_rounded_once(dtype):
    eps = float(ml_dtypes.finfo(dtype).eps)
    # 1 + eps / 2 would be a tie; what decides it is lost in a sum of 16 or of 32 bits.
    grad = np.array([1, eps / 2, 2.0**-14, *[0] * 50], dtype)
    x = np.array([-1, -1, -(2.0**-14), *[-1] * 50], dtype)
    assert leaky_relu_slope_gradient(grad, x) == dtype.type(-1 - eps)
    assert leaky_relu_slope_gradient(grad[:2], x[:2]) == -1
    many = np.full(5000, 0.1, dtype)
    assert leaky_relu_slope_gradient(many, -many) == dtype.type(-5000 * float(many[0]) ** 2)


@pytest.mark.parametrize("code", "?bBhHiIlLqQ")
def test_integers_and_bools_give_float64(code):
    x = np.array([0, 1, 3], code)
    grad = x - x.dtype.type(2) if x.dtype.kind == "i" else x
    assert_same(leaky_relu_slope_gradient(x, -x.astype("f8")), np.float64(-(x.astype("f8") ** 2).sum()))
    wanted = oracle.leaky_relu_slope_gradient(x.astype("f8"), grad.astype("f8"))
    assert_same(leaky_relu_slope_gradient(x, grad), np.float64(wanted))


def test_types_promote_as_in_the_backward_pass():
    types = [*FLOATS, *map(np.dtype, ("?", "i1", "i8"))]
    for a, b in itertools.product(types, types):
        grad, x = np.ones(2, a), np.ones(2, b)
        try:
            wanted = leaky_relu_backward(grad, x).dtype
        except TypeError:
            with pytest.raises(TypeError, match=r"^leaky_relu_slope_gradient takes .* real types"):
                leaky_relu_slope_gradient(grad, x)
        else:
            assert leaky_relu_slope_gradient(grad, x).dtype == wanted


def test_numbers_and_lists():
    assert str(leaky_relu_slope_gradient(2, -3)) == "-6"
    assert str(leaky_relu_slope_gradient(2.5, 3)) == "0"
    assert math.isnan(leaky_relu_slope_gradient(1.0, math.nan))
    assert leaky_relu_slope_gradient(math.inf, 0.0) == 0
    assert_same(leaky_relu_slope_gradient(np.float32(2), np.float32(-3)), np.float32(-6))
    assert_same(leaky_relu_slope_gradient([[1, 2], [3, 4]], [-1, -1], axis=0), np.array([-4.0, -6.0]))
    assert_same(leaky_relu_slope_gradient(2.0, np.array([-1, -3], "f")), np.float32(-8))
    assert_same(leaky_relu_slope_gradient(np.array([1, 2], np.float16), -1.0), np.float16(-3))


def test_other_byte_orders_and_misaligned_memory():
    grad, x = numbers((30, 7), np.float32, 0), numbers((30, 7), np.float32, 1)
    wanted = leaky_relu_slope_gradient(grad, x, axis=0)
    misaligned = np.frombuffer(b"0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for other in (x.astype(">f4"), misaligned):
        assert_same(leaky_relu_slope_gradient(grad, other, axis=0), wanted)


@pytest.mark.parametrize("values", [1j, "text", None, [1j], ["text"], np.array(["2000-01-01"], "M8[D]")])
def test_what_is_not_a_real_number_is_refused(values):
    with pytest.raises(TypeError, match=r"leaky_relu_slope_gradient takes .*real.*got|x must be a real number .*got"):
        leaky_relu_slope_gradient(np.ones(1), values)
    with pytest.raises(TypeError, match=r"takes .*real.*got|grad must be a real number .*got"):
        leaky_relu_slope_gradient(values, 1.0)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        leaky_relu_slope_gradient(np.ones(3), np.ones(2))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("shape", "axis"), LARGE, ids=str)
def test_the_number_of_threads_changes_no_bit(shape, axis, dtype):
    grad, x = numbers(shape, dtype, 0), numbers(shape, dtype, 1)
    before = set_threading_threshold(0)
    try:
        found = []
        for threads in (1, 2, 5):
            with num_threads(threads):
                found += [leaky_relu_slope_gradient(grad, x, axis=axis) for _ in range(3)]
    finally:
        set_threading_threshold(before)
    for each in found:
        assert bits(each) == bits(found[0])


def test_it_is_the_slope_of_the_function_over_its_slope():
    rng = np.random.default_rng(0)
    x, grad, alpha = rng.standard_normal((6, 5, 4)), rng.standard_normal((6, 5, 4)), rng.standard_normal((5, 1))
    step = 1e-6
    above, below = ((grad * leaky_relu(x, alpha + change)).sum((0, 2)) for change in (step, -step))
    found = leaky_relu_slope_gradient(grad, x, axis=(0, 2))
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=1e-7)


def digest():
    """Of the results for many shapes, each bit of which counts."""
    found = hashlib.sha256()
    for dtype, (shape, axis) in itertools.product(FLOATS[:-1], [*LARGE, ((70, 131), 0), ((9, 5, 49), (0, 2))]):
        found.update(leaky_relu_slope_gradient(numbers(shape, dtype, 0), numbers(shape, dtype, 1), axis=axis).tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_the_instruction_set_changes_no_bit(name):
    if ["baseline", "avx2", "avx512"].index(name) > ["baseline", "avx2", "avx512"].index(instruction_set):
        pytest.skip(f"this processor has only {instruction_set}")
    code = "import sys; sys.path[:0] = sys.argv[1:]; import test_slope_gradient; print(test_slope_gradient.digest())"
    folders = [Path(__file__).parent, Path(oracle.__file__).parent]
    environment = os.environ | {"LEAKYRELU_INSTRUCTION_SET": name}
    result = subprocess.run([sys.executable, "-c", code, *folders], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == digest()


@pytest.mark.parametrize("number", [np.dtype(code).num for code in "?bhilBHILFD"])
def test_the_kernel_refuses_other_types(number):
    empty = np.empty((1, 0, 1, 1))
    with pytest.raises(TypeError, match=f"of a floating-point type, or -1 for bfloat16, got {number}"):
        slope_gradient(number, empty, empty, np.empty((1, 1)))
