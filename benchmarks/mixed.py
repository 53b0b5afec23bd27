"""Measures a process in which another library works, too: some milliseconds of calls of ours, then some of theirs."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.cells import OPERATIONS, Arrays, Cell
from benchmarks.contenders import Call, missing, offers
from benchmarks.contenders.ours import OURS
from benchmarks.report import spread

PEERS = {"torch": "with_torch", "numba parallel": "with_numba"}
KINDS = (("out", "float32"), ("inplace", "float32"), ("backward", "float32"), ("out", "float16"))
SIZES = (10**5, 10**6, 4 * 10**6, 10**7, 6 * 10**7)

Row = dict[str, Any]

_BLOCK = 0.02  # seconds of calls in a row
_PAUSE = 2e-3  # seconds between two blocks, in which the threads of a library that spin do not fall asleep


def mixed(sizes: Sequence[int] = SIZES, rounds: int = 31) -> list[Row]:
    """Each peer's time over ours, when blocks of both take turns at once, and when all threads fall asleep between."""
    rows: list[Row] = []
    for peer, module in PEERS.items():
        if missing((module,)):
            continue
        for operation, kind in KINDS:
            cells = (Cell(operation, kind, size) for size in sizes)
            rows += (row for cell in cells if (row := _row(cell, peer, module, rounds)) is not None)
    return rows


def _row(cell: Cell, peer: str, module: str, rounds: int) -> Row | None:
    """The ratios of one cell; None if the peer has no such type."""
    arrays = Arrays(cell)
    calls = {offer.name: offer.calls[cell.operation] for offer in offers(arrays, cell.slope, ("ours", module))}
    if peer not in calls:
        return None
    ours, theirs = calls[OURS], calls[peer]
    return {
        "peer": peer,
        "operation": cell.operation,
        "type": cell.type,
        "size": cell.size,
        "quiet": _ratios(ours, theirs, rounds, timing.settle),
        "mixed": _ratios(ours, theirs, rounds, lambda: time.sleep(_PAUSE)),
    }


def _ratios(ours: Call, theirs: Call, rounds: int, pause: Callable[[], object]) -> timing.Quartiles:
    for call in (ours, theirs):
        call()
    ratios = []
    for _ in range(rounds):
        seconds = []
        for call in (ours, theirs):
            pause()
            seconds.append(_seconds_per_call(call))
        ratios.append(seconds[1] / seconds[0])
    return timing.quartiles(np.array(ratios))


def _seconds_per_call(call: Call) -> float:
    """The mean over a block, so that a call that stalls counts."""
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        seconds = time.perf_counter() - start
        if seconds >= _BLOCK:
            return seconds / calls


def mixed_table(rows: list[Row]) -> Iterator[str]:
    """Two lines for each peer, type and operation, one column per size."""
    yield ""
    yield f"By turns in one process, {_BLOCK * 1e3:.0f} ms of calls of ours and then of theirs: their time over ours"
    yield f"  mixed: {_PAUSE * 1e3:.0f} ms between two blocks; quiet: until all threads have fallen asleep"
    for (peer, kind, operation), group in groupby(rows, lambda row: (row["peer"], row["type"], row["operation"])):
        found = list(group)
        yield f"{f'{peer}, {kind}, {OPERATIONS[operation]}':44}" + "".join(f"{row['size']:>20,}" for row in found)
        for state in ("mixed", "quiet"):
            yield f"{'    ' + state:44}" + "".join(f"{spread(row[state]):>20}" for row in found)
