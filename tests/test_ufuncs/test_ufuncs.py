"""The compiled ufuncs against the oracle, with every type, every stride and every special value."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import assert_same

from leakyrelu import _ufuncs, leaky_relu, leaky_relu_backward, leaky_relu_derivative

FLOATS = [np.float32, np.float64, np.longdouble]
INTEGERS = [np.bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.longlong]
SLOPES = [0.0, 0.01, 0.1, 0.2, 0.3, 1 / 3, 1 / 5.5, 1.0, 2.0, -0.5]
# Around the widths of vectors, and around the 96 to 512 elements of the buffers for strided memory.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 97, 129, 193, 257, 385, 511, 512, 513, 1025]
SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-40, -1e-40, 1e300, -1e300]


def special_values(dtype):
    with np.errstate(all="ignore"):
        return np.array(SPECIAL, np.float64).astype(dtype)


def numbers(dtype, size, seed=0):
    """Random numbers of both signs, special values among them."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind == "f":
            x = rng.standard_normal(size).astype(dtype)
            x[rng.random(size) < 0.2] = rng.choice(special_values(dtype))
            return x
        info = np.iinfo(dtype) if dtype is not np.bool else np.iinfo(np.uint8)
        return rng.integers(info.min, info.max, size, info.dtype, endpoint=True).astype(dtype)


def quiet(function, *arguments, **keywords):
    """Call a function that overflows on purpose. The warning has tests of its own."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return function(*arguments, **keywords)


floats = st.sampled_from(FLOATS).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=9), elements=_elements(dtype))
)


def _elements(dtype):
    width = 32 if dtype is np.float32 else 64
    return st.floats(width=width)


slopes = st.floats(-1e3, 1e3)


@given(floats, slopes)
def test_value_is_the_oracles(x, alpha):
    assert_same(quiet(leaky_relu, x, alpha), oracle.leaky_relu(x, x.dtype.type(alpha)).astype(x.dtype))


@given(floats, slopes)
def test_derivative_is_the_oracles(x, alpha):
    assert_same(leaky_relu_derivative(x, alpha), oracle.leaky_relu_derivative(x, x.dtype.type(alpha)))


@given(floats, slopes, st.floats(-1e3, 1e3, width=32))
def test_backward_is_the_oracles(x, alpha, scale):
    grad = np.full_like(x, scale)
    expected = oracle.leaky_relu_backward(grad, x, x.dtype.type(alpha)).astype(x.dtype)
    assert_same(quiet(leaky_relu_backward, grad, x, alpha), expected)


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=5),
    st.sampled_from(FLOATS),
    st.integers(0, 100),
)
def test_slopes_broadcast(shapes, dtype, seed):
    x_shape, alpha_shape = shapes.input_shapes
    x = numbers(dtype, int(np.prod(x_shape)), seed).reshape(x_shape)
    alpha = np.random.default_rng(seed).standard_normal(alpha_shape).astype(dtype)
    assert_same(quiet(leaky_relu, x, alpha), oracle.leaky_relu(x, alpha))


@pytest.mark.parametrize("alpha", SLOPES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_computed_in_float64(dtype, alpha):
    x = numbers(dtype, 1000)
    wide = x.astype(np.float64)
    assert_same(leaky_relu(x, alpha), oracle.leaky_relu(wide, alpha))
    assert_same(leaky_relu_derivative(x, alpha), oracle.leaky_relu_derivative(wide, alpha))
    assert_same(leaky_relu_backward(x, x, alpha), oracle.leaky_relu_backward(wide, wide, alpha))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.int8, np.float16, *FLOATS])
@pytest.mark.parametrize("step", [1, 2, 3, -1, -2])
def test_strides_change_nothing(dtype, size, step):
    x = numbers(dtype, size * abs(step))[::step]
    alpha = numbers(np.float32, size * abs(step), seed=1)[::step]
    for slope in (0.1, alpha):
        slope_copy = np.array(slope)
        for function in (leaky_relu, leaky_relu_derivative):
            out = np.zeros(size * abs(step), function(x, 0.1).dtype)[::step]
            quiet(function, x, slope, out=out)
            assert_same(out, quiet(function, x.copy(), slope_copy))
        assert_same(
            quiet(leaky_relu_backward, x, x[::-1], slope),
            quiet(leaky_relu_backward, x.copy(), x[::-1].copy(), slope_copy),
        )


def test_transposed_and_channel_last_memory():
    x = numbers(np.float32, 24000).reshape(10, 8, 300)
    alpha = np.linspace(0, 1, 8, dtype=np.float32)
    expected = oracle.leaky_relu(x, alpha[:, None])
    assert_same(leaky_relu(x, alpha[:, None]), expected)
    last = np.ascontiguousarray(x.transpose(0, 2, 1))
    assert_same(leaky_relu(last, alpha), expected.transpose(0, 2, 1))
    assert_same(leaky_relu(x.transpose(2, 0, 1), alpha), expected.transpose(2, 0, 1))


def test_broadcast_and_scalar_operands():
    x = numbers(np.float64, 1000)
    assert_same(leaky_relu(np.broadcast_to(x, (3, 1000)), 0.1), np.stack([oracle.leaky_relu(x, 0.1)] * 3))
    assert_same(leaky_relu_backward(1.0, x, 0.1), oracle.leaky_relu_derivative(x, 0.1))
    assert leaky_relu_backward(1.0, x.astype(np.float32)).dtype == np.float32
    assert_same(leaky_relu_backward(x, -1.0, 0.5), 0.5 * x)
    assert_same(leaky_relu(-1.0, np.array([0.1, 0.2])), np.array([-0.1, -0.2]))


@pytest.mark.parametrize("shift", range(-5, 6))
def test_overlapping_memory(shift):
    base = numbers(np.float32, 2000)
    expected = oracle.leaky_relu(base[5:1995].copy(), np.float32(0.1))
    leaky_relu(base[5:1995], 0.1, out=base[5 + shift : 1995 + shift])
    assert_same(base[5 + shift : 1995 + shift], expected)


def test_in_place():
    for dtype in (np.float16, *FLOATS):
        x = numbers(dtype, 5000)
        expected = leaky_relu(x, 0.3)
        assert leaky_relu(x, 0.3, out=x) is x
        assert_same(x, expected)
        grad = numbers(dtype, 5000, seed=1)
        expected = quiet(leaky_relu_backward, grad, x, 0.3)
        assert_same(quiet(leaky_relu_backward, grad, x, 0.3, out=grad), expected)


@given(hnp.arrays(np.float64, 20), hnp.arrays(np.bool, 20))
def test_where_leaves_the_rest_alone(x, mask):
    out = np.full(20, 7.0)
    leaky_relu(x, 0.5, out=out, where=mask)
    assert_same(out, np.where(mask, oracle.leaky_relu(x, 0.5), 7.0))


def test_dtype_casting_signature():
    x = np.array([-1.0, 2.0])
    assert leaky_relu(x, 0.1, dtype=np.float32).dtype == np.float32
    assert leaky_relu(np.array([-1, 2]), 0.1, dtype=np.float32).dtype == np.float32
    assert leaky_relu(x, 0.1, signature="ff->f", casting="same_kind").dtype == np.float32
    assert leaky_relu(x, 0.1, dtype=np.longdouble).dtype == np.longdouble
    with pytest.raises(TypeError, match="casting rule 'safe'"):
        leaky_relu(x, 0.1, dtype=np.float32, casting="safe")
    with pytest.raises(TypeError, match="got complex128"):
        leaky_relu(x, 0.1, dtype=complex)


def test_zero_dimensional_and_empty():
    assert isinstance(leaky_relu(np.array(-2.0)), np.float64)
    assert leaky_relu(np.float32(-2)).dtype == np.float32
    assert leaky_relu(np.empty((0, 3), np.float16)).shape == (0, 3)
    out = np.array(0.0)
    assert leaky_relu(np.array(-2.0), out=out) is out
    assert out == -0.02


def test_read_only_input_is_taken_and_read_only_output_refused():
    x = np.array([-1.0, 2.0])
    x.flags.writeable = False
    assert_same(leaky_relu(x), np.array([-0.01, 2.0]))
    with pytest.raises(ValueError, match="read-only"):
        leaky_relu(x, out=x)


def test_big_endian_and_unaligned_memory():
    x = numbers(np.float64, 1000)
    assert_same(leaky_relu(x.astype(">f8")), leaky_relu(x))
    packed = np.zeros(1000, np.dtype([("a", "i1"), ("x", "f8")]))
    packed["x"] = x
    assert_same(leaky_relu(packed["x"]), leaky_relu(x))


@pytest.mark.parametrize(
    ("dtype", "bits", "payload"),
    [(np.float16, np.uint16, 0x155), (np.float32, np.uint32, 0x12345), (np.float64, np.uint64, 0x123456789)],
)
@pytest.mark.parametrize("alpha", [0.0, 0.01, 2.0, -0.5])
def test_nan_keeps_sign_and_payload(dtype, bits, payload, alpha):
    positive = np.full(100, np.nan, dtype).view(bits) & ~bits(1 << (bits(0).itemsize * 8 - 1)) | bits(payload)
    x = np.concatenate([positive, positive | bits(1 << (bits(0).itemsize * 8 - 1))]).astype(bits).view(dtype)
    np.testing.assert_array_equal(leaky_relu(x, alpha).view(bits), x.view(bits))
    assert_same(leaky_relu_derivative(x, alpha), np.full(200, alpha, dtype))


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_negative_zero_keeps_its_sign(dtype):
    x = np.array([0.0, -0.0] * 100, dtype)
    for alpha in (0.0, 0.01, 2.0, np.full(200, np.inf, dtype), np.full(200, np.nan, dtype)):
        assert_same(leaky_relu(x, alpha), x)
        assert_same(leaky_relu_derivative(x, alpha), np.ones_like(x))


def test_zero_slope_at_infinity_is_nan():
    with pytest.warns(RuntimeWarning, match="invalid value"):
        result = leaky_relu(np.array([np.inf, -np.inf]), 0.0)
    assert_same(result, np.array([np.inf, np.nan]))


def test_special_values_raise_no_warning():
    for dtype in (np.float16, *FLOATS):
        x = np.tile(special_values(dtype), 50)
        leaky_relu(x, 0.5)
        leaky_relu_derivative(x, 0.5)
        leaky_relu_backward(np.ones_like(x), x, 0.5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, *FLOATS])
@pytest.mark.parametrize("step", [1, 2])
def test_overflow_warns(dtype, step):
    largest = (np.finfo(dtype) if dtype is not ml_dtypes.bfloat16 else ml_dtypes.finfo(dtype)).max
    x = np.full(2000, -largest, dtype)[::step]
    with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu"):
        result = leaky_relu(x, 2.0)
    assert np.isneginf(result.astype(np.longdouble)).all()
    with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu_backward"):
        leaky_relu_backward(x, x, 2.0)


# Every value of the 16-bit types


def sixteen_bits(dtype):
    bits = np.arange(2**16, dtype=np.uint16)
    infinity = np.array(np.inf, dtype).view(np.uint16)
    quiet_nan = np.array(np.nan, dtype).view(np.uint16) & 0x7FFF
    signalling = ((bits & 0x7FFF) > infinity) & ((bits & 0x7FFF) < quiet_nan)  # these warn everywhere in NumPy
    return bits[~signalling].view(dtype)


def rounded_once(exact, dtype):
    largest = np.array(np.inf, dtype).view(np.uint16)
    values = np.arange(largest, dtype=np.uint16).view(dtype).astype(np.float64)
    return oracle.round_to(values, exact).astype(dtype)


@pytest.mark.parametrize("alpha", SLOPES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_16_bit_value_is_rounded_once(dtype, alpha):
    x = sixteen_bits(dtype)
    wide = x.astype(np.float64)
    slope = np.float64(np.float32(alpha))
    value = quiet(leaky_relu, x, alpha)
    expected = rounded_once(oracle.leaky_relu(wide, slope), dtype)
    assert value.dtype == x.dtype
    same = value.view(np.uint16) == expected.view(np.uint16)
    assert np.all(same | (np.isnan(value.astype(np.float64)) & np.isnan(expected.astype(np.float64))))
    derivative = leaky_relu_derivative(x, alpha)
    expected = rounded_once(oracle.leaky_relu_derivative(wide, slope), dtype)
    np.testing.assert_array_equal(derivative.view(np.uint16), expected.view(np.uint16))
    ones = np.ones_like(x)
    for grad in (ones, -ones):
        backward = leaky_relu_backward(grad, x, alpha)
        expected = rounded_once(oracle.leaky_relu_backward(grad.astype(np.float64), wide, slope), dtype)
        np.testing.assert_array_equal(backward.view(np.uint16), expected.view(np.uint16))


@given(hnp.arrays(np.uint16, 50), hnp.arrays(np.uint16, 50), st.floats(width=32, allow_nan=False, allow_infinity=False))
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bit_backward_is_rounded_once(dtype, grad, x, alpha):
    x, grad = (
        np.where((bits & 0x7FFF) >= np.array(np.inf, dtype).view(np.uint16), 0, bits).astype(np.uint16).view(dtype)
        for bits in (x, grad)
    )
    exact = oracle.leaky_relu_backward(grad.astype(np.float64), x.astype(np.float64), np.float64(alpha))
    result = quiet(leaky_relu_backward, grad, x, alpha)
    np.testing.assert_array_equal(result.view(np.uint16), rounded_once(exact, dtype).view(np.uint16))


def test_slopes_of_16_bit_arrays_are_float32():
    x = sixteen_bits(np.float16)[:31000]
    alpha = np.random.default_rng(0).random(31000)
    expected = rounded_once(
        oracle.leaky_relu(x.astype(np.float64), alpha.astype(np.float32).astype(np.float64)), np.float16
    )
    assert_same(leaky_relu(x, alpha), expected)


# The instruction sets

DIGEST = """
import hashlib, ml_dtypes, numpy as np
from leakyrelu import _ufuncs, leaky_relu, leaky_relu_backward, leaky_relu_derivative
digest = hashlib.sha256()
rng = np.random.default_rng(0)
floats = ["e", "f", "d", "bfloat16"]
with np.errstate(all="ignore"):
    for code in [*"?bBhHiIlLqQefd", "bfloat16"]:
        x = rng.standard_normal(3001).astype("f8") * 100 if code in floats else rng.integers(0, 2**63, 3001)
        x = x.astype(code)
        if code in floats:
            x[:8] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, -1e-7, -6e4]
        if code in ("e", "bfloat16"):
            x = np.concatenate([x, np.arange(0, 2**16, dtype="u2").view(code)])
        for alpha in (0.01, -0.5, 2.0, rng.random(len(x))):
            for step in (1, 3, -1):
                a = alpha if isinstance(alpha, float) else alpha[::step]
                digest.update(leaky_relu(x[::step], a).tobytes())
                digest.update(leaky_relu_derivative(x[::step], a).tobytes())
                digest.update(leaky_relu_backward(x[::-step], x[::step], a).tobytes())
print(_ufuncs.instruction_set, digest.hexdigest())
"""


def run_with(instruction_set, code):
    environment = os.environ | {"LEAKYRELU_INSTRUCTION_SET": instruction_set}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_every_instruction_set_gives_the_same_bits():
    names = ["baseline"]
    if _ufuncs.instruction_set in ("avx2", "avx512"):
        names.append("avx2")
    if _ufuncs.instruction_set == "avx512":
        names.append("avx512")
    digests = set()
    for name in names:
        result = run_with(name, DIGEST)
        assert result.returncode == 0, result.stderr
        used, digest = result.stdout.split()
        assert used == name
        digests.add(digest)
    assert len(digests) == 1


def test_unknown_instruction_set_says_so():
    result = run_with("neon99", "import leakyrelu")
    assert result.returncode == 1
    assert "LEAKYRELU_INSTRUCTION_SET is 'neon99'" in result.stderr


# What they offer as ufuncs


def test_ufuncs_name_their_types():
    assert [ufunc.ntypes for ufunc in (_ufuncs.leaky_relu, _ufuncs.leaky_relu_derivative)] == [15, 15]
    assert "ef->e" in _ufuncs.leaky_relu.types
    assert "bd->d" in _ufuncs.leaky_relu.types
    assert "eef->e" in _ufuncs.leaky_relu_backward.types
    assert "alpha * x" in _ufuncs.leaky_relu.__doc__


def test_outer_and_at():
    x, alpha = np.array([-1.0, 2.0]), np.array([0.1, 0.5, 2.0])
    assert_same(_ufuncs.leaky_relu.outer(x, alpha), oracle.leaky_relu(x[:, None], alpha))
    _ufuncs.leaky_relu.at(x, [0, 0], 0.5)
    assert_same(x, np.array([-0.25, 2.0]))


def test_reductions_without_a_type_are_refused():
    for method in ("reduce", "accumulate"):
        with pytest.raises(TypeError, match="each number by itself"):
            getattr(_ufuncs.leaky_relu, method)(np.ones(3))


# Within a process


def test_eight_threads_on_the_same_arrays():
    single, half = numbers(np.float32, 100_000), numbers(np.float16, 100_000)
    expected = leaky_relu(single, 0.1).tobytes(), leaky_relu(half, 0.1).tobytes()
    start = threading.Barrier(8)

    def work(_):
        start.wait()
        return all((leaky_relu(single, 0.1).tobytes(), leaky_relu(half, 0.1).tobytes()) == expected for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_memory_is_flat_over_100_000_calls():
    x = np.linspace(-1, 1, 10)
    brain = x.astype(ml_dtypes.bfloat16)

    def call(times):
        for i in range(times):
            leaky_relu(x)
            leaky_relu_backward(x, x, 0.1)
            leaky_relu(brain, 0.1)
            leaky_relu(-1.0)
            if i % 10 == 0:
                for bad, alpha in ((x * 1j, 0.1), (x, np.nan), ("text", 0.1)):
                    with contextlib.suppress(TypeError, ValueError):
                        leaky_relu(bad, alpha)

    call(200)
    tracemalloc.start()
    call(200)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    call(25_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000  # less than four bytes per round, and the smallest object takes sixteen


def assert_leaks_no_reference(arrays, call):
    """Check that calling `call` on each array leaves the reference counts of their DType classes as they were."""
    classes = [type(x.dtype) for x in arrays]

    def call_on_each():
        for x in arrays:
            call(x)

    call_on_each()
    before = [sys.getrefcount(each) for each in classes]
    for _ in range(100):
        call_on_each()
    assert [sys.getrefcount(each) for each in classes] == before


def test_refused_calls_leak_no_reference():
    def refuse(x):
        for function in (leaky_relu, leaky_relu_derivative, lambda x: leaky_relu_backward(x, x)):
            with contextlib.suppress(TypeError):
                function(x)

    kinds = [np.ones(2, complex), np.array(["a"]), np.ones(2, ml_dtypes.float8_e4m3), np.array([None])]
    assert_leaks_no_reference(kinds, refuse)


def test_taken_calls_leak_no_reference():
    def take(x):
        for alpha in (0.1, 1, np.float64(0.1), np.ones(2, np.float16)):
            leaky_relu(x, alpha)
            leaky_relu_backward(x, x, alpha)

    dtypes = (*INTEGERS, np.float16, ml_dtypes.bfloat16, *FLOATS)
    assert_leaks_no_reference([np.ones(2, dtype) for dtype in dtypes], take)


def test_clean_in_development_mode_with_warnings_as_errors():
    code = (
        "import numpy as np, leakyrelu\n"
        "x = np.array([-1, 0, 1, np.nan, np.inf])\n"
        "for dtype in 'efdg':\n"
        "    leakyrelu.leaky_relu(x.astype(dtype)); leakyrelu.leaky_relu_derivative(x.astype(dtype))\n"
        "    leakyrelu.leaky_relu_backward(x.astype(dtype), x.astype(dtype))\n"
    )
    result = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_bfloat16_arrays_made_after_the_import():
    code = (
        "import sys, numpy as np, leakyrelu\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        "leakyrelu.leaky_relu(np.ones(3))\n"
        "import ml_dtypes\n"
        "x = np.array([-2, 3], ml_dtypes.bfloat16)\n"
        "for _ in range(2):\n"
        "    assert leakyrelu.leaky_relu(x, 0.5).dtype == x.dtype\n"
        "    assert leakyrelu.leaky_relu_backward(x, x, np.array([0.5])).tolist() == [-1, 3]\n"
        "try:\n"
        "    leakyrelu.leaky_relu(x.astype(ml_dtypes.float8_e4m3))\n"
        "except TypeError as error:\n"
        "    assert 'float8_e4m3' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


ON_A_SMALL_STACK = """
import threading
import numpy as np
from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative

for dtype in (np.float16, np.float32, np.float64, np.longdouble):
    x, slopes = np.arange(-3000, 3000).astype(dtype), np.linspace(0, 1, 6000)[::2]
    for function, arguments in CALLS:
        function(*arguments(x[::2], x[::-2], slopes))  # what is imported on first use needs more
        threading.stack_size(34 * 1024)
        thread = threading.Thread(target=function, args=arguments(x[::2], x[::-2], slopes))
        thread.start()
        thread.join()
"""
THEIRS = "[(np.maximum, lambda a, b, slopes: (a, b))]"
OURS = """[
    (leaky_relu, lambda a, b, slopes: (a, 0.1)),
    (leaky_relu, lambda a, b, slopes: (a, slopes)),
    (leaky_relu_derivative, lambda a, b, slopes: (a, 0.1)),
    (leaky_relu_backward, lambda a, b, slopes: (a, b, 0.1)),
]"""


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer needs more of the stack")
def test_a_stack_that_is_enough_for_numpy_is_enough():
    def survives(calls):
        code = ON_A_SMALL_STACK.replace("CALLS", calls)
        return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    assert survives(OURS) or not survives(THEIRS)
