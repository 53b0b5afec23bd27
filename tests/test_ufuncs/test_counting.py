"""The counting kernel gives what NumPy gives, for all shapes and types, on any number of threads."""

import os
import subprocess
import sys
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leakyrelu import num_threads
from leakyrelu._ufuncs import count, instruction_set, set_threading_threshold

DTYPES = [np.dtype(name) for name in ("e", "f", "d")] + [np.dtype(ml_dtypes.bfloat16)]
SHAPES = [  # rows, units, positions: all ways of cutting and merging, with what is left over
    (1, 1, 1),
    (3, 2, 3136),
    (1, 3, 12_547),
    (1, 1, 100_003),
    (5000, 1, 1),
    (70_001, 3, 1),
    (4000, 10, 1),
    (300, 1000, 1),
    (1030, 1030, 1),
    (2, 70_001, 1),
    (33, 63, 2),
    (70, 130, 9),
    (21, 7, 15),
    (64, 200, 16),
    (19, 300, 17),
    (64, 200, 31),
    (100, 256, 49),
    (500, 16, 64),
    (40, 64, 196),
    (8, 3, 5000),
]


class Counted(NamedTuple):
    """The counts of some units."""

    fired: np.ndarray
    below: np.ndarray
    maximum: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def none(cls, units):
        return cls(
            np.zeros(units, np.int64), np.zeros(units, bool), np.full(units, -np.inf), np.zeros(units, np.float64)
        )

    def add(self, x, kept=None, threshold=0.0, slope=0.0, limits=True, sums=True):
        assert x.flags.c_contiguous
        number = -1 if x.dtype == ml_dtypes.bfloat16 else x.dtype.num
        rows = (0, 0) if kept is None else (kept.ctypes.data, len(kept))
        fired, below, maximum, magnitude = (each.ctypes.data for each in self)
        wanted = fired if limits else 0, below, maximum, magnitude if sums else 0
        return count(number, x.ctypes.data, *x.shape, *rows, threshold, slope, *wanted)


def counted(x, **keywords):
    counts = Counted.none(x.shape[1])
    assert counts.add(x, **keywords)
    return counts


def expected(x, kept=None, threshold=0.0, slope=0.0):
    """The same in float64; comparisons are in the type of the numbers, or in float32."""
    exact = (x if kept is None else x[kept]).astype(np.float64)
    limit = np.float64(threshold if x.dtype == np.float64 else np.float32(threshold))
    return Counted(
        (exact > limit).sum((0, 2)),
        (exact < limit).any((0, 2)),
        exact.max((0, 2), initial=-np.inf),
        np.abs(np.where(exact > 0, exact, slope * exact)).sum((0, 2)),
    )


def assert_right(found, wanted):
    for name in ("fired", "below", "maximum"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    assert np.allclose(found.magnitude, wanted.magnitude, rtol=1e-6, atol=1e-300)


def numbers(shape, dtype, seed=0):
    """Of both signs, with zeros of both signs, numbers that come again and some that are subnormal."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).round(1)
    x[rng.random(shape) < 0.1] *= 1e-40 if dtype.itemsize > 2 else 1e-7
    return (x + rng.normal(size=shape[1])[:, None].round()).astype(dtype)


@pytest.fixture
def every_thread():
    """Several threads also for small arrays."""
    before = set_threading_threshold(0)
    yield
    set_threading_threshold(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, dtype):
    x = numbers(shape, dtype)
    for threshold, slope in ((0.0, 0.0), (0.1, 0.01), (-1.0, -0.5), (0.0, 1.0)):
        assert_right(counted(x, threshold=threshold, slope=slope), expected(x, threshold=threshold, slope=slope))


@settings(max_examples=300)
@given(
    shape=st.tuples(
        st.integers(1, 40), st.integers(1, 140), st.sampled_from([1, 1, 2, 3, 9, 15, 16, 17, 27, 49, 64, 65, 130])
    ),
    dtype=st.sampled_from(DTYPES),
    threshold=st.sampled_from([0.0, -0.0, 0.1, -0.3, 1e30, -1e30, float("nan")]),
    slope=st.floats(-1, 1),
    share=st.none() | st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_anything(shape, dtype, threshold, slope, share, seed):
    if share is not None:
        shape = (shape[0] * 5, shape[1], 1)
    x = numbers(shape, dtype, seed)
    kept = None
    if share is not None:
        kept = np.flatnonzero(np.random.default_rng(seed).random(shape[0]) < share)
        if not len(kept):
            return
    keywords = {"kept": kept, "threshold": threshold, "slope": slope}
    assert_right(counted(x, **keywords), expected(x, **keywords))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_value_counts_once_wherever_it_is(dtype):
    for shape in ((2, 3, 67), (9, 70, 1), (5, 3, 1), (3, 5, 7), (1, 1, 131), (4, 2, 31)):
        for i in range(np.prod(shape)):
            x = np.full(shape, -1, dtype)
            x.flat[i] = 3
            found = counted(x)
            unit = np.unravel_index(i, shape)[1]
            assert found.fired.sum() == found.fired[unit] == 1
            assert found.magnitude.sum() == found.magnitude[unit] == 3
            assert found.maximum.tolist() == [3 if each == unit else -1 for each in range(shape[1])]
            assert found.below.tolist() == [True] * shape[1] if np.prod(shape) > shape[1] else True


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_has_no_finite_sum_is_left_to_others(value, dtype):
    for shape in ((2, 3, 67), (9, 70, 1), (5, 3, 1), (3, 5, 7), (1, 1, 131), (600, 100, 1), (40, 20, 196)):
        x = numbers(shape, dtype)
        for i in (0, 7, x.size // 2, x.size - 1):
            had, x.flat[i] = x.flat[i], value
            counts = Counted.none(shape[1])
            assert not counts.add(x)
            assert all(map(np.array_equal, counts, Counted.none(shape[1])))
            x.flat[i] = had


def test_both_infinities_and_an_overflow_are_no_finite_sums():
    x = np.zeros((100, 3, 1), np.float32)
    x[3, 1], x[50, 1] = np.inf, -np.inf
    assert not Counted.none(3).add(x)
    x[:, 1] = 3e38
    assert not Counted.none(3).add(x)


def test_counts_are_added_to_those_before():
    x, y = numbers((30, 20, 5), np.dtype("f"), 1), numbers((30, 20, 5), np.dtype("f"), 2)
    counts = counted(x)
    assert counts.add(y)
    assert_right(counts, expected(np.concatenate([x, y])))
    counts.maximum[3] = np.nan  # that of a batch that was counted in another way
    assert counts.add(x)
    assert np.isnan(counts.maximum).tolist() == [unit == 3 for unit in range(20)]


def test_limits_and_sums_alone():
    x = numbers((30, 20, 5), np.dtype("f"))
    limits, sums, none = counted(x, sums=False), counted(x, limits=False), Counted.none(20)
    assert_right(limits, expected(x)._replace(magnitude=none.magnitude))
    assert_right(sums, none._replace(magnitude=expected(x).magnitude))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("units", [1, 3, 10, 64, 200, 1000])
def test_rows_that_are_padding(units, dtype):
    x = numbers((700, units, 1), dtype)
    rng = np.random.default_rng(0)
    for kept in (
        np.arange(700),
        np.arange(699, 700),
        np.arange(0, 700, 2),
        np.flatnonzero(np.arange(700) % 100 < rng.integers(1, 100, 7).repeat(100)),
        np.flatnonzero(rng.random(700) < 0.7),
    ):
        found = counted(np.where(np.isin(np.arange(700), kept)[:, None, None], x, x.dtype.type(np.nan)), kept=kept)
        assert_right(found, expected(x, kept))


@pytest.mark.parametrize("kept", [[-1], [0, 1, 10], [10], [9, 10]])
def test_rows_that_do_not_exist(kept):
    assert not Counted.none(3).add(numbers((10, 3, 1), np.dtype("f")), kept=np.array(kept))


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (0, 1, 1)], ids=str)
def test_no_values(shape):
    assert all(map(np.array_equal, counted(np.zeros(shape, np.float32)), Counted.none(shape[1])))


@pytest.mark.usefixtures("every_thread")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_number_of_threads_changes_no_bit(shape, dtype):
    x = numbers(shape, dtype)
    found = []
    for threads in (1, 2, 5):
        with num_threads(threads):
            found += [counted(x, slope=0.3) for _ in range(3)]
    for each in found[1:]:
        assert all(map(np.array_equal, found[0], each))


def test_sums_of_many_equal_values_keep_their_precision():
    for shape in ((2_000_000, 1, 1), (20_000, 10, 3), (40, 5, 3136), (300, 30, 49)):
        x = np.full(shape, 0.1, np.float32)
        exact = np.float64(np.float32(0.1)) * shape[0] * shape[2]
        assert np.allclose(counted(x).magnitude, exact, rtol=2e-6)


@pytest.mark.parametrize("code", "?bhilBHILgFD")
def test_other_types_are_refused(code):
    x = np.zeros((3, 3, 1), code)
    with pytest.raises(TypeError, match=f"float16, float32 or float64, or -1 for bfloat16, got {x.dtype.num}"):
        Counted.none(3).add(x)


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(name):
    if ["baseline", "avx2", "avx512"].index(name) > ["baseline", "avx2", "avx512"].index(instruction_set):
        pytest.skip(f"this processor has only {instruction_set}")
    if os.environ.get("LEAKYRELU_INSTRUCTION_SET"):
        pytest.skip("the instruction set is chosen already")
    environment = os.environ | {"LEAKYRELU_INSTRUCTION_SET": name}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
