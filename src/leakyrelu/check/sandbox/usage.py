"""What the processes of somebody's code have taken together: memory, and bytes on disk.

Loaded by `supervisor` by its path, and with the standard library alone. All of it is read from /proc. Where there is
none, nothing is found and nothing is refused.
"""

import contextlib
import os
import stat
import time
from pathlib import Path

__all__ = ["Usage", "adopted", "descendants"]

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_LEAST = 4096  # bytes that a file takes at least, so that empty files without end are found, too
_PAUSE = 0.2  # seconds between two walks through the folder


class Usage:
    """Tells whether a submission has taken more than it may, over all its processes and from its start.

    Parameters
    ----------
    memory : int
        Bytes that the processes may hold at one time.
    disk : int
        Bytes that they may write in all, wherever that is, and that the files in `folder` may take.
    folder : str
        The folder in which they work.
    """

    def __init__(self, *, memory: int, disk: int, folder: str) -> None:
        self._memory, self._disk, self._folder = memory, disk, folder
        self._next_walk = 0.0

    def excess(self, processes: list[int]) -> str:
        """What was too much, as a part of a sentence; empty if nothing was."""
        if _memory(processes, self._memory) > self._memory:
            return f"stopped after its processes took {_said(self._memory)} of memory"
        if self._written(processes) > self._disk:
            return f"stopped after it wrote {_said(self._disk)}"
        return ""

    def _written(self, processes: list[int]) -> int:
        """Bytes written by these processes and by all that have ended, or those in the folder if they are more.

        The kernel adds what a process wrote to its parent's count when the parent waits for it. Bytes that are
        reserved without a write are in the folder alone.
        """
        written = sum(map(_written_by, ["self", *map(str, processes)]))
        if written <= self._disk and time.monotonic() >= self._next_walk:
            started = time.monotonic()
            written = max(written, _size(self._folder, self._disk))
            self._next_walk = time.monotonic() + max(_PAUSE, 4 * (time.monotonic() - started))
        return written


def _said(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


def _memory(processes: list[int], most: int) -> int:
    """Bytes of memory. A page that several processes share counts once where that matters: it takes longer to see."""
    held: dict[tuple[int, int], int] = {}
    for process in processes:
        held |= _held_in_memory(process)
    files = sum(held.values())
    resident = sum(_resident(process) for process in processes)
    if resident + files <= most:
        return resident + files
    mapped = others = 0
    for process in processes:
        share = _proportional(process)
        mapped += share.get("Pss_Shmem", 0)
        others += share["Pss"] - share.get("Pss_Shmem", 0) if share else _resident(process)
    return others + max(mapped, files)  # what is open may be mapped, and the other way round


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError):  # it has ended
        return 0


def _proportional(process: int) -> dict[str, int]:
    """The process's share of its pages: a page that two processes have counts half for each."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except (OSError, ValueError):  # it has ended, or we may not ask: a container without CAP_SYS_PTRACE
        return {}
    found = {key: int(value.split()[0]) << 10 for key, _, value in (line.partition(":") for line in lines)}
    return found if "Pss" in found else {}


def _held_in_memory(process: int) -> dict[tuple[int, int], int]:
    """The open files without a name, and those of shared memory: they take memory even where they are not mapped."""
    folder = f"/proc/{process}/fd"
    shared = _device("/dev/shm")  # noqa: S108  # to tell its files from others
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  # fast
            with contextlib.suppress(OSError):
                file = os.stat(f"{folder}/{name}")  # noqa: PTH116  # fast
                if stat.S_ISREG(file.st_mode) and (file.st_nlink == 0 or file.st_dev == shared):
                    found[file.st_dev, file.st_ino] = file.st_blocks * 512
    return found


def _device(folder: str) -> int | None:
    try:
        return os.stat(folder).st_dev  # noqa: PTH116  # fast
    except OSError:
        return None


def _written_by(process: str) -> int:
    """The bytes that a process has passed to write(), or those of changed pages of files if they are more."""
    try:
        lines = Path(f"/proc/{process}/io").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended, or we may not ask
        return 0
    counts = dict(line.split(": ") for line in lines)
    return max(int(counts["wchar"]), int(counts["write_bytes"]))


def _size(folder: str, enough: int) -> int:
    """Bytes that the files in a folder take; the search ends where that is more than enough."""
    size, folders = 0, [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    size += max(entry.stat(follow_symlinks=False).st_blocks * 512, _LEAST)
                if size > enough:
                    return size
    return size


def adopted(worker: int) -> bool:
    """Whether processes that the worker started are our children now, because their parent has ended."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    except OSError:  # a system without /proc
        return False
    return any(int(child) != worker for child in children)


def descendants() -> list[int]:
    """Our children, their children, and so on, where there is a /proc."""
    parents: dict[int, int] = {}
    for entry in _entries_of_proc():
        if entry.isdigit():
            try:
                status = Path(f"/proc/{entry}/stat").read_bytes()
            except OSError:
                continue  # it has ended
            parents[int(entry)] = int(status.rpartition(b") ")[2].split()[1])
    found = [os.getpid()]
    for process in found:  # the list grows while we go through it
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def _entries_of_proc() -> list[str]:
    try:
        return os.listdir("/proc")  # noqa: PTH208  # fast
    except OSError:
        return []
