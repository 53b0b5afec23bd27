"""Random numbers for units, in a trial."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leakyrelu.torch.wiring.groups import put
from leakyrelu.torch.wiring.shadows import Shadows
from leakyrelu.units.layout import Part, Units

__all__ = ["SCALES", "Noise"]

SCALES = 1.0, 1e3  # of what a unit gives in a trial; one number could be hidden by what follows


class Noise:
    """Gives units positive random numbers, in a trial; the same ones in each run of the program."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(1)

    def units(
        self, mode: Shadows, trial: Any, tensor: Tensor, units: Units, which: Sequence[int], scale: float = 1.0
    ) -> None:
        """Let some units of a tensor differ."""
        if tensor.numel():
            put(mode.begin(trial, tensor), units, which, lambda shape: self._numbers(shape) * scale)

    def rows(
        self, mode: Shadows, trial: Any, tensor: Tensor, axis: int, which: Sequence[int], scale: float = 1.0
    ) -> None:
        """Let some rows of a tensor differ."""
        self.units(mode, trial, tensor, (Part(axis),), which, scale)

    def _numbers(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._generator) + 0.01
