"""Our own streaming copy, which is the limit for arrays larger than the caches; it is compiled on first use."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

import leakyrelu

_HERE = Path(__file__).parent
_KERNELS = _HERE.parent / "src" / "leakyrelu" / "_ufuncs"


def streaming_copy(out: np.ndarray, x: np.ndarray) -> None:
    """Copy the bytes of `x` to `out`, both contiguous, past the caches, with leakyrelu's number of threads."""
    _compiled()(out.ctypes.data, x.ctypes.data, x.nbytes, leakyrelu.get_num_threads())


@cache
def _compiled() -> Callable[[int, int, int, int], None]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "streaming_copy.so"
        subprocess.run(  # noqa: S603  # the compiler the user has set
            [
                *shlex.split(os.environ.get("CXX", "c++")),
                *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", f"-I{_KERNELS}"),
                *("-o", library, _HERE / "streaming_copy.cpp", _KERNELS / "thread_pool.cpp"),
            ],
            check=True,
        )
        function = ctypes.CDLL(library).streaming_copy
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = None
    return function
