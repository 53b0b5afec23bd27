"""The types a caller sees. Checked by mypy, never run."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative
from leakyrelu.plot import plot


def check(single: npt.NDArray[np.float32], whole: npt.NDArray[np.int64]) -> None:
    assert_type(leaky_relu(-1.5), float)
    assert_type(leaky_relu(-1), float)
    assert_type(leaky_relu(single), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, alpha=np.float64(0.1), out=single), npt.NDArray[np.float32])
    assert_type(leaky_relu(whole), Any)
    assert_type(leaky_relu([1, 2]), Any)
    assert_type(leaky_relu_derivative(-1.5, 0.1), float)
    assert_type(leaky_relu_derivative(single), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(1.0, -2.0), float)
    assert_type(leaky_relu_backward(single, single, where=single > 0), npt.NDArray[np.float32])
    assert_type(plot([0.01, 0.1], derivative=False, limits=(-1, 1)), Figure)

    leaky_relu(single, nonsense=1)  # type: ignore[call-overload]
    plot(0.1, True)  # type: ignore[call-arg]
