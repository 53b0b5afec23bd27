"""Measures one cell: first every contender is checked, then all of them are timed by turns."""

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import numpy.typing as npt

from benchmarks import machine, timing
from benchmarks.cells import SLOPE, Arrays, Cell, expected
from benchmarks.contenders import MODULES, Kind, Offer, offers
from benchmarks.contenders.ours import OURS

_ALL_CHECKED = 10**6  # of arrays with more elements, only evenly spread ones are checked


@dataclass
class Result:
    """The result of a cell: seconds per call for each contender, one entry per round, and who was left out and why."""

    cell: Cell
    kinds: dict[str, Kind]
    seconds: dict[str, npt.NDArray[np.float64]]
    dropped: dict[str, str] = field(default_factory=dict)
    others: float = 0.0  # cores that other processes kept busy meanwhile

    def __post_init__(self) -> None:
        if OURS not in self.seconds:
            raise RuntimeError(f"{self.cell}: {OURS} itself is wrong: {self.dropped.get(OURS)}")

    def ratio(self, name: str) -> timing.Quartiles:
        """Their time over ours, within each round: lower quartile, median, upper quartile."""
        return timing.quartiles(self.seconds[name] / self.seconds[OURS])

    def throughput(self, name: str) -> float:
        """Bytes read and written per second."""
        return self.cell.bytes / float(np.median(self.seconds[name]))

    def fastest(self, kind: Kind) -> str | None:
        """The contender of this kind whose median ratio is the least."""
        names = [name for name in self.seconds if self.kinds[name] == kind]
        return min(names, key=lambda name: self.ratio(name)[1], default=None)


def measure(cell: Cell, effort: timing.Effort, modules: tuple[str, ...] = MODULES) -> Result:
    """Check and time all contenders on the arrays of one cell."""
    arrays = Arrays(cell)
    kinds: dict[str, Kind] = {}
    dropped: dict[str, str] = {}
    for offer in offers(arrays, SLOPE, modules):
        fault = check(offer, arrays)
        if fault is None:
            kinds[offer.name] = offer.kind
        else:
            dropped[offer.name] = fault
    arrays.reset()
    contenders = {
        offer.name: timing.Contender(offer.calls[cell.operation], offer.context)
        for offer in offers(arrays, cell.slope, modules)
        if offer.name in kinds
    }
    others = machine.Others()
    seconds = timing.interleaved(contenders, effort)
    return Result(cell, kinds, seconds, dropped, others.cores())


def check(offer: Offer, arrays: Arrays) -> str | None:
    """What is wrong with the contender's result, if anything is."""
    cell = arrays.cell
    arrays.reset()
    try:
        with offer.context():
            result = offer.calls[cell.operation]()
    except Exception as error:  # noqa: BLE001  # if one contender fails in any way, the others are still measured
        return f"{type(error).__name__}: {error}"
    if offer.kind == "limit":
        own, size, at = arrays.target, arrays.source.size, _places(arrays.source.size)
        wanted = arrays.source[at].astype(np.float64)
    else:
        own, size, at = arrays.x if cell.operation == "inplace" else arrays.out, cell.size, _places(cell.size)
        wanted = expected(arrays, at)
    actual = own if result is None else offer.as_array(result)
    if (actual.dtype, actual.shape) != (cell.result_dtype, (size,)):
        return f"gives {actual.dtype} of shape {actual.shape}, not {cell.result_dtype} of shape {(size,)}"
    # Rounding the slope and rounding the product each allow half a unit in the last place; both are doubled.
    limits = ml_dtypes.finfo(cell.result_dtype)
    tolerance = 2 * float(limits.eps) * np.abs(wanted) + float(limits.smallest_subnormal)
    values = actual[at].astype(np.float64)
    wrong = ~(np.abs(values - wanted) <= tolerance)
    if not wrong.any():
        return None
    first = wrong.argmax()
    return (
        f"{wrong.sum()} wrong results of {wrong.size}, such as {values[first]:g} where it should be {wanted[first]:g}"
    )


def _places(size: int) -> slice | npt.NDArray[np.intp]:
    return slice(None) if size <= _ALL_CHECKED else np.linspace(0, size - 1, _ALL_CHECKED // 10).astype(np.intp)
