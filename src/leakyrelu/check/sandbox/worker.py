"""The process that runs somebody's code: how the code is loaded, and how it is called.

Loaded by `supervisor` by its path, and with the standard library alone.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from inspect import isfunction
from json import dumps, loads  # by name: the code may replace those of the module
from pathlib import Path
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
    calling, adapters = modules["calling"], modules["adapters"]
    send = _sender(answers)
    try:
        function, names = _load(job["target"], adapters.NotCallableError)
        adapted = {"function": adapters.function_adapter(function, literal=job["literal"])}
        if job["derivative"]:
            adapted["derivative"] = adapters.derivative_adapter(function, _derivative(job, names, adapters))
    except adapters.NotCallableError as error:
        send({"error": str(error)})
        return
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported
        send(_what_went_wrong(error, job["target"]))
        return
    send({"loaded": True})
    with os.fdopen(requests) as lines:
        for line in lines:
            request = loads(line)
            answer = calling.call(adapted[request["of"]], request, caught=(BaseException,))
            send({"token": request["token"], "answer": answer, "children": _has_children()})


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


def _load(target: Json, not_callable: type[Exception]) -> tuple[Any, dict[str, Any]]:
    """The function, and all names beside it."""
    sys.path[:] = [*target["path"], *sys.path, *(entry for entry in target["packages"] if entry not in sys.path)]
    if "module" in target:
        found: Any = import_module(target["module"])
        names = vars(found)
    else:
        module = ModuleType("answer")
        module.__file__ = target["filename"]
        sys.modules["answer"] = module  # dataclasses and the like look there
        names = vars(module)
        exec(compile(target["source"], target["filename"], "exec", dont_inherit=True), names)  # noqa: S102  # its purpose
        found = module
    for part in target["name"].split("."):
        if not hasattr(found, part):
            raise not_callable(_what_is_there(found, target))
        found = getattr(found, part)
    if isinstance(found, type) or not callable(found):
        what = "a class" if isinstance(found, type) else f"{found!r:.100}, of type {type(found).__name__}"
        raise not_callable(f"{target['name']} must be a function, it is {what}")
    return found, names


def _what_is_there(owner: Any, target: Json) -> str:
    functions = [key for key, value in vars(owner).items() if isfunction(value) and not key.startswith("_")]
    there = f"functions there: {', '.join(functions[:10])}" if functions else "no function is defined there"
    where = target["module"] if "module" in target else Path(target["filename"]).name
    return f"there is no {target['name']!r} in {where}; {there}"


def _derivative(job: Json, names: dict[str, Any], adapters: ModuleType) -> Any:
    name = job["derivative_name"] or f"{job['target']['name'].rpartition('.')[2]}_derivative"
    if job["derivative_name"] and not callable(names.get(name)):
        raise adapters.NotCallableError(f"there is no function {name!r} beside {job['target']['name']}")
    return names.get(name)


def _what_went_wrong(error: BaseException, target: Json) -> Json:
    """Describe an error that was raised while the code was loaded: its line in the code, and what `causes` looks up."""
    name, text = type(error).__name__, str(error)[:500]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == target.get("filename")]
    line = own[-1].lineno if own else None
    if isinstance(error, SyntaxError):
        text, line = error.msg, error.lineno
    where = "" if line is None else f" in line {line}"
    return {"error": f"{name}{where}: {text}" if text else f"{name}{where}", "type": name, "text": text}


def _has_children() -> bool:
    """Whether a process that the code started still runs. Those that have ended are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
