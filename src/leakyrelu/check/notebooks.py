"""Takes from a Jupyter notebook what a function needs, and leaves the data and the training aside."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from symtable import symtable
from typing import Any

__all__ = ["cells_for"]

_CHANGING = {
    "add",
    "append",
    "extend",
    "insert",
    "pop",
    "remove",
    "setdefault",
    "update",
}  # what a list can do
_RUN = re.compile(r"%%(time|capture|prun)\b.*")  # the magics of a cell that run its lines as Python
_MAGIC = re.compile(r"\s*([%!?].*|.*\?\s*|[\w.,\s]+=\s*[%!].*)")
_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class _Cell:
    lines: list[str]
    statements: Sequence[ast.stmt]
    is_python: bool = True


def cells_for(text: str, names: set[str]) -> list[str]:
    """The cells of a notebook, each with the statements that define `names` and what these use, however indirectly.

    Where a name is defined more than once, the last definition counts, as it does when all cells are run. Other lines
    are left empty, so that a line keeps its number in its cell. Magics and shell lines are no Python, and are left out.

    Raises
    ------
    ValueError
        The text is no notebook, or not one of Python.
    """
    cells = [_read(source) for source in _sources(text)]
    statements = [statement for cell in cells for statement in cell.statements]
    wanted = {"*", *names}
    kept: set[ast.stmt] = set()
    while more := {one for one in statements if one not in kept and not wanted.isdisjoint(_bound(one))}:
        kept |= more
        wanted |= {name for statement in more for name in _used(statement)}
    return [_without_others(cell, kept, names) for cell in cells]


def _sources(text: str) -> Iterator[list[str]]:
    """The lines of each cell of code."""
    try:
        notebook = json.loads(text)
        language = notebook["metadata"].get("kernelspec", {}).get("language", "python")
        cells: list[Any] = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        sources = ["".join(cell.get("source", cell.get("input", ""))) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ValueError("it is not a Jupyter notebook: save it in Jupyter, or give a file that ends in .py") from None
    if language != "python":
        raise ValueError(f"it is a notebook of {language}, and only Python can be checked")
    return (source.split("\n") for source in sources)


def _read(lines: list[str]) -> _Cell:
    """Parse a cell without its magics and shell lines.

    A line is taken for one of them only where Python cannot read it: `% b` may also go on with the line before.
    """
    lines = list(lines)
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        lines = [*[""] * (first + 1), *lines[first + 1 :]] if _RUN.fullmatch(lines[first]) else [""]
    while True:
        try:
            text = "\n".join(lines)
            symtable(text, "a cell", "exec")  # it finds errors that are left to later by the parser
            return _Cell(lines, ast.parse(text).body)
        except SyntaxError as error:
            place = (error.lineno or 0) - 1
        except ValueError:  # a null character
            place = -1
        if not (0 <= place < len(lines) and _MAGIC.fullmatch(lines[place])):
            return _Cell(lines, (), is_python=False)
        end = place + 1
        while end < len(lines) and lines[end - 1].endswith("\\"):
            end += 1
        lines[place:end] = [re.sub(r"\S.*", "pass", lines[place]), *[""] * (end - place - 1)]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines or changes."""
    if isinstance(statement, _DEFINITION):
        yield statement.name  # what is defined inside stays inside
        return
    for node in ast.walk(statement):
        if isinstance(node, _DEFINITION):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif _is_changed(node):
            owner = node
            while isinstance(owner, ast.Attribute | ast.Subscript):
                owner = owner.value
            if isinstance(owner, ast.Name):
                yield owner.id


def _is_changed(node: ast.AST) -> bool:
    """Whether it is a target of an assignment, or the ``table.append`` of a call."""
    if isinstance(node, ast.Attribute) and node.attr in _CHANGING:
        return True
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store)


def _used(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement takes from the notebook: not its own parameters and variables."""
    tables = [symtable(ast.unparse(statement), "a cell", "exec")]
    for table in tables:  # the list grows while we go through it
        tables += table.get_children()
        is_outside = table.get_type() == "module"
        yield from (one.get_name() for one in table.get_symbols() if one.is_global() or is_outside)


def _without_others(cell: _Cell, kept: set[ast.stmt], names: set[str]) -> str:
    if not cell.is_python:  # if it would define the function, Python says which line it cannot read
        text = "\n".join(cell.lines)
        return text if any(_defines(text, name) for name in names) else ""
    lines = [""] * len(cell.lines)
    for statement in kept.intersection(cell.statements):
        first = min(node.lineno for node in (statement, *getattr(statement, "decorator_list", ()))) - 1
        lines[first : statement.end_lineno] = cell.lines[first : statement.end_lineno]
    return "\n".join(lines).rstrip()


def _defines(text: str, name: str) -> bool:
    return re.search(rf"^\s*(async\s+)?(def|class)\s+{re.escape(name)}\b", text, re.MULTILINE) is not None
