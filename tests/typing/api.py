"""The types of everything but the functions. mypy and pyright read this file; it is never run."""

from collections.abc import Mapping
from typing import assert_type

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor, nn

from leakyrelu import get_num_threads, leaky_relu, leaky_relu_derivative, num_threads, set_num_threads
from leakyrelu.check import Report, check
from leakyrelu.plot import plot_leaky_relu
from leakyrelu.torch import (
    Diagnosis,
    FusedLeakyReLU,
    LeakyReLU,
    Monitor,
    Removal,
    Replacement,
    Revival,
    Site,
    bias_act,
    diagnose,
    fused_leaky_relu,
    remove_dead,
    replace,
    replace_relu,
    revive,
)
from leakyrelu.torch import leaky_relu as torch_leaky_relu
from leakyrelu.tuning import Slope, Tuning, tune


def threads() -> None:
    assert_type(get_num_threads(), int)
    set_num_threads(2)
    with num_threads(1) as nothing:
        assert_type(nothing, None)
    set_num_threads("2")  # type: ignore[arg-type]


def plot() -> None:
    assert_type(plot_leaky_relu([0.01, 0.1], derivative=False, limits=(-1, 1)), Figure)
    plot_leaky_relu(0.1, True)  # type: ignore[call-arg]
    plot_leaky_relu("0.1")  # type: ignore[arg-type]


def networks(tensor: Tensor) -> None:
    model = LeakyReLU(0.1, inplace=True)
    assert_type(torch_leaky_relu(tensor, 0.1, inplace=True), Tensor)
    assert_type(fused_leaky_relu(tensor, FusedLeakyReLU(3).bias, 0.2, scale=1), Tensor)
    assert_type(bias_act(tensor, None, act="lrelu", clamp=256), Tensor)
    FusedLeakyReLU(3, bias=0.2)  # type: ignore[arg-type]
    diagnosis = diagnose(model, [tensor], forward=lambda model, batch: model(batch))
    assert_type(diagnosis, Diagnosis)
    assert_type(diagnosis.examples, int)
    revival = revive(model, [tensor])
    assert_type(revival, Revival)
    assert_type(revival.skipped, Mapping[str, str])
    removal = remove_dead(model, [tensor])
    assert_type(removal, Removal)
    assert_type(removal.removed, dict[str, tuple[int, ...]])
    replacement = replace_relu(model, 0.1, only=["relu"])
    assert_type(replacement, Replacement)
    assert_type(replace(model, {nn.ReLU: LeakyReLU(0.1)}, batches=[tensor]), Replacement)
    assert_type(replacement.parameters, tuple[str, ...])
    assert_type(replacement.skipped, Mapping[str, str])
    diagnose(model, [tensor], mask="attention_mask")
    Monitor(model, mask=lambda arguments: arguments["mask"])
    with Monitor(model, every=2) as monitor:
        assert_type(monitor.scalars(), dict[str, float])
    site = monitor.diagnosis().sites[0]
    assert_type(site, Site)
    assert_type((site.values, site.dead), tuple[int, npt.NDArray[np.int64]])


def checks() -> None:
    report = check(leaky_relu, level="ieee", derivative=leaky_relu_derivative)
    assert_type(report, Report)
    assert_type((report.passed, report.error, report.cases[0].hint), tuple[bool, str | None, str])
    check(leaky_relu, "ieee")  # type: ignore[call-arg]


def tuning() -> None:
    found = tune(lambda alpha, seed: alpha * seed, limits=(0.01, 0.5), trials=3, seeds=(1, 2), storage="sqlite:///a.db")
    assert_type(found, Tuning)
    assert_type(found.best, Slope | None)
    assert_type(found.limits, tuple[float, float])
    assert_type(found.difference(found.slopes[0]), tuple[float, float])
    tune(lambda alpha, seed: (alpha, 0.5))
    tune(lambda alpha: alpha)  # type: ignore[arg-type,misc]
