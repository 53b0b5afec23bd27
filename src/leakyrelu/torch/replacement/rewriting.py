"""Rewrites the functions and classes of a model so that they call something else instead of an activation.

Only the expressions that are the activation are edited. What a name stands for is looked up in the function's own
globals, closure and imports. A class gets a subclass with the edited methods; so a module stays the same object, with
its parameters and hooks, and `isinstance` gives the same answers.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from functools import partialmethod
from types import CellType, FunctionType, MethodType
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from torch import nn

from leakyrelu.torch.operations import function_of
from leakyrelu.torch.replacement.classes import (
    MADE_OF,
    Quiet,
    content,
    first_argument,
    functions_in_item,
    is_foreign,
    make_class,
    names_in,
    used_names,
)
from leakyrelu.torch.replacement.editor import FLAT, Editor, Found, Place
from leakyrelu.torch.replacement.generated import is_plain
from leakyrelu.torch.replacement.relevance import Relevance
from leakyrelu.torch.replacement.sources import Unreadable, copy_of, edited, read
from leakyrelu.torch.replacement.substitutes import Substitutes

__all__ = ["Rewriter", "Rewritten"]

Specification = tuple[tuple[tuple[type, nn.Module], ...], frozenset[Place], bool]


class Rewriter:
    """Rewrites functions and classes, each of them once.

    Parameters
    ----------
    substitutes : Substitutes
        What takes the place of which activation.
    places : collection of Place, optional
        Calls that are to be edited whatever is called there, as a run has shown that it is an activation.
    only_places : bool, default False
        Whether to edit nothing else.
    """

    def __init__(self, substitutes: Substitutes, places: Collection[Place] = (), only_places: bool = False) -> None:
        self.substitutes = substitutes
        substitutes.rewritten = self.function
        self.places = frozenset(places)
        self.only_places = only_places
        self.found: dict[FunctionType, list[Found | FunctionType]] = {}  # by function; a function stands for its own
        self.unread: dict[FunctionType, str] = {}  # functions that mention an activation and have no source
        self.relevance = Relevance(substitutes, self.places, only_places)
        self.lists_flat = nn.ReLU in substitutes.table and not only_places
        self._functions: dict[FunctionType, FunctionType] = {}
        self._under_way: dict[FunctionType, CellType] = {}
        self._classes: dict[type, Rewritten] = {}

    # Functions.

    def function(self, function: FunctionType, self_name: str = "") -> FunctionType:
        """The function as it is to be; itself where nothing changes.

        `self_name` is the name of the argument that is the module, where the function is a method of one.
        """
        if function in self._functions:
            return self._functions[function]
        self._functions[function] = function
        is_relevant = self.relevance.of(function)
        lists_flat = self.lists_flat and self_name and not FLAT.isdisjoint(names_in(function.__code__))
        if not (is_relevant or lists_flat):
            return function
        self.found[function] = []
        cell = self._under_way[function] = CellType()
        new = function
        if not is_foreign(function):
            try:
                source = read(function)
                editor = Editor(self, function, source, self_name)
                editor.visit(source.node)
                self.found[function] = editor.found
                if editor.edits:
                    new = edited(function, editor.edits, editor.cells)
            except Unreadable as error:
                self.found[function] = []
                self.unread[function] = str(error)
        new = self._with_new_values(function, new, cell)
        cell.cell_contents = new
        del self._under_way[function]
        self._functions[function] = new
        return new

    def held(self, function: FunctionType) -> Any:
        """The function as it is to be, for an attribute or a container, which may be pickled."""
        new = self.function(function)
        if new is function or not _is_importable(function):
            return new
        return _Held(function, self.specification, new)

    @property
    def specification(self) -> "Specification":
        """All that it takes to make another rewriter like this one."""
        return tuple(self.substitutes.table.items()), self.places, self.only_places

    def callee(self, function: FunctionType) -> FunctionType | CellType | None:
        """What a call of the function is to call instead: nothing else, a function, or one that is still rewritten."""
        if function in self._under_way:
            return self._under_way[function]
        new = self.function(function)
        return None if new is function else new

    def _with_new_values(self, function: FunctionType, new: FunctionType, cell: CellType) -> FunctionType:
        """The function with what it holds replaced, too: in its closure, its defaults and its attributes."""
        old_cells = new.__closure__ or ()
        cells = [cell if content(each) is function else self._new_cell(each) for each in old_cells]
        defaults = tuple(map(self._value, function.__defaults__ or ()))
        keywords = {key: self._value(value) for key, value in (function.__kwdefaults__ or {}).items()}
        attributes = {key: self._value(value) for key, value in vars(function).items()}
        pairs = (
            # That a function refers to itself is no reason to make another one.
            (
                [old if each is cell and new is function else each for each, old in zip(cells, old_cells, strict=True)],
                old_cells,
            ),
            (defaults, function.__defaults__ or ()),
            (keywords.values(), (function.__kwdefaults__ or {}).values()),
            (attributes.values(), vars(function).values()),
        )
        if all(a is b for left, right in pairs for a, b in zip(left, right, strict=True)):
            return new
        new = copy_of(new, new.__code__, tuple(cells))
        new.__defaults__ = defaults or None
        new.__kwdefaults__ = keywords or None
        new.__dict__.update(attributes)
        return new

    def _new_cell(self, cell: CellType) -> CellType:
        value = content(cell)
        changed = value if value is None else self._value(value)
        return cell if changed is value else CellType(changed)

    def _value(self, value: Any) -> Any:
        """What takes the place of a value that a function holds."""
        if isinstance(value, FunctionType) and not function_of(value):
            return value if value in self._under_way else self.function(value)
        if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
            new = self.function(value.__func__, first_argument(value.__func__, value.__func__))
            return value if new is value.__func__ else MethodType(new, value.__self__)
        return value if self.only_places or isinstance(value, nn.Module | type) else self._new_value(value)

    # Classes.

    def cls(self, cls: type) -> "Rewritten":
        """The class as it is to be, and the activations found in it."""
        if cls not in self._classes:
            self._classes[cls] = self._rewritten(cls)
        return self._classes[cls]

    def _rewritten(self, cls: type) -> "Rewritten":
        result = Rewritten(cls, [], {})
        layers: list[tuple[type, dict[str, Any]]] = []
        overridden: set[tuple[type, str]] = set()  # by the edited methods of a class that was rewritten before
        seen: dict[str, list[FunctionType]] = {}  # the functions of each name, in the order of the bases
        used = used_names(cls)
        for base in cls.__mro__:
            own: dict[str, Any] = {}
            if MADE_OF in vars(base):
                overridden |= {(vars(base)[MADE_OF], name) for name in vars(base)}
            for name, item in () if is_foreign(base) else vars(base).items():
                if name in used and (base, name) not in overridden:
                    self._rewrite_item(cls, base, item, seen.setdefault(name, []), result)
                    new = self._new_item(item)
                    own |= {} if new is item else {name: new}
                    if new is not item and not functions_in_item(item):
                        result.found.append(Found(self.substitutes.operation, (base.__module__, (0, 0, 0, 0))))
            own |= self._new_forward(cls, base, seen.get("forward", []))
            if own:
                layers.append((base, own))
        found = list(dict.fromkeys(result.found))
        made = _subclass(cls, layers, self.specification) if layers else cls
        return Rewritten(made, found, result.unread)

    def _rewrite_item(self, cls: type, base: type, item: Any, before: list[FunctionType], result: "Rewritten") -> None:
        """Rewrite the functions of a class attribute; report them unless those `before` hide them."""
        for function in functions_in_item(item):
            is_reached = not before or _calls_super(before, base)
            before.append(function)
            self.function(function, first_argument(function, item) if issubclass(cls, nn.Module) else "")
            if is_reached:
                result.found.extend(self.all_found(function))
            if is_reached and function in self.unread:
                result.unread[function.__qualname__] = self.unread[function]

    def _new_forward(self, cls: type, base: type, forwards: list[FunctionType]) -> dict[str, Any]:
        """The forward in front of an activation's class that a user's class extends."""
        if base not in self.substitutes.table or base is cls or self.only_places or not _calls_super(forwards, base):
            return {}
        forward = self.substitutes.forward(base)
        return {} if forward is None else {"forward": forward}

    def all_found(self, function: FunctionType) -> list[Found]:
        """What was found in a function, and in those that it calls."""
        result: list[Found] = []
        seen, pending = {function}, [function]
        while pending:
            for each in self.found.get(pending.pop(0), ()):
                if isinstance(each, Found):
                    result.append(each)
                elif each not in seen:
                    seen.add(each)
                    pending.append(each)
        return result

    def _new_item(self, item: Any) -> Any:
        """What takes the place of a class attribute."""
        if isinstance(item, FunctionType):
            return self._functions.get(item, item)
        if isinstance(item, property):
            functions: list[Any] = [item.fget, item.fset, item.fdel]
            return _remade(item, functions, [self._functions.get(each, each) for each in functions])
        if isinstance(item, partialmethod):
            values = item.func, *item.args, *item.keywords.values()
            return _remade(item, values, list(map(self._value, values)))
        wraps = isinstance(item, staticmethod | classmethod) and isinstance(item.__func__, FunctionType)
        if wraps and not function_of(item.__func__):
            return _remade(item, (item.__func__,), [self._functions.get(item.__func__, item.__func__)])
        value = item.__func__ if isinstance(item, staticmethod) else item
        new = value if self.only_places else self._new_value(value)
        return item if new is value else staticmethod(new) if callable(new) and not isinstance(new, nn.Module) else new

    def _new_value(self, value: Any) -> Any:
        if self.substitutes.is_module(value):
            return self.substitutes.module(value)
        if not self.substitutes.holds(value) or not self.substitutes.has_functions:
            return value
        return self.substitutes.either(value)


def _remade(item: Any, old: Sequence[Any], new: Sequence[Any]) -> Any:
    """A class attribute of the same kind with other functions; itself if they are the same."""
    if all(a is b for a, b in zip(old, new, strict=True)):
        return item
    if isinstance(item, property):
        getter, setter, deleter = new
        return property(getter, setter, deleter, item.__doc__)
    if isinstance(item, partialmethod):
        count = len(item.args) + 1
        return partialmethod(*new[:count], **dict(zip(item.keywords, new[count:], strict=True)))
    return type(item)(*new)


def _calls_super(functions: Iterable[FunctionType], base: type) -> bool:
    """Whether one of the functions may call what it overrides in a base."""
    return any(names_in(function.__code__) & {"super", base.__name__} for function in functions)


class Rewritten(NamedTuple):
    """What became of a class."""

    cls: type  # the subclass, or the class itself where nothing was to be edited
    found: list[Found]
    unread: dict[str, str]  # why the source of methods that mention an activation was not edited


class _Held:
    """A rewritten function that a pickle can name: by the function that it was made of."""

    def __init__(self, function: FunctionType, specification: Specification, new: FunctionType) -> None:
        self.__wrapped__, self._specification, self._new = function, specification, new

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._new(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _held, (self.__wrapped__, self._specification)


def _held(function: FunctionType, specification: Specification) -> Any:
    table, places, only_places = specification
    return Rewriter(Substitutes(dict(table)), places, only_places).held(function)


def _is_importable(function: FunctionType) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


class _Pickled(Quiet):
    """A pickle cannot name a made class, so it holds what the class is made of."""

    _leakyrelu_specifications: ClassVar[tuple[Any, ...]]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, self._leakyrelu_specifications, self.__getstate__()


def _new(cls: type, *specifications: Specification) -> Any:
    return object.__new__(_made(cls, specifications))


def _made(cls: type, specifications: tuple[Specification, ...]) -> type:
    for table, places, only_places in specifications:
        rewritten = Rewriter(Substitutes(dict(table)), places, only_places).cls(cls)
        if rewritten.cls is cls:
            reason = next(iter(rewritten.unread.values()), "its activations are not found in its source any more")
            raise ValueError(f"{cls.__name__} was saved with another activation, and cannot be made again: {reason}")
        cls = rewritten.cls
    return cls


_classes: WeakKeyDictionary[type, WeakValueDictionary[Any, type]] = WeakKeyDictionary()


def _subclass(cls: type, layers: list[tuple[type, dict[str, Any]]], specification: Specification) -> type:
    """A subclass with the new attributes of each base right in front of that base, where `super()` finds them."""
    table, places, only_places = specification
    key = tuple((kind, type(new), repr(vars(new))) for kind, new in table), places, only_places
    known = _classes.setdefault(cls, WeakValueDictionary())
    if key in known and all(is_plain(new) for _, new in table):
        return known[key]
    own = dict(layers).get(cls, {})
    mixins = tuple(
        make_class(base, (type("Quiet", (), dict(vars(Quiet))), base), attributes, base)
        for base, attributes in layers
        if base is not cls
    )
    before = vars(cls).get("_leakyrelu_specifications", (cls,))  # the user's class, and what was done to it
    attributes = own | {"_leakyrelu_specifications": (*before, specification)}
    known[key] = made = make_class(cls, (type("_Pickled", (_Pickled,), {}), cls, *mixins), attributes, cls)
    return made
