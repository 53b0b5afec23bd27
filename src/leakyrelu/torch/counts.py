"""Counts what enters and leaves an activation, per unit: a few numbers per unit, kept on the tensors' own device."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leakyrelu._ufuncs import count
from leakyrelu.torch.capture import Call
from leakyrelu.torch.sharding import Share
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.layout import Units, refined
from leakyrelu.units.sums import Sums

__all__ = ["Counts", "Record", "added", "by_unit", "largest_change", "split", "together"]

# What the kernel takes, on the CPU: the type's number in NumPy, which has none for bfloat16.
_NUMBERS = {
    torch.bfloat16: -1,
    torch.float16: np.dtype(np.float16).num,
    torch.float32: np.dtype(np.float32).num,
    torch.float64: np.dtype(np.float64).num,
}
_EXACT = (torch.float32, torch.float64)  # a product with the slope is rounded to few digits in the other types
_CONSTANT = 1e-5  # relative to the root mean square of values: differences below that are rounding errors


class Record(NamedTuple):
    """What one rank has counted."""

    sites: tuple[Sums, ...]
    examples: int
    notes: tuple[str, ...]
    ranks: tuple[int, ...] = ()  # those that run the same examples, as a model is sharded over them; empty: this alone


def together(records: Iterable[Record]) -> Diagnosis:
    """The diagnosis from what several ranks have counted."""
    record = added(records)
    return Diagnosis(tuple(site.site() for site in record.sites if site.values), record.examples, record.notes)


def added(records: Iterable[Record]) -> Record:
    """What several ranks have counted, as if it were one; examples that several ranks run are examples once."""
    found: dict[tuple[object, ...], dict[object, Sums]] = defaultdict(dict)  # by site, and by ranks
    examples: dict[object, int] = defaultdict(int)
    notes: dict[str, None] = {}
    for i, record in enumerate(records):
        group = record.ranks or i
        examples[group] = max(examples[group], record.examples)
        notes |= dict.fromkeys(record.notes)
        for site in record.sites:
            parts = found[site.key]
            before = parts.get(group)
            parts[group] = replace(before + site, examples=max(before.examples, site.examples)) if before else site
    sites = tuple(reduce(add, parts.values()) for parts in found.values())
    return Record(sites, sum(examples.values()), tuple(notes))


class Counts:
    """Running counts of all sites of a model; an observer for `Capture`. They go on from those counted `before`."""

    def __init__(self, before: Iterable[Sums] = ()) -> None:
        self._before: dict[object, Sums | None] = {sums.key: sums for sums in before}  # None: a site goes on from it
        self._sites: dict[tuple[object, ...], _SiteCounts] = {}
        self._scratch = _Scratch()
        self._shapes = _Shapes()

    def __call__(self, call: Call) -> Callable[[Tensor], None]:
        """Count what enters the activation, and return a function that counts what leaves it."""
        units = call.part.units if call.part else self._shapes.of(call.input, call.units).units
        key = call.name, *call.activation[:3], units, call.input.device  # without the slope, which may change
        if key not in self._sites:
            self._sites[key] = site = _SiteCounts(call, units, self._scratch, self._shapes)
            before = self._before.get(site.key)
            if before is not None and site.starts_from(before):
                self._before[site.key] = None
        return self._sites[key].add(call)

    def record(
        self, examples: int, notes: Iterable[str] = (), ranks: tuple[int, ...] = (), others: Iterable[Sums] = ()
    ) -> Record:
        """All that has been counted so far, and what was counted elsewhere; the parameters are those of `Record`."""
        sites = dict(self._before)
        for sums in (*(site.sums() for site in self._sites.values()), *others):  # a site may be on several devices
            before = sites.get(sums.key)
            sites[sums.key] = sums if before is None else before + sums
        return Record(tuple(filter(None, sites.values())), examples, tuple(notes), ranks)

    def diagnosis(self, examples: int) -> Diagnosis:
        """The diagnosis from all that has been counted so far."""
        return together([self.record(examples)])


class _SiteCounts:
    @torch.inference_mode(False)
    def __init__(self, call: Call, units: int, scratch: "_Scratch", shapes: "_Shapes") -> None:
        device = call.input.device
        self.scratch, self.shapes = scratch, shapes
        # Sums of sums need float64, which Apple's GPUs do not have.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.name, self.activation = call.name, call.activation
        self.examples = self.values = 0
        self.fired = torch.zeros(units, dtype=torch.int64, device=device)
        self.below = torch.zeros(units, dtype=torch.bool, device=device)
        self.maximum = torch.full((units,), -math.inf, dtype=exact, device=device)
        self.magnitude = torch.zeros(units, dtype=exact, device=device)  # the sum of |output|

    def add(self, call: Call) -> Callable[[Tensor], None]:
        part, size = call.part, call.input.numel()
        if not size:
            return _nothing
        self.examples += call.examples
        values = size // (part.here if part else len(self.fired)) if call.rows is None else len(call.rows)
        if (part and part.repeated) or not values:
            return _nothing
        if part is None or part.measures:
            self.values += values
        slope = _slope_of(call)
        # The slope tells the sum of |output| from the input.
        if not self._count(call, call.input, limits=True, slope=slope):
            self._add_input(call)
        elif slope is not None:
            return _nothing
        return lambda output: self._add_output(call, output)

    def _count(self, call: Call, values: Tensor, *, limits: bool, slope: float | None) -> bool:
        """Count in one pass, by the kernel: with `limits` all but the sum of |output|, and with a slope that sum.

        Where the kernel cannot count the values, it counts nothing, and the answer is false.
        """
        number = _NUMBERS.get(values.dtype)
        if number is None or values.device.type != "cpu" or values.is_neg():
            return False
        shape, rows = self.shapes.of(values, call.units), call.rows
        if shape.scattered or (rows is not None and shape.positions > 1):
            values, rows = _selection(call)(values).contiguous(), None
            shape = _Shape(*values.shape)
        kept = (0, 0) if rows is None else (rows.data_ptr(), len(rows))
        # These are not kept, as a copy of the counts has memory of its own.
        fired, below, maximum, magnitude = (each.data_ptr() for each in self.each)
        first = call.part.first if call.part else 0
        return count(
            number,
            values.data_ptr(),
            *shape[:3],
            *kept,
            call.activation.threshold,
            slope or 0.0,
            fired + 8 * first if limits else 0,
            below + first,
            maximum + 8 * first,
            0 if slope is None else magnitude + 8 * first,
        )

    def _add_input(self, call: Call) -> None:
        fired, below, maximum, _ = self._here(call.part)
        for each in _parts(_selection(call)(call.input)):
            # Floats instead of booleans: PyTorch is slow at making booleans, and ten times as slow at adding them up.
            ones = torch.gt(each, call.activation.threshold, out=self.scratch.like(each))
            fired += _per_unit(torch.sum, ones).long()
            torch.maximum(maximum, _per_unit(torch.amax, each), out=maximum)
            left = torch.nonzero(~below).flatten()  # few after a while: most units are below zero now and then
            if len(left):
                some = each if len(left) == each.shape[1] else each[:, left]
                below[left] = _per_unit(torch.amin, some) < call.activation.threshold

    def _add_output(self, call: Call, output: Tensor) -> None:
        if self._count(call, output, limits=False, slope=1.0):
            return
        magnitude = self._here(call.part)[3]
        # The output of a flat activation is never below zero, except that of `threshold`, whose value is a choice.
        at_least_zero = self.activation.flat and self.activation.operation != "threshold"
        for each in _parts(_selection(call)(output)):
            magnitude.add_(_per_unit(torch.sum, each if at_least_zero else each.abs()))

    def _here(self, part: Share | None) -> list[Tensor]:
        """The counts of the units on this rank."""
        units = slice(part.first, part.first + part.here) if part else slice(None)
        return [every[units] for every in self.each]

    @property
    def each(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.fired, self.below, self.maximum, self.magnitude

    @property
    def key(self) -> tuple[object, ...]:
        return self.name, self.activation.operation, self.activation.flat, self.activation.threshold, len(self.fired)

    def starts_from(self, before: Sums) -> bool:
        """Go on from these counts, so that sums are rounded as if the counting had never stopped."""
        theirs = (before.fired, before.below, before.maximum, before.magnitude)
        if any(each is None for each in theirs):  # it was counted in a way that does not tell all of them
            return False
        self.examples, self.values = before.examples, before.values
        for counted, value in zip(self.each, theirs, strict=True):
            counted.copy_(torch.as_tensor(value))
        return True

    def sums(self) -> Sums:
        return Sums(
            name=self.name,
            operation=self.activation.operation,
            flat=self.activation.flat,
            threshold=self.activation.threshold,
            examples=self.examples,
            values=self.values,
            fired=self.fired.cpu().numpy().copy(),  # a copy, as the counting goes on
            below=self.below.cpu().numpy().copy(),
            maximum=self.maximum.cpu().double().numpy().copy(),
            magnitude=self.magnitude.cpu().double().numpy().copy(),
        )


class _Shape(NamedTuple):
    """A tensor's shape by unit."""

    rows: int
    units: int
    positions: int
    scattered: bool = False  # whether it does not lie in memory like that

    @classmethod
    def of(cls, values: Tensor, units: Units) -> "_Shape":
        seen = by_unit(values, units)
        rows, count, positions = seen.shape
        return cls(rows, count, positions, seen.data_ptr() != values.data_ptr() or not seen.is_contiguous())


class _Shapes:
    """Finds the shapes by unit. They are kept, as a model has the same ones again and again."""

    _most = 1024

    def __init__(self) -> None:
        self._known: dict[tuple[torch.Size, tuple[int, ...], Units], _Shape] = {}

    def of(self, values: Tensor, units: Units) -> _Shape:
        key = values.shape, values.stride(), units
        if key not in self._known:
            if len(self._known) == self._most:
                self._known.clear()
            self._known[key] = _Shape.of(values, units)
        return self._known[key]


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


def _slope_of(call: Call) -> float | None:
    """The slope below zero, if the sum of |output| is to be told from the input; None otherwise.

    A slope above 1 would magnify the rounding of sums.
    """
    slope = call.activation.slope
    if slope is None or (slope != 0 and call.input.dtype not in _EXACT):
        return None
    return slope if abs(slope) <= 1 else None


def _nothing(output: Tensor) -> None:
    """There is nothing to count in the output."""


def _selection(call: Call) -> Callable[[Tensor], Tensor]:
    """A function that gives the values of a call by unit, and of these the ones that are no padding."""
    rows = call.rows
    if rows is None:
        return lambda values: by_unit(values, call.units)

    def select(values: Tensor) -> Tensor:
        values, axis = _on_one_axis(values, call.units)
        last = values.movedim(axis, -1)
        return last.reshape(-1, last.shape[-1]).index_select(0, rows).unsqueeze(-1)

    return select


def by_unit(values: Tensor, units: Units) -> Tensor:
    """The same values in the shape (rows, units, positions); contiguous or channels-last memory is not copied."""
    values, axis = _on_one_axis(values, units)
    last = values.movedim(axis, -1)
    if last.is_contiguous():
        return last.reshape(math.prod(last.shape[:-1]), last.shape[-1], 1)
    rows, positions = math.prod(values.shape[:axis]), math.prod(values.shape[axis + 1 :])
    return values.reshape(rows, values.shape[axis], positions)


def _on_one_axis(values: Tensor, units: Units) -> tuple[Tensor, int]:
    """The same values in a shape with one axis for all units, and that axis."""
    if not units:  # all values belong to one unit
        return values.unsqueeze(-1), values.ndim
    if len(units) == 1 and units[0].length is None:
        return values, units[0].axis
    lengths, axes = refined(units, values.shape)
    values = values.reshape(lengths)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        values = values.movedim(axes, list(range(-len(axes), 0)))
        axes = list(range(values.ndim - len(axes), values.ndim))
    return values.flatten(axes[0], axes[-1]), axes[0]


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
