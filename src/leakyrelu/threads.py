"""How many threads work on a large array, and how large the cache is, as the system allows and the user wants."""

import operator
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leakyrelu._ufuncs import get_num_threads as get_count
from leakyrelu._ufuncs import set_num_threads as set_count
from leakyrelu._ufuncs import set_streaming_threshold

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

_MOST_THREADS = 1024


def get_num_threads() -> int:
    """Number of threads that work on one large array, including the calling one.

    Returns
    -------
    int
        At first this is the value of the environment variable ``LEAKYRELU_NUM_THREADS``. Where that is not set, it is
        the number of processors that the process may use, by its affinity and the limit of its control group.

    See Also
    --------
    set_num_threads, num_threads

    Examples
    --------
    >>> import leakyrelu
    >>> leakyrelu.get_num_threads() >= 1
    True
    """
    return get_count()


def set_num_threads(n: int) -> None:
    """Set the number of threads that work on one large array, for the whole process.

    Parameters
    ----------
    n : int
        From 1, which is the calling thread alone, to 1024. The results have the same bits whatever the number is.

    Raises
    ------
    TypeError
        `n` is not an integer.
    ValueError
        `n` is less than 1 or more than 1024.

    Examples
    --------
    >>> import leakyrelu
    >>> before = leakyrelu.get_num_threads()
    >>> leakyrelu.set_num_threads(2)
    >>> leakyrelu.get_num_threads()
    2
    >>> leakyrelu.set_num_threads(before)
    """
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {type(n).__name__}") from None
    if not 1 <= count <= _MOST_THREADS:
        raise ValueError(f"n must be from 1 to {_MOST_THREADS}, got {n}")
    set_count(count)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Work with `n` threads inside a ``with`` statement, and with the previous number after it.

    Parameters
    ----------
    n : int
        As for `set_num_threads`. Inside the statement it holds for the whole process, including its other threads.

    Raises
    ------
    TypeError
        `n` is not an integer.
    ValueError
        `n` is less than 1 or more than 1024.

    Examples
    --------
    >>> import leakyrelu
    >>> with leakyrelu.num_threads(1):
    ...     leakyrelu.get_num_threads()
    1
    """
    before = get_num_threads()
    try:
        set_num_threads(n)
        yield
    finally:
        set_num_threads(before)


def _initial_threads() -> int:
    """The number that LEAKYRELU_NUM_THREADS gives, or else the number of processors that the process may use."""
    wanted = os.environ.get("LEAKYRELU_NUM_THREADS", "").strip()
    if not wanted:
        return max(1, min(_processors(), _control_group_limit(), _MOST_THREADS))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _MOST_THREADS:
        raise ImportError(
            f"LEAKYRELU_NUM_THREADS must be an integer from 1 to {_MOST_THREADS}, got {wanted!r}; "
            "unset it to use every processor"
        )
    return int(wanted)


def _processors() -> int:
    """Number of processors that the process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return _windows_affinity().bit_count() or os.cpu_count() or 1


def _windows_affinity() -> int:
    """One bit per processor that Windows lets the process run on. 0 means that it does not say, or is not Windows."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32")
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        this_process = ctypes.c_void_p(kernel.GetCurrentProcess())
        allowed, present = ctypes.c_size_t(), ctypes.c_size_t()
        kernel.GetProcessAffinityMask(this_process, ctypes.byref(allowed), ctypes.byref(present))
        return allowed.value
    return 0


def _control_group_limit(root: Path = Path("/")) -> int:
    """How many processors' time the control groups leave the process, rounded up. A container has such a limit.

    The limit of a group holds for all groups inside it. Sources: cgroups(7), and
    Documentation/admin-guide/cgroup-v2.rst in Linux.
    """
    limit = _MOST_THREADS
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup/cpu"
        else:
            continue
        inner = mount / group.lstrip("/")
        for folder in (inner, *inner.parents):
            quota, period = _quota(folder)
            if quota > 0 and period > 0:
                limit = min(limit, -(-quota // period))
            if folder == mount:
                break
    return limit


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of processor time per period, and those of the period. (0, 0) means that there is no limit."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) == 2 and all(word.isdecimal() for word in words):
        return int(words[0]), int(words[1])
    return 0, 0


def _last_level_cache(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Bytes of the largest cache that holds data, or 0 where the system does not say.

    Linux says it in sysfs. Its sysconf(_SC_LEVEL3_CACHE_SIZE) gives ten times as much on some AMD processors.
    """
    sizes = [0]
    for index in folder.glob("index*"):
        size = _text(index / "size").strip()
        if _text(index / "type").strip() in {"Data", "Unified"} and size[-1:] in {"K", "M"} and size[:-1].isdecimal():
            sizes.append(int(size[:-1]) << (10 if size[-1] == "K" else 20))
    return max(sizes)


def _windows_processor_information() -> bytes:
    """The records that ``GetLogicalProcessorInformation`` gives; none where the system is not Windows."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32")
        size = ctypes.c_uint32()
        kernel.GetLogicalProcessorInformation(None, ctypes.byref(size))
        records = ctypes.create_string_buffer(size.value)
        if kernel.GetLogicalProcessorInformation(records, ctypes.byref(size)):
            return records.raw[: size.value]
    return b""


def _windows_last_level_cache(information: bytes) -> int:
    """Bytes of the largest cache that holds data, among records of SYSTEM_LOGICAL_PROCESSOR_INFORMATION; 0 without one.

    A record has the mask of its processors and its kind, which is 2 for a cache. Then come the cache's level,
    associativity, line size, size and type; the type is 0 for a unified cache, and 2 for one of data.
    """
    record = struct.Struct("@Ni0qBBHIi0q")
    caches = [fields[5] for fields in record.iter_unpack(information) if fields[1] == 2 and fields[6] in {0, 2}]
    return max(caches, default=0)


def _text(path: Path) -> str:
    """The text of a file, or no text where the file cannot be read."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def _set_up() -> None:
    """Tell both to the kernels, once, at import."""
    set_count(_initial_threads())
    cache = _last_level_cache() or _windows_last_level_cache(_windows_processor_information())
    if cache:
        set_streaming_threshold(cache * 4 // 3)  # module.cpp says why


_set_up()
