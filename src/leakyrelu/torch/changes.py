"""Changes to objects that can be taken back."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Changes"]


_MISSING: Any = object()


class _Change(NamedTuple):
    target: Any  # what is changed, and at which key or attribute
    key: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]
    old: Any
    new: Any


class Changes:
    """Makes changes, and remembers what was there before."""

    def __init__(self) -> None:
        self._made: list[_Change] = []
        self._afterwards: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._made)

    def set(self, mapping: dict[Any, Any], key: Any, new: Any) -> None:
        """Set an item of a dictionary, such as ``vars(module)``; as `None` may be a value, `delete` removes one."""

        def write(value: Any) -> None:
            if value is _MISSING:
                mapping.pop(key, None)
            else:
                mapping[key] = value

        self._make(_Change(mapping, key, lambda: mapping.get(key, _MISSING), write, mapping.get(key, _MISSING), new))

    def delete(self, mapping: dict[Any, Any], key: Any) -> None:
        """Remove an item of a dictionary."""
        self.set(mapping, key, _MISSING)

    def attribute(self, owner: Any, name: str, new: Any) -> None:
        """Set an attribute."""

        def write(value: Any) -> None:
            setattr(owner, name, value)

        self._make(_Change(owner, name, lambda: getattr(owner, name), write, getattr(owner, name), new))

    def after_undo(self, function: Callable[[], object]) -> None:
        """Call a function once everything is taken back."""
        self._afterwards.append(function)

    def _make(self, change: _Change) -> None:
        change.write(change.new)
        self._made.append(change)

    def undo(self) -> None:
        """Take all changes back, the last one first.

        Raises
        ------
        RuntimeError
            Something else is there now; nothing is taken back.
        """
        last = {(id(change.target), change.key): change for change in self._made}
        for change in last.values():
            if change.read() is not change.new:
                raise RuntimeError(
                    f"{change.key!r} of {type(change.target).__name__} was changed since; undo the later changes first"
                )
        while self._made:
            change = self._made.pop()
            change.write(change.old)
        while self._afterwards:
            self._afterwards.pop()()
