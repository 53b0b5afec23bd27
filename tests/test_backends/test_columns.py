"""Columns, whose values may be missing: of pandas, polars, Arrow and Dask.

What is missing stays missing, in every function and wherever it is missing. A column keeps its library, its name and
its type, and a lazy one stays lazy. All values and slopes are such that every type holds the results.
"""

from decimal import Decimal
from itertools import product

import dask.dataframe
import numpy as np
import oracle
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative

VALUES = [-2, None, 3, 0, -7, 1]
OTHERS = [1, 5, None, -4, -1, 1]
SLOPES = [0.5, 0.25, 0.5, 2.0, None, None]
FUNCTIONS = {
    leaky_relu: oracle.leaky_relu,
    leaky_relu_derivative: oracle.leaky_relu_derivative,
    leaky_relu_backward: oracle.leaky_relu_backward,
}


def numbers(dtype):
    """What a column of this type holds: one value is missing."""
    name = str(dtype).lower()
    if "bool" in name:
        return [True, None, False]
    return [None if each is None else abs(each) for each in VALUES] if name.startswith("uint") else VALUES


def halves(values):
    """As NumPy's, since pyarrow before 21 makes halves of nothing else."""
    return [None if each is None else np.float16(each) for each in values]


def listed(column):
    """The values of a column, and None for those that are missing."""
    values = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return [None if each is None or each is pd.NA else float(each) for each in values]


def wanted(function, *operands):
    """What the oracle gives for lists and numbers, and None where an operand has None."""
    length = max(len(each) for each in operands if isinstance(each, list))
    rows = zip(*(each if isinstance(each, list) else [each] * length for each in operands), strict=True)
    return [None if None in row else float(FUNCTIONS[function](*map(np.float64, row))) for row in rows]


def check_operands(make, **keywords):
    """All functions, with a column in any place that takes one."""
    for x, alpha in product((VALUES, -2.0), (SLOPES, 0.5)):
        if isinstance(x, list) or isinstance(alpha, list):
            for function in (leaky_relu, leaky_relu_derivative):
                assert listed(function(make(x), make(alpha), **keywords)) == wanted(function, x, alpha)
    for operands in product((OTHERS, 1.0), (VALUES, -2.0), (SLOPES, 0.5)):
        if any(isinstance(each, list) for each in operands):
            result = leaky_relu_backward(*map(make, operands), **keywords)
            assert listed(result) == wanted(leaky_relu_backward, *operands)


# pandas.

FLOATS = ["Float32", "Float64", "halffloat[pyarrow]", "float[pyarrow]", "double[pyarrow]"]
WHOLE = ["boolean", "bool[pyarrow]"]
WHOLE += [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
WHOLE += [f"{kind}{bits}[pyarrow]" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]


def of_pandas(values, dtype):
    return pd.array(halves(values) if "half" in dtype else values, dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS + WHOLE)
@pytest.mark.parametrize("kind", [pd.Series, pd.Index, pd.array])
def test_pandas_keeps_what_is_missing_for_every_type(dtype, kind):
    x = kind(of_pandas(numbers(dtype), dtype))
    double = "double[pyarrow]" if "pyarrow" in dtype else "Float64"
    for function in (leaky_relu, leaky_relu_derivative):
        for alpha in (0.5, 2, -0.25):
            result = function(x, alpha)
            assert listed(result) == wanted(function, numbers(dtype), alpha)
            assert str(result.dtype) == (dtype if dtype in FLOATS else double)
            assert isinstance(
                result, type(x) if dtype in FLOATS else pd.api.extensions.ExtensionArray if kind is pd.array else kind
            )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [pd.Series, pd.Index, pd.array])
def test_pandas_keeps_what_is_missing_in_any_operand(dtype, kind):
    check_operands(lambda each: kind(of_pandas(each, dtype)) if isinstance(each, list) else each)


def test_pandas_columns_of_two_libraries_and_plain_arrays():
    x, grad = pd.Series(VALUES, dtype="double[pyarrow]"), pd.Series(OTHERS, dtype="Float64")
    expected = wanted(leaky_relu_backward, OTHERS, VALUES, 0.5)
    assert listed(leaky_relu_backward(grad, x, 0.5)) == expected
    ones = [1.0] * len(VALUES)
    for plain in (ones, np.ones(len(VALUES)), pd.Series(ones), tuple(ones)):
        assert listed(leaky_relu_backward(plain, x, 0.5)) == wanted(leaky_relu_derivative, VALUES, 0.5)


def test_pandas_aligns_by_labels():
    grad = pd.Series([1, 2, None], index=["a", "b", "c"], dtype="double[pyarrow]", name="column")
    x = pd.Series([-1, 1, 1], index=["b", "c", "d"], dtype="double[pyarrow]", name="column")
    result = leaky_relu_backward(grad, x, 0.5)
    assert (list(result.index), result.name) == (["a", "b", "c", "d"], "column")
    assert listed(result) == [None, 1, None, None]


def test_nan_of_numpy_is_a_number_and_no_missing_value():
    result = leaky_relu_derivative(pd.Series([np.nan, 1.0]), 0.5)
    assert (result.dtype, result.tolist()) == (np.float64, [0.5, 1])


def test_pandas_decimals_of_arrow_are_doubles():
    x = pd.Series([Decimal(-2), None], dtype=pd.ArrowDtype(pa.decimal128(10, 2)))
    assert listed(leaky_relu_derivative(x, 0.5)) == [0.5, None]
    assert leaky_relu(x).dtype == "double[pyarrow]"


@pytest.mark.parametrize(
    "function", [leaky_relu, leaky_relu_derivative, lambda x, alpha: leaky_relu_backward(x, x, alpha)]
)
def test_columns_of_a_frame_keep_their_types(function):
    frame = pd.DataFrame(
        {
            "plain": [-2.0, 3.0],
            "single": np.float32([-2, 3]),
            "whole": [-2, 3],
            "nullable": pd.array([-2, None], dtype="Float32"),
            "arrow": pd.array([-2, None], dtype="float[pyarrow]"),
            "integers": pd.array([-2, None], dtype="Int8"),
        },
        index=["a", "b"],
    )
    result = function(frame, 0.5)
    assert list(map(str, result.dtypes)) == ["float64", "float32", "float64", "Float32", "float[pyarrow]", "Float64"]
    assert result.index.equals(frame.index)
    for name in frame:
        pd.testing.assert_series_equal(result[name], function(frame[name], 0.5))
    slopes = pd.DataFrame(0.5, index=frame.index, columns=frame.columns)
    for alpha in (slopes, np.full(6, 0.5), np.full((2, 1), 0.5)):
        pd.testing.assert_frame_equal(function(frame, alpha), result)


def test_frames_are_aligned_and_may_have_equal_names_or_no_columns():
    mixed = pd.DataFrame({"a": [1.0, 2.0], "b": pd.array([1, None], dtype="Float64")})
    result = leaky_relu_backward(mixed, mixed[["b", "a"]].iloc[::-1], 0.5)
    pd.testing.assert_frame_equal(result, leaky_relu_backward(mixed, mixed, 0.5))
    twice = pd.concat([mixed, mixed], axis=1)
    assert list(leaky_relu_backward(twice, twice).columns) == ["a", "b", "a", "b"]
    assert leaky_relu(mixed[[]]).shape == (2, 0)


def test_a_frame_beside_a_column_is_refused_with_what_to_write():
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    with pytest.raises(TypeError, match=r"got a Series.*; write x\.to_numpy\(\)\[:, None\] or x\.to_numpy\(\)$"):
        leaky_relu(frame, frame["a"])


@pytest.mark.parametrize("gap", [0.0, -2.0, np.nan])
def test_gaps_of_sparse_columns_stay_gaps(gap):
    x = pd.Series(pd.arrays.SparseArray([gap, -4.0, gap, 3.0], fill_value=gap), name="x")
    for function in (leaky_relu, leaky_relu_derivative, lambda x, alpha: leaky_relu_backward(1.0, x, alpha)):
        result = function(x, 0.5)
        np.testing.assert_array_equal(result.to_numpy(), function(x.to_numpy(), 0.5))
        assert result.sparse.npoints == x.sparse.npoints == 2
        assert result.name == "x"
    assert leaky_relu(x.to_frame()).sparse.density == 0.5


@pytest.mark.parametrize(
    ("values", "dtype", "given"),
    [
        ([1.0, pd.NA], object, r"object; give them a type first, with x.convert_dtypes\(\) or x.astype\(float\)"),
        ([Decimal(1)], object, "object; give them a type first"),
        (["a"], "string", "str"),
        ([1, 2], "category", "category"),
        (["2020-01-01"], "datetime64[ns]", "datetime64"),
    ],
)
def test_columns_without_numbers_are_refused(values, dtype, given):
    column = pd.Series(values, dtype=dtype)
    for call in (
        lambda: leaky_relu(column),
        lambda: leaky_relu_derivative(column.to_frame()),
        lambda: leaky_relu_backward(column, 1.0),
        lambda: leaky_relu(-1.0, column),
    ):
        with pytest.raises(TypeError, match=rf"real numbers (are wanted|\(.*\)), got {given}"):
            call()


def test_a_column_of_objects_is_taken_after_what_the_error_says():
    assert listed(leaky_relu(pd.Series([-2.0, pd.NA], dtype=object).convert_dtypes(), 0.5)) == [-1, None]


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]"])
def test_bools_are_no_column_of_slopes(dtype):
    with pytest.raises(TypeError, match=r"alpha must be real, got bool.*; convert it to floats"):
        leaky_relu(pd.Series([1.0]), pd.Series([True], dtype=dtype))


# Dask.


def test_dask_columns_stay_lazy_and_keep_what_is_missing():
    def make(each):
        return (
            dask.dataframe.from_pandas(pd.Series(each, dtype="double[pyarrow]"), npartitions=2)
            if isinstance(each, list)
            else each
        )

    x = make(VALUES)
    lazy = leaky_relu_derivative(x, 0.5)
    assert isinstance(lazy, type(x))
    assert (lazy.npartitions, lazy.dtype) == (x.npartitions, x.dtype)
    check_operands(make)
    frame = x.to_frame("a")
    pd.testing.assert_frame_equal(leaky_relu(frame, 0.5).compute(), leaky_relu(frame.compute(), 0.5))


# polars.

POLARS = {each: each for each in (pl.Float32, pl.Float64)}
POLARS |= dict.fromkeys((pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64), pl.Float64)
POLARS |= dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Decimal(10, 2)), pl.Float64)
if hasattr(pl, "Float16"):
    POLARS[pl.Float16] = pl.Float16


@pytest.mark.parametrize("dtype", POLARS, ids=str)
def test_polars_keeps_null_for_every_type(dtype):
    x = pl.Series("column", numbers(dtype), dtype=dtype)
    for function, alpha in product((leaky_relu, leaky_relu_derivative), (0.5, 2, -0.25)):
        result = function(x, alpha)
        assert listed(result) == wanted(function, numbers(dtype), alpha)
        assert (result.name, result.dtype) == ("column", POLARS[dtype])


@pytest.mark.parametrize("dtype", [each for each in POLARS if POLARS[each] is each], ids=str)
def test_polars_keeps_null_in_any_operand(dtype):
    check_operands(lambda each: pl.Series(each, dtype=dtype, strict=False) if isinstance(each, list) else each)


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64], ids=str)
def test_polars_gives_the_values_of_numpy(dtype):
    x = pl.Series([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, -0.3, 0.7], dtype=dtype)
    for function in (leaky_relu, leaky_relu_derivative, lambda x, alpha: leaky_relu_backward(x, x, alpha)):
        for alpha in (0.01, 0.0, -1.5, 3, np.float32(0.1)):
            with np.errstate(all="ignore"):
                oracle.assert_same(function(x, alpha).to_numpy(), function(x.to_numpy(), alpha))


def test_polars_expressions_are_computed_by_polars():
    frame = pl.LazyFrame({"grad": OTHERS, "x": VALUES, "slope": SLOPES}, schema_overrides={"x": pl.Float32})
    grad, x, slope = map(pl.col, ("grad", "x", "slope"))
    for function, expressions, operands in (
        (leaky_relu, (x, 0.5), (VALUES, 0.5)),
        (leaky_relu, (x, slope), (VALUES, SLOPES)),
        (leaky_relu_derivative, (x, 0.5), (VALUES, 0.5)),
        (leaky_relu_derivative, (x, slope), (VALUES, SLOPES)),
        (leaky_relu_backward, (grad, x, 0.5), (OTHERS, VALUES, 0.5)),
        (leaky_relu_backward, (1.0, x, slope), (1.0, VALUES, SLOPES)),
        (leaky_relu_backward, (grad, x, slope), (OTHERS, VALUES, SLOPES)),
        (leaky_relu, (-2.0, slope), (-2.0, SLOPES)),
        (leaky_relu, (x, pl.Series(SLOPES)), (VALUES, SLOPES)),
    ):
        result = function(*expressions)
        assert isinstance(result, pl.Expr)
        assert "python" not in frame.select(result).explain().lower()  # no function of Python runs for each batch
        assert listed(frame.select(result).collect().to_series()) == wanted(function, *operands)
    assert frame.select(leaky_relu(x, 0.5)).collect_schema() == {"x": pl.Float32}


def test_polars_frames_keep_their_columns():
    frame = pl.DataFrame({"a": VALUES, "b": pl.Series(OTHERS, dtype=pl.Float32)})
    for result in (leaky_relu_derivative(frame, 0.5), leaky_relu_derivative(frame.lazy(), 0.5).collect()):
        assert result.schema == {"a": pl.Float64, "b": pl.Float32}
        assert [listed(each) for each in result] == [
            wanted(leaky_relu_derivative, each, 0.5) for each in (VALUES, OTHERS)
        ]
    result = leaky_relu_backward(frame, frame[["b", "a"]], 0.5)
    assert [listed(each) for each in result] == [
        wanted(leaky_relu_backward, each, each, 0.5) for each in (VALUES, OTHERS)
    ]
    assert leaky_relu_backward(1.0, frame).columns == ["a", "b"]


def test_polars_frames_beside_columns_are_refused_with_what_to_do():
    frame = pl.DataFrame({"a": [1.0]})
    for call in (
        lambda: leaky_relu(frame, frame["a"]),
        lambda: leaky_relu_backward(frame.lazy(), frame.lazy()),
        lambda: leaky_relu_backward(frame, np.ones(1)),
    ):
        with pytest.raises(
            TypeError,
            match=r'got (Lazy|Data)Frame and .*; give it columns or expressions instead, such as pl\.col\("x"\)',
        ):
            call()


def test_polars_text_is_refused():
    for column in (pl.Series(["a"]), pl.DataFrame({"a": ["a"]})):
        with pytest.raises(TypeError, match="real numbers are wanted, got String; convert them first"):
            leaky_relu(column)


# Arrow.


ARROW = [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int64(), pa.uint64(), pa.bool_(), pa.decimal128(10, 2)]


@pytest.mark.parametrize("dtype", ARROW, ids=str)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_arrow_keeps_null_for_every_type(dtype, in_chunks):
    values = numbers(dtype)
    x = pa.array(halves(values) if dtype == pa.float16() else values, type=dtype)
    x = pa.chunked_array([x[:2], x[2:]]) if in_chunks else x
    for function in (leaky_relu, leaky_relu_derivative):
        result = function(x, 0.5)
        assert isinstance(result, pa.ChunkedArray if in_chunks else pa.Array)
        assert result.type == (dtype if pa.types.is_floating(dtype) else pa.float64())
        assert listed(result) == wanted(function, values, 0.5)


def test_arrow_keeps_null_in_any_operand():
    check_operands(lambda each: pa.array(each, type=pa.float64()) if isinstance(each, list) else each)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pa.array(["a"]), "real numbers are wanted, got StringArray of type string; convert them first"),
        (pa.table({"a": [1.0]}), r'columns are wanted, got a Table; give them one by one, for example x\["a"\]'),
        (pa.record_batch({"a": [1.0]}), r"columns are wanted, got a RecordBatch"),
        (pa.scalar(1.0), r"must be a real number or an array of them, got DoubleScalar; write (x|alpha)\.as_py\(\)"),
    ],
)
def test_what_is_no_column_of_numbers_in_arrow_is_refused(value, words):
    for call in (lambda: leaky_relu(value), lambda: leaky_relu(-1.0, value)):
        with pytest.raises(TypeError, match=words):
            call()
    with pytest.raises(TypeError, match="alpha must be real, got bool"):
        leaky_relu(-1.0, pa.array([True]))


# Masked arrays.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, bool])
def test_masked_arrays_keep_their_mask_in_any_operand(dtype):
    def make(each, dtype=dtype):
        if not isinstance(each, list):
            return each
        return np.ma.array(
            [0 if value is None else value for value in each], dtype, mask=[value is None for value in each]
        )

    def masked(result):
        return [None if each is np.ma.masked else float(each) for each in result]

    x = [None if each is None else float(dtype(each)) for each in VALUES]
    for function in (leaky_relu, leaky_relu_derivative):
        assert masked(function(make(VALUES), 0.5)) == wanted(function, x, 0.5)
        assert masked(function(make(VALUES), make(SLOPES, float))) == wanted(function, x, SLOPES)
    assert masked(leaky_relu_backward(make(OTHERS, float), make(VALUES), 0.5)) == wanted(
        leaky_relu_backward, OTHERS, x, 0.5
    )


@pytest.mark.parametrize("kind", [pd.Series, lambda column: pd.DataFrame({"a": column})])
def test_keywords_beside_columns_of_arrow_are_refused_as_missing_values_would_be_filled(kind):
    column = kind(pd.array([-1.0, None], "float64[pyarrow]"))
    for function in (leaky_relu, leaky_relu_derivative):
        with pytest.raises(TypeError, match="dtype: not for columns of Arrow, whose missing values it would fill"):
            function(column, dtype="float64")
    assert leaky_relu_derivative(kind(pd.array([-1.0, 2.0])), dtype="float64").to_numpy().ravel().tolist() == [0.01, 1]
