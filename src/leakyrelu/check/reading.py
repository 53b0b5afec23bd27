"""What a command line names: a file as Python reads it, a notebook, standard input, or a module."""

import os
import re
import sys
from dataclasses import dataclass
from errno import ENOENT
from importlib.util import decode_source
from pathlib import Path

from leakyrelu.check.notebooks import cells_for
from leakyrelu.check.sandbox.calling import Json

__all__ = ["UnreadableError", "program", "target_of"]

_FILES = (".py", ".ipynb")
_STANDARD_INPUT = "-"
_FORMS = "FILE.py, FILE.ipynb, FILE.py:NAME, MODULE:NAME or - for standard input"


class UnreadableError(Exception):
    """A text that is no program; the message says why, and `cause` what to do."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class _Named:
    """What was asked for: FILE and NAME, or MODULE and NAME."""

    place: str
    name: str
    is_module: bool = False


def target_of(spec: str, name: str, derivative: str | None) -> Json:
    """What a command line names, for the process that loads it; `name` where `spec` says none.

    Raises
    ------
    OSError
        The file cannot be read.
    UnreadableError
        It can, but it is no text or no notebook.
    ValueError
        `spec` has another form.
    """
    named = _named(spec, name)
    if named.is_module:
        return {"module": named.place, "name": named.name, "path": [str(Path.cwd())]}
    if named.place == _STANDARD_INPUT:
        return program(sys.stdin.buffer.read(), named.name, None, derivative, called="standard input")
    return program(Path(named.place).read_bytes(), named.name, Path(named.place), derivative)


def _named(spec: str, otherwise: str) -> _Named:
    before, colon, name = spec.rpartition(":")
    if spec == _STANDARD_INPUT or spec.lower().endswith(_FILES):
        return _Named(spec, otherwise)
    if name and (before == _STANDARD_INPUT or before.lower().endswith(_FILES)):
        return _Named(before, name)
    if not colon and ("/" in spec or os.sep in spec):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), spec)
    if not (before and colon and name):
        raise ValueError(f"the function must be given as {_FORMS}, got {spec!r}")
    return _Named(before, name, is_module=True)


def program(
    source: str | bytes, name: str, file: Path | None, derivative: str | None = None, *, called: str = "the text"
) -> Json:
    """A program, and where it finds modules of its own.

    Raises
    ------
    UnreadableError
        The source is no text or no notebook.
    """
    called = called if file is None else file.name
    text = _decoded(source, called) if isinstance(source, bytes) else source.removeprefix("\ufeff")
    sources = [text]
    if file is not None and file.suffix.lower() == ".ipynb":
        root = name.partition(".")[0]
        try:
            sources = cells_for(text, {root, (derivative or f"{name.rpartition('.')[2]}_derivative").partition(".")[0]})
        except ValueError as error:
            raise UnreadableError(f"{called} cannot be read: {error}", "") from error
    filename = called if file is None else str(file.resolve())
    return {"sources": sources, "filename": filename, "name": name} | _surroundings(file, text)


def _decoded(source: bytes, called: str) -> str:
    """The text as Python reads it: by its byte order mark, by the encoding that it declares (PEP 263), or as UTF-8."""
    cause = "save the file as UTF-8, or name its encoding in the first line: # coding: latin-1"
    if b"\0" in source:
        reason = "it has null characters, as a file in UTF-16 has"
    else:
        try:
            return decode_source(source)
        except (SyntaxError, UnicodeDecodeError) as error:  # a SyntaxError is about the encoding that the text declares
            reason = _not_utf_8(source) or str(error)
    raise UnreadableError(f"{called} is no text that Python can read: {reason}", cause)


def _not_utf_8(source: bytes) -> str:
    """The first byte that is not UTF-8; empty if there is none."""
    try:
        source.decode()
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        return f"byte 0x{source[error.start]:02x} in line {line} is not UTF-8"
    return ""


def _surroundings(file: Path | None, text: str) -> Json:
    """Where the program finds modules: in its folder, and in its package if it lies in one."""
    if file is None:
        return {"path": [], "package": None, "beside": None}
    folder = root = file.resolve().parent
    dots = [len(found) for found in re.findall(r"^\s*from\s+(\.+)", text, re.MULTILINE)]
    levels = max(dots, default=0)  # a package may have no __init__.py: then its relative imports tell how deep it is
    while root != root.parent and ((root / "__init__.py").exists() or levels > 0):
        root, levels = root.parent, levels - 1
    if root == folder:
        return {"path": [str(folder)], "package": None, "beside": None}
    # In a package, `import random` means Python's module, even if the package has one of that name.
    return {"path": [str(root)], "package": ".".join(folder.relative_to(root).parts), "beside": str(folder)}
