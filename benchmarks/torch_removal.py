"""Kills units of a small network on digits, takes them out or revives them: size, speed and accuracy, over seeds."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.report import duration, spread
from benchmarks.timing import Contender, Effort
from leakyrelu.torch import remove_dead
from leakyrelu.torch.experiment import KILLERS, Outcome, conclusion, killed, outcomes

BATCHES = (32, 10_000)  # in the smaller one, starting the operations takes longer than the arithmetic
ROWS = (  # of the table: its title, what was done after the killing, and when it is looked at
    ("killed", "control", "at_once"),
    ("killed, `remove_dead`", "remove_dead", "at_once"),
    ("killed, 20 epochs", "control", "at_the_end"),
    ("killed, `remove_dead`, 20 epochs", "remove_dead", "at_the_end"),
    ("killed, `revive`, 20 epochs", "revive", "at_the_end"),
)
KILLED, AGAIN, SMALLER = "killed", "killed, again", "smaller"


@dataclass(frozen=True)
class Size:
    """What the killed network costs, and what the smaller one costs."""

    parameters: tuple[int, int]
    multiply_adds: tuple[float, float]  # per image
    seconds: dict[int, float]  # of a forward pass of the killed network, by batch
    ratios: dict[int, dict[str, float]]  # the time of each network over that of the killed one, by batch


def main(arguments: Sequence[str] | None = None, effort: Effort | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_removal", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--killer", choices=KILLERS, default="SGD at 0.3")
    given = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is too small for more
    sizes, results = [], []
    try:
        for seed in range(given.seeds):
            sizes.append(size(given.killer, seed, effort or Effort(budget=2.0, most=15)))
            results += outcomes(given.killer, seed, tuple(dict.fromkeys(way for _, way, _ in ROWS)))
    finally:
        torch.set_num_threads(threads)
    print(f"Digits, 64-32-32-32-10, killed by {given.killer}, {given.seeds} seeds: mean ± standard deviation\n")
    print(*table(sizes, results), "", *(conclusion(results, way) for way in ("remove_dead", "revive")), sep="\n")


def size(killer: str, seed: int, effort: Effort) -> Size:
    """Kill a network, take its dead units out, and time both by turns."""
    patient = killed(killer, seed)
    smaller = deepcopy(patient.model)
    removal = remove_dead(smaller, [patient.images])
    models = {KILLED: patient.model, AGAIN: deepcopy(patient.model), SMALLER: smaller}
    seconds, ratios = {}, {}
    for batch in BATCHES:
        x = patient.images[torch.arange(batch) % len(patient.images)]
        times = timing.interleaved({name: Contender(_forward(model, x)) for name, model in models.items()}, effort)
        seconds[batch] = float(np.median(times[KILLED]))
        ratios[batch] = {name: float(np.median(values / times[KILLED])) for name, values in times.items()}
    before, after = (count / len(patient.images) for count in removal.multiply_adds)
    return Size(removal.parameters, (before, after), seconds, ratios)


def _forward(model: nn.Module, x: Tensor) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            model(x)

    return forward


def table(sizes: Sequence[Size], results: Sequence[Outcome]) -> Iterator[str]:
    """What each network costs, and how it does, in Markdown."""
    times = [f"time of a batch of {batch:,}" for batch in BATCHES]
    titles = ["", "parameters", "multiply-adds per image", *times, "never above zero", "test accuracy"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    costs = [
        [
            _mean([each.parameters[index] for each in sizes]),
            _mean([each.multiply_adds[index] for each in sizes]),
            *(_ratio(sizes, batch, name) for batch in BATCHES),
        ]
        for index, name in enumerate((KILLED, SMALLER))
    ]
    for title, way, when in ROWS:
        part = [result for result in results if result.cure == way]
        shares = [[100 * getattr(each, f"{field}_{when}") for each in part] for field in ("never", "accuracy")]
        cells = [title, *costs[way == "remove_dead"], *(f"{_mean(share, 1)} %" for share in shares)]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "The times are relative to the killed network's: one thread, by turns, median and quartiles over the seeds."
    for batch in BATCHES:
        seconds = duration(float(np.median([each.seconds[batch] for each in sizes])))
        yield f"Batch of {batch:,}: the killed network takes {seconds}, and again {_ratio(sizes, batch, AGAIN)}."


def _ratio(sizes: Sequence[Size], batch: int, name: str) -> str:
    return spread(timing.quartiles(np.array([each.ratios[batch][name] for each in sizes])))


def _mean(values: Sequence[float], digits: int = 0) -> str:
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):,.{digits}f} ± {deviation:,.{digits}f}"


if __name__ == "__main__":
    main()
