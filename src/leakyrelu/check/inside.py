"""Checks a program for an exercise in this very interpreter, for a browser, whose Python has no processes.

Whoever asks makes one call at a time, and ends the interpreter where an answer takes too long all the same, as the
supervisor in `sandbox` does. All goes in and out as text, so that JavaScript needs to know nothing of Python's objects.
"""

import builtins
import contextlib
import io
import sys
from collections.abc import Callable
from json import dumps, loads  # by name: the code may replace those of the module
from time import monotonic

from leakyrelu.check.asking import inputs_of, request_of, told
from leakyrelu.check.cases import cases_of, name_of
from leakyrelu.check.reading import program
from leakyrelu.check.sandbox.adapters import NotCallableError, function_adapter
from leakyrelu.check.sandbox.calling import Caller, Json
from leakyrelu.check.sandbox.loading import NotFoundError, find, load, what_went_wrong

__all__ = ["Inside", "report"]

_BUILTINS = dict(vars(builtins))
_OUTPUT = 1 << 20  # characters that one call may print
_KEPT = 2000  # characters that are kept of what one call prints
_LIBRARIES = ("jax", "matplotlib", "numpy", "pandas", "scipy", "tensorflow", "torch")
_ALONE = "this page runs Python without other libraries: write it with Python alone, which has all that is needed"


class Inside:
    """A program for an exercise: it is loaded once, and then asked call by call.

    Parameters
    ----------
    exercise : {"function", "derivative", "backward"}
        What was to be written.
    source : str
        The program.
    """

    def __init__(self, exercise: str, source: str) -> None:
        asked = cases_of("exercise", exercise)
        self._requests, self._inputs = [request_of(case) for case in asked], inputs_of(asked[0])
        self._calls = len(asked)  # counted here: the code may replace len
        self._target = program(source, name_of(exercise), None) | {"packages": []}
        self._callers: dict[str, Caller] = {}

    def load(self, seconds: float) -> str:
        """Run the program for so long; the text tells how many calls there are to make, or what went wrong."""
        _restore_builtins()
        answer = _watched(self._load, seconds)
        if "ended" in answer:
            answer = {"error": f"{answer['ended']} while the code was being loaded, before any call"}
        return dumps(answer)

    def _load(self) -> Json:
        request = self._requests[0]
        try:
            found = find(load(self._target), self._target["name"], self._target)
            adapter = function_adapter(found.function, owner=found.owner, exercise=True, inputs=self._inputs)
        except (NotFoundError, NotCallableError) as error:
            return {"error": str(error)}
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported
            is_library = isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in _LIBRARIES
            return what_went_wrong(error, self._target) | {"hidden": _ALONE if is_library else ""}
        self._callers = {request["of"]: Caller(adapter, caught=(BaseException,))}
        return {"calls": self._calls, "called": {request["of"]: adapter.described}}

    def ask(self, place: int, seconds: float) -> str:
        """Make the call at this place, for so long; the text is its answer."""
        request = self._requests[place]
        return dumps(_watched(lambda: self._callers[request["of"]](request), seconds))


class _Printed(io.StringIO):
    """What the code prints, up to a limit."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full or self.tell() + len(text) > _OUTPUT:
            self.is_full = True
            raise OSError("File too large")  # as from the file that a process of `sandbox` prints to
        return super().write(text)


class _LateError(BaseException):
    """The time is over."""


class _Watch:
    """Ends code line by line. Code that holds on within one line is ended with its interpreter."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds
        self.is_over = False

    def __call__(self, *_: object) -> "_Watch":
        if monotonic() > self._end:
            self.is_over = True
            raise _LateError
        return self


def _watched(act: Callable[[], Json], seconds: float) -> Json:
    """What an act of the code gives, and what it prints. There is nothing that it could read."""
    watch, standard_input, sys.stdin = _Watch(seconds), sys.stdin, io.StringIO()
    answer: Json = {}
    try:
        with (
            contextlib.redirect_stdout(_Printed()) as printed,
            contextlib.redirect_stderr(_Printed()),
            contextlib.suppress(_LateError),  # raised in lines of ours
        ):
            sys.settrace(watch)
            answer = act()
    finally:
        sys.settrace(None)
        sys.stdin = standard_input
    if printed.is_full:
        answer = {"ended": f"stopped after it printed {_OUTPUT >> 10} KiB"}
    elif watch.is_over:
        answer = {"ended": f"stopped after {seconds:g} s"}
    return answer | {"printed": printed.getvalue()[:_KEPT]}


def _restore_builtins() -> None:
    """Undo what a program has replaced, for what comes after it."""
    vars(builtins).update(_BUILTINS)


def report(exercise: str, messages: str) -> str:
    """The verdict on a list of messages as the dictionary of `Report.to_dict`, all as JSON.

    The first message tells whether the code was loaded. The others are answers, or say why there is none:
    ``{"ended": "stopped after 5 s"}``.
    """
    _restore_builtins()
    first, *answers = loads(messages)
    asked = cases_of("exercise", exercise)
    return dumps(told("exercise", name_of(exercise), asked, first, answers).to_dict())
