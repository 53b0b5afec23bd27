"""Rewrites the functions and classes of a model so that they call something else instead of an activation.

Only the expressions that are the activation are edited. What a name stands for is looked up in the function's own
globals, closure and imports. A class gets a subclass with the edited methods; so a module stays the same object, with
its parameters and hooks, and `isinstance` gives the same answers.
"""

import ast
import builtins
import dis
import inspect
import sys
from abc import ABCMeta
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, partialmethod
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, ClassVar, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from leakyrelu.torch.operations import OPERATIONS, activation_of, function_of, module_kind, plain_name
from leakyrelu.torch.sources import Edit, Source, Unreadable, copy_of, edited, imported_names, nested, position_of, read
from leakyrelu.torch.substitutes import LARGEST, Substitutes, as_replaced, is_plain

__all__ = ["Found", "Place", "Rewriter", "Rewritten", "is_foreign", "place_of", "takes_more", "used_names"]

Place: TypeAlias = tuple[str, tuple[Any, ...]]  # the name of a Python module, and the position of an expression in it


class Found(NamedTuple):
    """An expression that is an activation."""

    operation: str
    place: Place
    child: str = ""  # the name of the module that is to be added, where the new activation has parameters
    reason: str = ""  # why it was left as it was; empty if it was edited
    is_sure: bool = True  # whether it is an activation; otherwise that is asked when it runs


def place_of(names: Mapping[str, Any], position: tuple[Any, ...]) -> Place:
    """The place of an expression in a module with these globals."""
    return str(names.get("__name__")), position


_LIBRARIES = {"torch", "leakyrelu", "numpy", *sys.stdlib_module_names} - {"__main__", "builtins"}
_SPACES = (functional, torch, nn, torch.ops.aten)


def is_foreign(value: Any) -> bool:
    """Whether a function or class belongs to PyTorch, to the standard library or to this library."""
    return str(getattr(value, "__module__", "")).partition(".")[0] in _LIBRARIES


@cache
def _names(code: CodeType) -> frozenset[str]:
    """All names that the code, or a function in it, uses."""
    return frozenset(name for each in nested(code) for name in (*each.co_names, *each.co_freevars))


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
        self.words = {name for kind in substitutes.table for name in (kind.__name__, OPERATIONS[kind])}
        self.words |= {f"{word}_" for word in self.words}
        self.lists_flat = nn.ReLU in substitutes.table and not only_places
        if self.lists_flat:
            self.words |= _FLAT | {f"{word}_" for word in _FLAT}
        self._functions: dict[FunctionType, FunctionType] = {}
        self._under_way: dict[FunctionType, CellType] = {}
        self._relevant: dict[FunctionType, bool] = {}
        self._classes: dict[type, Rewritten] = {}

    # Which functions are worth reading.

    def is_relevant(self, function: FunctionType) -> bool:
        """Whether the function, or one that it calls, may mention an activation; its source is not read for this."""
        if function in self._relevant:
            return self._relevant[function]
        seen = [function]
        for each in seen:
            if self._relevant.get(each) or (each not in self._relevant and self._mentions(each)):
                self._relevant[function] = True
                return True
            if each not in self._relevant:
                seen += [other for other in self._callees(each) if other not in seen]
        self._relevant |= dict.fromkeys(seen, False)
        return False

    def _mentions(self, function: FunctionType) -> bool:
        code = function.__code__
        module = str(function.__globals__.get("__name__"))
        if any(place[0] == module for place in self.places):
            positions = {position for each in nested(code) for position in each.co_positions()}
            if any(place[0] == module and place[1] in positions for place in self.places):
                return True
        if self.only_places:
            return False
        values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        if is_foreign(function):
            return any(map(self.substitutes.holds, (*values, *_contents(function))))
        names = _names(code)
        if not self.words.isdisjoint(names):
            return True
        values += [*_globals(function), *_contents(function)]
        if "getattr" in names and any(any(value is space for space in _SPACES) for value in values):
            return True
        return any(self.substitutes.holds(value) or isinstance(value, torch.jit.ScriptFunction) for value in values)

    def _callees(self, function: FunctionType) -> Iterator[FunctionType]:
        for value in _contents(function):
            value = value.__func__ if isinstance(value, MethodType) else value
            if isinstance(value, FunctionType):
                yield value
        if is_foreign(function):
            return
        for value in (*_globals(function), *vars(function).values()):
            yield from _functions_in(value)
            value = getattr(value, "__wrapped__", value) if hasattr(value, "cache_clear") else value
            if isinstance(value, FunctionType) and not is_foreign(value):
                yield value
            elif isinstance(value, type) and not is_foreign(value):
                used = _names(function.__code__) | ({"forward"} if issubclass(value, nn.Module) else set())
                for cls in value.__mro__[:-1]:
                    if not is_foreign(cls):
                        yield from (each for name, item in vars(cls).items() if name in used for each in _bare(item))

    def holds(self, value: Any) -> bool:
        """Whether the value is, or contains, something to be replaced or a function to be rewritten."""
        return self.substitutes.holds(value) or any(map(self.is_relevant, _functions_in(value)))

    # Functions.

    def function(self, function: FunctionType, self_name: str = "") -> FunctionType:
        """The function as it is to be; itself where nothing changes.

        `self_name` is the name of the argument that is the module, where the function is a method of one.
        """
        if function in self._functions:
            return self._functions[function]
        self._functions[function] = function
        if not self.is_relevant(function):
            return function
        self.found[function] = []
        cell = self._under_way[function] = CellType()
        new = function
        if not is_foreign(function):
            try:
                source = read(function)
                editor = _Editor(self, function, source, self_name)
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
        closure = []
        for each in new.__closure__ or ():
            value = _content(each)
            changed = cell if value is function else None if value is None else self._new_cell(value)
            closure.append(changed or each)
        defaults = tuple(map(self._value, function.__defaults__ or ()))
        keywords = {key: self._value(value) for key, value in (function.__kwdefaults__ or {}).items()}
        attributes = {key: self._value(value) for key, value in vars(function).items()}
        pairs = [
            (closure, new.__closure__ or ()),
            (defaults, function.__defaults__ or ()),
            (keywords.values(), (function.__kwdefaults__ or {}).values()),
            (attributes.values(), vars(function).values()),
        ]
        if all(a is b for left, right in pairs for a, b in zip(left, right, strict=True)):
            return new
        if all(a is b or a is cell for a, b in zip(closure, new.__closure__ or (), strict=True)) and new is function:
            if all(a is b for left, right in pairs[1:] for a, b in zip(left, right, strict=True)):
                return new  # it only refers to itself
        new = copy_of(new, new.__code__, tuple(closure))
        new.__defaults__ = defaults or None
        new.__kwdefaults__ = keywords or None
        new.__dict__.update(attributes)
        return new

    def _new_cell(self, value: Any) -> CellType | None:
        changed = self._value(value)
        return None if changed is value else CellType(changed)

    def _value(self, value: Any) -> Any:
        """What takes the place of a value that a function holds."""
        if isinstance(value, FunctionType) and not function_of(value):
            return value if value in self._under_way else self.function(value)
        if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
            new = self.function(value.__func__, _first_argument(value.__func__, value.__func__))
            return value if new is value.__func__ else MethodType(new, value.__self__)
        if self.only_places or isinstance(value, nn.Module | type):
            return value
        if not self.substitutes.holds(value) or not self.has_functions:
            return value
        return self.substitutes.either(value)

    @property
    def has_functions(self) -> bool:
        """Whether functions can stand for all new activations, which then need no place in a module."""
        return all(map(is_plain, self.substitutes.table.values()))

    # Classes.

    def cls(self, cls: type) -> "Rewritten":
        """The class as it is to be, and the activations found in it."""
        if cls not in self._classes:
            self._classes[cls] = self._rewritten(cls)
        return self._classes[cls]

    def _rewritten(self, cls: type) -> "Rewritten":
        used = used_names(cls)
        layers: list[tuple[type, dict[str, Any]]] = []
        found: list[Found] = []
        unread: dict[str, str] = {}
        overridden: set[tuple[type, str]] = set()  # by the edited methods of a class that was rewritten before
        seen: dict[str, list[FunctionType]] = {}
        for base in cls.__mro__:
            own: dict[str, Any] = {}
            made_of = vars(base).get(_MADE_OF)
            for name, item in vars(base).items():
                if made_of is not None:
                    overridden.add((made_of, name))
                if is_foreign(base) or name not in used or (base, name) in overridden:
                    continue
                for function in _bare(item):
                    before = seen.setdefault(name, [])
                    reached = not before or any(_names(each.__code__) & {"super", base.__name__} for each in before)
                    before.append(function)
                    self.function(function, _first_argument(function, item) if issubclass(cls, nn.Module) else "")
                    if reached:
                        found += self.all_found(function)
                        unread |= {function.__qualname__: self.unread[function]} if function in self.unread else {}
                new = self._new_item(item)
                if new is not item:
                    own[name] = new
                    if not _bare(item):
                        place: Place = (base.__module__, (0, 0, 0, 0))
                        operation = next((OPERATIONS[k] for k in self.substitutes.table), "")
                        found.append(Found(operation, place))
            if base in self.substitutes.table and base is not cls and not self.only_places:
                calls = seen.get("forward", [])
                if any(_names(each.__code__) & {"super", base.__name__} for each in calls):
                    forward = self.substitutes.forward(base)
                    own = own if forward is None else {"forward": forward}
            if own:
                layers.append((base, own))
        found = list(dict.fromkeys(found))
        if not layers:
            return Rewritten(cls, found, unread)
        return Rewritten(_subclass(cls, layers, self.specification), found, unread)

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
        if isinstance(item, staticmethod | classmethod) and isinstance(item.__func__, FunctionType):
            if not function_of(item.__func__):
                new = self._functions.get(item.__func__, item.__func__)
                return item if new is item.__func__ else type(item)(new)
        if isinstance(item, property):
            new = [self._functions.get(each, each) for each in (item.fget, item.fset, item.fdel)]
            same = all(a is b for a, b in zip(new, (item.fget, item.fset, item.fdel), strict=True))
            return item if same else property(*new, item.__doc__)
        if isinstance(item, partialmethod):
            values = [item.func, *item.args, *item.keywords.values()]
            new = [self._value(value) for value in values]
            if all(a is b for a, b in zip(new, values, strict=True)):
                return item
            count = len(item.args) + 1
            return partialmethod(*new[:count], **dict(zip(item.keywords, new[count:], strict=True)))
        if self.only_places:
            return item
        value = item.__func__ if isinstance(item, staticmethod) else item
        if self.substitutes.is_module(value):
            return self.substitutes.module(value)
        if not self.substitutes.holds(value) or not self.has_functions:
            return item
        new = self.substitutes.either(value)
        return item if new is value else staticmethod(new) if callable(new) else new


class Rewritten(NamedTuple):
    """What became of a class."""

    cls: type  # the subclass, or the class itself where nothing was to be edited
    found: list[Found]
    unread: dict[str, str]  # why the source of methods that mention an activation was not edited


_MADE_OF = "_leakyrelu_made_of"


def _functions_in(value: Any, depth: int = 3) -> Iterator[FunctionType]:
    """The user's functions that a container holds."""
    if not isinstance(value, list | tuple | dict) or not depth or len(value) > LARGEST:
        return
    for item in dict.values(value) if isinstance(value, dict) else value:
        if isinstance(item, FunctionType) and not is_foreign(item):
            yield item
        yield from _functions_in(item, depth - 1)


def _contents(function: FunctionType) -> list[Any]:
    return [_content(cell) for cell in function.__closure__ or ()]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is set later
        return None


def _globals(function: FunctionType) -> list[Any]:
    """The globals that the function names, and what it may take from those that are modules."""
    names, scope = _names(function.__code__), function.__globals__
    found = [scope[name] for name in names if name in scope]
    modules = [value for value in found if isinstance(value, ModuleType) and value.__name__ not in sys.stdlib_module_names]
    return found + [
        vars(each)[name]
        for each in modules
        if not each.__name__.startswith(("torch.", "numpy")) and each is not torch
        for name in names
        if name in vars(each)
    ]


def _bare(item: Any) -> list[FunctionType]:
    """The functions of a class attribute."""
    functions = [getattr(item, name, None) for name in ("__func__", "fget", "fset", "fdel")]
    found = [each for each in (item, *functions) if isinstance(each, FunctionType)]
    return [each for each in found if not function_of(each)]


def _first_argument(function: FunctionType, item: Any) -> str:
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
                for function in (each for item in items[name] for each in _bare(item)):
                    names |= _names(function.__code__)
                    names |= {name for value in _contents(function) if isinstance(value, FunctionType) for name in _names(value.__code__)}
        return reached, names

    building, _ = closure(_BUILDING)
    building -= _stored(function.__code__ for name in building for item in items[name] for function in _bare(item))
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
        for function in () if is_foreign(base) else (each for item in vars(base).values() for each in _bare(item)):
            if attribute not in _names(function.__code__):
                continue
            try:
                nodes = ast.walk(read(function).node)
            except Unreadable:
                continue
            calls = [each for each in nodes if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]
            if any(each.func.attr == attribute and len(each.args) + len(each.keywords) > 1 for each in calls):  # type: ignore[attr-defined]
                return True
    return False


_FLAT = {"relu6", "hardtanh", "threshold", "clamp", "clamp_min", "clip"}
_NOTHING: Any = object()
_MUTATING = {"append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem", "add"}


class _Editor:
    """Finds the expressions of one function that are an activation, and the edits that replace them."""

    def __init__(self, rewriter: Rewriter, function: FunctionType, source: Source, self_name: str) -> None:
        self.rewriter, self.substitutes = rewriter, rewriter.substitutes
        self.function, self.source = function, source
        self.edits: list[Edit] = []
        self.cells: dict[str, CellType] = {}
        self.found: list[Found | FunctionType] = []
        self._names = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._bound, self._imported = _bound_names(source.node)
        self._self = self_name if self_name not in self._stored() else ""

    def _stored(self) -> set[str]:
        return {node.id for node in ast.walk(self.source.node) if isinstance(node, ast.Name) and _is_stored(node)}

    # What an expression stands for.

    def value(self, node: object) -> Any:
        """What an expression stands for wherever the function runs; `_NOTHING` if that is not known."""
        match node:
            case ast.Name(id=name) if name in self._imported:
                return self._imported[name]
            case ast.Name(id=name) if name in self._bound:
                return _NOTHING
            case ast.Name(id=name) if name in self._names:
                value = _content(self._names[name])
                return _NOTHING if value is None else value
            case ast.Name(id=name):
                return self.function.__globals__.get(name, getattr(builtins, name, _NOTHING))
            case ast.Attribute(value=inner, attr=name):
                return _attribute(self.value(inner), name)
            case ast.Call(func=ast.Name(id="getattr"), args=[inner, ast.Constant(value=str(name))]):
                space = self.value(inner)
                return _attribute(space, name) if any(space is each for each in _SPACES) else _NOTHING
            case _:
                return _NOTHING

    # The visit. Each case visits the parts of its node itself.

    def visit(self, node: ast.AST | None) -> None:
        """Look at a node and all that is in it."""
        match node:
            case None | ast.pattern() | ast.JoinedStr():
                return  # a name in a pattern is set by it; the positions in formatted strings are not reliable
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if node is not self.source.node:
                    self._visit_all(*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)
                self._visit_all(*node.body)
            case ast.Lambda():
                if node is not self.source.node:
                    self._visit_all(*node.args.defaults, *node.args.kw_defaults)
                self.visit(node.body)
            case ast.AnnAssign():
                self._visit_all(node.target, node.value)
            case ast.Call():
                self._call(node)
            case ast.Subscript(ctx=ast.Load()) if self._edits_all and self.rewriter.holds(self.value(node.value)):
                self._either(node, node.value)
                self.visit(node.slice)
            case ast.Name() | ast.Attribute() if isinstance(node.ctx, ast.Load) and self._name(node):
                return
            case ast.Compare():
                self._visit_all(*(each for each in (node.left, *node.comparators) if not self._names_classes(each)))
            case ast.Attribute() if self._is_class(node.value):
                return  # as in nn.ReLU.forward
            case _:
                self._visit_all(*ast.iter_child_nodes(node))

    def _visit_all(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            self.visit(node)

    @property
    def _edits_all(self) -> bool:
        return not self.rewriter.only_places

    def _names_classes(self, node: ast.AST) -> bool:
        return all(map(self._is_class, node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]))

    def _is_class(self, node: ast.AST) -> bool:
        return isinstance(self.value(node), type)

    def _call(self, node: ast.Call) -> None:
        called = self.value(node.func)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if called is isinstance or called is issubclass:
            self._visit_all(*arguments[:1])
            self._asked(arguments[1:])
            return
        wanted = self._place(node) in self.rewriter.places
        if not (wanted or self._edits_all):
            self._visit_callee(node)
            self._visit_all(*arguments)
            return
        if self.substitutes.is_function(self.value(node)) or self.substitutes.is_class(self.value(node)):
            self._value(node, self.value(node))  # getattr(F, "relu")
        elif called is getattr and node.args and any(self.value(node.args[0]) is space for space in _SPACES):
            self._either(node, node.args[1] if len(node.args) > 1 else node)
        elif _is_method_call(node, called):
            self._method(node, wanted)
        elif function_of(called) or self.substitutes.is_class(called):
            self._direct_call(node, called)
        elif isinstance(node.func, ast.Attribute) and self._is_read_of_container(node.func):
            self._either(node, node.func)
        elif wanted:
            self._either(node.func, node)
            if isinstance(node.func, ast.Call | ast.Subscript):
                self._visit_all(*[each for each in ast.iter_child_nodes(node.func) if not isinstance(each, ast.expr_context)])
        else:
            self._flat_call(node, called)
            self._visit_callee(node)
        self._visit_all(*arguments)

    def _asked(self, classes: list[ast.expr]) -> None:
        """Classes that a value is compared with: a new module passes for the one that it replaced."""
        for each in (inner for outer in classes for inner in ast.walk(outer) if isinstance(inner, ast.Name | ast.Attribute)):
            value = self.value(each)
            if self._edits_all and self.substitutes.is_class(value):
                self._put(each, self._use(f"as_{value.__name__}", CellType(as_replaced(value))))

    def _visit_callee(self, node: ast.Call) -> None:
        called = self.value(node.func)
        if isinstance(called, type) and not is_foreign(called) and not issubclass(called, BaseException | tuple):
            rewritten = self.rewriter.cls(called) if self._edits_all else Rewritten(called, [], {})
            self.found += rewritten.found
            if rewritten.cls is called:
                self.visit(node.func)
            else:
                self._put(node.func, self._use(called.__name__, CellType(rewritten.cls)))
            return
        self.visit(node.func)

    def _is_read_of_container(self, node: ast.Attribute) -> bool:
        value = self.value(node.value)
        return isinstance(value, dict | list | tuple) and node.attr not in _MUTATING and self.rewriter.holds(value)

    def _name(self, node: ast.Name | ast.Attribute) -> bool:
        """Edit a name, if it stands for something to be replaced; tell whether that is all there is to visit."""
        value = self.value(node)
        if value is _NOTHING:
            return False
        if isinstance(value, FunctionType) and not function_of(value):
            return self._helper(node, value)
        if isinstance(cached := getattr(value, "__wrapped__", None), FunctionType) and hasattr(value, "cache_clear"):
            if self.rewriter.is_relevant(cached):
                kind = next(iter(self.substitutes.table))
                self._leave(node, kind, f"{cached.__name__} has a cache, which would keep what the old activation gave")
            return True
        if isinstance(value, torch.jit.ScriptFunction):
            for kind in self.substitutes.table:
                if f"{OPERATIONS[kind]}(" in value.code:
                    self._leave(node, kind, f"{value.name} is scripted; replace before torch.jit.script")
            return True
        if not self._edits_all:
            return False
        if self.substitutes.is_function(value) or self.substitutes.is_class(value):
            self._value(node, value)
            return True
        if isinstance(value, nn.Module | ModuleType | type) or not self.rewriter.holds(value):
            if self.substitutes.is_module(value):
                self._global_module(node, value)
                return True
            return False
        self._either(node, node)
        return True

    def _helper(self, node: ast.Name | ast.Attribute, value: FunctionType) -> bool:
        """A function that has activations of its own: the rewritten one is called."""
        if is_foreign(value) and not value.__closure__:
            return False
        if isinstance(node, ast.Name) and node.id in self._names:
            self.found.append(value)  # the closure is changed instead
            return True
        callee = self.rewriter.callee(value)
        self.found.append(value)
        if callee is not None:
            cell = callee if isinstance(callee, CellType) else CellType(callee)
            self._put(node, self._use(value.__name__, cell))
        return True

    def _global_module(self, node: ast.Name | ast.Attribute, value: nn.Module) -> None:
        """A module that no other one holds: the new one takes its place here."""
        kind = module_kind(value)
        assert kind is not None
        if not is_plain(self.substitutes.table[kind]):
            self._leave(node, kind, "no module holds it, so the parameters of the new activation have no place")
            return
        self._put(node, self._use("module", CellType(self.substitutes.module(value))))
        self._note(node, kind)

    def _value(self, node: ast.Name | ast.Attribute, value: Any, site: ast.AST | None = None) -> None:
        """A function or a class; `site` is the call of it, if it is called at once."""
        site = site or node
        kind = value if self.substitutes.is_class(value) else function_of(value).kind  # type: ignore[union-attr]
        if not is_plain(self.substitutes.table[kind]) and not self.substitutes.is_class(value):
            if child := self._child(site, kind):
                in_place = function_of(value).in_place  # type: ignore[union-attr]
                self._put(node, f"{self._use('adapted', CellType(_adapted(in_place)))}({child})")
        elif isinstance(node, ast.Name) and not self._is_import(node.id, value):
            self._either(node, site)  # a name of the user's own, which may stand for something else later
        else:
            new = self.substitutes.made(kind) if self.substitutes.is_class(value) else self.substitutes.function(value)
            self._put(node, self._use(getattr(value, "__name__", "activation"), CellType(new)))
            self._note(site, kind)

    def _is_import(self, name: str, value: Any) -> bool:
        """Whether a name was imported; other names are the user's own."""
        known = (*self._imported, *self._names, getattr(value, "__name__", ""))
        return name in known or name in imported_names(self.function.__code__.co_filename)

    def _direct_call(self, node: ast.Call, called: Any) -> None:
        known = function_of(called)
        kind = known.kind if known else called
        if kind not in self.substitutes.table:
            self._flat_call(node, called)
            return
        if is_plain(self.substitutes.table[kind]):
            self._value(node.func, called, node)  # type: ignore[arg-type]
            return
        child = self._child(node, kind)
        if not child:
            return
        simple = known is not None and not known.in_place and len(node.args) == 1 and not node.keywords
        if known is None:  # nn.ReLU(...), which makes a module at each call of the forward
            self._put(node, child)
        elif simple:
            self._put(node.func, child)
        else:
            self._put(node.func, f"{self._use('adapted', CellType(_adapted(known.in_place)))}({child})")

    def _method(self, node: ast.Call, wanted: bool) -> None:
        """``x.relu()``: the end is taken off, and what is before becomes the argument of a function."""
        assert isinstance(node.func, ast.Attribute)
        if nn.ReLU not in self.substitutes.table:
            self.visit(node.func.value)
            return
        child = ""
        if is_plain(self.substitutes.table[nn.ReLU]):
            name = self._use(node.func.attr, CellType(self.substitutes.method(node.func.attr)))
            self._note(node, nn.ReLU, is_sure=False)
        elif child := self._child(node, nn.ReLU):
            adapted = _adapted_method(node.func.attr)
            name = f"{self._use('adapted', CellType(adapted))}({child})"
        else:
            self.visit(node.func.value)
            return
        dot = self._dot(node.func)
        self._insert(_start(node), f"{name}(")
        self.edits.append(Edit(dot, _end(node), "\n" * (node.end_lineno - dot[0]) + ")"))  # type: ignore[operator]
        self.visit(node.func.value)

    def _dot(self, node: ast.Attribute) -> tuple[int, int]:
        """Where the dot before an attribute is; only space may be around it."""
        line, column = _end(node)
        column -= len(node.attr.encode())
        lines, first = self.source.lines, self.source.first
        before = lines[line - first][:column].rstrip()
        while not before.rstrip(b"\\").rstrip() and line > first:
            line -= 1
            before = lines[line - first].rstrip().rstrip(b"\\").rstrip()
        before = before.rstrip(b"\\").rstrip()
        if not before.endswith(b"."):
            raise Unreadable("an attribute and the dot before it are apart")
        return line, len(before) - 1

    def _flat_call(self, node: ast.Call, called: Any) -> None:
        """Another activation that is flat below zero, which is listed."""
        if not self.rewriter.lists_flat:
            return
        if called is _NOTHING and isinstance(node.func, ast.Attribute) and not _starts_with(node.func, self._self):
            name, first = node.func.attr, [float("nan")]
        elif called is not _NOTHING and str(getattr(called, "__module__", "torch")).startswith("torch"):
            name, first = plain_name(called), []
        else:
            return
        args = first + [_number(each) for each in node.args]
        activation = activation_of(name, args, {each.arg or "": _number(each.value) for each in node.keywords})
        if activation and activation.flat and activation.operation != "relu" and not self._is_in_table(called):
            self.found.append(Found(activation.operation, self._place(node), reason=activation.operation))

    def _is_in_table(self, called: Any) -> bool:
        known = function_of(called) if called is not _NOTHING else None
        return known is not None and known.kind in self.substitutes.table

    # Edits.

    def _place(self, node: ast.AST) -> Place:
        return place_of(self.function.__globals__, position_of(node))

    def _note(self, node: ast.AST, kind: type[nn.Module], child: str = "", is_sure: bool = True) -> None:
        self.found.append(Found(OPERATIONS[kind], self._place(node), child, is_sure=is_sure))

    def _leave(self, node: ast.AST, kind: type[nn.Module], reason: str) -> None:
        self.found.append(Found(OPERATIONS[kind], self._place(node), reason=reason))

    def _put(self, node: ast.AST, text: str) -> None:
        lines = position_of(node)[1] - position_of(node)[0]
        text = f"({text}{lines * chr(10)})" if lines else text
        self.edits.append(Edit(_start(node), _end(node), text))

    def _insert(self, where: tuple[int, int], text: str) -> None:
        self.edits.append(Edit(where, where, text))

    def _either(self, node: ast.AST, found: ast.AST) -> None:
        """Ask, while the forward runs, whether a value is an activation."""
        if not self.rewriter.has_functions:
            kind = next(iter(self.substitutes.table))
            self._leave(found, kind, "what is called is known only when it runs, so the new parameters have no place")
            return
        for each in (found, getattr(found, "value", None)):
            self.substitutes.prepare(self.value(each))
        name = self._use("either", CellType(self.substitutes.either))
        self._insert(_start(node), f"{name}(")
        self._insert(_end(node), ")")
        self._note(found, next(iter(self.substitutes.table)), is_sure=False)

    def _use(self, name: str, cell: CellType) -> str:
        """The name of a variable that holds what the cell holds."""
        for used, other in self.cells.items():
            if other is cell or (_content(other) is not None and _content(other) is _content(cell)):
                return used
        base = f"_leakyrelu_{name.strip('<>_') or 'function'}" + "_" * name.endswith("_")
        name, number = base, 1
        while name in self.cells or name in self._names or name in self._bound:
            number += 1
            name = f"{base}_{number}"
        self.cells[name] = cell
        return name

    def _child(self, node: ast.AST, kind: type[nn.Module]) -> str:
        """The module, with parameters, that is to be called here; empty if there is no place for one."""
        operation = OPERATIONS[kind]
        if not self._self:
            self._leave(node, kind, f"is called in {self.function.__qualname__}, which no module owns, so the parameters of "
                "the new activation have no place")
            return ""
        number = 1 + sum(isinstance(each, Found) and bool(each.child) for each in self.found)
        name = f"replaced_{self.function.__name__}_{operation}" + (f"_{number}" if number > 1 else "")
        self._note(node, kind, name)
        return f"{self._self}.{name}"


def _adapted(in_place: bool) -> Any:
    def adapt(module: nn.Module) -> Any:
        def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002  # its name in PyTorch
            overwrite = in_place or kwargs.get("inplace") is True or (bool(args) and args[-1] is True)
            return input.copy_(module(input.clone())) if overwrite else module(input)

        return call

    return adapt


def _adapted_method(name: str) -> Any:
    def adapt(module: nn.Module) -> Any:
        call = _adapted(name.endswith("_"))(module)
        return lambda input: call(input) if isinstance(input, Tensor) else getattr(input, name)()  # noqa: A006

    return adapt


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def _is_method_call(node: ast.Call, called: Any) -> bool:
    if not isinstance(node.func, ast.Attribute) or called is not _NOTHING:
        return False
    return node.func.attr in ("relu", "relu_") and not node.args and not node.keywords


def _starts_with(node: ast.AST, name: str) -> bool:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id in (name, "self")


def _number(node: ast.AST) -> Any:
    """The number that an expression is; NaN if it is no number."""
    value = getattr(node, "value", None)
    return value if isinstance(value, int | float) else float("nan")


def _is_stored(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _bound_names(node: ast.AST) -> tuple[set[str], dict[str, Any]]:
    """The variables of a function and of those in it; and what those stand for that are set by an import."""
    bound: set[str] = set()
    imported: dict[str, Any] = {}
    elsewhere: set[str] = set()
    for each in ast.walk(node):
        match each:
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                bound.add(name)
            case ast.Name(id=name) if _is_stored(each):
                bound.add(name)
            case (ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name)) if each is not node:
                bound.add(name)
            case ast.Import(names=names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    imported[alias.asname or first] = sys.modules.get(alias.name if alias.asname else first, _NOTHING)
            case ast.ImportFrom(names=names, level=0, module=str(module)):
                for alias in names:
                    value = getattr(sys.modules.get(module), alias.name, _NOTHING)
                    imported[alias.asname or alias.name] = sys.modules.get(f"{module}.{alias.name}", value)
            case ast.ImportFrom(names=names):
                bound |= {alias.asname or alias.name for alias in names}
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere |= set(names)
    return bound | elsewhere, {name: value for name, value in imported.items() if name not in bound}


def _attribute(value: Any, name: str) -> Any:
    """What an attribute is, where looking at it calls nobody's code."""
    if value is Tensor or any(value is space for space in _SPACES) or type(value).__name__ in ("_OpNamespace", "_Ops"):
        return getattr(value, name, _NOTHING)
    if isinstance(value, ModuleType):
        return vars(value).get(name, _NOTHING)
    if isinstance(value, type):
        found = inspect.getattr_static(value, name, _NOTHING)
        return found.__func__ if isinstance(found, staticmethod) else _NOTHING if isinstance(found, classmethod) else found
    if value is _NOTHING or isinstance(value, nn.Module) or not hasattr(value, "__dict__"):
        return _NOTHING
    return getattr(value, "__dict__", {}).get(name, _NOTHING)


Specification = tuple[tuple[tuple[type, nn.Module], ...], frozenset[Place], bool]


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


class _Quiet:
    """In front of the bases of a made class: what the user's classes do for each subclass was done."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Do nothing."""


class _Pickled(_Quiet):
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
    mixins = tuple(_make(base, (type("_Quiet", (), dict(vars(_Quiet))), base), attributes, base) for base, attributes in layers if base is not cls)
    original, earlier = vars(cls).get("_leakyrelu_specifications", (cls,))[0], vars(cls).get("_leakyrelu_specifications", (cls,))[1:]
    attributes = own | {"_leakyrelu_specifications": (original, *earlier, specification)}
    known[key] = made = _make(cls, (type("_Pickled", (_Pickled,), {}), cls, *mixins), attributes, cls)
    return made


def _make(like: type, bases: tuple[type, ...], attributes: dict[str, Any], made_of: type) -> type:
    """A class that is called like another one; metaclasses see nothing of it."""
    names = {name: getattr(like, name) for name in ("__module__", "__qualname__", "__doc__")}
    names |= attributes | {_MADE_OF: made_of}
    metaclass = type(like)
    new = ABCMeta.__new__ if issubclass(metaclass, ABCMeta) else type.__new__
    made: type = new(metaclass, like.__name__, bases, names)
    return made
