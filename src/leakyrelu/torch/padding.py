"""Which values of an activation are padding: the axes of examples and of positions are followed from the inputs on."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from leakyrelu.torch.calls import Traced
from leakyrelu.torch.followed import Followed
from leakyrelu.units.layout import Part, Units, refined

__all__ = ["Order", "Padding", "Placed", "order_of"]

Order: TypeAlias = Literal["examples", "positions"]  # what the first axis of a tensor counts


class Placed(NamedTuple):
    """Which values of a tensor are real."""

    rows: Tensor | None  # their indices, if all axes but that of the units are made one; None: all of them
    note: str = ""  # why padding may be among them


class _Place(NamedTuple):
    """Where examples and positions are in a tensor; () if it has no such axis."""

    examples: Units
    positions: Units


_FIRST = _Place((Part(0),), (Part(1),))
_SECOND = _Place((Part(1),), (Part(0),))


def order_of(shape: Sequence[int], mask: Sequence[int]) -> Order | None:
    """What the first axis of an input counts, as far as the shapes tell."""
    n, t = mask[0], mask[1] if len(mask) > 1 else 0
    if n == t:
        return None
    if t and tuple(shape[:2]) == (t, n):
        return "positions"
    if not t and len(shape) == 3 and shape[1] == n:
        return None if shape[0] == n else "positions"
    return "examples" if shape[0] == n else None


class Padding:
    """The padding in one pass.

    Parameters
    ----------
    mask : Tensor
        Not zero where a token is real; of shape (examples,) or (examples, positions, ...).
    inputs : sequence of (Tensor, Order or None, str)
        The inputs of the pass, what comes first in each, and its name if its positions are others than the mask's.
    orders : dict
        What came first at each site in passes whose shapes told; it is updated.
    """

    def __init__(
        self, mask: Tensor, inputs: Sequence[tuple[Tensor, Order | None, str]], orders: dict[str, Order]
    ) -> None:
        self._shape = tuple(mask.shape)
        self._real = (mask.detach() if mask.ndim > 1 else mask.detach()[:, None]).flatten(1) != 0
        self._index = torch.nonzero(self._real).unbind(1)  # of the example, and of the position
        self.tokens = len(self._index[0])  # that are real
        self._by_example = self._real.any(1).nonzero()[:, 0]
        self._orders = orders
        self.examples = len(self._by_example)
        self._rows: dict[object, Tensor] = {}
        self._examples, self._positions = Followed(), Followed()
        self._taken = Followed()  # the axes of tokens that were taken by their indices
        self._reals: dict[object, Tensor] = {}  # which of these are real
        others = [tuple(each.shape[:2]) for each, _, _ in inputs if each is not mask and each.dtype != torch.bool]
        elsewhere = not any(shape in (self._shape[:2], self._shape[1::-1]) for shape in others)
        for tensor, order, other in inputs:
            place = self._of_input(tuple(tensor.shape), order, elsewhere=elsewhere)
            if place is not None:
                self._examples.remember(tensor, place.examples)
                self._positions.remember(tensor, place.positions, frozenset({other}))

    def _of_input(self, shape: tuple[int, ...], order: Order | None, *, elsewhere: bool) -> _Place | None:
        """Where examples and positions are in an input.

        `elsewhere`: no input has the positions beside the examples, so they may be on another axis, as in (N, C, T).
        Otherwise an axis of that length, as that of an image, has it by chance.
        """
        if order is None:
            return None
        place = _FIRST if order == "examples" else _SECOND
        if len(self._shape) == 1:
            return place._replace(positions=())
        if len(self._shape) > 2:
            return _Place((Part(0),), tuple(map(Part, range(1, len(self._shape))))) if shape == self._shape else None
        if shape[:2] in (self._shape, self._shape[::-1]):
            return place
        axes = [axis for axis in range(2, len(shape)) if shape[axis] == self._shape[1]]
        return _Place((Part(0),), (Part(axes[0]),) if elsewhere and len(axes) == 1 else ())

    def follow(self, call: Traced) -> None:
        """Take note of what a function made of its arguments."""
        if self.tokens == self._real.numel():
            return  # nothing is padding
        self._examples.follow(call)
        self._positions.follow(call)
        if self._reals:
            self._taken.follow(call)
        if call.name in ("getitem", "index_select", "pack_padded_sequence"):
            self._take(call)

    def _take(self, call: Traced) -> None:
        """Take note of tokens that are taken by their indices, in whatever order, and which of them are real."""
        result = call.results[0]
        if call.name == "pack_padded_sequence":
            real = torch.ones(result.shape[:1], dtype=torch.bool, device=self._real.device)
        else:
            index = call.kwargs.get("index", call.args[-1] if call.args else None)
            grid = self._grid(call.tensors[0])
            if grid is None or not _is_plain(index, grid.ndim) or not _is_of_the_first_axis(call):
                return
            items = index if isinstance(index, tuple) else (index,)
            real = grid[tuple(torch.as_tensor(item, device=grid.device) for item in items)]
        if real.ndim == 1 and result.shape[:1] == real.shape:
            source = len(self._reals)
            self._taken.remember(result, (Part(0),), frozenset({source}))
            self._reals[source] = real

    def _grid(self, value: Tensor) -> Tensor | None:
        """The mask over the first axes of a tensor, if these count tokens (or examples) and nothing else."""
        n, t = self._real.shape
        examples, positions = self._examples.parts(value), self._positions.parts(value)
        if not examples or positions is None:
            taken = self._taken.operand(value)
            is_known = taken.shape == value.shape and taken.units == (Part(0),) and len(taken.sources) == 1
            return self._reals[next(iter(taken.sources))] if is_known else None
        if _Place(examples, positions) in (_FIRST, _SECOND):
            grid = self._real if examples == (Part(0),) else self._real.T
            return grid if value.shape[:2] == grid.shape else None
        wanted = [n, t] if positions else [n]
        parts = [*examples, *positions]
        is_alone = bool(positions) or len(self._shape) == 1 or value.ndim == 2  # the positions may be rearranged
        lengths = [part.length or len(value) for part in parts if part.axis == 0]
        if not is_alone or lengths != wanted or len(parts) != len(wanted):
            return None
        index = torch.arange(len(value), device=self._real.device)
        at = [index // part.step % length for part, length in zip(parts, wanted, strict=True)]
        return self._real[at[0], at[1]] if positions else self._real.any(1)[at[0]]

    def place(self, value: Tensor, units: Units, site: str) -> Placed:
        """Which values of an activation's input are real."""
        if self.tokens == self._real.numel():
            return Placed(None)
        shape = tuple(value.shape)
        known = examples, positions = self._examples.parts(value), self._positions.parts(value)
        if not examples and self._taken.parts(value) == (Part(0),) and Part(0) not in units:
            return self._placed_rows(value, units)
        free = set(range(len(shape))) - {part.axis for part in units}
        place = self._guessed(shape, free, site, known) if examples is None or positions is None else None
        if isinstance(place, str):
            return Placed(None, place)
        return self._placed(value, units, place or _Place(examples or (), positions or ()), site)

    def _placed_rows(self, value: Tensor, units: Units) -> Placed:
        """Which rows are real of tokens that were taken by their indices."""
        sources = self._taken.operand(value).sources
        real = self._reals[next(iter(sources))] if len(sources) == 1 else None
        left = [length for axis, length in enumerate(value.shape) if Part(axis) not in units]
        if real is None or len(real) != left[0] or any(part.length for part in units):
            return Placed(None, self._strange(value.shape))
        rows = torch.arange(math.prod(left), device=real.device).reshape(left)
        return Placed(rows[real].flatten().to(value.device))

    def _guessed(self, shape: Sequence[int], free: set[int], site: str, known: Sequence[Units | None]) -> _Place | str:
        """Where examples and positions are in a tensor that could not be followed; or why that is not known."""
        found = self._by_shape(shape, free)
        found = [each for each in found if all(a in (None, b) for a, b in zip(known, each, strict=True))]
        if len(found) > 1:
            found = [each for each in found if _order(each) == self._orders.get(site)] or found
        is_unclear = len(shape) > 1 and known[0] is None and self._shape == (shape[0],) * 2  # the only axis left
        if len(found) == 1 and not (is_unclear and not found[0].positions and free == {0}):
            return found[0]
        if found and shape[0] == self._real.numel() > len(self._real):
            return f"whether examples or positions come first is not known; {_COUNTS}"
        if found:
            return f"there are as many examples as positions, and the first axis may be either; {_COUNTS}"
        if 0 in free and shape[0] == self.tokens and known[0] is None:
            return "it has as many rows as there are real tokens, and is taken to hold these alone"
        return self._strange(shape)

    def _by_shape(self, shape: Sequence[int], free: set[int]) -> list[_Place]:
        """Where examples and positions may be in a tensor of this shape."""
        n, t = self._real.shape
        comes_first = 0 in free and shape[0] == n
        if len(self._shape) == 1:
            comes_second = 1 in free and shape[1] == n
            ways = [_Place((Part(0),), ())] * comes_first
            return ways + [_Place((Part(1),), ())] * (comes_second and (not ways or len(shape) == 3))
        if len(self._shape) > 2:
            fits = set(range(len(self._shape))) <= free and shape[: len(self._shape)] == self._shape
            return [_Place((Part(0),), tuple(map(Part, range(1, len(self._shape)))))] * fits
        axes = [axis for axis in free - {0} if shape[axis] == t]
        found = [_Place((Part(0),), (Part(axis),)) for axis in axes if comes_first and len(axes) == 1]
        if {0, 1} <= free and shape[:2] == (t, n):
            found.append(_SECOND)
        if not found and 0 in free and shape[0] == n * t:
            found = [_Place((Part(0, t, n),), (Part(0, 1, t),)), _Place((Part(0, 1, n),), (Part(0, n, t),))]
        return found or [_Place((Part(0),), ())] * comes_first

    def _placed(self, value: Tensor, units: Units, place: _Place, site: str) -> Placed:
        """Which rows are real, once it is known where examples and positions are."""
        shape, (n, t) = tuple(value.shape), self._real.shape
        whole = {part.axis for part in units if part.length is None}
        examples, positions = (() if any(part.axis in whole for part in parts) else parts for parts in place)
        lengths, axes = refined((*units, *examples, *positions), shape)
        rest = [axis for axis in range(len(lengths)) if axis not in axes[: len(units)]]
        left = [lengths[axis] for axis in rest]  # without the units
        is_apart = not {*axes[: len(units)]} & {*axes[len(units) :]} and math.prod(lengths) == value.numel()
        if len(examples) != 1 or not is_apart or lengths[axes[len(units)]] != n:
            return Placed(None, self._strange(shape))
        here, *there = (rest.index(axis) for axis in axes[len(units) :])
        if len(self._shape) > 1:
            names = self._positions.operand(value).sources if positions else frozenset()
            if names and "" not in names:
                note = f"its positions are those of {', '.join(sorted(map(str, names)))}, not the mask's; {_COUNTS}"
                return Placed(self._index_of(left, [here], value.device), note)
            others = [length for axis, length in enumerate(left) if axis not in (here, *there)]
            if there and math.prod(left[axis] for axis in there) == t and (t == 1 or t not in others):
                if n != t:
                    self._orders[site] = _order(place)
                return Placed(self._index_of(left, [here, *there], value.device))
            if math.prod(left) != n:  # otherwise the positions were pooled
                return Placed(self._index_of(left, [here], value.device), self._strange(shape))
        return Placed(self._index_of(left, [here], value.device))

    def _index_of(self, shape: Sequence[int], axes: Sequence[int], device: torch.device) -> Tensor:
        """The indices of the real rows, by the axes of examples and positions; made once for all sites of a shape."""
        key = tuple(shape), tuple(axes), device
        if key not in self._rows:
            rows = torch.arange(math.prod(shape), device=self._real.device).reshape(*shape)
            rows = rows.movedim(tuple(axes), tuple(range(len(axes))))
            if len(axes) > 1:
                rows = rows.flatten(1, len(axes) - 1)  # positions may be on several axes
            real = rows[self._index if len(axes) > 1 else (self._by_example,)].flatten()
            self._rows[key] = real.sort().values.to(device)  # in the order of memory
        return self._rows[key]

    def _strange(self, shape: Sequence[int]) -> str:
        return f"a mask of shape {self._shape} does not fit values of shape {tuple(shape)}; {_COUNTS}"


_COUNTS = "padding counts there"


def _is_plain(index: object, ndim: int) -> bool:
    """Whether an index consists of numbers, lists of them and tensors, for at most so many axes."""
    width = 0
    for item in index if isinstance(index, tuple) else (index,):
        numbers = item if isinstance(item, list) else [item]
        is_tensor = isinstance(item, Tensor) and item.dtype in (torch.bool, torch.int32, torch.int64)
        if not is_tensor and not all(type(number) is int for number in numbers):
            return False
        width += item.ndim if isinstance(item, Tensor) and item.dtype == torch.bool else 1
    return width <= ndim


def _is_of_the_first_axis(call: Traced) -> bool:
    return call.name == "getitem" or call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0) == 0


def _order(place: _Place) -> Order:
    """What comes first."""
    return "positions" if place.positions and _rank(place.positions[0]) < _rank(place.examples[0]) else "examples"


def _rank(part: Part) -> tuple[int, int]:
    return part.axis, -part.step
