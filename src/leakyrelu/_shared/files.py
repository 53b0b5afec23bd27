"""Writes files whole or not at all, and applies a function from one .npy file to another, in blocks."""

import os
import secrets
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from leakyrelu._shared.npy import read_header
from leakyrelu._shared.progress import Progress, unseen
from leakyrelu._shared.wording import shown

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None  # Windows has no such locks

__all__ = ["apply", "refuse_target", "remove_left", "write_text", "written_whole"]

_PREFIX, _SUFFIX = ".leakyrelu-", ".part"  # of the name of a file while it is written
_BLOCK_BYTES = 64 * 2**20


@contextmanager
def written_whole(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` when the block has ended without an error, and otherwise not at all.

    A file that is overwritten keeps its mode. If `path` is a symbolic link, the file that it points to is overwritten.

    Raises
    ------
    FileExistsError
        `path` exists and is not to be overwritten.
    ValueError
        `path` is a directory, a device or the like.
    OSError
        The directory is missing or not writable, the disk is full, and so on; no part of the file is left behind.
    """
    refuse_target(path, overwrite=overwrite)
    target = path.resolve()
    remove_left(target.parent)
    part = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        with _opened(part, path) as file:
            if target.exists():
                part.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not overwrite:
            _claim(part, target)
        part.replace(target)
    except FileExistsError:
        raise FileExistsError(f"{shown(path)} exists already") from None
    finally:
        part.unlink(missing_ok=True)


def refuse_target(path: Path, *, overwrite: bool = True) -> None:
    """Raise the error of `written_whole` if it can be known before the work that nothing can be written to `path`."""
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{shown(path)} exists already")
    with suppress(FileNotFoundError):
        path.stat()  # fails if links lead in a circle, for which Path.resolve raises an error of another class
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"{shown(path)} is not a regular file; name another one to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(path))


def remove_left(folder: Path) -> None:
    """Remove the parts of files that killed processes have left in a folder.

    A process keeps the part that it writes locked, and the system takes the lock back when the process ends, whatever
    ends it. If the file system has no locks, nothing is removed, and a warning names the parts.
    """
    if fcntl is None:
        return
    try:
        parts = [path for path in folder.iterdir() if path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)]
    except OSError:
        return  # whoever may write to a folder may not always list it
    for part in parts:
        try:
            with part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
        except (BlockingIOError, FileNotFoundError):
            pass  # it is being written, or has been removed meanwhile
        except OSError as error:
            left = f"a process that was killed may have left {shown(part)}, which could not be removed"
            warnings.warn(f"{left} ({error.strerror})", stacklevel=2)


def write_text(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all; the errors are those of `written_whole`."""
    with written_whole(path) as file:
        file.write(text.encode())


def _opened(part: Path, path: Path) -> BinaryIO:
    """The new file, locked."""
    while True:
        try:
            file = part.open("xb")
        except OSError as error:
            error.filename = str(path)  # the name that the user knows
            raise
        if fcntl is None:
            return file
        with suppress(OSError):  # this file system has no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if part.exists():
            return file
        file.close()  # another process took it for one that was left, before it was locked


def _claim(part: Path, target: Path) -> None:
    """Take the name, unless another process was quicker: unlike a rename, a link replaces nothing."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        target.open("xb").close()  # this file system has no links


def apply(
    function: Callable[[Any], Any],
    source: Path,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress = unseen,
) -> None:
    """Apply an elementwise function to the array in one .npy file, and write the result to another.

    The array may be larger than memory: it is mapped and computed in blocks of 64 MiB. Shape and order (C or Fortran)
    are kept; the type is what `function` gives, in the machine's byte order.

    Parameters
    ----------
    function : callable
        Takes a one-dimensional array and gives one of the same size.
    source, target : Path
        The .npy files to read and to write. `target` appears when it is complete, and not at all otherwise.
    overwrite : bool, default False
        Whether `target` may replace a file.
    progress : callable, optional
        Called after each block, with the bytes read so far and the bytes in all.

    Raises
    ------
    ValueError
        `source` is not a .npy file of one whole array of numbers, or both are the same file.
    TypeError
        `function` does not take the type of the array.
    OSError
        A file cannot be read or written; a `target` that exists is a `FileExistsError`.
    """
    if source.exists() and target.exists() and source.samefile(target):
        raise ValueError(f"{shown(source)} and {shown(target)} are the same file; write to another one")
    shape, fortran_order, dtype, start = read_header(source)
    result = np.asarray(function(np.empty(0, dtype))).dtype  # fails if the function does not take the type
    header = {"shape": shape, "fortran_order": fortran_order, "descr": np.lib.format.dtype_to_descr(result)}
    size = int(np.prod(shape, dtype=object))
    step = _BLOCK_BYTES // max(dtype.itemsize, result.itemsize)
    with written_whole(target, overwrite=overwrite) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for at in range(0, size, step):
            count = min(step, size - at)
            block = np.memmap(source, dtype, "r", start + at * dtype.itemsize, (count,))
            file.write(np.ascontiguousarray(function(block)).data.cast("B"))
            progress((at + count) * dtype.itemsize, size * dtype.itemsize)
