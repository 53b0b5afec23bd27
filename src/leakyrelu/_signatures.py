"""Which types the functions return for which arguments. This is for type checkers, and does nothing at run time.

No type stands for text, bytes, None, sets, dates or complex numbers, so a type checker refuses them. (With the types
of NumPy before 2.2 it accepts a complex array.) `Any` stands for what a type checker cannot know.

Where an array matches two overloads that give different types, mypy gives `Any`. So no array of a known type matches
two overloads, and NumPy's arrays do not match the protocols that stand for other libraries.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias, TypedDict, TypeVar, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Keywords",
    "OfGradAndX",
    "OfGradAndXOverAxes",
    "OfX",
    "of_grad_and_x",
    "of_grad_and_x_over_axes",
    "of_x",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Float = TypeVar("_Float", bound=np.floating[Any])
_Whole = TypeVar("_Whole", bound=np.integer[Any] | np.bool)
_WholeToo = TypeVar("_WholeToo", bound=np.integer[Any] | np.bool)
_Unknown = TypeVar("_Unknown", bound="np.generic[None]")
_Array = TypeVar("_Array", bound=NDArray[np.floating[Any]])
_Out = TypeVar("_Out", bound=NDArray[Any])


class _List(Protocol[_T_co]):
    """A list, a tuple, a range or another sequence. Text and bytes do not match: they contain only their own kind."""

    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> _T_co: ...
    def __reversed__(self) -> object: ...
    @property
    def index(self) -> object: ...


# Four levels deep. With a protocol that contained itself, mypy would accept a list of anything.
_Nested: TypeAlias = _List[_T | _List[_T | _List[_T | _List[_T]]]]

# Numbers: np.generic[float] is any real number of NumPy. Lists give float64, unless they hold a longdouble.
_Integer: TypeAlias = np.integer[Any] | np.bool
_Double: TypeAlias = np.float16 | np.float32 | np.float64 | _Integer
_Number: TypeAlias = "float | np.generic[float]"

# Arrays and lists: _Wholes give float64.
_Floats: TypeAlias = NDArray[np.floating[Any]]
_Doubles: TypeAlias = NDArray[np.float64]
_Wholes: TypeAlias = NDArray[_Whole] | _Nested[float | _Double | NDArray[_Double]]
_Wide: TypeAlias = _Nested[float | np.longdouble | NDArray[np.longdouble]]
_Many: TypeAlias = "NDArray[np.generic[float]] | _Nested[_Number | NDArray[np.generic[float]]]"

_Real: TypeAlias = "_Number | _Many"
_Type: TypeAlias = type[_Float] | np.dtype[_Float]
_Axes: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...]
_Mask: TypeAlias = bool | np.bool | NDArray[np.bool] | _Nested[bool | np.bool]


class _PythonFloat(Protocol):
    """The type `float` itself; `type[float]` would let `int` and `bool` pass."""

    def fromhex(self, text: str, /) -> float: ...


class _Ufuncs(Protocol):
    """What follows NumPy's ufunc protocol. NumPy's arrays do not match: they take only six words as `method`."""

    def __array_ufunc__(self, ufunc: Any, method: str, /, *inputs: Any, **keywords: Any) -> Any: ...


class _ArrayAPI(Protocol):
    """An array of the array API. NumPy's arrays do not match: they take only some versions."""

    def __array_namespace__(self, *, api_version: str | None = None) -> Any: ...


class _Converts(Protocol):
    """What NumPy converts to an array. NumPy's arrays do not match: one overload takes a type, and another None."""

    def __array__(self, dtype: np.dtype[Any] | None = None, /) -> Any: ...


_Foreign: TypeAlias = _Ufuncs | _ArrayAPI | _Converts
_Operand: TypeAlias = "_Real | _Foreign"

# Also numbers and arrays of NumPy of a type that the checker does not know, such as bfloat16. No known type holds None
# alone.
_Other: TypeAlias = _Foreign | _Unknown | NDArray[_Unknown]


class _Loop(TypedDict, total=False):
    """Keywords that do not change the type of the result."""

    casting: Literal["no", "equiv", "safe", "same_kind", "unsafe"]
    order: Literal["K", "A", "C", "F"] | None
    subok: bool


class _One(_Loop, total=False):
    """Keywords with which numbers give a number."""

    out: None
    where: bool


class _OneAlike(_One, total=False):
    """Keywords with which that number has the type of the given numbers."""

    dtype: None


class _New(_Loop, total=False):
    """Keywords with which the result is a new array."""

    out: tuple[None] | None
    where: _Mask


class _NewAlike(_New, total=False):
    """Keywords with which that array has the type of the given arrays."""

    dtype: None


class _Into(_Loop, total=False):
    """Keywords that go with an array to write into."""

    where: _Mask
    dtype: Any
    signature: Any


class Keywords(_Loop, total=False):
    """All keywords of NumPy's ufuncs."""

    out: Any
    where: Any
    dtype: Any
    signature: Any


class OfX(Protocol):
    """The type of `leaky_relu` and `leaky_relu_derivative`."""

    __name__: str
    __qualname__: str

    # A number, and one slope.
    @overload
    def __call__(self, x: _Float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> _Float: ...
    @overload
    def __call__(self, x: _Integer, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> np.float64: ...
    @overload
    def __call__(self, x: float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> float: ...
    @overload
    def __call__(
        self, x: _Number, alpha: _Number = 0.01, *, dtype: _Type[_Float], **keywords: Unpack[_One]
    ) -> _Float: ...
    @overload
    def __call__(
        self, x: _Number, alpha: _Number = 0.01, *, dtype: _PythonFloat, **keywords: Unpack[_One]
    ) -> np.float64: ...

    # A number, and several slopes.
    @overload
    def __call__(self, x: _Float, alpha: _Many, **keywords: Unpack[_NewAlike]) -> NDArray[_Float]: ...
    @overload
    def __call__(self, x: float | _Integer, alpha: _Many, **keywords: Unpack[_NewAlike]) -> _Doubles: ...
    @overload
    def __call__(
        self, x: _Number, alpha: _Many, *, dtype: _Type[_Float], **keywords: Unpack[_New]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(self, x: _Number, alpha: _Many, *, dtype: _PythonFloat, **keywords: Unpack[_New]) -> _Doubles: ...

    # An array, and one slope or several. With one, a masked array stays a masked array.
    @overload
    def __call__(self, x: _Array, alpha: _Number = 0.01, **keywords: Unpack[_NewAlike]) -> _Array: ...
    @overload
    def __call__(self, x: NDArray[_Float], alpha: _Many, **keywords: Unpack[_NewAlike]) -> NDArray[_Float]: ...
    @overload
    def __call__(self, x: _Wholes[_Whole], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]) -> _Doubles: ...
    @overload
    def __call__(self, x: _Wide, alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]) -> _Floats: ...
    @overload
    def __call__(
        self, x: _Many, alpha: _Real = 0.01, *, dtype: _Type[_Float], **keywords: Unpack[_New]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(self, x: _Many, alpha: _Real = 0.01, *, dtype: _PythonFloat, **keywords: Unpack[_New]) -> _Doubles: ...

    # An array to write into.
    @overload
    def __call__(
        self, x: _Real, alpha: _Real = 0.01, *, out: _Out | tuple[_Out], **keywords: Unpack[_Into]
    ) -> _Out: ...

    # A type that is known only at run time.
    @overload
    def __call__(self, x: _Real, alpha: _Real = 0.01, *, dtype: str, **keywords: Unpack[_New]) -> Any: ...
    @overload
    def __call__(
        self, x: _Real, alpha: _Real = 0.01, *, signature: str | tuple[Any, ...], **keywords: Unpack[_New]
    ) -> Any: ...

    # Arrays of other libraries.
    @overload
    def __call__(self, x: _Other[_Unknown], alpha: _Operand = 0.01, **keywords: Unpack[Keywords]) -> Any: ...
    @overload
    def __call__(self, x: _Real, alpha: _Foreign, **keywords: Unpack[Keywords]) -> Any: ...


class OfGradAndX(Protocol):
    """The type of `leaky_relu_backward`."""

    __name__: str
    __qualname__: str

    # Two numbers, and one slope. NumPy's floats come first, because np.float64 is a float as well.
    @overload
    def __call__(self, grad: _Float, x: _Float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> _Float: ...
    @overload
    def __call__(self, grad: _Float, x: float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> _Float: ...
    @overload
    def __call__(self, grad: float, x: _Float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> _Float: ...
    @overload
    def __call__(self, grad: float, x: float, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]) -> float: ...
    @overload
    def __call__(
        self, grad: _Integer, x: float | _Integer, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]
    ) -> np.float64: ...
    @overload
    def __call__(
        self, grad: float, x: _Integer, alpha: _Number = 0.01, **keywords: Unpack[_OneAlike]
    ) -> np.float64: ...
    @overload
    def __call__(
        self,
        grad: np.floating[Any] | _Integer,
        x: np.floating[Any] | _Integer,
        alpha: _Number = 0.01,
        **keywords: Unpack[_OneAlike],
    ) -> np.floating[Any]: ...
    @overload
    def __call__(
        self, grad: _Number, x: _Number, alpha: _Number = 0.01, *, dtype: _Type[_Float], **keywords: Unpack[_One]
    ) -> _Float: ...
    @overload
    def __call__(
        self, grad: _Number, x: _Number, alpha: _Number = 0.01, *, dtype: _PythonFloat, **keywords: Unpack[_One]
    ) -> np.float64: ...

    # Two numbers, and several slopes.
    @overload
    def __call__(
        self, grad: _Number, x: _Number, alpha: _Many, *, dtype: Any = None, **keywords: Unpack[_New]
    ) -> _Floats: ...

    # An array of floats, and another or a number.
    @overload
    def __call__(
        self, grad: NDArray[_Float], x: NDArray[_Float] | _Float, alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(
        self, grad: _Float, x: NDArray[_Float], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(
        self, grad: NDArray[_Float], x: float, alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(
        self, grad: float, x: NDArray[_Float], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> NDArray[_Float]: ...

    # An array of integers or a list, and another or a number.
    @overload
    def __call__(
        self,
        grad: _Wholes[_Whole],
        x: _Wholes[_WholeToo] | float | _Integer,
        alpha: _Real = 0.01,
        **keywords: Unpack[_NewAlike],
    ) -> _Doubles: ...
    @overload
    def __call__(
        self, grad: float | _Integer, x: _Wholes[_Whole], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> _Doubles: ...

    # Floats beside integers or a list.
    @overload
    def __call__(
        self, grad: NDArray[_Float], x: _Wholes[_Whole] | _Integer, alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> _Floats: ...
    @overload
    def __call__(
        self, grad: _Wholes[_Whole] | _Integer, x: NDArray[_Float], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> _Floats: ...
    @overload
    def __call__(
        self, grad: np.floating[Any], x: _Wholes[_Whole], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> _Floats: ...
    @overload
    def __call__(
        self, grad: _Wholes[_Whole], x: np.floating[Any], alpha: _Real = 0.01, **keywords: Unpack[_NewAlike]
    ) -> _Floats: ...

    # An array of the type asked for.
    @overload
    def __call__(
        self, grad: _Many, x: _Real, alpha: _Real = 0.01, *, dtype: _Type[_Float], **keywords: Unpack[_New]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(
        self, grad: _Number, x: _Many, alpha: _Real = 0.01, *, dtype: _Type[_Float], **keywords: Unpack[_New]
    ) -> NDArray[_Float]: ...
    @overload
    def __call__(
        self, grad: _Many, x: _Real, alpha: _Real = 0.01, *, dtype: _PythonFloat, **keywords: Unpack[_New]
    ) -> _Doubles: ...
    @overload
    def __call__(
        self, grad: _Number, x: _Many, alpha: _Real = 0.01, *, dtype: _PythonFloat, **keywords: Unpack[_New]
    ) -> _Doubles: ...

    # An array to write into.
    @overload
    def __call__(
        self, grad: _Real, x: _Real, alpha: _Real = 0.01, *, out: _Out | tuple[_Out], **keywords: Unpack[_Into]
    ) -> _Out: ...

    # A type that is known only at run time.
    @overload
    def __call__(self, grad: _Real, x: _Real, alpha: _Real = 0.01, *, dtype: str, **keywords: Unpack[_New]) -> Any: ...
    @overload
    def __call__(
        self,
        grad: _Real,
        x: _Real,
        alpha: _Real = 0.01,
        *,
        signature: str | tuple[Any, ...],
        **keywords: Unpack[_New],
    ) -> Any: ...

    # Arrays of other libraries.
    @overload
    def __call__(
        self, grad: _Other[_Unknown], x: _Operand, alpha: _Operand = 0.01, **keywords: Unpack[Keywords]
    ) -> Any: ...
    @overload
    def __call__(
        self, grad: _Real, x: _Other[_Unknown], alpha: _Operand = 0.01, **keywords: Unpack[Keywords]
    ) -> Any: ...
    @overload
    def __call__(self, grad: _Real, x: _Real, alpha: _Foreign, **keywords: Unpack[Keywords]) -> Any: ...


class OfGradAndXOverAxes(Protocol):
    """The type of `leaky_relu_slope_gradient`."""

    __name__: str
    __qualname__: str

    # The sum of all, which is one number.
    @overload
    def __call__(
        self, grad: NDArray[_Float], x: NDArray[_Float], *, axis: None = None, keepdims: Literal[False] = False
    ) -> _Float: ...
    @overload
    def __call__(self, grad: float, x: float, *, axis: None = None, keepdims: Literal[False] = False) -> float: ...

    # Sums along axes, which are arrays unless no axis is left.
    @overload
    def __call__(
        self, grad: NDArray[_Float], x: NDArray[_Float], *, axis: _Axes | None = None, keepdims: bool = False
    ) -> NDArray[_Float] | _Float: ...

    # Other types, and arrays of other libraries.
    @overload
    def __call__(self, grad: _Operand, x: _Operand, *, axis: _Axes | None = None, keepdims: bool = False) -> Any: ...


def of_x(function: Callable[..., Any]) -> OfX:
    """Give a function of `x` and `alpha` its type."""
    return cast("OfX", function)


def of_grad_and_x(function: Callable[..., Any]) -> OfGradAndX:
    """Give a function of `grad`, `x` and `alpha` its type."""
    return cast("OfGradAndX", function)


def of_grad_and_x_over_axes(function: Callable[..., Any]) -> OfGradAndXOverAxes:
    """Give a function of `grad` and `x`, over axes, its type."""
    return cast("OfGradAndXOverAxes", function)
