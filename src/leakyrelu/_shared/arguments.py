"""Arguments that several functions take: slopes, whole numbers, and ranges."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from numbers import Real
from operator import index
from typing import Any

import numpy as np

__all__ = [
    "PYTHON_NUMBERS",
    "as_array",
    "ascending_pair",
    "checked_batches",
    "finite_slope",
    "one_slope",
    "positive_integer",
    "refuse_bool",
    "true_or_false",
]

PYTHON_NUMBERS = frozenset((float, int))
_BOOL = bool | np.bool_  # np.bool_ is no bool


def finite_slope(alpha: Any, name: str = "alpha") -> Any:
    """The slope called `name` as the kernels take it: a finite number, or an array of slopes.

    Raises
    ------
    TypeError
        It is not real, or a bool.
    ValueError
        It is a single number, and NaN or infinite.
    """
    if isinstance(alpha, Sequence) and not isinstance(alpha, str | bytes | bytearray):
        alpha = as_array(alpha, name)  # a list, a range, a memoryview
    refuse_bool(alpha, name)
    if isinstance(alpha, np.ndarray | np.generic):
        if alpha.dtype.kind not in "iuf" and alpha.dtype.name != "bfloat16":
            raise TypeError(f"{name} must be real, got {alpha.dtype}")
        if alpha.ndim > 0:
            return alpha
    elif not isinstance(alpha, Real):
        if any(hasattr(alpha, each) for each in ("dtype", "__array__", "__array_ufunc__")):
            return alpha  # an array of another library
        raise _not_numbers(alpha, np.empty((), object), name)
    if type(alpha) not in PYTHON_NUMBERS and not isinstance(alpha, np.longdouble):
        alpha = float(alpha)
    if not -inf < alpha < inf:
        raise ValueError(f"{name} must be finite, got {alpha}")
    return alpha


def as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """What is no array of NumPy, converted to one; `name` is that of the argument.

    Raises
    ------
    TypeError
        It holds no real numbers, or NumPy does not find them, as in a sparse matrix, a set or a list with None.
    """
    array = np.asarray(value)
    if array.dtype == object and array.ndim > 0 and PYTHON_NUMBERS.issuperset(map(type, array.flat)):
        return array.astype(np.float64)  # integers of more than 64 bits
    if array.dtype == object or (array.dtype.kind in "cSU" and not hasattr(value, "__array__")):
        raise _not_numbers(value, array, name)
    return array


# What has such a method or protocol holds numbers, and this is how to take them out. The first that fits is told.
_WAYS_OUT = (
    ("toarray", "{}.toarray()"),  # sparse matrices of SciPy
    ("todense", "{}.todense()"),  # those of JAX
    ("to_dense", "{}.to_dense()"),
    ("to_numpy", "{}.to_numpy()"),
    ("__dlpack__", "numpy.from_dlpack({})"),
    ("as_py", "{}.as_py()"),  # a scalar of Arrow
    ("__float__", "float({})"),  # decimals and fractions
    ("isdecimal", "float({})"),  # text
    ("conjugate", "{}.real"),
    ("values", "list({}.values())"),
    ("__iter__", "list({})"),  # sets and generators
)


def _not_numbers(value: Any, array: np.ndarray[Any, Any], name: str) -> TypeError:
    """The error for a value that became such an array: of objects, of text or of complex numbers."""
    given = type(value).__name__
    if array.ndim == 0:
        advice = next((way for method, way in _WAYS_OUT if hasattr(type(value), method)), None)
    else:
        strange = next(type(each) for each in array.flat if type(each) not in PYTHON_NUMBERS)
        given += f" with {strange.__name__}"
        advice = "numpy.real({})" if array.dtype.kind == "c" else "numpy.asarray({}, float)"
        if hasattr(strange, "__array_ufunc__") and array.dtype == object:
            advice = "pandas.array({})"  # it has NA
    written = f"; write {advice.format(name)}" if advice else ""
    return TypeError(f"{name} must be a real number or an array of them, got {given}{written}")


def one_slope(alpha: Any, name: str = "alpha") -> float:
    """The slope called `name` as a number, for functions that take no array of slopes.

    Raises
    ------
    TypeError, ValueError
        It is not a single real and finite number.
    """
    if type(alpha) in PYTHON_NUMBERS and -inf < alpha < inf:
        return float(alpha)  # torch.compile cannot follow np.ndim
    if np.ndim(alpha):
        raise TypeError(f"{name} must be one slope, got {alpha!r}")
    number = float(finite_slope(alpha, name))
    finite_slope(number, name)  # checked again, as only now it is known what an array of another library holds
    return number


def refuse_bool(slope: Any, name: str = "alpha", *, instead: str = "") -> None:
    """Refuse True, False and arrays of them as the slope called `name`: Python would compute with them as 1 and 0.

    `instead` is the call that may be meant, with ``{}`` for the bool.

    Raises
    ------
    TypeError
        It is a bool, or an array of bools.
    """
    if isinstance(slope, _BOOL):
        advice = f"{float(slope)} for a slope of {int(slope)}"
        if instead:
            advice = f"{instead.format(slope)} if you mean inplace, or {advice}"
        raise TypeError(f"{name} must be a number, got {slope}; write {advice}")
    # The type is asked first, because a proxy that records what is done with it would record this, too.
    if hasattr(type(slope), "dtype") and str(slope.dtype).rpartition(".")[2].lower().startswith("bool"):
        raise TypeError(f"{name} must be real, got {slope.dtype}; convert it to floats if it holds slopes")


def true_or_false(name: str, value: Any) -> bool:
    """The value of the argument called `name`, which must be a bool.

    Raises
    ------
    TypeError
        It is something else, such as a second slope.
    """
    if not isinstance(value, _BOOL):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def positive_integer(name: str, value: Any) -> int:
    """The value of the argument called `name`, which must be an integer of at least 1.

    Raises
    ------
    TypeError
        It is not an integer.
    ValueError
        It is less than 1.
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    # Before NumPy 2.3, index() takes NumPy's truth values, too.
    if number is None or isinstance(value, _BOOL):
        raise TypeError(f"{name} must be a positive integer, got {value!r}")
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return number


def checked_batches(batches: Iterable[Any]) -> Iterable[Any]:
    """The batches to run a model on.

    Raises
    ------
    TypeError
        They are evidently something else, such as one batch: its rows would be taken for batches.
    """
    is_one = hasattr(type(batches), "__array__") or isinstance(batches, Mapping | str)
    if is_one or not isinstance(batches, Iterable):
        raise TypeError(
            "batches must be an iterable of batches, such as a DataLoader, "
            f"got one {type(batches).__name__}: put it in a list"
        )
    return batches


def ascending_pair(name: str, value: Any, *, above_zero: bool = False) -> tuple[float, float]:
    """The value of the argument called `name`, which must be two finite numbers, the smaller first.

    Raises
    ------
    ValueError
        It is something else, or not above zero where it has to be.
    """
    try:
        low, high = map(_number, value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers, the smaller first, got {value!r}") from None
    if not (0 if above_zero else -inf) < low < high < inf:
        wanted = "two finite numbers above zero" if above_zero else "two finite numbers"
        raise ValueError(f"{name} must be {wanted}, the smaller first, got {value!r}")
    return low, high


def _number(value: Any) -> float:
    if isinstance(value, _BOOL):
        raise TypeError("a bool is no number here")
    return float(value)
