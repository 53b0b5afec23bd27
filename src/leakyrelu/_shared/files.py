"""Writes files whole or not at all, and applies a function from one .npy file to another, in blocks."""

import os
import secrets
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from leakyrelu._shared.progress import Progress, unseen
from leakyrelu._shared.wording import first_line

__all__ = ["apply", "refuse_target", "write_text", "written_whole"]

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
    part = target.with_name(f".{secrets.token_hex(8)}.part")
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
        raise FileExistsError(f"{path} exists already") from None
    finally:
        part.unlink(missing_ok=True)


def refuse_target(path: Path, *, overwrite: bool = True) -> None:
    """Raise the error of `written_whole` if it can be known before the work that nothing can be written to `path`."""
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists already")
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"{path} is not a regular file; name another one to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(path))


def write_text(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all; the errors are those of `written_whole`."""
    with written_whole(path) as file:
        file.write(text.encode())


def _opened(part: Path, path: Path) -> BinaryIO:
    try:
        return part.open("xb")
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise


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
        `source` is not a whole .npy file, or both are the same file.
    TypeError
        `function` does not take the type of the array.
    OSError
        A file cannot be read or written; a `target` that exists is a `FileExistsError`.
    """
    if source.exists() and target.exists() and source.samefile(target):
        raise ValueError(f"{source} and {target} are the same file; write to another one")
    shape, fortran_order, dtype, start = _read_header(source)
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


def _read_header(source: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype, and where the data begin."""
    if not stat.S_ISREG(source.stat().st_mode):  # asked first: opening a pipe would wait for its other end
        raise ValueError(f"{source} is not a regular file")
    with source.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of a header that Python 2 wrote
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
            np.broadcast_shapes(shape)  # fails for negative sizes, and for too many of them
        except Exception as error:
            # NumPy's parser may raise anything. Whatever it is, np.save did not write this file.
            raise ValueError(f"{source} is not a .npy file: {first_line(error)}") from error
        start = file.tell()
        found = os.fstat(file.fileno()).st_size - start
    if dtype.hasobject or dtype.subdtype is not None:
        raise ValueError(f"{source} holds {dtype}, not plain numbers; save it as an array of numbers")
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if found < wanted:
        raise ValueError(f"{source} is truncated: {wanted} bytes of data expected, {found} found")
    return shape, fortran_order, dtype, start
