"""Lets an observer take the calls of Keras's functions, in its own thread alone, and puts them back afterwards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any, Protocol

from leakyrelu.keras.private import TARGETS, Target

__all__ = ["observed_by"]


class Observer(Protocol):
    """Is called in the place of a function of `TARGETS`; it must call the original and return what that returns."""

    def __call__(
        self, name: str, original: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any: ...


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)  # each thread has its own
_lock = Lock()
_originals: dict[Target, Any] = {}  # what stood there, while there are users
_users = 0


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Let `observer` take the calls that this thread makes in this block. Other threads compute what they always do."""
    _enter()
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)
        _leave()


def _enter() -> None:
    global _users  # noqa: PLW0603  # the functions of Keras are global, too
    with _lock:
        _users += 1
        if _users == 1:
            for name, target in TARGETS.items():
                _originals[target] = vars(target.owner)[target.name]
                setattr(target.owner, target.name, _observable(name, _originals[target]))


def _leave() -> None:
    global _users  # noqa: PLW0603  # as above
    with _lock:
        _users -= 1
        if _users == 0:
            for target, original in _originals.items():
                setattr(target.owner, target.name, original)
            _originals.clear()


def _observable(name: str, original: Any) -> Any:
    static = isinstance(original, staticmethod)
    function = original.__func__ if static else original

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        observer = _observer.get()
        return function(*args, **kwargs) if observer is None else observer(name, function, args, kwargs)

    return staticmethod(call) if static else call
