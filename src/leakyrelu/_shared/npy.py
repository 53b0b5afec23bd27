"""Reads what a .npy file says of its array, and refuses a file that holds more, less or something else."""

import os
import stat
import struct
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from leakyrelu._shared.wording import first_line, in_one_line, shown

__all__ = ["Header", "read_header", "refuse_raw", "refuse_special"]

_VERSIONS = ((1, 0), (2, 0), (3, 0))
_LONGEST = 10_000  # bytes; no array of plain numbers needs as many, and NumPy parses no more


class Header(NamedTuple):
    """What a .npy file says of its array, and where the data begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    start: int


def read_header(source: Path) -> Header:
    """Read the header of a .npy file that holds one array of plain numbers, and nothing after it.

    Raises
    ------
    ValueError
        The file is no such file.
    OSError
        It cannot be read.
    """
    refuse_special(source)
    name = shown(source)
    with source.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of a header that Python 2 wrote
        try:
            shape, fortran_order, dtype = _parsed(file)
        except OSError:
            raise
        except Exception as error:
            # NumPy's parser may raise anything. Whatever it is, np.save did not write this file.
            raise ValueError(f"{name} is not a .npy file: {in_one_line(first_line(error))[:200]}") from error
        start = file.tell()
        found = os.fstat(file.fileno()).st_size - start
    refuse_raw(dtype, name)
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if found < wanted:
        raise ValueError(f"{name} is truncated: {wanted} bytes of data expected, {found} found")
    if found > wanted:
        raise ValueError(
            f"{name} holds {found - wanted} bytes more than its array of {wanted}, such as a second array; "
            "save each array in a file of its own"
        )
    return Header(shape, fortran_order, dtype, start)


def refuse_special(path: Path) -> None:
    """Raise a `ValueError` for a pipe, a device or a directory; opening a pipe would wait for its other end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{shown(path)} is not a regular file")


def refuse_raw(dtype: npt.DTypeLike, name: str) -> None:
    """Raise a `ValueError` that says what to do if a file's elements are not numbers: bytes without a type, or fields.

    `name` is that of the file, as it is to be shown.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "V" and dtype.names is None and dtype.subdtype is None:
        raise ValueError(
            f"{name} holds elements of {dtype.itemsize} bytes without a type (V{dtype.itemsize}), as NumPy saves "
            f"{'bfloat16' if dtype.itemsize == 2 else 'types of ml_dtypes'}: view them as what they are, and save them "
            "in a type of NumPy's: numpy.load(FILE).view(ml_dtypes.bfloat16).astype('float32')"
        )
    if dtype.hasobject or dtype.kind == "V":
        kind = f"records of {len(dtype.names)} fields" if dtype.names else str(dtype)
        raise ValueError(f"{name} holds {kind}, not plain numbers; save it as an array of numbers")


def _parsed(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    if version not in _VERSIONS:
        given, known = (", ".join(f"{major}.{minor}" for major, minor in each) for each in ([version], _VERSIONS))
        raise ValueError(f"it says version {given} of the format, and NumPy writes {known}")
    at, length = file.tell(), "<H" if version == (1, 0) else "<I"
    (size,) = struct.unpack(length, file.read(struct.calcsize(length)))
    if size > _LONGEST:
        raise ValueError(
            f"its header of {size:,} bytes is longer than that of any array of plain numbers ({_LONGEST:,} at most); "
            "save each field of an array with many fields in a file of its own"
        )
    file.seek(at)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if any(type(length) is not int for length in shape):
        raise ValueError(f"its shape is {shape}")
    np.broadcast_to(np.empty((), dtype.base), shape)  # fails for negative sizes, and for too many of them
    return shape, fortran_order, dtype
