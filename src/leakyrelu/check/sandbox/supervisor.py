"""A process between us and somebody's code: it starts a worker, asks it, and ends it with all that it has started.

Run by `runner` as a program (python -I supervisor.py). It never runs that code itself: a forked worker does, within
limits on memory, disk, time, output and processes. What the worker sends is read as text and never executed. This
guards against accidents, not against malice: the code can still reach the network and read files.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

__all__: list[str] = []

Json = dict[str, Any]

_TICK = 0.05  # seconds between two looks at what the worker does
_PATIENCE = 3  # after so many calls that had to be stopped, no more are made
_MOST_PROCESSES = 32  # at one time; where they start faster than we look, the higher limit of the kernel stops them
_KEPT = 2000  # characters that are kept of what one call prints
_LONGEST_ANSWER = 4 << 20


def _beside(name: str) -> ModuleType:
    """Load a module beside this file by its path: importing the package would load NumPy, which numbers do not need."""
    spec = spec_from_file_location(f"leakyrelu_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None  # noqa: S101  # for mypy
    assert spec.loader is not None  # noqa: S101  # for mypy
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MODULES = {name: _beside(name) for name in ("adapters", "calling", "limits", "loading", "usage", "worker")}


class Worker:
    """A process that runs the code, and the pipes to it."""

    def __init__(self, job: Json, output: int) -> None:
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self._unsent = b""
        self.received = b""
        self.process = os.fork()
        if self.process == 0:
            _become_worker(job, requests, answers, output)
        os.close(requests)
        os.close(answers)
        os.set_blocking(self.requests, False)
        os.set_blocking(self.answers, False)

    def send(self, message: Json) -> None:
        """Send what the pipe takes now. The rest follows while we wait for the answer."""
        self._unsent = json.dumps(message).encode() + b"\n"
        self._send_on()

    def _send_on(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._unsent = self._unsent[os.write(self.requests, self._unsent) :]

    def messages(self) -> Iterator[Json]:
        """The messages that come within a tick. The code may write there too: what is no message is dropped."""
        select.select([self.answers], [self.requests] if self._unsent else [], [], _TICK)
        if self._unsent:
            self._send_on()
        with contextlib.suppress(BlockingIOError):
            self.received += os.read(self.answers, 1 << 20)
        *lines, self.received = self.received.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message

    def close(self) -> None:
        """Close the pipes."""
        os.close(self.requests)
        os.close(self.answers)


def _become_worker(job: Json, requests: int, answers: int, output: int) -> None:
    """In the forked process: close the supervisor's files, set the limits, then run the code."""
    limits = _MODULES["limits"]
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(null, 2)  # Python's own warnings are not what the code prints
        for descriptor in range(3, max(null, requests, answers) + 2):
            if descriptor not in {requests, answers}:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        seconds = job["seconds_to_load"] + job["seconds"] * len(job["requests"])
        os.environ["TMPDIR"] = job["directory"]  # temporary files go with the folder
        limits.limit(memory=job["memory"], seconds=int(seconds) + 1, output=job["output"] + 1)
        limits.die_with_parent()
        _MODULES["worker"].work(job, _MODULES, requests, answers)
    finally:
        os._exit(_MODULES["worker"].BROKEN)


class Supervisor:
    """Sends each request to a worker, and starts a new worker where the last one had to be ended."""

    def __init__(self, job: Json) -> None:
        self.job = job
        self.output = _unnamed_file()
        self.usage = _MODULES["usage"].Usage(**job["together"], folder=job["directory"])
        self.worker: Worker | None = None

    def messages(self) -> Iterator[Json]:
        """First whether the code could be loaded, then one answer per request."""
        message = self._start()
        yield message
        if "error" in message:
            return
        stopped = 0
        for request in self.job["requests"]:
            if stopped >= _PATIENCE:
                yield {"ended": f"not asked: {stopped} calls before it had to be stopped"}
                continue
            answer = self._ask(request)
            stopped += "ended" in answer
            yield answer

    def _start(self) -> Json:
        self.worker = Worker(self.job, self.output)
        message = self._wait(lambda it: "loaded" in it or "error" in it, self.job["seconds_to_load"])
        if "ended" in message:
            return {"error": f"{message['ended']} while the code was being loaded, before any call"} | message
        return message

    def _ask(self, request: Json) -> Json:
        started = self._start() if self.worker is None else {}
        if "error" in started or self.worker is None:
            self.stop()
            return {"ended": started.get("error", "")}
        token = secrets.token_hex(16)
        self._take_printed()
        self.worker.send(request | {"token": token})
        message = self._wait(lambda it: it.get("token") == token, self.job["seconds"])
        # What is asked here again may have come between two looks.
        if "ended" not in message and (ended := self._flood() or self.usage.excess([self.worker.process])):
            message = {"ended": ended}
            self.stop()
        printed = self._take_printed()
        if "ended" in message:
            return message | {"printed": printed}
        left = message["children"] or _MODULES["usage"].adopted(self.worker.process)
        if left:
            self.stop()
        return dict(message["answer"]) | {"printed": printed, "children": left}

    def _wait(self, is_wanted: Callable[[Json], bool], seconds: float) -> Json:
        """Wait for a message, and return it or {"ended": what happened instead}."""
        assert self.worker is not None  # noqa: S101  # for mypy
        end = time.monotonic() + seconds
        ended = ""
        while True:
            for message in self.worker.messages():
                if is_wanted(message):
                    return message
            if ended:  # and it sent nothing more before its end
                self.stop()
                return {"ended": ended}
            ended = self._ending() or (f"stopped after {seconds:g} s" if time.monotonic() > end else "")

    def _ending(self) -> str:
        """Why the worker has ended or must be ended. An empty text: it goes on."""
        assert self.worker is not None  # noqa: S101  # for mypy
        if select.select([0], [], [], 0)[0]:  # our input has ended: whoever asked is gone
            raise SystemExit
        process, status = os.waitpid(self.worker.process, os.WNOHANG)
        if process:
            return _described(os.waitstatus_to_exitcode(status))
        if len(self.worker.received) > _LONGEST_ANSWER:
            return "stopped: its answer was too long"
        processes = _MODULES["usage"].descendants()
        if len(processes) > _MOST_PROCESSES:
            return f"stopped after it started {_MOST_PROCESSES} processes"
        return self._flood() or str(self.usage.excess(processes))

    def _flood(self) -> str:
        most = int(self.job["output"])
        return f"stopped after it printed {most >> 10} KiB" if os.fstat(self.output).st_size >= most else ""

    def _take_printed(self) -> str:
        text = os.pread(self.output, _KEPT, 0).decode(errors="replace")
        os.ftruncate(self.output, 0)
        return text

    def stop(self) -> None:
        """End the worker and all that it has started."""
        if self.worker is not None:
            _end_all(self.worker.process)
            self.worker.close()
            self.worker = None


def _described(exit_code: int) -> str:
    if exit_code == _MODULES["worker"].BROKEN:
        return "broke Python itself, or the files that it has open"
    if exit_code >= 0:
        return f"ended its process, with exit code {exit_code}"
    try:
        return f"crashed: {signal.Signals(-exit_code).name}"
    except ValueError:  # a signal without a name
        return f"crashed: signal {-exit_code}"


def _unnamed_file() -> int:
    """A file for what the code prints. It has no name, so it is gone once nobody has it open."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    import fcntl  # here: Windows has none, and this module is to be importable there

    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _end_all(worker: int) -> None:
    """Kill until nothing is left: a process may start another just before it is killed."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker, signal.SIGKILL)
        for process in _MODULES["usage"].descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def main() -> None:
    """Read the job from standard input, and write one message per line to standard output."""
    job = json.loads(sys.stdin.buffer.readline())
    _MODULES["limits"].become_subreaper()
    supervisor = Supervisor(job)
    try:
        for message in supervisor.messages():
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
    finally:
        supervisor.stop()
        import shutil  # here: it takes longer to load than everything else

        shutil.rmtree(job["directory"], ignore_errors=True)  # whoever asked may be gone, and then leaves it to us


if __name__ == "__main__":
    main()
