"""Calls of a function: the arguments made of plain data, and what came of them as plain data.

Needs the standard library alone, and NumPy for arrays, so that the process of somebody's file starts fast and nothing
but text comes back from it.
"""

import builtins
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

__all__ = ["RAISED", "Adapted", "Caller", "Json", "decode", "encode"]

Json = dict[str, Any]

# What a function may raise; a KeyboardInterrupt is the user's.
RAISED = (Exception, SystemExit, GeneratorExit)

_PYTHONS = frozenset(name for name, value in vars(builtins).items() if callable(value) and name[0].islower())
_LONGEST = 300  # characters of a text that is shown
_MOST = 50  # names that are sent
_MOST_NUMBERS = 1000  # of a list that is sent
_LARGEST = 1 << 20  # bytes of an array that is sent
_LARGEST_INTEGER = 10_000  # bits; Python refuses to print one of 4300 digits


class Adapted(Protocol):
    """What is called, and how it takes its slope; see `adapters`."""

    @property
    def function(self) -> Callable[..., Any]:
        """Takes a number, a list or a NumPy array, or the lists of a backward pass, and the slope."""

    def arguments(self, slope: float | None, *, positional: bool) -> tuple[tuple[float, ...], dict[str, float]]:
        """The slope as the arguments that follow the others."""


def encode(value: Any) -> Json:
    """A number, a list of numbers or a NumPy array, as what JSON can hold; of all else the type and the text."""
    kind = type(value)
    if kind is int and value.bit_length() > _LARGEST_INTEGER:
        text = f"an integer of {value.bit_length():,} bits"
        return {"type": "int", "text": text, "repr": text}
    encoded: Json = {"type": _text(_name, kind), "text": _text(str, value), "repr": _text(repr, value)}
    if kind is int:
        return encoded | {"int": hex(value)}
    if kind is float:
        return encoded | {"float": value.hex()}
    if _is_short_list(value):
        return encoded | {"list": [encode(item) for item in value]}
    array = _as_array(value)
    if array is None or array.dtype.hasobject or array.nbytes > _LARGEST:
        return encoded
    return encoded | {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bytes": array.astype(array.dtype.newbyteorder("=")).tobytes().hex(),
        "scalar": issubclass(kind, sys.modules["numpy"].generic),
    }


def decode(encoded: Json) -> Any:
    """What `encode` was given; None for what it could only name."""
    if "int" in encoded:
        return int(encoded["int"], 16)
    if "float" in encoded:
        return float.fromhex(encoded["float"])
    if "list" in encoded:
        return [decode(item) for item in encoded["list"]]
    if "dtype" not in encoded:
        return None
    import numpy as np

    if encoded["dtype"] == "bfloat16":
        import_module("ml_dtypes")  # NumPy then knows the name
    array = np.frombuffer(bytes.fromhex(encoded["bytes"]), np.dtype(encoded["dtype"])).reshape(encoded["shape"]).copy()
    return array[()] if encoded["scalar"] else _laid_out(array, encoded.get("layout", ""))


def _laid_out(array: Any, layout: str) -> Any:
    """The same array, otherwise in memory."""
    import numpy as np

    if layout == "every second":
        array = np.repeat(array, 2)[::2]
    elif layout == "backwards":
        array = array[::-1].copy()[::-1]
    elif layout == "columns":
        array = np.asfortranarray(array)
    elif layout == "read-only":
        array.setflags(write=False)
    return array


def _name(kind: type) -> str:
    return kind.__name__


def _text(write: Callable[[Any], str], value: Any) -> str:
    try:
        text = str.__str__(write(value))  # str itself, also where a class of its own came back
    except RAISED as error:  # a class of the learner's may do anything
        return f"<text that raises {type(error).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _as_array(value: Any) -> Any:
    """A NumPy array or scalar, or an array of JAX, as an array; None for anything else."""
    numpy, jax = sys.modules.get("numpy"), sys.modules.get("jax")
    if numpy is None:
        return None
    # By type() and not isinstance: that would believe what a class says of itself.
    if type(value) is numpy.ndarray or issubclass(type(value), numpy.generic):
        return numpy.asarray(value)
    return numpy.asarray(value) if jax is not None and issubclass(type(value), jax.Array) else None


class Caller:
    """Calls a function, again and again.

    Parameters
    ----------
    adapted : Adapted
        The function.
    caught : tuple of exception types
        What it may raise; another exception is passed on.
    """

    def __init__(self, adapted: Adapted, caught: tuple[type[BaseException], ...] = RAISED) -> None:
        self._adapted, self._caught = adapted, caught
        self._last: tuple[Any, Any] = None, None  # what the last call gave, and what was in it

    def __call__(self, request: Json) -> Json:
        """Say what comes of a call: a value, or what was raised."""
        inputs = [decode(one) for one in request["inputs"]]
        before = [_content(one) for one in inputs]
        slope, named = self._adapted.arguments(request["alpha"], positional=request["positional"])
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                value = self._adapted.function(*inputs, *slope, **named)
            except self._caught as error:
                return {"raised": _raised(error)}
        last, content = self._last
        self._last = value, _content(value)
        return {
            "value": encode(value),
            "changed": [_content(one) for one in inputs] != before,
            "overwrites": _content(last) != content,
            "warnings": sorted({f"{warning.category.__name__}: {warning.message}"[:_LONGEST] for warning in seen}),
        }


def _content(x: Any) -> Any:
    """What is in a list of numbers or a NumPy array, to be compared later; None for anything else."""
    if _is_short_list(x):
        return [(type(item), item) for item in x]
    numpy = sys.modules.get("numpy")
    if numpy is None or type(x) is not numpy.ndarray or x.dtype.hasobject or x.nbytes > _LARGEST:
        return None
    return x.dtype, x.shape, x.tobytes()


def _is_short_list(value: Any) -> bool:
    return type(value) is list and len(value) < _MOST_NUMBERS and all(type(item) in {int, float} for item in value)


def _raised(error: BaseException) -> Json:
    here = Path(__file__).parent
    frames = [
        (frame, line)
        for frame, line in islice(traceback.walk_tb(error.__traceback__), 8)
        if Path(frame.f_code.co_filename).parent != here  # the function's, not ours
    ]
    described = {"type": _text(_name, type(error)), "text": _text(str, error), "line": None}
    if not frames:
        return described
    frame, line = frames[0]  # of the function itself, not of what it calls
    own = [each for each in frames if each[0].f_code.co_filename == frame.f_code.co_filename]
    return described | {"line": line} | _around(*own[-1])


def _around(frame: FrameType, line: int | None) -> Json:
    """Where an exception was raised: the text of the line, the variables, and which of them are None.

    Also which names hide Python's own functions, and which belong to the module.
    """
    code, others = frame.f_code, frame.f_globals
    try:
        names = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
        variables = {name: value for name, value in frame.f_locals.items() if name in names}
        both = others | variables
        return {
            "code": linecache.getline(code.co_filename, line or 0, others).strip()[:_LONGEST],
            "variables": list(variables)[:_MOST],
            "none": [name for name, value in variables.items() if value is None][:_MOST],
            "hiding": [name for name, value in both.items() if name in _PYTHONS and not callable(value)][:_MOST],
            "globals": [name for name in names if name in others][:_MOST],
        }
    except RAISED:  # a namespace of the learner's may do anything
        return {}
