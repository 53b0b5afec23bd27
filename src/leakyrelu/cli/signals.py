"""What ends the process before its work is done: the command tidies up, and no code that it runs ends it in silence."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Stopped", "said_before_os_exit", "stopped_tidily"]

_NAMES = ("SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """The process was told to end; raised where the program is at that moment, as Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_tidily() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this block like Ctrl-C, so that no part of a file is left; then end the process by it.

    A signal that is ignored, as SIGHUP is under nohup, stays so; one that another library handles is left to it.
    """
    handled = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        handled = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, _: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the tidying
        raise Stopped(number)

    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    except Stopped as error:
        sys.stdout.flush()
        signal.signal(error.number, signal.SIG_DFL)
        os.kill(os.getpid(), error.number)
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def said_before_os_exit(say: Callable[[str], None]) -> Iterator[None]:
    """Say what ended this process, and end it with 2, where code that the block runs calls `os._exit`.

    That ends a process at once, with any exit code, and without an error. A child that was forked may do it.
    """
    leave, process = os._exit, os.getpid()

    def told(status: int) -> NoReturn:
        if os.getpid() != process:
            leave(status)
        try:
            say("the code that was run ended the process: it called os._exit")
        finally:
            leave(2)

    os._exit = told
    try:
        yield
    finally:
        os._exit = leave
