"""The machine and the versions that the figures belong to."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import leakyrelu
from leakyrelu import _ufuncs

_PACKAGES = ("numpy", "torch", "jax", "onnxruntime", "numba", "numexpr")


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Others:
    """Measures how many cores are kept busy by other processes and other virtual machines, from now on."""

    def __init__(self) -> None:
        self._start, self._seconds = time.perf_counter(), _others_seconds()

    def cores(self) -> float:
        """The mean so far; 0 if the system does not tell."""
        return max(0.0, (_others_seconds() - self._seconds) / (time.perf_counter() - self._start))


def _others_seconds() -> float:
    try:
        _, *ticks = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, ticks[:8])
    used = user + nice + system + sum(interrupts_and_stolen)
    return used / os.sysconf("SC_CLK_TCK") - time.process_time()


def describe() -> dict[str, Any]:
    """Processor, caches, instruction set, threads and versions."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "caches": _caches(),
        "instruction_set": _ufuncs.instruction_set,
        "threads": leakyrelu.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), "leakyrelu": version("leakyrelu")} | _versions(),
    }


def title(machine: dict[str, Any]) -> str:
    """The machine in a few words."""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['instruction_set']}"


def summary(machine: dict[str, Any]) -> str:
    """The machine and the versions, in two lines."""
    caches = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    versions = ", ".join(f"{package} {installed}" for package, installed in machine["versions"].items())
    return (
        f"{title(machine)}, {machine['threads']} threads, {machine['system']}, {caches or 'caches unknown'}\n{versions}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """The caches of the first core by level, without the one for instructions."""
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            caches[f"L{level}"] = size
    return caches


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    return versions
