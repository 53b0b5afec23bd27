"""Tables of times and ratios, and where we lose."""

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks.cells import OPERATIONS
from benchmarks.contenders import Kind
from benchmarks.contenders.ours import OURS
from benchmarks.contenders.with_numpy import TEXTBOOK
from benchmarks.measure import Result
from benchmarks.timing import Quartiles

LARGE = 10**6
OF_THE_LIMIT = 0.9  # the fraction of the fastest copy's throughput that we want, from LARGE elements on

_LABEL, _COLUMN = 24, 20


def table(results: list[Result]) -> Iterator[str]:
    """One operation on one type, times and then ratios: one row per contender, one column per size."""
    cell = results[0].cell
    names = list(dict.fromkeys(name for result in results for name in result.seconds))
    sizes = "".join(f"{result.cell.size:>{_COLUMN},}" for result in results)
    yield ""
    yield f"{cell.type}, {OPERATIONS[cell.operation]}"
    yield f"{'  time per call':{_LABEL}}{sizes}"
    for name in names:
        yield _row(name, (duration(np.median(r.seconds[name])) if name in r.seconds else "-" for r in results))
    yield f"{'  time over ours':{_LABEL}}{sizes}"
    for name in names:
        if name != OURS:
            yield _row(name, (spread(r.ratio(name)) if name in r.seconds else "-" for r in results))
    yield _row("cores used by others", (figure(result.others) for result in results))
    for result in results:
        for name, reason in result.dropped.items():
            yield f"  {name} is left out at n = {result.cell.size:,}: {reason}"


def _row(name: str, entries: Iterable[str]) -> str:
    return f"{'    ' + name:{_LABEL}}" + "".join(f"{entry:>{_COLUMN}}" for entry in entries)


def where_we_lose(results: Iterable[Result]) -> Iterator[str]:
    """Every cell where a peer is faster, and every large cell that is too far behind the fastest copy."""
    for result in results:
        peer, limit = result.fastest("peer"), result.fastest("limit")
        if peer is not None and result.ratio(peer)[1] < 1:
            yield f"{result.cell}: {peer} takes {spread(result.ratio(peer))} of our time"
        if limit is not None and result.cell.size >= LARGE and result.ratio(limit)[1] < OF_THE_LIMIT:
            yield f"{result.cell}: {spread(result.ratio(limit))} of the throughput of the fastest copy, {limit}"


def least(results: list[Result]) -> Iterator[str]:
    """The least favourable ratio of each kind, and where it was measured."""
    textbook = [
        r
        for r in results
        if (r.cell.operation, r.cell.type) == ("out", "float32") and r.cell.size >= LARGE and TEXTBOOK in r.seconds
    ]
    if textbook:
        worst = min(textbook, key=lambda result: result.ratio(TEXTBOOK)[1])
        yield f"the textbook line's time over ours, n >= {LARGE:,}: {spread(worst.ratio(TEXTBOOK))} at {worst.cell}"
    yield from _least("peer", "the best peer's time over ours", results)
    large = [result for result in results if result.cell.size >= LARGE]
    yield from _least("limit", f"our throughput over the fastest copy's, n >= {LARGE:,}", large)


def _least(kind: Kind, title: str, results: list[Result]) -> Iterator[str]:
    for operation in OPERATIONS:
        ratios = [
            (result.ratio(name), name, result.cell)
            for result in results
            if result.cell.operation == operation and (name := result.fastest(kind)) is not None
        ]
        if ratios:
            ratio, name, cell = min(ratios, key=lambda entry: entry[0][1])
            yield f"{title}: {spread(ratio)} at {cell} ({name})"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{figure(seconds / scale)} {unit}"
    return f"{figure(seconds / 1e-9)} ns"


def spread(ratio: Quartiles) -> str:
    """The median, and the quartiles in brackets."""
    low, middle, high = map(figure, ratio)
    return f"{middle} ({low}-{high})"


def figure(value: float) -> str:
    """A number in three digits; one below 1 is never rounded up, so that 0.9996 is not shown as 1."""
    if value < 1:
        return f"{np.floor(1000 * value) / 1000:.3f}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
