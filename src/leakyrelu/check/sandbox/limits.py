"""What a process that runs somebody's code may take: memory, time, output, files, processes. `usage` sums over them.

Loaded by `supervisor` by its path, and with the standard library alone.
"""

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

__all__ = ["PROCESSES", "become_subreaper", "die_with_parent", "limit"]

PROCESSES = 64  # that the code may have at one time
_OPEN_FILES = 1024  # per process: a file without a name takes space for as long as it is open

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 21, 24
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


def become_subreaper() -> None:
    """Make orphans of our children our own children, whatever their session, so that they are found and ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """End this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":  # elsewhere only the process group tells what belongs together
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def limit(*, memory: int, seconds: int, output: int) -> None:
    """Limit what this process may take. A limit that the system does not know or does not allow is left out."""
    import resource

    with contextlib.suppress(OSError):  # if memory runs out all the same, the kernel ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _limit_processes(resource)
    wanted = {
        "RLIMIT_AS": memory,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": output,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_CORE": 0,
    }
    for name, most in wanted.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except (OSError, ValueError):  # macOS knows RLIMIT_AS, and refuses it
            continue


def _limit_processes(resource: Any) -> None:
    """Limit the number of processes. The kernel counts none of root's, so root's worker becomes another user."""
    if sys.platform != "linux":
        return
    allowed = PROCESSES
    try:
        if os.getuid() == 0:
            # The kernel counts by the real user. The effective user, who opens files, stays root: only root may be able
            # to read Python's own files.
            os.setresuid(1 << 30 | secrets.randbits(29), 0, 0)
            _drop_capabilities()
        else:
            allowed += sum(_tasks(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    except OSError:
        return  # a container without such users, or without /proc: there only the supervisor counts
    resource.setrlimit(resource.RLIMIT_NPROC, (allowed, allowed))


def _tasks(process: Path) -> int:
    try:
        return len(os.listdir(process / "task")) if process.stat().st_uid == os.getuid() else 0  # noqa: PTH208  # fast
    except OSError:
        return 0  # it has ended


def _drop_capabilities() -> None:
    """Give up both capabilities that would lift the limit."""
    import ctypes

    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, of the lower 32; then of the higher
    if libc.capget(header, sets) == 0:
        for i in range(3):
            sets[i] &= ~(1 << _CAP_SYS_ADMIN | 1 << _CAP_SYS_RESOURCE)
        libc.capset(header, sets)
