"""The modules that have types after `import leakyrelu` alone. mypy and pyright read this file; it is never run."""

from typing import assert_type

import torch
from matplotlib.figure import Figure

import leakyrelu


def modules(model: torch.nn.Module, batch: torch.Tensor) -> None:
    assert_type(leakyrelu.plot.plot_leaky_relu(), Figure)
    assert_type(leakyrelu.torch.diagnose(model, [batch]), leakyrelu.units.Diagnosis)
    assert_type(leakyrelu.tuning.tune(), leakyrelu.tuning.Tuning)
    assert_type(leakyrelu.check.check(leakyrelu.leaky_relu), leakyrelu.check.Report)
    assert_type(leakyrelu.demo.run(), leakyrelu.demo.DemoResult)
    assert_type(leakyrelu.theory.gain(0.1), float)
    assert_type(leakyrelu.__version__, str)
    assert_type(leakyrelu.units.Site, type[leakyrelu.torch.Site])

    leakyrelu.plot.plot_leaky_relu("0.1")  # type: ignore[arg-type]
    leakyrelu.torch.diagnose(model)  # type: ignore[call-arg]
    leakyrelu.theory.gain("0.1")  # type: ignore[arg-type]
    leakyrelu.tuning.nonsense()  # type: ignore[attr-defined]
    leakyrelu.nonsense()  # type: ignore[attr-defined]
