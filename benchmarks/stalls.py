"""Measures whether calls stall: another process keeps one core busy, and single calls are timed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import machine, timing
from benchmarks.cells import Arrays, Cell
from benchmarks.contenders import offers
from benchmarks.contenders.ours import ONE_THREAD
from benchmarks.report import duration, figure

SIZES = (10**4, 10**5, 10**6, 10**7)

Row = dict[str, Any]

_MODULES = ("ours", "with_torch")
_BLOCK = 0.02  # seconds of calls in a row, which are several ticks of the scheduler

# This process ends with the one that started it, however that ends.
_SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


def stalls(sizes: tuple[int, ...] = SIZES, blocks: int = 50) -> list[Row]:
    """The 99th percentile of our calls and of PyTorch's beside a busy process, over our single-threaded median."""
    rows: list[Row] = []
    for size in sizes:
        arrays = Arrays(Cell("out", "float32", size))
        contenders = {
            offer.name: timing.Contender(offer.calls["out"], offer.context)
            for offer in offers(arrays, 0.01, _MODULES)
            if offer.kind != "limit"
        }
        rows.append(quiet := _row(size, "none", contenders, blocks))
        for pinned in (True, False) if hasattr(os, "sched_setaffinity") else (False,):
            with busy_process(pinned=pinned):
                rows.append(_row(size, "on one core" if pinned else "on any core", contenders, blocks))
        alone = quiet["contenders"][ONE_THREAD]["median"]
        for row in rows[rows.index(quiet) :]:
            for values in row["contenders"].values():
                values["percentile_99_over_single_threaded_median"] = values["percentile_99"] / alone
    return rows


@contextmanager
def busy_process(*, pinned: bool) -> Iterator["subprocess.Popen[bytes]"]:
    """Run another process that never rests, on the last of our cores or wherever the system puts it."""
    with subprocess.Popen([sys.executable, "-c", _SPIN]) as process:  # noqa: S603  # nobody's input
        try:
            if pinned:
                os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            time.sleep(0.3)  # until it has started
            yield process
        finally:
            process.kill()


def _times(contenders: Mapping[str, timing.Contender], blocks: int) -> dict[str, npt.NDArray[np.float64]]:
    """The seconds of single calls; each contender makes blocks of calls, in random order."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = np.random.default_rng(0)
    for _ in range(blocks):
        for name in order.permutation(list(contenders)):
            timing.settle()
            with contenders[name].context():
                timing.elapsed(contenders[name].call, 3)
                seconds[name] += _single_calls(contenders[name].call)
    return {name: np.array(values) for name, values in seconds.items()}


def _single_calls(function: Callable[[], object]) -> list[float]:
    seconds: list[float] = []
    start = before = time.perf_counter()
    while len(seconds) < 20 or before - start < _BLOCK:
        function()
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
    return seconds


def _row(size: int, load: str, contenders: Mapping[str, timing.Contender], blocks: int) -> Row:
    others = machine.Others()
    seconds = _times(contenders, blocks)
    return {
        "size": size,
        "busy_process": load,
        "cores_used_by_others": others.cores(),
        "contenders": {
            name: {
                "calls": len(values),
                "median": float(np.median(values)),
                "percentile_99": float(np.quantile(values, 0.99)),
                "longest": float(values.max()),
            }
            for name, values in seconds.items()
        },
    }


def stalls_table(rows: list[Row]) -> Iterator[str]:
    """A row for each size, load and contender."""
    yield ""
    yield "Stalls: single calls, float32, with out=, beside a process that keeps one core busy"
    yield "  ratio: the 99th percentile over our single-threaded median without that process"
    yield (
        f"{'n':>12}  {'busy process':16}{'':22}{'calls':>10}{'median':>12}{'99th':>12}{'longest':>12}"
        f"{'ratio':>10}{'cores used by others':>24}"
    )
    for row in rows:
        for name, values in row["contenders"].items():
            times = "".join(f"{duration(values[key]):>12}" for key in ("median", "percentile_99", "longest"))
            ratio = figure(values["percentile_99_over_single_threaded_median"])
            where = f"{row['size']:>12,}  {row['busy_process']:16}{name:22}"
            yield f"{where}{values['calls']:>10,}{times}{ratio:>10}{figure(row['cores_used_by_others']):>24}"
