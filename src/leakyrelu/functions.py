"""The public functions, which send each kind of number or array to the kernel that is made for it.

A Python number stays in Python, a NumPy array goes to the ufunc, and so does whatever speaks NumPy's ufunc protocol.
An array of PyTorch, JAX or another array-API library is computed by that library.

The decorator `@direct` sends a float, or an array without gaps, straight to the kernel, which takes a fraction of the
time. It leaves everything else to the function below it.
"""

from collections.abc import Callable
from math import inf
from typing import Any, Unpack

import numpy as np

from leakyrelu._backends import backend_of, backend_of_columns, has_columns_of_arrow
from leakyrelu._backends.numpy import slope_gradient_of
from leakyrelu._backends.operands import slopes_of_another_library
from leakyrelu._shared.arguments import PYTHON_NUMBERS, as_array, finite_slope
from leakyrelu._signatures import Keywords, of_grad_and_x, of_grad_and_x_over_axes, of_x
from leakyrelu._ufuncs import direct
from leakyrelu._ufuncs import leaky_relu as leaky_relu_ufunc
from leakyrelu._ufuncs import leaky_relu_backward as backward_ufunc
from leakyrelu._ufuncs import leaky_relu_derivative as derivative_ufunc

__all__ = ["leaky_relu", "leaky_relu_backward", "leaky_relu_derivative", "leaky_relu_slope_gradient"]


@of_x
@direct
def leaky_relu(x: Any, alpha: Any = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Leaky ReLU: `x` where `x >= 0`, `alpha * x` elsewhere.

    Parameters
    ----------
    x : number or array_like
        Real numbers, of any shape: Python, NumPy (any bool, integer or float type, `ml_dtypes.bfloat16` included),
        or an array of Dask, xarray, pandas, PyTorch, JAX or any array-API library.
    alpha : float or array_like, default 0.01
        The slope for negative `x`: any finite number, or an array of slopes that broadcasts against `x`
        (one slope per channel: an array of shape ``(C, 1, 1)``).
    **keywords
        ``out``, ``where``, ``dtype`` and the other keywords of a NumPy ufunc, for arrays that follow its protocol.

    Returns
    -------
    number or array
        It has the shape that `x` and `alpha` broadcast to. Floats keep their type, whatever the type of `alpha`.
        Bools, integers and lists give float64. A Python number gives a Python number, a Dask array gives a Dask array,
        and so on.

    Raises
    ------
    ValueError
        `alpha` is a single number that is NaN or infinite, or the shapes do not broadcast.
    TypeError
        `x` or `alpha` is not real, but complex, text, dates or objects; or `alpha` is a bool, or an array of bools.
    OverflowError
        A Python integer is too large for a float.

    See Also
    --------
    leaky_relu_derivative, leaky_relu_backward

    Notes
    -----
    Each result is the exact product, rounded once. float16 and bfloat16 take `alpha` as float32, and integers are
    converted to float64. NaN stays NaN, and a zero keeps its sign. Slopes below zero and above one are computed as
    defined.

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.

    Examples
    --------
    >>> from leakyrelu import leaky_relu
    >>> leaky_relu(1), leaky_relu(-1), leaky_relu(-2, alpha=0.1)
    (1, -0.01, -0.2)
    >>> import numpy as np
    >>> print(leaky_relu(np.array([-2, -1, 0, 1, 2])))
    [-0.02 -0.01  0.    1.    2.  ]
    """
    if type(alpha) in PYTHON_NUMBERS and -inf < alpha < inf:
        if type(x) is np.ndarray:
            return leaky_relu_ufunc(x, alpha, **keywords)
        if type(x) in PYTHON_NUMBERS and not keywords:
            return x if x >= 0 else alpha * x
    return _on_arrays(leaky_relu, leaky_relu_ufunc, (x,), alpha, keywords)


@of_x
@direct
def leaky_relu_derivative(x: Any, alpha: Any = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Derivative of Leaky ReLU: 1 where `x >= 0`, `alpha` elsewhere (at NaN too).

    Parameters
    ----------
    x : number or array_like
        Where to take the derivative: the input of `leaky_relu`, of the same kinds and types.
    alpha : float or array_like, default 0.01
        The slope for negative `x`, as for `leaky_relu`.
    **keywords
        Keywords of a NumPy ufunc, as for `leaky_relu`.

    Returns
    -------
    number or array
        It has the shape and type that `leaky_relu` gives.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As `leaky_relu`.

    Notes
    -----
    At zero there is no derivative, and conventions differ. It is 1 here and in JAX. It is `alpha` in PyTorch and
    TensorFlow, and therefore also here for a `torch.Tensor`.

    Examples
    --------
    >>> from leakyrelu import leaky_relu_derivative
    >>> leaky_relu_derivative(3), leaky_relu_derivative(-3)
    (1, 0.01)
    >>> print(leaky_relu_derivative([-2, 0, 2], alpha=0.2))
    [0.2 1.  1. ]
    """
    if type(alpha) in PYTHON_NUMBERS and -inf < alpha < inf:
        if type(x) is np.ndarray:
            return derivative_ufunc(x, alpha, **keywords)
        if type(x) in PYTHON_NUMBERS and not keywords:
            return 1 if x >= 0 else alpha
    return _on_arrays(leaky_relu_derivative, derivative_ufunc, (x,), alpha, keywords)


@of_grad_and_x
@direct
def leaky_relu_backward(grad: Any, x: Any, alpha: Any = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Backward pass of Leaky ReLU: `grad` where `x >= 0`, `alpha * grad` elsewhere, in one pass over memory.

    Parameters
    ----------
    grad : number or array_like
        The gradient with respect to the output of `leaky_relu`.
    x : number or array_like
        The input of `leaky_relu`. Its output will not do, because a small negative number may be a zero there.
    alpha : float or array_like, default 0.01
        The slope for negative `x`, as for `leaky_relu`.
    **keywords
        Keywords of a NumPy ufunc, as for `leaky_relu`.

    Returns
    -------
    number or array
        The gradient with respect to `x`: ``grad * leaky_relu_derivative(x, alpha)``, of the shape that `grad`, `x` and
        `alpha` broadcast to and the common type of `grad` and `x` (float64 for integers).

    Raises
    ------
    ValueError, TypeError, OverflowError
        As `leaky_relu`. They are also raised where `grad` and `x` belong to different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> from leakyrelu import leaky_relu_backward
    >>> print(leaky_relu_backward(np.array([10.0, 10.0]), np.array([-2.0, 2.0])))
    [ 0.1 10. ]
    """
    if type(alpha) in PYTHON_NUMBERS and -inf < alpha < inf:
        if type(grad) is type(x) is np.ndarray:
            return backward_ufunc(grad, x, alpha, **keywords)
        if type(grad) in PYTHON_NUMBERS and type(x) in PYTHON_NUMBERS and not keywords:
            return grad if x >= 0 else alpha * grad
    return _on_arrays(leaky_relu_backward, backward_ufunc, (grad, x), alpha, keywords)


@of_grad_and_x_over_axes
def leaky_relu_slope_gradient(grad: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Gradient with respect to the slope: the sum of ``grad * x`` where ``x < 0``, in one pass over memory.

    Parameters
    ----------
    grad : number or array_like
        The gradient with respect to the output of `leaky_relu`.
    x : number or array_like
        The input of `leaky_relu`. The two broadcast against each other.
    axis : int or tuple of int, optional
        The axes to sum over, as in `numpy.sum`: by default all of them, which is right for a single slope. For one
        slope per channel they are all axes but that of the channels, such as ``(0, 2, 3)``.
    keepdims : bool, default False
        Whether the axes that are summed over stay, with length 1, as in `numpy.sum`. The result then broadcasts like
        the slopes, such as ``(1, C, 1, 1)``.

    Returns
    -------
    number or array
        The sums, in the common type of `grad` and `x`, which is that of `leaky_relu_backward` (float64 for integers).

    Raises
    ------
    ValueError
        The shapes do not broadcast, or an axis comes twice.
    numpy.exceptions.AxisError
        There is no such axis. (Other libraries raise their own error.)
    TypeError
        `grad` or `x` is not real, or they belong to different libraries.

    See Also
    --------
    leaky_relu_backward : the gradient with respect to `x`.

    Notes
    -----
    NaN in `x` gives NaN. Where `x` is zero or above, the gradient does not count, even if it is infinite.

    For arrays of NumPy, products and sums are float64 (longdouble for longdouble), and each sum is rounded once, to the
    type of the result. The bits are the same for any number of threads and on any instruction set. Arrays of floats
    without gaps, of one type and one order in memory, are read where they lie; others are copied first.

    PyTorch and JAX add up float16 and bfloat16 as float32, and other types as themselves. Dask, xarray, pandas and
    masked arrays add up as their own ``sum`` does; so Dask stays lazy, and pandas leaves missing values out.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", ICCV 2015, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from leakyrelu import leaky_relu_slope_gradient
    >>> grad = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> x = np.array([[-1.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    >>> print(leaky_relu_slope_gradient(grad, x))
    -8.0
    >>> print(leaky_relu_slope_gradient(grad, x, axis=0))
    [-5.  0. -3.]
    """
    if type(grad) is type(x) is np.ndarray:
        return slope_gradient_of(grad, x, axis, keepdims)
    if type(grad) in PYTHON_NUMBERS and type(x) in PYTHON_NUMBERS and axis is None:
        return 0 if x >= 0 else grad * x
    for value in (grad, x):
        backend = backend_of(value)
        if backend is not None:
            return backend.slope_gradient((grad, x), axis, keepdims)
    grad, x = _operands((grad, x))
    return slope_gradient_of(grad, x, axis, keepdims)


def _on_arrays(
    function: Callable[..., Any],
    ufunc: np.ufunc,
    values: tuple[Any, ...],
    alpha: Any,
    keywords: Keywords,
) -> Any:
    """Check `alpha`, and leave the work to NumPy's ufunc or to the library that the arrays belong to."""
    alpha = finite_slope(alpha)
    if not keywords and PYTHON_NUMBERS.issuperset(map(type, (alpha, *values))):
        return function(*values, alpha)
    for value in values:
        backend = backend_of(value)
        if backend is not None:
            if keywords:
                names = ", ".join(keywords)
                raise TypeError(f"{names}: for NumPy arrays only, got {type(value).__name__}; leave it out")
            return backend.compute(function.__name__, values, alpha)
    if keywords and has_columns_of_arrow((*values, alpha)):
        raise TypeError(
            f"{', '.join(keywords)}: not for columns of Arrow, whose missing values it would fill; leave it out, or "
            "convert the column first, as x.astype('Float64') does"
        )
    if not keywords:
        compute = backend_of_columns((*values, alpha))
        if compute is not None:
            return compute(function.__name__, values, alpha)
    return ufunc(*_operands(values), _slopes(alpha, values[-1]), **keywords)


def _slopes(alpha: Any, x: Any) -> Any:
    """The slopes as the ufunc takes them."""
    if _is_operand(alpha):
        return alpha
    if backend_of(alpha) is not None:
        alpha = slopes_of_another_library(alpha, x, "NumPy", np.asarray)
    return finite_slope(as_array(alpha, "alpha"))


def _operands(values: tuple[Any, ...]) -> list[Any]:
    """The values as the ufunc takes them. A Python number beside an array gets the type of that array's result."""
    operands = [_operand(value, name) for value, name in zip(values, ("grad", "x")[-len(values) :], strict=True)]
    if len(operands) == 2:
        for i, other in ((0, operands[1]), (1, operands[0])):
            if type(operands[i]) in PYTHON_NUMBERS and isinstance(other, np.ndarray | np.generic):
                if other.dtype.kind in "biu":
                    operands[i] = np.float64(operands[i])
                elif other.dtype.kind == "f" or other.dtype.name == "bfloat16":
                    operands[i] = np.asarray(operands[i], other.dtype)
    return operands


def _operand(value: Any, name: str) -> Any:
    """A list or tuple as an array of float64 or a wider type. What follows the ufunc protocol stays as it is."""
    if _is_operand(value):
        return value
    array = as_array(value, name)
    if isinstance(value, list | tuple) and array.dtype.kind in "biuf":
        return array.astype(np.result_type(array, np.float64))
    return array


def _is_operand(value: Any) -> bool:
    return type(value) in PYTHON_NUMBERS or hasattr(value, "__array_ufunc__")
