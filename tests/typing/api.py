"""The types a caller sees. Checked by mypy, never run."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative
from leakyrelu.check import Report
from leakyrelu.check import check as check_function
from leakyrelu.plot import plot
from leakyrelu.slopes import Slope, Tuning
from leakyrelu.torch import Diagnosis, LeakyReLU, Monitor, Replacement, Revival, diagnose, replace_relu, revive
from leakyrelu.torch import leaky_relu as torch_leaky_relu
from leakyrelu.tuning import tune


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


def check_torch(tensor: Tensor) -> None:
    model = LeakyReLU(0.1, inplace=True)
    assert_type(torch_leaky_relu(tensor, 0.1, inplace=True), Tensor)
    assert_type(diagnose(model, [tensor], forward=lambda model, batch: model(batch)), Diagnosis)
    assert_type(revive(model, [tensor]), Revival)
    assert_type(replace_relu(model, 0.1, only=["relu"]), Replacement)
    with Monitor(model, every=2) as monitor:
        assert_type(monitor.scalars(), dict[str, float])
    assert_type(monitor.diagnosis().sites[0].dead, npt.NDArray[np.int64])


def check_check() -> None:
    report = check_function(leaky_relu, level="ieee", derivative=leaky_relu_derivative)
    assert_type(report, Report)
    assert_type((report.passed, report.error, report.cases[0].hint), tuple[bool, str | None, str])
    check_function(leaky_relu, "ieee")  # type: ignore[call-arg]


def check_tuning() -> None:
    found = tune(lambda alpha, seed: alpha * seed, trials=3, seeds=(1, 2), storage="sqlite:///tune.db")
    assert_type(found, Tuning)
    assert_type(found.best, Slope | None)
    assert_type(found.difference(found.results[0]), tuple[float, float])
    tune(lambda alpha, seed: (alpha, 0.5))
    tune(lambda alpha: alpha)  # type: ignore[arg-type,misc]
