"""Looks into classes: which attributes are used when an object runs; and makes classes that stand for others."""

import ast
import dis
import sys
from abc import ABCMeta
from collections.abc import Collection, Iterable
from functools import cache
from types import CellType, CodeType, FunctionType
from typing import Any

from leakyrelu.torch.operations import function_of
from leakyrelu.torch.replacement.sources import Unreadable, nested, read

__all__ = [
    "MADE_OF",
    "Quiet",
    "content",
    "contents",
    "first_argument",
    "functions_in_item",
    "is_foreign",
    "make_class",
    "names_in",
    "takes_more",
    "used_names",
]

_LIBRARIES = {"torch", "leakyrelu", "numpy", *sys.stdlib_module_names} - {"__main__", "builtins"}


def is_foreign(value: Any) -> bool:
    """Whether a function or class belongs to PyTorch, to the standard library or to this library."""
    return str(getattr(value, "__module__", "")).partition(".")[0] in _LIBRARIES


@cache
def names_in(code: CodeType) -> frozenset[str]:
    """All names that the code, or a function in it, uses."""
    return frozenset(name for each in nested(code) for name in (*each.co_names, *each.co_freevars))


def functions_in_item(item: Any) -> list[FunctionType]:
    """The functions of a class attribute."""
    functions = [getattr(item, name, None) for name in ("__func__", "fget", "fset", "fdel")]
    found = [each for each in (item, *functions) if isinstance(each, FunctionType)]
    return [each for each in found if not function_of(each)]


def first_argument(function: FunctionType, item: Any) -> str:
    """The name of the module in a method; empty where the function has no such argument."""
    code = function.__code__
    return code.co_varnames[0] if isinstance(item, FunctionType | property) and code.co_argcount else ""


_BUILDING = ("__init__", "__new__", "__init_subclass__", "__setstate__", "__getstate__", "__reduce__", "__reduce_ex__")


def used_names(cls: type, code: bool = False) -> frozenset[str]:
    """The names of the class's attributes that may be used when it runs, or with `code` all names that it uses then.

    What is used only to build an object, such as a method that makes its layers, is not among them.
    """
    return _used_names(cls)[code]


@cache
def _used_names(cls: type) -> tuple[frozenset[str], frozenset[str]]:
    items: dict[str, list[Any]] = {}
    for base in cls.__mro__:
        if not is_foreign(base):
            for name, item in vars(base).items():
                items.setdefault(name, []).append(item)

    def closure(start: Collection[str]) -> tuple[set[str], set[str]]:
        reached, names = set(), set(start)
        while pending := [name for name in names if name in items and name not in reached]:
            reached |= set(pending)
            for name in pending:
                for function in (each for item in items[name] for each in functions_in_item(item)):
                    names |= names_in(function.__code__)
                    names |= {
                        name
                        for value in contents(function)
                        if isinstance(value, FunctionType)
                        for name in names_in(value.__code__)
                    }
        return reached, names

    building, _ = closure(_BUILDING)
    building -= _stored(
        function.__code__ for name in building for item in items[name] for function in functions_in_item(item)
    )
    methods = [name for name, found in items.items() if isinstance(found[0], FunctionType | property)]
    reached, names = closure({"forward", "__call__", *(name for name in methods if name not in building)})
    return frozenset(reached - set(_BUILDING)), frozenset(names)


def _stored(codes: Iterable[CodeType]) -> set[str]:
    """The attributes that these codes read and do not call at once, as in ``self.act = self.method``."""
    steps = (step for code in codes for step in dis.get_instructions(code))
    return {step.argval for step in steps if step.opname == "LOAD_ATTR" and "NULL" not in step.argrepr}


def takes_more(cls: type, attribute: str) -> bool:
    """Whether a method calls ``self.attribute`` with more than one argument."""
    for base in cls.__mro__:
        for function in (
            () if is_foreign(base) else (each for item in vars(base).values() for each in functions_in_item(item))
        ):
            if attribute not in names_in(function.__code__):
                continue
            try:
                nodes = ast.walk(read(function).node)
            except Unreadable:
                continue
            calls = [each for each in nodes if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]
            if any(each.func.attr == attribute and len(each.args) + len(each.keywords) > 1 for each in calls):  # type: ignore[attr-defined]
                return True
    return False


MADE_OF = "_leakyrelu_made_of"


class Quiet:
    """In front of the bases of a made class: what the user's classes do for each subclass was done."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Do nothing."""


def make_class(like: type, bases: tuple[type, ...], attributes: dict[str, Any], made_of: type) -> type:
    """A class that is called like another one; metaclasses see nothing of it."""
    names = {name: getattr(like, name) for name in ("__module__", "__qualname__", "__doc__")}
    names |= attributes | {MADE_OF: made_of}
    metaclass = type(like)
    new = ABCMeta.__new__ if issubclass(metaclass, ABCMeta) else type.__new__
    made: type = new(metaclass, like.__name__, bases, names)
    return made


def contents(function: FunctionType) -> list[Any]:
    """What the cells of a function's closure hold."""
    return [content(cell) for cell in function.__closure__ or ()]


def content(cell: CellType) -> Any:
    """What a cell holds; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:  # it is set later
        return None
