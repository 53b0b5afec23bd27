"""Finds forwards that call ReLU as a function, and rewrites them from a trace.

A trace (`torch.fx`) keeps what one run of the forward does with tensors and submodules, and nothing else. So the source
is read first: it tells what a trace would leave out, or would fix to what it was in that run. The forward written from
the trace goes into a subclass of the module's class. So the module remains the same object, with its parameters and
hooks.
"""

import ast
import inspect
import linecache
import math
import operator
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache, partialmethod
from types import FunctionType, ModuleType
from typing import Any, ClassVar

from torch import fx, nn
from torch.nn.utils import parametrize

from leakyrelu._backends.torch import leaky_relu
from leakyrelu._shared.wording import first_line
from leakyrelu.torch.operations import activation_of

__all__ = ["activations_named", "is_in_place", "rewrite", "traced"]

_INSTEAD = "use nn.ReLU there"


def is_in_place(function: Any) -> bool:
    """Whether a function works in place, judged by its name: `torch.relu_`, `aten.relu_.default`, ``"relu_"``."""
    return str(getattr(function, "__name__", function)).partition(".")[0].endswith("_")


def traced(module: nn.Module) -> fx.Graph | str | None:
    """The graph of a forward that calls ReLU, or the reason why there is none; None if it does not call ReLU."""
    functions = {function: _own_names(function, module) for function in _functions(module)}
    if not any(_names_relu(function, own) for function, own in functions.items()):
        return None
    if "forward" in vars(module):
        return "its forward was set on the object"
    if parametrize.is_parametrized(module):  # PyTorch has made a class for it, and will take that away again
        return "parametrized itself; replace before torch.nn.utils.parametrize"
    for function, own in functions.items():
        for obstacle in _obstacles(function, own):
            return f"{function.__name__} {obstacle}; {_INSTEAD}"
    return _trace(module)


def rewrite(module: nn.Module, graph: fx.Graph, node: fx.Node, slope: float) -> None:
    """Replace one call in the graph, and make the graph the module's forward."""
    given = {**dict(zip(("input", "inplace"), node.args, strict=False)), **node.kwargs}
    inplace = is_in_place(node.target) or given.get("inplace", False)
    with graph.inserting_before(node):
        leaky = graph.call_function(leaky_relu, (given["input"], slope, inplace))
    node.replace_all_uses_with(leaky)
    graph.erase_node(node)
    if isinstance(module, fx.GraphModule):
        module.recompile()
        return
    code = graph.python_code("self")
    names = {name: value for name, value in code.globals.items() if not isinstance(value, ModuleType)}
    cls = type(module)
    module.__class__ = _rewritten(cls._made_of[0] if issubclass(cls, _Rewritten) else cls, code.src, names)


@lru_cache(128)  # a model may have many blocks, but it has few classes
def _nodes(function: FunctionType) -> tuple[ast.AST, ...]:
    """The nodes of the function's syntax tree; none if its source is not available."""
    try:
        source = inspect.getsource(function)
        return tuple(ast.walk(ast.parse(f"if True:\n{source}" if source[0].isspace() else source)))
    except (OSError, SyntaxError):  # it was made by exec; or it is a lambda, whose source line is no statement
        return ()


def _functions(module: nn.Module) -> list[FunctionType]:
    """The forward, and all functions and methods that it may call, except those of PyTorch and this library."""
    functions: list[FunctionType] = []
    pending: list[Any] = [vars(module).get("forward", type(module).forward)]
    while pending:
        found = pending.pop()
        function = getattr(found, "__func__", found)  # the function of a bound or static method
        if not isinstance(function, FunctionType) or function in functions:
            continue
        if not str(function.__module__).startswith(("torch.nn.", "torch.functional", "torch._", "leakyrelu.")):
            functions.append(function)
            pending += _named(function, module)
            pending += [cell.cell_contents for cell in function.__closure__ or ()]  # what a decorator wraps
    return functions


def _named(function: FunctionType, module: nn.Module) -> list[Any]:
    """What a function may call: globals, what imported modules hold, and attributes of the module and its class."""
    own = [vars(each) for each in (module, *type(module).__mro__)]
    found: list[Any] = []
    for node in _nodes(function):
        match node:
            case ast.Name():
                found.append(_global(function, node))
            case ast.Attribute(value=value) if isinstance(_global(function, value), ModuleType):
                found.append(_global(function, node))
            case ast.Attribute(attr=name):
                found += [scope[name] for scope in own if name in scope]
    return found


def _global(function: FunctionType, expression: ast.AST) -> Any:
    """The global, or the item of an imported module, that an expression names; None for the function's variables."""
    match expression:
        case ast.Name(id=name) if name not in (*function.__code__.co_varnames, *function.__code__.co_cellvars):
            return function.__globals__.get(name)
        case ast.Attribute(value=value, attr=name) if isinstance(imported := _global(function, value), ModuleType):
            return vars(imported).get(name)
    return None


def activations_named(module: nn.Module) -> list[str]:
    """The flat activations, as `diagnose` counts them, that the source of the forward calls."""
    found: dict[str, None] = {}
    for function in _functions(module):
        own = _own_names(function, module)
        for node in _nodes(function):
            if isinstance(node, ast.Call) and not _of_module(node.func, own):
                activation = activation_of(*_call(function, node))
                found |= {activation.operation: None} if activation and activation.flat else {}
    return list(found)


def _call(function: FunctionType, call: ast.Call) -> tuple[str, list[Any], dict[str, Any]]:
    """Name and arguments of a call; an argument that is not written as a number is NaN."""

    def number(expression: ast.AST) -> Any:
        value = getattr(expression, "value", None)
        return value if isinstance(value, int | float) else math.nan

    args, kwargs = [number(each) for each in call.args], {each.arg or "": number(each.value) for each in call.keywords}
    if not isinstance(call.func, ast.Attribute):
        return str(getattr(_global(function, call.func), "__name__", "")), args, kwargs
    is_method = not isinstance(_global(function, call.func.value), ModuleType)
    return call.func.attr, [math.nan] * is_method + args, kwargs


def _own_names(function: FunctionType, module: nn.Module) -> AbstractSet[str]:
    """The names that stand for the module or for something it holds, such as ``b`` in ``for b in self.blocks``."""
    is_method = any(value is function for cls in type(module).__mro__ for value in vars(cls).values())
    code = function.__code__
    own = {"self", *code.co_varnames[: min(1, code.co_argcount)]} if is_method else {"self"}
    arguments = {node.arg for node in _nodes(function) if isinstance(node, ast.arg)}
    values: dict[str, list[ast.AST]] = {}
    for name, value in _assignments(function):
        if name not in arguments:
            values.setdefault(name, []).append(value)
    for _ in values:  # repeated, as one may be made of another
        own |= {name for name, made_of in values.items() if all(_is_held(each, own) for each in made_of)}
    return own


def _assignments(function: FunctionType) -> Iterator[tuple[str, ast.AST]]:
    """Each variable that the function sets or adds to, and the expression that its value comes from."""
    for node in _nodes(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                targets = [target]
            case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                targets = [target]
            case ast.Call(func=ast.Attribute(value=target, attr="append" | "extend" | "insert" | "update")):
                targets, value = [target], node
            case _:
                continue
        yield from ((name, value) for target in targets for name in _names(target))


_ITERATING = {"enumerate", "zip", "reversed", "range", "len", "list", "tuple"}
_GIVING = {"children", "named_children", "modules", "named_modules", "items", "values", "keys"}


def _is_held(expression: ast.AST, own: AbstractSet[str]) -> bool:
    """Whether an expression uses the module alone, and no call computes its value."""
    calls = [node.func for node in ast.walk(expression) if isinstance(node, ast.Call)]
    names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    return names <= _ITERATING | _GIVING and _names(expression) <= own | _ITERATING


def _names(expression: ast.AST) -> AbstractSet[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _of_module(expression: ast.AST, own: AbstractSet[str]) -> bool:
    """Whether an expression uses the module alone and, for example, no argument."""
    names = _names(expression)
    return bool(names) and names <= own | _ITERATING


def _names_relu(function: FunctionType, own: AbstractSet[str]) -> bool:
    """Whether a function names ``F.relu``, ``x.relu`` or an imported ``relu``.

    ``self.relu`` does not count: it is a module, or a function held as an attribute.
    """
    for node in _nodes(function):
        match node:
            case ast.Attribute(attr="relu" | "relu_") | ast.alias(name="relu" | "relu_") if not _of_module(node, own):
                return True
            case ast.Name(id=name) if getattr(function.__globals__.get(name), "__name__", "") in ("relu", "relu_"):
                return True
    return not _nodes(function) and not {"relu", "relu_"}.isdisjoint(function.__code__.co_names)


def _obstacles(function: FunctionType, own: AbstractSet[str]) -> Iterator[str]:
    """What a trace would leave out, or fix to what it is in one run, without saying so."""
    if not _nodes(function):
        yield "cannot be read: its source is not available"
    if hasattr(function, "__wrapped__"):
        yield "has a decorator"
    for node in _nodes(function):
        match node:
            case ast.With() | ast.Try() | ast.TryStar() | ast.Match():
                yield "has a with, try or match block"
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ast.Attribute(), ctx=ast.Store()):
                yield "sets attributes"
            case ast.Global() | ast.Nonlocal() | ast.Expr(ast.Call(ast.Attribute(ast.Attribute()))):
                yield "changes more than its own variables"  # as self.seen.append(x) does
            case ast.Compare(ops=[*_, ast.Is() | ast.IsNot()]) if not _of_module(node, own):
                yield "depends on what a value is, such as whether it is None"
            case ast.Name(id="isinstance" | "hasattr") | ast.Attribute(attr="is_tensor" | "is_grad_enabled"):
                yield "depends on a type, or on whether gradients are recorded"


class _Proxy(fx.Proxy):
    """Keeps ``x += y`` in place. `torch.fx` makes it ``x = x + y``, so other names of `x` would keep the old values."""

    def update(self, operation: str, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", _update, (operation, self, other), {})


def _update(operation: str, value: Any, other: Any) -> Any:
    return getattr(operator, operation)(value, other)


for _operation in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor"):
    setattr(_Proxy, f"__{_operation}__", partialmethod(_Proxy.update, _operation))


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # as with parameters: what is computed from buffers is computed at every call

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002  # all modules are
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _trace(module: nn.Module) -> fx.Graph | str:
    """The graph of the forward, if it is the same in training and in evaluation."""
    twin = object.__new__(type(module))  # the trace sets attributes and constants on it, and not on the module
    vars(twin).update(vars(module))
    modes = {each: each.training for each in twin.modules()}
    graphs = []
    try:
        for mode in (True, False):
            for each in modes:
                each.training = mode
            graphs.append(_Tracer().trace(twin))
    except Exception as error:  # noqa: BLE001  # a forward that is given no tensor may raise anything
        why = first_line(error).partition(". ")[0]
        return f"torch.fx cannot trace its forward: {why}; {_INSTEAD}"
    finally:
        for each, mode in modes.items():
            each.training = mode
    if changed := [key for key, value in vars(twin).items() if value is not vars(module).get(key)]:
        return f"its forward makes tensors or sets attributes ({', '.join(changed)}); {_INSTEAD}"
    if str(graphs[0]) != str(graphs[1]):
        return "its forward depends on self.training, or on chance; use nn.Dropout and the like, or nn.ReLU, there"
    return graphs[0]


class _Rewritten:
    """A class made while the program runs. A pickle cannot name it, so it holds what the class is made of."""

    _made_of: ClassVar[tuple[type, str, dict[str, Any]]]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, self._made_of, self.__getstate__()


def _new(*made_of: Any) -> Any:
    return object.__new__(_rewritten(*made_of))


def _rewritten(cls: type, source: str, names: dict[str, Any]) -> type:
    """A subclass of the class with another forward, which `torch.fx` has written."""
    file = f"<leakyrelu {hash(source):x}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file  # for inspect.getsource
    namespace = fx.Graph().python_code("self").globals | names  # without a __name__, as it belongs to no module
    exec(compile(source, file, "exec"), namespace)  # noqa: S102  # as torch.fx does
    own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    own |= {"forward": namespace["forward"], "_made_of": (cls, source, names)}
    return type(cls.__name__, (_Rewritten, cls), own)
