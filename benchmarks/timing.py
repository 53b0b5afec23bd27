"""Times contenders by turns: each runs in every round, so that a noisy machine is noisy for all of them."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Quartiles = tuple[float, float, float]  # the lower one, the median, the upper one

_OWN_WARM_UP = 0.05  # seconds


@dataclass(frozen=True)
class Contender:
    """Something to be timed, and the context it runs in, which is entered before the clock starts."""

    call: Callable[[], object]
    context: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Effort:
    """Calls are timed in batches of at least `batch` seconds, in as many rounds as `budget` seconds allow."""

    batch: float = 2e-3
    budget: float = 8.0
    fewest: int = 10
    most: int = 31


def interleaved(contenders: Mapping[str, Contender], effort: Effort) -> dict[str, npt.NDArray[np.float64]]:
    """Seconds per call for each contender, one entry per round.

    In a round the contenders come in random order. Each waits until the threads of the one before have fallen asleep.
    It is called as often as fills a batch, which is not counted, and then as often again, which is timed: by then the
    cache holds its own arrays, and its own threads are awake.
    """
    calls = dict.fromkeys(contenders, 1)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = np.random.default_rng(0)
    start = time.perf_counter()
    for done in range(effort.most):
        if done >= effort.fewest and (time.perf_counter() - start) * (done + 1) / done > effort.budget:
            break
        for name in order.permutation(list(contenders)):
            contender = contenders[name]
            settle()
            with contender.context():
                # A call of this length needs no warm-up: the start weighs a hundredth of it.
                if not seconds[name] or seconds[name][-1] < _OWN_WARM_UP:
                    while elapsed(contender.call, calls[name]) < effort.batch:
                        calls[name] *= 2  # for this round and the later ones
                seconds[name].append(elapsed(contender.call, calls[name]) / calls[name])
    return {name: np.array(values) for name, values in seconds.items()}


def quartiles(values: npt.NDArray[np.float64]) -> Quartiles:
    """The lower quartile, the median and the upper quartile."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def elapsed(function: Callable[[], object], calls: int) -> float:
    """Seconds that so many calls take."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start


def settle() -> None:
    """Wait until no other thread of this process runs, for a tenth of a second at most.

    Worker threads spin for a while after their work, so that the next piece need not wake them: OpenMP's for 4 ms,
    ONNX Runtime's for 45 ms. On a machine with few cores that would slow down the next contender.
    """
    deadline = time.perf_counter() + 0.1
    while _others_running() and time.perf_counter() < deadline:
        time.sleep(1e-3)


def _others_running() -> bool:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        time.sleep(0.05)  # this system does not tell
        return False
    return any(_is_running(task) for task in tasks.iterdir() if task.name != str(os.getpid()))


def _is_running(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(") ")[2].startswith("R")
    except OSError:  # it has ended
        return False
