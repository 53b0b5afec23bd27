"""Counts what enters and leaves an activation, per unit: a few numbers per unit, kept on the tensors' own device."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site

__all__ = ["Counts", "by_unit", "largest_change", "split"]

_CONSTANT = 1e-5  # relative to the root mean square of values: differences below that are rounding errors


class Counts:
    """Running counts of all sites of a model; an observer for `Capture`."""

    def __init__(self) -> None:
        self._sites: dict[tuple[object, ...], _SiteCounts] = {}
        self._scratch = _Scratch()

    def __call__(self, call: Call) -> Callable[[Tensor], None]:
        """Count what enters the activation, and return a function that counts what leaves it."""
        units = by_unit(call.input, call.axis).shape[1]
        key = call.name, call.activation, units, call.input.device
        if key not in self._sites:
            self._sites[key] = _SiteCounts(call, units, self._scratch)
        return self._sites[key].add(call)

    def diagnosis(self, examples: int, notes: tuple[str, ...] = ()) -> Diagnosis:
        """The diagnosis from all that has been counted so far."""
        return Diagnosis(tuple(site.result() for site in self._sites.values() if site.values), examples, notes)


class _SiteCounts:
    @torch.inference_mode(False)
    def __init__(self, call: Call, units: int, scratch: "_Scratch") -> None:
        device = call.input.device
        self.scratch = scratch
        # Sums of sums need float64, which Apple's GPUs do not have.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.name, self.activation = call.name, call.activation
        self.examples = self.values = 0
        self.fired = torch.zeros(units, dtype=torch.int64, device=device)
        self.below = torch.zeros(units, dtype=torch.bool, device=device)
        self.maximum = torch.full((units,), -math.inf, dtype=exact, device=device)
        self.magnitude = torch.zeros(units, dtype=exact, device=device)  # the sum of |output|

    def add(self, call: Call) -> Callable[[Tensor], None]:
        values = by_unit(call.input, call.axis)
        if values.numel():
            rows, _, positions = values.shape
            self.examples += call.examples
            self.values += rows * positions
        for part in _parts(values):
            # Floats instead of booleans: PyTorch is slow at making booleans, and ten times as slow at adding them up.
            ones = torch.gt(part, call.activation.threshold, out=self.scratch.like(part))
            self.fired += _per_unit(torch.sum, ones).long()
            torch.maximum(self.maximum, _per_unit(torch.amax, part), out=self.maximum)
            left = torch.nonzero(~self.below).flatten()  # few after a while: most units are below zero now and then
            if len(left):
                some = part if len(left) == part.shape[1] else part[:, left]
                self.below[left] = _per_unit(torch.amin, some) < call.activation.threshold

        def add_output(output: Tensor) -> None:
            # The output of a flat activation is never below zero, except that of `threshold`, whose value is a choice.
            at_least_zero = self.activation.flat and self.activation.operation != "threshold"
            for part in _parts(by_unit(output, call.axis)):
                self.magnitude += _per_unit(torch.sum, part if at_least_zero else part.abs())

        return add_output

    def result(self) -> Site:
        return Site(
            name=self.name,
            operation=self.activation.operation,
            examples=self.examples,
            values=self.values,
            fired=self.fired.cpu().numpy().copy(),  # a copy, as the counting goes on
            below=self.below.cpu().numpy().copy(),
            maximum=self.maximum.cpu().double().numpy() - self.activation.threshold,
            mean_output=self.magnitude.cpu().double().numpy() / self.values,
            flat=self.activation.flat,
        )


class _Scratch:
    """Memory for a part of the values. It is reused, as writing to new memory takes several times as long."""

    def __init__(self) -> None:
        self._memory: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @torch.inference_mode(False)
    def like(self, part: Tensor) -> Tensor:
        key = part.dtype, part.device
        if key not in self._memory or self._memory[key].numel() < part.numel():
            self._memory[key] = torch.empty(part.numel(), dtype=part.dtype, device=part.device)
        return self._memory[key][: part.numel()].view(part.shape)


def by_unit(values: Tensor, axis: int) -> Tensor:
    """The same values in the shape (rows, units, positions); contiguous or channels-last memory is not copied."""
    if axis == values.ndim:  # all values belong to one unit
        return values.reshape(-1, 1, 1)
    last = values.movedim(axis, -1)
    if last.is_contiguous():
        return last.reshape(math.prod(last.shape[:-1]), last.shape[-1], 1)
    rows, positions = math.prod(values.shape[:axis]), math.prod(values.shape[axis + 1 :])
    return values.reshape(rows, values.shape[axis], positions)


def split(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """A cut between two values that about half of them lie above, and the fraction that does.

    Both are zero if the values differ by no more than rounding, or are not finite.
    """
    grid = _CONSTANT * math.sqrt(np.square(values).mean()) if np.isfinite(values).all() else 0.0
    steps, counts = np.unique(np.round(values / grid), return_counts=True) if grid else (np.zeros(1), np.ones(1))
    if steps[-1] - steps[0] < 2:
        return 0.0, 0.0
    above = 1 - np.cumsum(counts)[:-1] / len(values)
    best = int(np.argmin(np.abs(above - 0.5)))
    return float((steps[best] + steps[best + 1]) / 2 * grid), float(above[best])


def largest_change(before: Iterable[Sequence[Tensor]], after: Iterable[Sequence[Tensor]]) -> float:
    """The largest change of any output, relative to its largest value; infinities and NaN that stay are no change."""
    largest: dict[int, float] = defaultdict(float)
    change: dict[int, float] = defaultdict(float)
    for olds, news in zip(before, after, strict=True):
        for i, (old, new) in enumerate(zip(olds, news, strict=True)):
            if old.numel():
                exact = torch.complex128 if old.is_complex() else torch.float64
                a, b = old.to(exact), new.to(exact)
                difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0, (a - b).abs())
                change[i] = max(change[i], float(difference.nan_to_num(math.inf, math.inf).amax()))
                largest[i] = max(largest[i], float(torch.where(a.isfinite(), a.abs(), 0).amax()))
    return max((change[i] / largest[i] if largest[i] else math.inf for i in change if change[i]), default=0.0)


def _parts(values: Tensor) -> Iterator[Tensor]:
    """Some rows at a time, in float32 or float64: few enough for the cache, and enough to be worth several threads.

    A part has fewer than 2**24 values, up to which float32 counts exactly, unless a single row is longer.
    """
    at_once = 2**20 if values.device.type == "cpu" else 2**23
    if values.numel():
        rows = max(1, at_once // values[0].numel())
        for part in [values] if rows >= len(values) else torch.split(values, rows):
            yield part if part.dtype in (torch.float32, torch.float64) else part.float()


def _per_unit(reduce: Callable[[Tensor, int], Tensor], values: Tensor) -> Tensor:
    """Reduce the longer axis first: to reduce both in one call takes PyTorch several times as long."""
    rows, units, positions = values.shape
    if positions >= 128:
        return reduce(reduce(values, 2), 0)
    within = reduce(values.reshape(rows, units * positions), 0)
    return within if positions == 1 else reduce(within.view(units, positions), 1)
