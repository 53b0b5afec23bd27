"""Finds the functions that are worth reading: those that may mention an activation, or call one that may."""

import dis
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import takewhile
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from leakyrelu.torch.operations import OPERATIONS
from leakyrelu.torch.replacement.classes import contents, functions_in_item, is_foreign, names_in
from leakyrelu.torch.replacement.editor import Place
from leakyrelu.torch.replacement.names import is_space
from leakyrelu.torch.replacement.sources import nested
from leakyrelu.torch.replacement.substitutes import Substitutes, items_in

__all__ = ["Relevance"]


class Relevance:
    """Whether functions may mention an activation. No source is read for this: their names tell."""

    def __init__(self, substitutes: Substitutes, places: Collection[Place], only_places: bool) -> None:
        self._substitutes, self._places, self._only_places = substitutes, places, only_places
        words = {name for kind in substitutes.table for name in (kind.__name__, OPERATIONS[kind])}
        self._words = words | {f"{word}_" for word in words}
        self._known: dict[FunctionType, bool] = {}

    def of(self, function: FunctionType) -> bool:
        """Whether the function, or one that it calls, may mention an activation; its source is not read for this."""
        if function in self._known:
            return self._known[function]
        seen, pending = {function}, [function]
        while pending:
            each = pending.pop()
            if self._known.get(each) or (each not in self._known and self._mentions(each)):
                self._known[function] = True
                return True
            if each not in self._known:
                new = set(self._callees(each)) - seen
                seen |= new
                pending += new
        self._known |= dict.fromkeys(seen, False)
        return False

    def _mentions(self, function: FunctionType) -> bool:
        code = function.__code__
        module = str(function.__globals__.get("__name__"))
        if any(place[0] == module for place in self._places):
            positions = {position for each in nested(code) for position in each.co_positions()}
            if any(place[0] == module and place[1] in positions for place in self._places):
                return True
        if self._only_places:
            return False
        values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if is_foreign(function):
            return any(map(self._substitutes.holds, (*values, *contents(function))))
        names = names_in(code)
        if not self._words.isdisjoint(names):
            return True
        values += [*_globals(function), *contents(function)]
        if "getattr" in names and any(_gets(each, function.__globals__, self._words) for each in nested(code)):
            return True
        return any(self._substitutes.holds(value) or isinstance(value, torch.jit.ScriptFunction) for value in values)

    def _callees(self, function: FunctionType) -> Iterator[FunctionType]:
        """The user's functions that a function may call, as far as its names tell."""
        for value in contents(function):
            inner = value.__func__ if isinstance(value, MethodType) else value
            if isinstance(inner, FunctionType):
                yield inner
        if is_foreign(function):
            return
        names = names_in(function.__code__)
        for value in (*_globals(function), *vars(function).values()):
            yield from _functions_in(value)
            inner = getattr(value, "__wrapped__", value) if hasattr(value, "cache_clear") else value
            if isinstance(inner, FunctionType) and not is_foreign(inner):
                yield inner
            elif isinstance(inner, type) and not is_foreign(inner):
                yield from _methods(inner, names)

    def holds(self, value: Any) -> bool:
        """Whether the value is, or contains, something to be replaced or a function to be rewritten."""
        return self._substitutes.holds(value) or any(map(self.of, _functions_in(value)))


def _gets(code: CodeType, scope: Mapping[str, Any], words: Collection[str]) -> bool:
    """Whether the code says ``getattr(F, ...)`` or ``getattr(nn, ...)``, or has one of these words as a text."""
    if any(isinstance(constant, str) and constant in words for constant in code.co_consts):
        return True
    for first, *others in _got_from(code) if "getattr" in code.co_names else ():
        space = scope.get(first)
        for name in others:
            space = vars(space).get(name) if isinstance(space, ModuleType) else None
        if is_space(space):
            return True
    return False


@cache
def _got_from(code: CodeType) -> list[list[str]]:
    """For each ``getattr(a.b, ...)`` in the code, the names ``a`` and ``b``."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("PUSH_NULL", "CACHE", "PRECALL")]
    found: list[list[str]] = []
    for i, step in enumerate(steps):
        if step.opname == "LOAD_GLOBAL" and step.argval == "getattr":
            loads = takewhile(lambda inner: inner.opname in ("LOAD_GLOBAL", "LOAD_ATTR"), steps[i + 1 :])
            names = [inner.argval for inner in loads]
            found += [names] if names else []
    return found


def _methods(cls: type, names: Collection[str]) -> Iterator[FunctionType]:
    """The functions of a class that code which uses these names may call."""
    for base in cls.__mro__:
        for name, item in () if is_foreign(base) else vars(base).items():
            if name in names or name == "forward":
                yield from functions_in_item(item)


def _functions_in(value: Any, depth: int = 3) -> Iterator[FunctionType]:
    """The user's functions that a container holds."""
    for item in items_in(value) if depth else ():
        if isinstance(item, FunctionType) and not is_foreign(item):
            yield item
        yield from _functions_in(item, depth - 1)


def _globals(function: FunctionType) -> list[Any]:
    """The globals that the function names, and what it may take from those that are modules."""
    names, scope = names_in(function.__code__), function.__globals__
    found = [scope[name] for name in names if name in scope]
    modules = [
        value for value in found if isinstance(value, ModuleType) and value.__name__ not in sys.stdlib_module_names
    ]
    return found + [
        vars(each)[name]
        for each in modules
        if not each.__name__.startswith(("torch.", "numpy")) and each is not torch
        for name in names
        if name in vars(each)
    ]
