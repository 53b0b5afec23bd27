"""Files: one written whole or not at all, and an operation from one .npy file to another, in blocks."""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["apply", "written_whole"]

_BLOCK_BYTES = 64 * 2**20


@contextmanager
def written_whole(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` when the block has ended well, and not at all otherwise.

    Raises
    ------
    FileExistsError
        `path` exists and is not to be overwritten.
    OSError
        The directory is missing or closed to us, the disk is full, and so on; nothing is left behind.
    """
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists already")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, fails where somebody was quicker
    except FileExistsError:
        raise FileExistsError(f"{path} exists already") from None
    finally:
        part.unlink(missing_ok=True)


def apply(
    function: Callable[[Any], Any],
    source: Path,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
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
        Called with the bytes read so far and the bytes in all, after each block.

    Raises
    ------
    ValueError
        `source` is not a whole .npy file, or both are the same file.
    TypeError
        `function` does not take the type of the array.
    OSError
        A file cannot be read or written; a `target` that exists is a `FileExistsError`.
    """
    if target.exists() and source.samefile(target):
        raise ValueError(f"{source} and {target} are the same file; write to another one")
    shape, fortran_order, dtype, start = _read_header(source)
    result = np.asarray(function(np.empty(0, dtype))).dtype
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
    with source.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{source} is not a regular file")
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
        except Exception as error:
            # Whatever NumPy's parser stumbles over, the file is not one that np.save wrote.
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{source} is not a .npy file: {reason}") from error
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{source} holds Python objects, which are not loaded; save it as an array of numbers")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if status.st_size - start < size:
        raise ValueError(f"{source} is truncated: {size} bytes of data expected, {status.st_size - start} found")
    return shape, fortran_order, dtype, start
