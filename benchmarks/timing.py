"""Interleaved timing: every contender in every round, so that a noisy machine is noisy for all of them."""

import time
from collections.abc import Callable

import numpy as np


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int = 31) -> dict[str, np.ndarray]:
    """Seconds a call, for each contender, an entry a round.

    In a round the contenders come in random order. Each is called as often as makes two milliseconds or more, and then
    as often again, timed: the cache holds its own arrays by then, not those of the one before it.
    """
    calls = {name: _calls(function) for name, function in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(list(contenders)):
            _time(contenders[name], calls[name])
            seconds[name].append(_time(contenders[name], calls[name]) / calls[name])
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(theirs: np.ndarray, ours: np.ndarray) -> str:
    """The median over the rounds of their time over ours, and the quartiles."""
    low, middle, high = np.quantile(theirs / ours, [0.25, 0.5, 0.75])
    return f"{middle:6.2f}  ({low:.2f} to {high:.2f})"


def _calls(function: Callable[[], object]) -> int:
    calls = 1
    while _time(function, calls) < 2e-3:
        calls *= 2
    return calls


def _time(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start
