"""Lets an observer take the calls of Keras's functions, in its own thread alone, and puts them back afterwards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any, Protocol
from weakref import WeakSet

from leakyrelu.keras.private import TARGETS, Target

__all__ = ["observed_by"]


class Observer(Protocol):
    """Is called in the place of a function of `TARGETS`; it must call the original and return what that returns."""

    def __call__(
        self, name: str, original: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any: ...


class _User:
    """A block in which calls are observed."""


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)  # each thread has its own
_lock = Lock()
_originals: dict[Target, Any] = {}  # what stood there, while there are users
_users: WeakSet[_User] = WeakSet()  # one whose end was interrupted vanishes all the same


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Let `observer` take the calls that this thread makes in this block. Other threads compute what they always do."""
    before, user = _observer.get(), _User()
    try:
        _enter(user)
        _observer.set(observer)
        yield
    finally:
        _observer.set(before)
        _leave(user)


# Each line of these two leaves what the next call puts right, as an interrupt may come between any two.


def _enter(user: _User) -> None:
    with _lock:
        _users.add(user)
        for name, target in TARGETS.items():
            if target not in _originals:
                _originals[target] = vars(target.owner)[target.name]
                setattr(target.owner, target.name, _observable(name, _originals[target]))


def _leave(user: _User) -> None:
    with _lock:
        _users.discard(user)
        if not _users:
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
