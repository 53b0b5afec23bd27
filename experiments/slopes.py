"""Compares seven slopes for negative inputs: ReLU, 0.01, 0.1, 1/5.5, 1/3, PReLU and RReLU, on two small data sets.

    python -m experiments.slopes --processes 2

- Data: the 1,797 digits of scikit-learn (997 to train, 300 to validate, 500 to test) and the 5,000 signals that
  `mnist1d` generates (3,000, 1,000, 1,000).
- Networks: perceptrons of 3 and of 12 layers of weights (2 and 11 hidden layers) of 64 units, weights normal as He et
  al. 2015, with the gain of each slope, biases zero.
- Training: SGD with momentum 0.9, batches of 32, 60 epochs. The learning rate rises for 3 of them and falls to zero
  along half a cosine; gradients longer than 1 are shortened to that.
- Learning rate: for each data set, depth and activation the one of seven with the best mean validation accuracy over
  the seeds 100 to 105, which are used for nothing else.
- Seeds 0 to 19. A seed decides split, weights up to their gain, and batches: all activations share them.

The result of a cell (data set, depth, activation) is written when it is finished, whole or not at all, to a directory.
Another run with the same directory computes only what is missing; several runs may share a directory. At the end, the
raw figures, the page and the picture are written to `docs/explanation`. `--report` makes page and picture again from
the figures there.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import product
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from experiments.networks import ACTIVATIONS, Training, train
from experiments.slopes_report import page, picture
from leakyrelu._shared.files import written_whole

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


@dataclass(frozen=True)
class Setting:
    """The setting of the comparison. Results of different settings are never mixed."""

    data: tuple[str, ...] = ("digits", "mnist1d")
    depths: tuple[int, ...] = (3, 12)
    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    rates: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    seeds: tuple[int, ...] = tuple(range(20))
    tuning_seeds: tuple[int, ...] = tuple(range(100, 106))
    training: Training = field(default_factory=Training)
    versions: dict[str, str] = field(
        default_factory=lambda: {name: version(name) for name in ("torch", "numpy", "scikit-learn", "mnist1d")}
    )

    def as_json(self) -> dict[str, Any]:
        """The setting as it is read back from a file."""
        described: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return described


QUICK = Setting(
    depths=(3,),
    rates=(0.02, 0.1),
    seeds=(0, 1, 2),
    tuning_seeds=(100,),
    training=Training(epochs=2, rising_epochs=1, width=16, samples=320),
)


@dataclass(frozen=True)
class Cell:
    """A data set, a depth, and the activation that is measured on them."""

    data: str
    depth: int
    activation: str

    def path(self, directory: Path) -> Path:
        """The file of its result."""
        return directory / f"{self.data}-{self.depth}-{self.activation.replace('/', 'by')}.json"


def cells(setting: Setting) -> list[Cell]:
    """All cells. Those that take longest come first, so that no process ends long after the others."""
    every = product(setting.data[::-1], sorted(setting.depths, reverse=True), setting.activations[::-1])
    return [Cell(*cell) for cell in every]


def measure(cell: Cell, setting: Setting) -> dict[str, Any]:
    """Choose the learning rate on the seeds for tuning, and train on the others."""
    began = perf_counter()
    kind = cell.data, cell.depth, cell.activation
    tried = list(product(setting.rates, setting.tuning_seeds))
    _, ends = train(*kind, [seed for _, seed in tried], [rate for rate, _ in tried], setting.training)
    validation = np.reshape(ends.validation_accuracy, (len(setting.rates), -1)).mean(axis=1)
    rate = setting.rates[int(validation.argmax())]  # the smallest of equals
    _, ends = train(*kind, setting.seeds, [rate] * len(setting.seeds), setting.training)
    return {
        **asdict(cell),
        "rate": rate,
        "validation_accuracy_by_rate": [round(float(value), 5) for value in validation],
        **{name: [_short(value) for value in values] for name, values in asdict(ends).items()},
        "seconds": round(perf_counter() - began, 1),
    }


def _short(value: float) -> float | None:
    """Six digits, which are more than 3,000 samples can tell; None for NaN, which JSON does not have."""
    return float(f"{value:.6g}") if isfinite(value) else None


def finished(setting: Setting, directory: Path) -> dict[Cell, dict[str, Any]]:
    """The results in a directory.

    Raises
    ------
    SystemExit
        One of them is of another setting.
    """
    results = {}
    for cell in cells(setting):
        if (path := cell.path(directory)).exists():
            found = json.loads(path.read_text())
            if changed := _differences(found.pop("setting"), setting.as_json()):
                raise SystemExit(
                    f"{path} is of another setting ({'; '.join(changed)}). Name another directory with --results, "
                    "or remove this one."
                )
            results[cell] = found
    return results


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    names = sorted({*there, *here})
    return [
        f"{name}: {there.get(name)} there, {here.get(name)} here" for name in names if there.get(name) != here.get(name)
    ]


def run(setting: Setting, directory: Path, processes: int = 1) -> dict[str, Any]:
    """Measure what is missing, and return the document of all results."""
    directory.mkdir(parents=True, exist_ok=True)
    done = finished(setting, directory)
    missing = [cell for cell in cells(setting) if cell not in done]
    _say(f"{len(done)} of {len(cells(setting))} cells are in {directory}")
    context = multiprocessing.get_context("spawn")
    taken = context.Value("i", 0)
    # They are daemons, so that none of them survives an error here.
    others = [
        context.Process(target=_work, args=(setting, directory, missing, taken), daemon=True)
        for _ in range(min(processes, len(missing)) - 1)
    ]
    for other in others:
        other.start()
    _work(setting, directory, missing, taken)
    for other in others:
        other.join()
    if failed := [other.exitcode for other in others if other.exitcode]:
        raise SystemExit(f"a process ended with exit code {failed[0]}; run again to compute what is missing")
    results = finished(setting, directory)
    return {"setting": setting.as_json(), "cells": [results[cell] for cell in reversed(cells(setting))]}


def _work(setting: Setting, directory: Path, missing: Sequence[Cell], taken: "Synchronized[int]") -> None:
    # The matrices are small, and on a busy processor several threads wait for each other.
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        with taken.get_lock():
            at, taken.value = taken.value, taken.value + 1
        if at >= len(missing):
            return
        path = missing[at].path(directory)
        if path.exists():
            continue  # another run was quicker
        result = measure(missing[at], setting)
        with written_whole(path) as file:
            file.write(json.dumps({"setting": setting.as_json(), **result}, allow_nan=False).encode())
        accuracy = 100 * np.mean(result["test_accuracy"])
        _say(f"{path.stem}: {accuracy:.2f} % at rate {result['rate']:g}, {result['seconds']:.0f} s")


def save(document: dict[str, Any], directory: Path) -> None:
    """Write the figures, one cell per line."""
    lines = ",\n".join(json.dumps(cell, allow_nan=False) for cell in document["cells"])
    setting = json.dumps(document["setting"])
    with written_whole(directory / "slopes.json") as file:
        file.write(f'{{"setting": {setting},\n"cells": [\n{lines}\n]}}\n'.encode())


def report(directory: Path) -> None:
    """Write the page and the picture, from the figures in a directory."""
    document = json.loads((directory / "slopes.json").read_text())
    with written_whole(directory / "slopes.md") as file:
        file.write(page(document).encode())
    with written_whole(directory / "slopes.png") as file:
        picture(document).savefig(file, format="png", dpi=110)
    _say(f"{directory / 'slopes.md'} and the picture beside it are written")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # flushed, so that lines of several processes do not mix


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="where the cells' results are (default: slopes-results)")
    parser.add_argument("--docs", type=Path, help="where figures, page and picture go (default: docs/explanation)")
    parser.add_argument("--processes", type=int, default=1, help="how many cells are measured at once, one per core")
    parser.add_argument("--quick", action="store_true", help="a trial run of seconds; it writes to slopes-quick alone")
    parser.add_argument(
        "--report", action="store_true", help="only page and picture, from the figures in docs/explanation"
    )
    options = parser.parse_args(arguments)
    results = options.results or Path("slopes-quick" if options.quick else "slopes-results")
    docs = options.docs or (results if options.quick else Path("docs/explanation"))
    if not options.report:
        save(run(QUICK if options.quick else Setting(), results, options.processes), docs)
    report(docs)


if __name__ == "__main__":
    main()
