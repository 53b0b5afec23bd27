"""Forwards that call ReLU as a function: which they are, and their rewriting by way of a trace.

A trace (`torch.fx`) keeps what one run of the forward does with tensors and children, and nothing else. So the source
is read first, for what would be left out or settled once and for all. The forward written from the trace goes into a
subclass of the module's class: the module remains the object that it is, with its parameters and hooks.
"""

import ast
import inspect
import linecache
import operator
from collections.abc import Iterator
from functools import lru_cache, partialmethod
from types import FunctionType, ModuleType
from typing import Any, ClassVar

from torch import fx, nn
from torch.nn.utils import parametrize

from leakyrelu.torch.activation import leaky_relu

__all__ = ["is_in_place", "rewrite", "traced"]

_INSTEAD = "use nn.ReLU there"


def is_in_place(function: Any) -> bool:
    """Whether it is that by its name: `torch.relu_`, `aten.relu_.default`, the method ``"relu_"``."""
    return str(getattr(function, "__name__", function)).partition(".")[0].endswith("_")


def traced(module: nn.Module) -> fx.Graph | str | None:
    """The graph of a forward that calls ReLU, or why there is none; None where it does not call it."""
    functions = _functions(module)
    if not any(map(_names_relu, functions)):
        return None
    if "forward" in vars(module):
        return "its forward was set on the object"
    if parametrize.is_parametrized(module):  # its class has been made for it, and is to be unmade
        return "parametrized itself; replace before torch.nn.utils.parametrize"
    for function in functions:
        for obstacle in _obstacles(function):
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


@lru_cache(128)  # a model's blocks are many, its classes few
def _nodes(function: FunctionType) -> tuple[ast.AST, ...]:
    """Of its syntax tree; none, where its source is not to be had."""
    try:
        source = inspect.getsource(function)
        return tuple(ast.walk(ast.parse(f"if True:\n{source}" if source[0].isspace() else source)))
    except (OSError, SyntaxError):  # made by exec; a lambda, of which Python gives a line that is no statement
        return ()


def _functions(module: nn.Module) -> list[FunctionType]:
    """The forward, and all functions and methods that it may call, except PyTorch's and ours."""
    functions: list[FunctionType] = []
    pending: list[Any] = [vars(module).get("forward", type(module).forward)]
    while pending:
        found = pending.pop()
        function = getattr(found, "__func__", found)  # of a bound or static method
        if not isinstance(function, FunctionType) or function in functions:
            continue
        if not str(function.__module__).startswith(("torch.nn.", "torch.functional", "torch._", "leakyrelu.")):
            functions.append(function)
            names = {getattr(node, "id", getattr(node, "attr", "")) for node in _nodes(function)}
            imported = [value for name in names if isinstance(value := function.__globals__.get(name), ModuleType)]
            scopes = [vars(each) for each in (module, *type(module).__mro__, *imported)] + [function.__globals__]
            pending += [scope[name] for name in sorted(names) for scope in scopes if name in scope]
            pending += [cell.cell_contents for cell in function.__closure__ or ()]  # also what a decorator wraps
    return functions


def _names_relu(function: FunctionType) -> bool:
    """Whether it says ``F.relu``, ``x.relu`` or an imported ``relu``; ``self.relu`` is a module, or a held function."""
    for node in _nodes(function):
        match node:
            case ast.Attribute(attr="relu" | "relu_") | ast.alias(name="relu" | "relu_") if not _of_self(node):
                return True
            case ast.Name(id=name) if getattr(function.__globals__.get(name), "__name__", "") in ("relu", "relu_"):
                return True
    return not _nodes(function) and not {"relu", "relu_"}.isdisjoint(function.__code__.co_names)


def _of_self(expression: ast.AST) -> bool:
    """Whether it is of the module alone, and not of an argument, say."""
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)} == {"self"}


def _obstacles(function: FunctionType) -> Iterator[str]:
    """What a trace would leave out, or settle once and for all, without saying so."""
    if not _nodes(function):
        yield "cannot be read: its source is not to be had"
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
            case ast.Compare(ops=[*_, ast.Is() | ast.IsNot()]) if not _of_self(node):
                yield "depends on what a value is, as on its being None"
            case ast.Name(id="isinstance" | "hasattr") | ast.Attribute(attr="is_tensor" | "is_grad_enabled"):
                yield "depends on a type, or on gradients being wanted"


class _Proxy(fx.Proxy):
    """For that of `torch.fx`, ``x += y`` is ``x = x + y``: other names of the tensor would keep the old values."""

    def update(self, operation: str, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", _update, (operation, self, other), {})


def _update(operation: str, value: Any, other: Any) -> Any:
    return getattr(operator, operation)(value, other)


for _operation in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor"):
    setattr(_Proxy, f"__{_operation}__", partialmethod(_Proxy.update, _operation))


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # as parameters are: what is computed from them is so at every call

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002  # all are
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _trace(module: nn.Module) -> fx.Graph | str:
    """The graph of the forward, if it is the same in training and in evaluation."""
    twin = object.__new__(type(module))  # takes what the trace sets, constants included
    vars(twin).update(vars(module))
    modes = {each: each.training for each in twin.modules()}
    graphs = []
    try:
        for mode in (True, False):
            for each in modes:
                each.training = mode
            graphs.append(_Tracer().trace(twin))
    except Exception as error:  # noqa: BLE001  # whatever a forward raises that is given no tensor
        why = (str(error) or type(error).__name__).partition("\n")[0].partition(". ")[0]
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
    """A class made while the program runs, which a pickle cannot name: what it is made of goes there."""

    _made_of: ClassVar[tuple[type, str, dict[str, Any]]]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, self._made_of, self.__getstate__()


def _new(*made_of: Any) -> Any:
    return object.__new__(_rewritten(*made_of))


def _rewritten(cls: type, source: str, names: dict[str, Any]) -> type:
    """The class with another forward, written by `torch.fx`."""
    file = f"<leakyrelu {hash(source):x}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file  # for inspect.getsource
    namespace = fx.Graph().python_code("self").globals | names  # without a __name__: they are no module's
    exec(compile(source, file, "exec"), namespace)  # noqa: S102  # as torch.fx does
    own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    own |= {"forward": namespace["forward"], "_made_of": (cls, source, names)}
    return type(cls.__name__, (_Rewritten, cls), own)
