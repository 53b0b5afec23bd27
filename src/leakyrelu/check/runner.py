"""Checks a function in this process, if it is trusted, or in a process of its own; see `sandbox`."""

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leakyrelu.check.asking import DEFAULT, inputs_of, judged, request_of, told, with_default
from leakyrelu.check.cases import cases_of, name_of
from leakyrelu.check.reading import UnreadableError, program, target_of
from leakyrelu.check.reporting import Report
from leakyrelu.check.sandbox.adapters import AUTO, NotCallableError, derivative_adapter, function_adapter
from leakyrelu.check.sandbox.calling import Caller, Json

__all__ = ["Cancellation", "check", "check_named", "check_source", "refuse_seconds"]

Function = Callable[..., Any]

_MEMORY = 2 << 30  # bytes that a file may use: NumPy takes a tenth of it
_MEMORY_OF_MODULES = 16 << 30  # bytes: PyTorch and JAX reserve far more than they use
_TOGETHER = {"memory": 4 << 30, "disk": 1 << 30}  # bytes that all processes of a check may take, on Linux
_OUTPUT = 1 << 20  # bytes that one call may print
_SECONDS_TO_LOAD = 15.0  # for a file, which may import PyTorch; on a busy machine that takes a while
_SECONDS_TO_IMPORT = 60.0  # for a module, which may be a framework of its own
_NO_FORK = (
    "the code runs in a process of its own, which needs fork(); Linux and macOS have it, this system does not. If you "
    "trust the code, import its function and call leakyrelu.check.check(function), which runs it in this process"
)
_SUPERVISOR = Path(__file__).with_name("sandbox") / "supervisor.py"


class Cancellation:
    """Lets another thread end a check: what supervises it takes the end of its input for the end of whoever asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._process: subprocess.Popen[bytes] | None = None

    def cancel(self) -> None:
        """End the check, now or as soon as it begins. Its report is of no use then."""
        with self._lock:
            self._is_cancelled = True
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Say which process it is."""
        with self._lock:
            self._process = process
        if self._is_cancelled:
            self.cancel()


def check(
    function: Function,
    *,
    level: str = "exercise",
    derivative: Function | None = None,
    slope_name: str | None = AUTO,
    default: float | None = DEFAULT,
    exercise: str = "function",
) -> Report:
    """Check a function in this process, which is for functions that one trusts.

    Parameters
    ----------
    function : callable
        A leaky ReLU: ``function(x, alpha=0.01)``, or a class whose objects are called: one is made for each slope,
        with the slope or, if ``__call__`` takes the slope, without arguments. Functions and modules of PyTorch are
        called with tensors. From the level ``"array"`` on, the first value of a tuple such as ``(out, cache)`` counts.
    level : {"exercise", "array", "ieee", "derivative"}
        What is asked: single numbers, as in a textbook; arrays of all kinds; NaN, zeros, infinities and rounding; the
        derivative. Each level contains the ones before.
    derivative : callable, optional
        The derivative, for the level ``"derivative"``. By default it is the function called ``NAME_derivative`` in the
        module of ``NAME``, the function; for a function of PyTorch or JAX, its gradient.
    slope_name : str or None, default "auto"
        The name of the parameter that is the slope. ``"auto"`` takes ``alpha``, ``negative_slope`` and other usual
        names, or else the second parameter, unless its default is no number. None says that the slope is fixed, which
        ``"auto"`` finds from the level ``"array"`` on; then the slope is taken from the value at -1, and what asks for
        another one is left out.
    default : float or None, default 0.01
        The slope that the function must use where none is given. None says that it has no default.
    exercise : {"function", "derivative", "backward"}
        What is asked for at the level ``"exercise"``: the function; its derivative,
        ``leaky_relu_derivative(z, alpha=0.01)``; or the backward pass over lists of numbers,
        ``leaky_relu_backward(gradients, zs, alpha=0.01)``. The other levels are those of the function.

    Returns
    -------
    Report
        ``report.passed`` says whether all is right, and ``print(report)`` what is wrong. If nothing could be asked,
        ``report.error`` says why.

    Raises
    ------
    ValueError
        There is no such level or exercise, the exercise has no such level, or `default` is not finite.

    See Also
    --------
    check_source, check_named : check code that is not trusted, in a process of its own.

    Examples
    --------
    >>> from leakyrelu.check import check
    >>> report = check(lambda z, alpha=0.01: max(z, alpha * z), level="exercise")
    >>> report.passed
    True
    >>> print(check(lambda z, alpha=0.1: z if z > 0 else alpha * z).failures[0])
    failed    <lambda>(-1) -> -0.1
              expected: -0.01
              why:      a negative number is multiplied by alpha, and alpha is 0.01 where none is given
              hint:     the default slope is 0.1; it must be 0.01
    """
    asked = with_default(cases_of(level, exercise), default)
    try:
        adapter = function_adapter(
            _callable(function), exercise=level == "exercise", slope_name=slope_name, inputs=inputs_of(asked[0])
        )
        adapted = {exercise: adapter}
        if level == "derivative":
            other = derivative or _beside(function)
            adapted["derivative"] = derivative_adapter(function, other, slope_name=slope_name and AUTO)
    except NotCallableError as error:
        return Report(level, error=str(error))
    callers = {of: Caller(adapter) for of, adapter in adapted.items()}
    answers = []
    for case in asked:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            answer = callers[case.of](request_of(case))
        answers.append(answer | {"printed": printed.getvalue()})
    name = getattr(function, "__name__", type(function).__name__)
    return judged(level, name, asked, answers, {of: adapter.described for of, adapter in adapted.items()})


def _callable(function: object) -> Function:
    if not callable(function):
        raise NotCallableError(f"a function is wanted, got {type(function).__name__}")
    return function


def _beside(function: Function) -> Function | None:
    """The function NAME_derivative in the same module."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    found = getattr(module, f"{getattr(function, '__name__', '')}_derivative", None)
    return found if callable(found) else None


def check_source(
    source: str | bytes,
    *,
    name: str | None = None,
    level: str = "exercise",
    seconds: float = 5.0,
    derivative: str | None = None,
    file: str | os.PathLike[str] | None = None,
    slope_name: str | None = AUTO,
    default: float | None = DEFAULT,
    exercise: str = "function",
    cancellation: Cancellation | None = None,
) -> Report:
    """Check a function in the text of a program, in a process of its own, with limits.

    Whatever the program does is reported: an endless loop, a crash, a flood of output. It runs in an empty directory
    that is removed afterwards, without standard input, and all processes that it starts are ended. That guards against
    accidents, not against malice: the program could still read files and use the network.

    Parameters
    ----------
    source : str or bytes
        The text of a Python file. Bytes are read as Python reads a file: with a byte order mark, and in the encoding
        that the first lines declare.
    name : str, optional
        The name of the function, of a class that is called, or of a method: ``"LeakyReLU.forward"``. A static method or
        a class method is called as it is; another one of an object, as `check` does with a class. If the class needs
        more than the slope, the object is made without calling ``__init__``. By default it is the name of the exercise:
        ``leaky_relu``, ``leaky_relu_derivative`` or ``leaky_relu_backward``.
    level : {"exercise", "array", "ieee", "derivative"}
        As for `check`.
    seconds : float, default 5.0
        How many seconds each call may take. Loading the program may take 15.
    derivative : str, optional
        The name of the derivative in the text, for the level ``"derivative"``; by default ``NAME_derivative``.
    file : str or os.PathLike, optional
        The file that the text is from. The program finds modules of its own in the directory of that file, and if that
        is a package, relative imports work. If the name ends in ``.ipynb``, the text is a Jupyter notebook: of its
        cells what defines the function runs, and what that needs.
    slope_name : str or None, default "auto"
        As for `check`.
    default : float or None, default 0.01
        As for `check`.
    exercise : {"function", "derivative", "backward"}
        As for `check`.
    cancellation : Cancellation, optional
        By which another thread can end the check.

    Returns
    -------
    Report
        Its `error` says why nothing could be asked: a syntax error and its line, or no function of that name.

    Raises
    ------
    ValueError
        As for `check`, or `seconds` is not above zero and finite.

    Examples
    --------
    >>> from leakyrelu.check import check_source
    >>> check_source("def leaky_relu(z, alpha=0.01): return z if z >= 0 else alpha * z").passed
    True
    >>> check_source("def leaky_relu(z, alpha=0.01) return z").error
    "SyntaxError in line 1: expected ':'"
    >>> check_source("def leaky_relu_derivative(z, alpha=0.01): return z > 0", exercise="derivative").cause
    'a truth value came back: return the number, not the comparison'
    """
    try:
        target = program(source, name or name_of(exercise), None if file is None else Path(file), derivative)
    except UnreadableError as error:
        return Report(level, error=str(error), cause=error.cause)
    return _run(target, level, seconds, derivative, slope_name, default, exercise, cancellation)


def check_named(
    spec: str,
    *,
    name: str | None = None,
    level: str = "exercise",
    seconds: float = 5.0,
    derivative: str | None = None,
    slope_name: str | None = AUTO,
    default: float | None = DEFAULT,
    exercise: str = "function",
) -> Report:
    """Check the function that a command line names, in a process of its own: FILE.py, FILE.py:NAME or MODULE:NAME.

    Parameters
    ----------
    spec : str
        The function: FILE.py, FILE.py:NAME, the same with FILE.ipynb or with ``-`` for standard input, or MODULE:NAME.
        It may be a class or a method, as for `check_source`.
    name : str, optional
        NAME, if only a file is named; by default the name of the exercise, as for `check_source`.
    level : {"exercise", "array", "ieee", "derivative"}
        As for `check`.
    seconds : float, default 5.0
        As for `check_source`; but loading a module may always take a minute.
    derivative : str, optional
        As for `check_source`.
    slope_name : str or None, default "auto"
        As for `check`.
    default : float or None, default 0.01
        As for `check`.
    exercise : {"function", "derivative", "backward"}
        As for `check`.

    Returns
    -------
    Report
        Like that of `check_source`.

    Raises
    ------
    OSError
        The file cannot be read. If it is no text, the report says so.
    ValueError
        `spec` has another form, or as for `check_source`.

    Examples
    --------
    >>> from leakyrelu.check import check_named
    >>> check_named("leakyrelu:leaky_relu", level="ieee").passed
    True
    """
    try:
        target = target_of(spec, name or name_of(exercise), derivative)
    except UnreadableError as error:
        return Report(level, error=str(error), cause=error.cause)
    return _run(target, level, seconds, derivative, slope_name, default, exercise)


def refuse_seconds(seconds: float) -> None:
    """Raise a `ValueError` if this is no time limit."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds must be above zero and finite, got {seconds}")


def _run(
    target: Json,
    level: str,
    seconds: float,
    derivative: str | None,
    slope_name: str | None,
    default: float | None,
    exercise: str,
    cancellation: Cancellation | None = None,
) -> Report:
    asked = with_default(cases_of(level, exercise), default)
    refuse_seconds(seconds)
    if not hasattr(os, "fork"):
        return Report(level, error=_NO_FORK)
    is_module = "module" in target
    job = {
        "target": target | {"packages": [entry for entry in sys.path if Path(entry).is_absolute()]},
        "requests": [request_of(case) for case in asked],
        "level": level,
        "exercise": exercise,
        "inputs": inputs_of(asked[0]),
        "derivative_name": derivative,
        "slope_name": slope_name,
        "seconds": seconds,
        "seconds_to_load": _SECONDS_TO_IMPORT if is_module else _SECONDS_TO_LOAD,
        "memory": _MEMORY_OF_MODULES if is_module else _MEMORY,
        "together": _TOGETHER,
        "output": _OUTPUT,
    }
    first, *answers = _messages(job, cancellation) or [{"error": "its process ended before it was asked"}]
    answers += [{"ended": "ended the process that supervises it"}] * (len(asked) - len(answers))
    return told(level, target["name"].rpartition(".")[2], asked, first, answers)


def _messages(job: Json, cancellation: Cancellation | None) -> list[Json]:
    """The messages of the supervisor, one per line, until it ends or its time is over."""
    patience = job["seconds_to_load"] * 4 + job["seconds"] * (len(job["requests"]) + 4) + 30
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        _supervisor(directory) as process,
    ):
        overdue = threading.Timer(patience, process.kill)
        overdue.daemon = True  # a program that is interrupted need not wait for it
        overdue.start()
        try:
            if cancellation is not None:
                cancellation.watch(process)
            return _talk(process, job | {"directory": directory})
        finally:
            overdue.cancel()


@contextlib.contextmanager
def _supervisor(directory: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    wide = {"JAX_ENABLE_X64": "1"}  # a default: without it, a function of JAX cannot keep float64
    process = subprocess.Popen(  # noqa: S603  # this Python, and a file of ours
        [sys.executable, "-I", "-B", "-X", "utf8", _SUPERVISOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        env=wide | environment | threads,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _talk(process: subprocess.Popen[bytes], job: Json) -> list[Json]:
    assert process.stdin is not None  # noqa: S101  # for mypy
    assert process.stdout is not None  # noqa: S101  # for mypy
    with contextlib.suppress(BrokenPipeError, ValueError):  # a ValueError: it is cancelled, and the input closed
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()  # it stays open: the supervisor takes its end as the end of this process
    messages = []
    for line in process.stdout:
        with contextlib.suppress(ValueError):  # the last line is cut short if the supervisor is killed
            messages.append(json.loads(line))
    return messages


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the supervisor end what it has started; end it if it does not."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
