"""The whole run: tables on the screen, figures as JSON, and a picture."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks import contenders, gradient, machine, mixed, picture, report, special, stalls
from benchmarks.cells import OPERATIONS, SIZES, TYPES, cells
from benchmarks.measure import Result, measure
from benchmarks.timing import Effort, quartiles
from leakyrelu._shared.files import written_whole

QUICK_TYPES = ("float16", "bfloat16", "float32")
QUICK_SIZES = (1, 10**4, 10**6, 10**7)
QUICK = Effort(batch=1e-3, budget=0.7, fewest=3, most=7)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    for path in (options.json, options.picture):
        with TemporaryFile(dir=path.absolute().parent):
            pass  # checks before the run, and not after it, that the folder can be written to
    effort = QUICK if options.quick else Effort()
    described = machine.describe()
    _print(machine.summary(described))
    for package in contenders.missing():
        _print(f"{package} is missing and left out: pip install '.[bench]'")

    results: list[Result] = []
    for _, group in groupby(
        cells(options.operations, options.types, options.sizes), lambda cell: (cell.type, cell.operation)
    ):
        results += (rows := [measure(cell, effort) for cell in group])
        _print(*report.table(rows))
    document = {"machine": described, "effort": asdict(effort), "cells": [as_json(result) for result in results]}
    if not options.cells_only:
        document["per_channel"] = special.per_channel(effort)
        _print(*special.per_channel_table(document["per_channel"]))
        document["slope_gradient"] = gradient.slope_gradients(effort)
        _print(*gradient.slope_gradients_table(document["slope_gradient"]))
        document["python_float"] = special.python_float(rounds=effort.most)
        _print("", special.python_float_line(document["python_float"]))
        document["mixed"] = mixed.mixed((10**5, 10**6), 5) if options.quick else mixed.mixed()
        _print(*mixed.mixed_table(document["mixed"]))
        document["stalls"] = stalls.stalls((10**4, 10**6), 10) if options.quick else stalls.stalls()
        _print(*stalls.stalls_table(document["stalls"]))
    _print("", "The least favourable figures", *(f"  {line}" for line in report.least(results)))
    lost = list(report.where_we_lose(results))
    _print("", "Where we lose", *(f"  {line}" for line in lost or ["nowhere"]), "")

    with written_whole(options.json) as file:
        file.write(json.dumps(document).encode())
    with written_whole(options.picture) as file:
        picture.draw(results, f"Leaky ReLU on {machine.title(described)}").savefig(file, format="png", dpi=110)
    _print(f"Figures: {options.json}", f"Picture: {options.picture}")


def as_json(result: Result) -> dict[str, object]:
    """Everything that was measured for one cell."""
    return {
        **asdict(result.cell),
        "bytes": result.cell.bytes,
        "cores_used_by_others": result.others,
        "contenders": {
            name: {
                "kind": result.kinds[name],
                "seconds": quartiles(seconds),
                "time_over_ours": result.ratio(name),
                "rounds": seconds.tolist(),
            }
            for name, seconds in result.seconds.items()
        },
        "left_out": result.dropped,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Leaky ReLU beside its peers, in one run.")
    parser.add_argument("--quick", action="store_true", help="fewer types, sizes and rounds: under two minutes")
    parser.add_argument("--json", type=Path, default="benchmarks.json", help="where the figures go (%(default)s)")
    parser.add_argument("--picture", type=Path, default="benchmarks.png", help="where the picture goes (%(default)s)")
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=tuple(OPERATIONS), metavar="NAME")
    parser.add_argument("--types", nargs="+", choices=TYPES, metavar="NAME", help=f"of {', '.join(TYPES)}")
    parser.add_argument("--sizes", nargs="+", type=_size, metavar="N", help="elements, such as 1 1000 1e6")
    parser.add_argument("--cells-only", action="store_true", help="the table of all cells, and nothing else")
    options = parser.parse_args(arguments)
    options.types = options.types or (QUICK_TYPES if options.quick else TYPES)
    options.sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    if not any(cells(options.operations, options.types, options.sizes)):
        parser.error("integers have no gradient, and their result does not fit in their place")
    return options


def _size(text: str) -> int:
    size = int(float(text))
    if size < 1:
        raise argparse.ArgumentTypeError(f"at least 1 element, got {text}")
    return size


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
