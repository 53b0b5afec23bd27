"""Edits the source of functions that exist already: some of their expressions, and nothing else.

An edited function has the same lines, arguments, globals and closure. The names that an edit puts in are variables of
its closure, so they hide no name of the function. Its file exists in `linecache` alone, where tracebacks, `inspect`,
`torch.jit.script` and `torch.compile` find it.
"""

import __future__

import ast
import dis
import hashlib
import inspect
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

__all__ = [
    "Edit",
    "Source",
    "Unreadable",
    "copy_of",
    "edited",
    "formatted",
    "imported_names",
    "nested",
    "original_file",
    "position_of",
    "read",
    "written",
]


_IN_STRINGS = sys.version_info >= (3, 12)  # since then the parser says where in a formatted string a call is


class Unreadable(Exception):  # noqa: N818  # it is always caught, and becomes the reason in a report
    """A function cannot be edited; the text says why."""


class Edit(NamedTuple):
    """Text in place of what stands between two positions: lines count from 1, columns are bytes of UTF-8."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


@dataclass(frozen=True, eq=False)
class Source:
    """A function's source.

    Attributes
    ----------
    code : CodeType
        The code that runs.
    node : FunctionDef, AsyncFunctionDef or Lambda
        Its positions are those in the file.
    lines : list of bytes
        The lines of the file from `first` on, as far as the function reaches.
    first : int
        The number of the first of these lines.
    """

    code: CodeType
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    lines: list[bytes]
    first: int

    @property
    def is_lambda(self) -> bool:
        """Whether it is an expression, and not a statement."""
        return isinstance(self.node, ast.Lambda)


_FUTURE = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


def read(function: FunctionType) -> Source:
    """The source of a function.

    Raises
    ------
    Unreadable
        There is no source, or it is not that of the code that runs.
    """
    return _read(function.__code__, function.__code__.co_filename)


@lru_cache(1024)
def _read(code: CodeType, file: str) -> Source:  # the file is an argument, as codes of two files may be equal
    lines = linecache.getlines(file)
    if not lines:
        raise Unreadable("its source is not available")
    first = code.co_firstlineno
    source: Source | None
    try:
        source = _lambda(code, lines) if code.co_name == "<lambda>" else _statement(code, lines[first - 1 :])
        compiled = _compiled(source, source.lines, code.co_freevars, file)
    except (SyntaxError, ValueError, StopIteration):
        source = compiled = None
    if source is None or compiled is None or not _same(compiled, code):
        raise Unreadable("its source is not that of the code that runs: was the file changed?")
    return source


def _statement(code: CodeType, lines: list[str]) -> Source:
    block = [line.encode() for line in inspect.getblock(lines)]
    return Source(code, _parsed(block, code.co_firstlineno), block, code.co_firstlineno)


def _parsed(block: list[bytes], first: int) -> Any:
    """The statement in these lines, which may be indented."""
    indented = block[0][:1].isspace()
    start = b"\n" * (first - 2) + b"if True:\n" if indented else b"\n" * (first - 1)
    (statement,) = ast.parse(start + b"".join(block)).body
    return statement.body[0] if isinstance(statement, ast.If) else statement


def _lambda(code: CodeType, lines: list[str]) -> Source:
    """A lambda is found in its file by the position of what it returns."""
    positions = {position for position in code.co_positions() if None not in position}
    candidates = [
        node
        for node in ast.walk(_file("".join(lines)))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno and position_of(node.body) in positions
    ]
    (node,) = candidates
    _, last, _, _ = position_of(node)
    return Source(code, node, [line.encode() for line in lines[node.lineno - 1 : last]], node.lineno)


@lru_cache(32)
def _file(text: str) -> ast.Module:
    return ast.parse(text)


@lru_cache(64)
def imported_names(file: str) -> frozenset[str]:
    """The names that import statements set anywhere in a file."""
    try:
        nodes = ast.walk(_file("".join(linecache.getlines(original_file(file)))))
    except SyntaxError:
        return frozenset()
    imports = (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    return frozenset(alias.asname or alias.name for node in imports for alias in node.names)


def position_of(node: ast.AST) -> tuple[Any, ...]:
    """Where an expression is, as `code.co_positions()` has it: first and last line, first and last column."""
    place: Any = node
    return place.lineno, place.end_lineno, place.col_offset, place.end_col_offset


def formatted(node: ast.JoinedStr) -> Iterator[ast.expr]:
    """What is in a formatted string, but for expressions that are shown with their source, as in ``f"{x.relu()=}"``."""
    before = ""
    for each in node.values if _IN_STRINGS else ():
        if isinstance(each, ast.Constant):
            before = "".join(str(each.value).split())
        elif not before.endswith("".join(ast.unparse(each.value).split()) + "="):  # type: ignore[attr-defined]  # the only other kind
            yield each


def nested(code: CodeType) -> Iterator[CodeType]:
    """The code, and all code in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def edited(function: FunctionType, edits: Iterable[Edit], cells: Mapping[str, CellType]) -> FunctionType:
    """The function with edits in its source, which may use the names of `cells`."""
    source = read(function)
    lines = _applied(source, edits)
    code = source.code
    digest = hashlib.sha256(b"".join(lines)).hexdigest()[:8]
    file = f"<leakyrelu {digest} {original_file(code.co_filename)}>"
    new = _compiled(source, lines, (*code.co_freevars, *cells), file)
    if new is None:
        raise Unreadable("its source cannot be edited")
    text = [b"\n"] * (source.first - 1) + lines
    linecache.cache[file] = sum(map(len, text)), None, [line.decode() for line in text], file
    own = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(own[name] if name in own else cells[name] for name in new.co_freevars)
    return copy_of(function, new, closure)


def copy_of(function: FunctionType, code: CodeType, closure: tuple[CellType, ...]) -> FunctionType:
    """A function that differs from another one in its code and closure alone."""
    new = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    new.__qualname__, new.__module__, new.__doc__ = function.__qualname__, function.__module__, function.__doc__
    new.__annotations__ = function.__annotations__
    new.__dict__.update(function.__dict__)
    return new


def written(source: str, name: str, names: Mapping[str, Any]) -> Any:
    """The function called `name` that the source defines, with these globals."""
    file = f"<leakyrelu {hashlib.sha256(source.encode()).hexdigest()[:8]} {name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = dict(names)  # without a __name__, as it belongs to no module
    exec(compile(source, file, "exec"), namespace)  # noqa: S102  # the source is the library's own
    namespace[name].__module__ = __name__  # which torch.jit.script asks for
    return namespace[name]


def original_file(file: str) -> str:
    """The file of which an edited function's file was made; any other file as it is."""
    return file[1:-1].split(" ", 2)[2] if file.startswith("<leakyrelu ") else file


def _applied(source: Source, edits: Iterable[Edit]) -> list[bytes]:
    lines = list(source.lines)
    for edit in sorted(edits, reverse=True):
        (first, start), (last, end) = ((line - source.first, column) for line, column in (edit.start, edit.end))
        text = lines[first][:start] + edit.text.encode() + lines[last][end:]
        lines[first : last + 1] = text.splitlines(keepends=True)
    return lines


def _compiled(source: Source, lines: list[bytes], free: Iterable[str], file: str) -> CodeType | None:
    """The code of a function with these lines, compiled where it stands: in its class, with its closure."""
    node: Any = _parsed_lambda(lines, source) if source.is_lambda else _parsed(lines, source.first)
    code = source.code
    if not source.is_lambda and getattr(node, "name", None) != code.co_name:
        return None
    body: Any = _alone(node)
    *_, outer, _ = ("<locals>", *code.co_qualname.split("."))
    if outer != "<locals>":  # for names such as __x, which the class completes, and for super()
        body = _typed(ast.ClassDef(outer, [], [], [body], []))
    names = [name for name in dict.fromkeys(free) if name != "__class__"]
    outside = [name for name in (outer, code.co_name) if not name.startswith("<") and name not in names]
    arguments = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    factory = _typed(ast.FunctionDef("factory", arguments, [*([ast.Global(outside)] if outside else []), body], []))
    module = ast.fix_missing_locations(ast.Module([factory], []))
    flags = code.co_flags & _FUTURE
    compiled: CodeType = compile(module, file, "exec", flags=flags, dont_inherit=True)
    path = ("factory", *((outer,) if outer != "<locals>" else ()), code.co_name)
    for name in path:
        found = [each for each in compiled.co_consts if isinstance(each, CodeType) and each.co_name == name]
        if not found:
            return None
        compiled = found[0]
    return compiled.replace(co_qualname=code.co_qualname)


def _typed(node: Any) -> Any:
    """The node with a field that Python 3.12 and later ask for."""
    if "type_params" in node._fields:
        node.type_params = []
    return node


def _parsed_lambda(lines: list[bytes], source: Source) -> ast.Lambda:
    """The lambda in these lines; what surrounds it on them is not parsed."""
    column, end = source.node.col_offset, position_of(source.node)[3]
    behind = len(source.lines[-1]) - end
    text = b"".join(lines)[column : -behind or None]
    space = b"\n" * (source.first - 1) + b" " * (column - (source.first == 1))
    found: ast.Lambda = ast.parse(b"(" + space + text + b")", mode="eval").body  # type: ignore[assignment]  # it is one
    return found


def _alone(node: Any) -> ast.stmt:
    """The function without what is evaluated where it is defined: decorators, defaults and annotations.

    Constants take the place of decorators, as the first line of the code is that of the first decorator.
    """
    if isinstance(node, ast.Lambda):
        return ast.copy_location(ast.Expr(_without_defaults(node)), node)
    node.returns = None
    node.decorator_list = [ast.copy_location(ast.Constant(None), each) for each in node.decorator_list]
    node = _typed(_without_defaults(node))
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    found: ast.stmt = node
    return found


def _without_defaults(node: Any) -> Any:
    nothing = ast.Constant(None)
    node.args.defaults = [nothing for _ in node.args.defaults]
    node.args.kw_defaults = [each and nothing for each in node.args.kw_defaults]
    return node


def _same(compiled: CodeType, running: CodeType) -> bool:
    """Whether the source is that of the running code."""
    names = [name for name in (*running.co_names, *running.co_varnames) if not name.startswith("@")]
    if len(names) < len(running.co_names) + len(running.co_varnames):  # pytest has rewritten its assertions
        return set(names) >= set(compiled.co_varnames)
    ours, theirs = compiled.co_consts, running.co_consts
    return (
        (compiled.co_code == running.co_code or _steps(compiled) == _steps(running))
        and (compiled.co_names, compiled.co_varnames) == (running.co_names, running.co_varnames)
        and (compiled.co_freevars, compiled.co_cellvars) == (running.co_freevars, running.co_cellvars)
        and len(ours) == len(theirs)
        and all(
            isinstance(theirs[i], CodeType) and _same(ours[i], theirs[i])
            if isinstance(ours[i], CodeType)
            else type(ours[i]) is type(theirs[i]) and (ours[i] == theirs[i] or repr(ours[i]) == repr(theirs[i]))
            for i in range(len(ours))
        )
    )


def _steps(code: CodeType) -> list[tuple[Any, ...]]:
    """What the code does; ``np.sum(x)`` has other instructions where the compiler sees that `np` was imported."""
    return [
        ("LOAD_ATTR" if step.opname == "LOAD_METHOD" else step.opname, _argument(step))
        for step in dis.get_instructions(code)
        if step.opname not in ("PUSH_NULL", "PRECALL", "EXTENDED_ARG", "NOP")
    ]


def _argument(step: dis.Instruction) -> object:
    if step.opcode in dis.hasconst or step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
        return None  # constants are compared one by one; where a jump leads depends on the lengths of what is between
    return step.argval if step.opname.startswith("LOAD_") else step.arg
