"""Many processes call the library for minutes, with little memory: nothing may fail, grow or stay open.

`python -m benchmarks.soak --minutes 10 --processes 8` starts the processes, each of which mixes calls of the kernels,
of `apply`, of `check` and of `diagnose`. Meanwhile a part of the memory that was free is held (`--pressure`). Once per
second each process looks at its resident memory. It ends with a table, and with exit code 1 if a call failed, if the
memory grew after the first minute by 1 MB per minute or more, or if descriptors stayed open.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative
from leakyrelu._shared.files import apply
from leakyrelu.check import check_source
from leakyrelu.torch import diagnose

_LIMIT = 1.0  # MB per minute
_SETTLED = 60.0  # seconds after which memory may no longer grow
_CHILD = "LEAKYRELU_SOAK_SEED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--pressure", type=float, default=0.5, help="the fraction of the free memory to hold")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    if _CHILD in os.environ:
        _soak(int(os.environ[_CHILD]), seconds)
        return
    held = _held(options.pressure)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(options.minutes)]
        common = os.environ | {"TMPDIR": folder, "LEAKYRELU_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=common | {_CHILD: str(seed)})  # noqa: S603
            for seed in range(options.processes)
        ]
        outputs = [process.communicate()[0].splitlines() for process in started]
    print(f"{options.processes} processes, {options.minutes:g} minutes, {held.nbytes / 1e9:.1f} GB held besides\n")
    if any(process.returncode for process in started):
        print(f"processes ended with the codes {[process.returncode for process in started]}")
        sys.exit(1)
    sys.exit(_told([json.loads(lines[-1]) for lines in outputs]))


def _told(reports: list[dict[str, Any]]) -> int:
    """Print the table, and return the exit code."""
    print("| Process | Calls | Failures | MB at the end | MB per minute after the first | Descriptors |")
    print("|---|---|---|---|---|---|")
    failed = False
    for number, report in enumerate(reports):
        calls, failures, growth = sum(report["calls"].values()), len(report["failures"]), _growth(report)
        before, after = report["descriptors"]
        numbers = f"{calls:,} | {failures} | {report['resident'][-1][1]:.0f} | {growth:+.2f} | {before} to {after}"
        print(f"| {number} | {numbers} |")
        failed |= bool(failures) or after > before or growth >= _LIMIT
    total = {kind: sum(report["calls"][kind] for report in reports) for kind in reports[0]["calls"]}
    print("\n" + ", ".join(f"{count:,} calls of {kind}" for kind, count in total.items()) + ".")
    for failure in [failure for report in reports for failure in report["failures"]][:5]:
        print(failure)
    return int(failed)


def _held(fraction: float) -> npt.NDArray[np.float64]:
    """A part of the memory that is free, so that the system has to take back what others no longer need."""
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return np.ones(int(free * fraction) // 8)


def _growth(report: dict[str, Any]) -> float:
    """MB per minute after the first minute; NaN if there are less than two minutes to judge by.

    It is the slope of the line through the least memory in each quarter of a minute (least squares), because at any one
    moment a process holds the arrays of a call besides.
    """
    times, memory = np.array(report["resident"]).T
    windows = [memory[(times >= at) & (times < at + 15)] for at in np.arange(_SETTLED, times[-1] - 15, 15)]
    least = [window.min() for window in windows if len(window)]
    return 4 * float(np.polyfit(range(len(least)), least, 1)[0]) if len(least) >= 8 else nan


def _soak(seed: int, seconds: float) -> None:
    chosen, folder = random.Random(seed), Path(tempfile.mkdtemp())  # noqa: S311
    calls = {"kernels": _kernels, "apply": _apply, "check": _check, "diagnose": _diagnose}
    weights = {"kernels": 100, "apply": 20, "check": 1, "diagnose": 10}
    report: dict[str, Any] = {"calls": dict.fromkeys(calls, 0), "failures": [], "resident": [], "descriptors": []}
    for call in calls.values():  # what is loaded and opened on first use is no leak
        call(chosen, folder)
    report["descriptors"].append(_descriptors())
    begun = reported = time.monotonic()
    while (now := time.monotonic()) - begun < seconds:
        (kind,) = chosen.choices(list(weights), list(weights.values()))
        try:
            calls[kind](chosen, folder)
            report["calls"][kind] += 1
        except Exception:  # noqa: BLE001  # that is what is looked for
            report["failures"].append(traceback.format_exc())
        if now - reported >= 1:
            reported = now
            report["resident"].append((now - begun, _resident()))
    report["resident"].append((time.monotonic() - begun, _resident()))
    report["descriptors"].append(_descriptors())
    print(json.dumps(report))


def _resident() -> float:
    """MB in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) - 1  # that of the folder itself


def _kernels(chosen: random.Random, _: Path) -> None:
    size, dtype = (
        chosen.choice([1, 100, 10_000, 1_000_000]),
        chosen.choice([np.float16, np.float32, np.float64, np.int32]),
    )
    x = (np.arange(size) % 2001 - 1000).astype(dtype)  # which float16 has, too
    y = leaky_relu(x, 0.5)
    if not np.array_equal(y, np.where(x >= 0, x, y.dtype.type(0.5) * x.astype(y.dtype)), equal_nan=True):
        raise AssertionError(f"leaky_relu is wrong for {size} of {dtype.__name__}")
    derivative = leaky_relu_derivative(x, 0.5)
    if dtype is not np.int32 and not np.array_equal(leaky_relu_backward(np.ones_like(x), x, 0.5), derivative):
        raise AssertionError(f"leaky_relu_backward is wrong for {size} of {dtype.__name__}")


def _apply(chosen: random.Random, folder: Path) -> None:
    x = np.arange(-500.0, chosen.choice([500.0, 500_000.0]))
    np.save(folder / "in.npy", x)
    apply(leaky_relu, folder / "in.npy", folder / "out.npy", overwrite=True)
    if not np.array_equal(np.load(folder / "out.npy"), leaky_relu(x)):
        raise AssertionError("apply is wrong")
    if len(list(folder.iterdir())) != 2:
        raise AssertionError("apply left a file")


def _check(_: random.Random, __: Path) -> None:
    if not check_source("def leaky_relu(x, alpha=0.01):\n    return x if x >= 0 else alpha * x\n").passed:
        raise AssertionError("check is wrong")


def _diagnose(chosen: random.Random, __: Path) -> None:
    width = chosen.choice([4, 64, 512])
    first = nn.Linear(8, width)
    nn.init.zeros_(first.weight)
    nn.init.constant_(first.bias, -1.0)
    batches = [torch.randn(64, 8) for _ in range(4)]
    if diagnose(nn.Sequential(first, nn.ReLU(), nn.Linear(width, 2)), batches).dead != width:
        raise AssertionError("diagnose is wrong")


if __name__ == "__main__":
    main()
