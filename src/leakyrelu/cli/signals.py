"""What ends the process from outside: the command tidies up before it ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stopped_tidily"]

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
