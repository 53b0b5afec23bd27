"""Finds the expressions of a function that are an activation, and the edits that replace them."""

import ast
from collections.abc import Mapping
from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import nn

from leakyrelu.torch.operations import OPERATIONS, activation_of, function_of, module_kind, plain_name
from leakyrelu.torch.replacement.classes import content, is_foreign
from leakyrelu.torch.replacement.generated import is_plain
from leakyrelu.torch.replacement.modules import adapted, adapted_method, as_replaced
from leakyrelu.torch.replacement.names import NOTHING, Names, is_space
from leakyrelu.torch.replacement.reasons import CACHED, OTHERS, SCRIPTED
from leakyrelu.torch.replacement.sources import Edit, Source, Unreadable, formatted, imported_names, position_of

if TYPE_CHECKING:
    from leakyrelu.torch.replacement.rewriting import Rewriter

__all__ = ["FLAT", "Editor", "Found", "Place", "place_of"]

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


FLAT = {name + end for name in ("relu6", "hardtanh", "threshold", "clamp", "clamp_min", "clip") for end in ("", "_")}


_MUTATING = {"append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem", "add"}


class Editor:
    """Finds the expressions of one function that are an activation, and the edits that replace them."""

    def __init__(self, rewriter: "Rewriter", function: FunctionType, source: Source, self_name: str) -> None:
        self.rewriter, self.substitutes = rewriter, rewriter.substitutes
        self.function, self.source = function, source
        self.edits: list[Edit] = []
        self.cells: dict[str, CellType] = {}
        self.found: list[Found | FunctionType] = []
        self.names = Names(function, source)
        self.value = self.names.of
        self._self = "" if self.names.is_stored(self_name) else self_name

    # The visit. Each case visits the parts of its node itself.

    def visit(self, node: ast.AST | None) -> None:  # noqa: C901, PLR0912  # a case per kind of node
        """Look at a node and all that is in it."""
        match node:
            case None | ast.pattern():
                return  # a name in a pattern is set by it
            case ast.JoinedStr():
                self._visit_all(*formatted(node))
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
            case ast.Subscript(ctx=ast.Load()) if self._edits_all and self.rewriter.relevance.holds(
                self.value(node.value)
            ):
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
        elif called is getattr and node.args and is_space(self.value(node.args[0])):
            self._either(node, None)  # which name it is, only a run tells
        elif _is_method_call(node, called):
            self._method(node)
        elif function_of(called) or self.substitutes.is_class(called):
            self._direct_call(node, called)
        elif isinstance(node.func, ast.Attribute) and self._is_read_of_container(node.func):
            self._either(node, node.func)
        elif wanted:
            self._either(node.func, node)
            if isinstance(node.func, ast.Call | ast.Subscript):
                self._visit_all(
                    *[each for each in ast.iter_child_nodes(node.func) if not isinstance(each, ast.expr_context)]
                )
        else:
            self._flat_call(node, called)
            self._visit_callee(node)
        self._visit_all(*arguments)

    def _asked(self, classes: list[ast.expr]) -> None:
        """Classes that a value is compared with: a new module passes for the one that it replaced."""
        for each in (
            inner for outer in classes for inner in ast.walk(outer) if isinstance(inner, ast.Name | ast.Attribute)
        ):
            value = self.value(each)
            if self._edits_all and self.substitutes.is_class(value):
                self._put(each, self._use(f"as_{value.__name__}", CellType(as_replaced(value))))

    def _visit_callee(self, node: ast.Call) -> None:
        called = self.value(node.func)
        if self._edits_all and isinstance(called, type) and not is_foreign(called):
            rewritten = self.rewriter.cls(called)
            self.found += rewritten.found
            if rewritten.cls is not called:
                self._put(node.func, self._use(called.__name__, CellType(rewritten.cls)))
                return
        self.visit(node.func)

    def _is_read_of_container(self, node: ast.Attribute) -> bool:
        value = self.value(node.value)
        return (
            isinstance(value, dict | list | tuple)
            and node.attr not in _MUTATING
            and self.rewriter.relevance.holds(value)
        )

    def _name(self, node: ast.Name | ast.Attribute) -> bool:
        """Edit a name, if it stands for something to be replaced; tell whether that is all there is to visit."""
        value = self.value(node)
        if value is NOTHING:
            return False
        if isinstance(value, FunctionType) and not function_of(value):
            return self._helper(node, value)
        self._list_opaque(node, value)
        if not self._edits_all:
            return False
        if self.substitutes.is_function(value) or self.substitutes.is_class(value):
            self._value(node, value)
        elif self.substitutes.is_module(value):
            self._global_module(node, value)
        elif not isinstance(value, nn.Module | ModuleType | type) and self.rewriter.relevance.holds(value):
            self._either(node, node)
        else:
            return False
        return True

    def _list_opaque(self, node: ast.AST, value: Any) -> None:
        """List a function that cannot be rewritten, if it calls an activation."""
        if isinstance(value, torch.jit.ScriptFunction):
            for kind in self.substitutes.table:
                if f"{OPERATIONS[kind]}(" in str(value.code):
                    self._leave(node, kind, SCRIPTED.format(value.name))
        cached = getattr(value, "__wrapped__", None) if hasattr(value, "cache_clear") else None
        if isinstance(cached, FunctionType) and self.rewriter.relevance.of(cached):
            self._leave(node, next(iter(self.substitutes.table)), CACHED.format(cached.__name__))

    def _helper(self, node: ast.Name | ast.Attribute, value: FunctionType) -> bool:
        """A function that has activations of its own: the rewritten one is called."""
        if is_foreign(value) and not value.__closure__:
            return False
        if isinstance(node, ast.Name) and node.id in self.names.free:
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
        kind: Any = module_kind(value)
        if not is_plain(self.substitutes.table[kind]):
            self._leave(node, kind, "no module holds it, so the parameters of the new activation have no place")
            return
        self._put(node, self._use("module", CellType(self.substitutes.module(value))))
        self._note(node, kind)

    def _value(self, node: ast.expr, value: Any, site: ast.AST | None = None) -> None:
        """A function or a class; `site` is the call of it, if it is called at once."""
        site = site or node
        kind = value if self.substitutes.is_class(value) else function_of(value).kind  # type: ignore[union-attr]
        if not is_plain(self.substitutes.table[kind]) and not self.substitutes.is_class(value):
            if child := self._child(site, kind):
                in_place = function_of(value).in_place  # type: ignore[union-attr]
                self._put(node, f"{self._use('adapted', CellType(adapted(in_place)))}({child})")
        elif isinstance(node, ast.Name) and not self._is_import(node.id, value):
            self._either(node, site)  # a name of the user's own, which may stand for something else later
        else:
            new = self.substitutes.made(kind) if self.substitutes.is_class(value) else self.substitutes.function(value)
            self._put(node, self._use(getattr(value, "__name__", "activation"), CellType(new)))
            self._note(site, kind)

    def _is_import(self, name: str, value: Any) -> bool:
        """Whether a name was imported; other names are the user's own."""
        known = (*self.names.imported, *self.names.free, getattr(value, "__name__", ""))
        return name in known or name in imported_names(self.function.__code__.co_filename)

    def _direct_call(self, node: ast.Call, called: Any) -> None:
        known = function_of(called)
        kind = known.kind if known else called
        if kind not in self.substitutes.table:
            self._flat_call(node, called)
            return
        takes_more = known is not None and (known.in_place or len(node.args) != 1 or node.keywords)
        if is_plain(self.substitutes.table[kind]) or takes_more:
            self._value(node.func, called, node)
        elif child := self._child(node, kind):
            self._put(node.func if known else node, child)  # nn.ReLU(...) makes a module at each call of the forward

    def _method(self, node: ast.Call) -> None:
        """``x.relu()``: the end is taken off, and what is before becomes the argument of a function."""
        function: Any = node.func
        if nn.ReLU not in self.substitutes.table:
            self.visit(function.value)
            return
        if is_plain(self.substitutes.table[nn.ReLU]):
            name = self._use(function.attr, CellType(self.substitutes.method(function.attr)))
            self._note(node, nn.ReLU, is_sure=False)
        elif child := self._child(node, nn.ReLU):
            name = f"{self._use('adapted', CellType(adapted_method(function.attr)))}({child})"
        else:
            self.visit(function.value)
            return
        dot = self._dot(function)
        self._insert(_start(node), f"{name}(")
        self.edits.append(Edit(dot, _end(node), "\n" * (_end(node)[0] - dot[0]) + ")"))
        self.visit(function.value)

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
        if not (self.rewriter.lists_flat and self._self):
            return
        if called is NOTHING and isinstance(node.func, ast.Attribute) and not _starts_with(node.func, self._self):
            name, first = node.func.attr, [float("nan")]
        elif called is not NOTHING and str(getattr(called, "__module__", "torch")).startswith("torch"):
            name, first = plain_name(called), []
        else:
            return
        args = first + [_number(each) for each in node.args]
        activation = activation_of(name, args, {each.arg or "": _number(each.value) for each in node.keywords})
        if activation and activation.flat and activation.operation != "relu" and not self._is_in_table(called):
            reason = OTHERS.get(activation.operation, activation.operation)
            self.found.append(Found(activation.operation, self._place(node), reason=reason))

    def _is_in_table(self, called: Any) -> bool:
        known = function_of(called) if called is not NOTHING else None
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

    def _either(self, node: ast.AST, found: ast.AST | None) -> None:
        """Ask, while the forward runs, whether a value is an activation; `found` is what may be one."""
        kind = next(iter(self.substitutes.table))
        if not self.substitutes.has_functions:
            if found is not None:
                reason = "what is called is known only when it runs, so the new parameters have no place"
                self._leave(found, kind, reason)
            return
        for each in (found, getattr(found, "value", None)):
            self.substitutes.prepare(self.value(each))
        name = self._use("either", CellType(self.substitutes.either))
        self._insert(_start(node), f"{name}(")
        self._insert(_end(node), ")")
        if found is not None:
            self._note(found, kind, is_sure=False)

    def _use(self, name: str, cell: CellType) -> str:
        """The name of a variable that holds what the cell holds."""
        for used, other in self.cells.items():
            if other is cell or (content(other) is not None and content(other) is content(cell)):
                return used
        base = f"_leakyrelu_{name.strip('<>_') or 'function'}" + "_" * name.endswith("_")
        name, number = base, 1
        while name in self.cells or name in self.names.free or name in self.names.bound:
            number += 1
            name = f"{base}_{number}"
        self.cells[name] = cell
        return name

    def _child(self, node: ast.AST, kind: type[nn.Module]) -> str:
        """The module, with parameters, that is to be called here; empty if there is no place for one."""
        operation = OPERATIONS[kind]
        if not self._self:
            self._leave(
                node,
                kind,
                f"is called in {self.function.__qualname__}, which no module owns, so the parameters of "
                "the new activation have no place",
            )
            return ""
        number = 1 + sum(isinstance(each, Found) and bool(each.child) for each in self.found)
        name = f"replaced_{self.function.__name__}_{operation}" + (f"_{number}" if number > 1 else "")
        self._note(node, kind, name)
        return f"{self._self}.{name}"


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def _is_method_call(node: ast.Call, called: Any) -> bool:
    if not isinstance(node.func, ast.Attribute) or called is not NOTHING:
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
