"""Calls that mypy and pyright refuse: each line says so, and it is an error if they accept one.

tests/test_signatures.py runs each line, too, and checks that it is refused at run time.
"""

import numpy as np
import numpy.typing as npt

import leakyrelu
from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative, leaky_relu_slope_gradient

single: npt.NDArray[np.float32] = np.array([-1, 2], np.float32)
imaginary: npt.NDArray[np.complex128] = np.array([1j, 2])
words: npt.NDArray[np.str_] = np.array(["a", "b"])
dates: npt.NDArray[np.datetime64] = np.array(["2020-01-01"], "datetime64[D]")
texts: list[str] = ["a", "b"]


def names() -> None:
    from leakyrelu import leaky_rlu  # type: ignore[attr-defined]  # noqa: PLC0415

    leaky_rlu(-1.0)
    leakyrelu.nonsense()  # type: ignore[attr-defined]
    leaky_relu.nonsense()  # type: ignore[attr-defined]


def x() -> None:
    leaky_relu()  # type: ignore[call-overload]
    leaky_relu("text")  # type: ignore[call-overload]
    leaky_relu(b"bytes")  # type: ignore[call-overload]
    leaky_relu(1j)  # type: ignore[call-overload]
    leaky_relu(None)  # type: ignore[call-overload]
    leaky_relu({1: 2.0})  # type: ignore[call-overload]
    leaky_relu({1.0, 2.0})  # type: ignore[call-overload]
    leaky_relu(object())  # type: ignore[call-overload]
    leaky_relu(float)  # type: ignore[call-overload]
    leaky_relu(number for number in (1.0, 2.0))  # type: ignore[call-overload]
    leaky_relu(["a", "b"])  # type: ignore[list-item]
    leaky_relu(texts)  # type: ignore[arg-type]
    leaky_relu([1j, 2])  # type: ignore[list-item]
    leaky_relu((1.0, None))  # type: ignore[arg-type]
    leaky_relu([[1.0], ["a"]])  # type: ignore[list-item]
    leaky_relu(np.complex64(1))  # type: ignore[arg-type]
    leaky_relu(np.str_("text"))  # type: ignore[arg-type]
    leaky_relu(imaginary)  # type: ignore[type-var]
    leaky_relu(words)  # type: ignore[type-var]
    leaky_relu(dates)  # type: ignore[type-var]
    leaky_relu([imaginary])  # type: ignore[list-item]
    leaky_relu_derivative("text")  # type: ignore[call-overload]
    leaky_relu_derivative(imaginary)  # type: ignore[type-var]


def alpha() -> None:
    leaky_relu(-1.0, "text")  # type: ignore[call-overload]
    leaky_relu(-1.0, alpha=1j)  # type: ignore[call-overload]
    leaky_relu(-1.0, None)  # type: ignore[call-overload]
    leaky_relu(single, "text")  # type: ignore[call-overload]
    leaky_relu(single, alpha=1j)  # type: ignore[call-overload]
    leaky_relu(single, None)  # type: ignore[call-overload]
    leaky_relu(single, ["a", "b"])  # type: ignore[list-item]
    leaky_relu(single, imaginary)  # type: ignore[arg-type]
    leaky_relu([1.0, 2.0], {1.0})  # type: ignore[call-overload]
    leaky_relu_derivative(single, None)  # type: ignore[call-overload]
    leaky_relu_backward(single, single, "text")  # type: ignore[call-overload]
    leaky_relu_backward(1.0, -2.0, 1j)  # type: ignore[call-overload]


def grad_and_x() -> None:
    leaky_relu_backward(single)  # type: ignore[call-overload]
    leaky_relu_backward("text", single)  # type: ignore[call-overload]
    leaky_relu_backward(single, "text")  # type: ignore[call-overload]
    leaky_relu_backward(1j, -2.0)  # type: ignore[call-overload]
    leaky_relu_backward(1.0, None)  # type: ignore[call-overload]
    leaky_relu_backward(single, ["a", "b"])  # type: ignore[list-item,type-var]
    leaky_relu_backward(imaginary, single)  # type: ignore[type-var]
    leaky_relu_backward(object(), single)  # type: ignore[call-overload]


def slope_gradient() -> None:
    leaky_relu_slope_gradient(single)  # type: ignore[call-overload]
    leaky_relu_slope_gradient("text", single)  # type: ignore[call-overload]
    leaky_relu_slope_gradient(single, 1j)  # type: ignore[call-overload]
    leaky_relu_slope_gradient(single, single, 0)  # type: ignore[call-overload]
    leaky_relu_slope_gradient(single, single, axis=0.5)  # type: ignore[call-overload]
    leaky_relu_slope_gradient(single, single, alpha=0.1)  # type: ignore[call-overload]


def keywords() -> None:
    leaky_relu(single, 0.1, single)  # type: ignore[call-overload]
    leaky_relu(single, nonsense=1)  # type: ignore[call-overload]
    leaky_relu(single, slope=0.1)  # type: ignore[call-overload]
    leaky_relu(single, axis=0)  # type: ignore[call-overload]
    leaky_relu(single, out=1.0)  # type: ignore[type-var]
    leaky_relu(single, out=[0.0, 0.0])  # type: ignore[type-var]
    leaky_relu(single, dtype=3)  # type: ignore[type-var]
    leaky_relu(single, dtype=np.int64)  # type: ignore[type-var]
    leaky_relu(single, dtype=np.complex128)  # type: ignore[type-var]
    leaky_relu(single, dtype=int)  # type: ignore[type-var]
    leaky_relu(-1, dtype=bool)  # type: ignore[type-var]
    leaky_relu(-1.0, dtype=np.int64)  # type: ignore[type-var]
    leaky_relu(single, casting="nonsense")  # type: ignore[call-overload]
    leaky_relu(single, order="Z")  # type: ignore[call-overload]
    leaky_relu(single, subok="no")  # type: ignore[call-overload]
    leaky_relu_derivative(single, nonsense=1)  # type: ignore[call-overload]
    leaky_relu_backward(single, single, nonsense=1)  # type: ignore[call-overload]
    leaky_relu_backward(single, single, dtype=np.int64)  # type: ignore[type-var]
    leaky_relu_backward(single, single, out=1.0)  # type: ignore[type-var]
