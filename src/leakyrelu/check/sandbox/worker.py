"""The process that runs somebody's code: it loads the code, then answers one request after another.

Loaded by `supervisor` by its path, and with the standard library alone.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from json import dumps, loads  # by name: the code may replace those of the module
from types import ModuleType
from typing import Any

__all__ = ["BROKEN", "work"]

Json = dict[str, Any]

BROKEN = 119  # the exit code when no answer could be sent
_HIGH = 600  # code that closes or writes to "all" descriptors seldom gets this far


def work(job: Json, modules: dict[str, ModuleType], requests: int, answers: int) -> None:
    """Load the code, say whether that went well, then answer one request per line. It never returns."""
    try:
        _work(job, modules, _moved_up(requests), _moved_up(answers))
    except BaseException:  # noqa: BLE001  # raised by our own lines: the code broke what we need to answer
        os._exit(BROKEN)
    os._exit(0)


def _moved_up(descriptor: int) -> int:
    import fcntl  # here: Windows has none, and this module is to be importable there

    with contextlib.suppress(OSError):  # a limit on their number
        higher = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        os.close(descriptor)
        return higher
    return descriptor


def _work(job: Json, modules: dict[str, ModuleType], requests: int, answers: int) -> None:
    calling, loading = modules["calling"], modules["loading"]
    send, target = _sender(answers), job["target"]
    try:
        adapted = _adapted(job, loading, modules["adapters"])
    except (loading.NotFoundError, modules["adapters"].NotCallableError) as error:
        send({"error": str(error)})
        return
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported
        send(loading.what_went_wrong(error, target))
        return
    send({"loaded": True, "called": {name: one.described for name, one in adapted.items()}})
    callers = {name: calling.Caller(one, caught=(BaseException,)) for name, one in adapted.items()}
    with os.fdopen(requests) as lines:
        for line in lines:
            request = loads(line)
            answer = _answer(callers[request["of"]], request, lambda: loading.hidden(target))
            send({"token": request["token"], "answer": answer, "children": _has_children()})


def _answer(caller: Callable[[Json], Json], request: Json, hidden: Callable[[], str]) -> Json:
    try:
        answer = caller(request)
    except BaseException as error:  # raised by our own lines: to make an array they import NumPy, which may be hidden
        if not hidden():
            raise
        answer = {"raised": {"type": type(error).__name__, "text": str(error)[:300]}}
    return answer | {"hidden": hidden()} if "raised" in answer else answer


def _adapted(job: Json, loading: ModuleType, adapters: ModuleType) -> dict[str, Any]:
    """The function and, if it is asked for, the derivative."""
    target, slope_name = job["target"], job["slope_name"]
    module = loading.load(target)
    found = loading.find(module, target["name"], target)
    function = adapters.function_adapter(
        found.function,
        owner=found.owner,
        exercise=job["level"] == "exercise",
        slope_name=slope_name,
        inputs=job["inputs"],
    )
    if job["level"] != "derivative":
        return {job["exercise"]: function}
    name = f"{target['name'].rpartition('.')[2]}_derivative"
    beside = getattr(module, name, None)
    other = loading.Loaded(beside) if callable(beside) else None
    if job["derivative_name"]:
        other = loading.find(module, job["derivative_name"], target)
    adapter = adapters.derivative_adapter(
        found.function,
        other and other.function,
        owner=(other or found).owner,
        slope_name=None if slope_name is None else adapters.AUTO,
    )
    return {"function": function, "derivative": adapter}


def _sender(answers: int) -> Callable[[Json], None]:
    process, write, leave = os.getpid(), os.write, os._exit

    def send(message: Json) -> None:
        if os.getpid() != process:
            leave(0)  # a process that the code forked does not answer
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed or replaced by the code
                stream.flush()
        # It begins with a line's end too: the code may have written there.
        text = memoryview(b"\n" + dumps(message).encode() + b"\n")
        while text:
            text = text[write(answers, text) :]

    return send


def _has_children() -> bool:
    """Whether a process that the code started still runs. Those that have ended are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
