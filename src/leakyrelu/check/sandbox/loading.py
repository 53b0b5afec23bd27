"""Loads somebody's code, finds the function in it, and says what went wrong.

Loaded by `supervisor` by its path, and with the standard library alone.
"""

import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from inspect import getattr_static, isclass, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Loaded", "NotFoundError", "find", "hidden", "load", "what_went_wrong"]

Json = dict[str, Any]


class NotFoundError(Exception):
    """There is no function of that name; the message says what there is."""


@dataclass(frozen=True)
class Loaded:
    """A function or a class, and the class that it is a method of, if it needs an object."""

    function: Any
    owner: type | None = None


def load(target: Json) -> Any:
    """Run the code; return its module."""
    sys.path[:] = [*target["path"], *sys.path, *(entry for entry in target["packages"] if entry not in sys.path)]
    if "module" in target:
        return import_module(target["module"])
    if target["beside"]:
        sys.path.append(target["beside"])
    module = ModuleType("answer")
    module.__file__ = target["filename"]
    module.__package__ = target["package"]
    sys.modules["answer"] = module  # dataclasses and the like look there
    # For the lines of exceptions. Cells count theirs from 1 each, so that no line could be told by its number.
    lines = target["sources"][0].splitlines(keepends=True) if len(target["sources"]) == 1 else []
    linecache.cache[target["filename"]] = (1, None, lines, target["filename"])
    for source in target["sources"]:
        exec(compile(source, target["filename"], "exec", dont_inherit=True), vars(module))  # noqa: S102  # its purpose
    return module


def find(module: Any, name: str, target: Json) -> Loaded:
    """What has that name in the module: NAME, Class, Class.method.

    Raises
    ------
    NotFoundError
        Nothing, or nothing that can be called.
    """
    owner, found = None, module
    for part in name.split("."):
        if not hasattr(found, part):
            raise NotFoundError(_what_is_there(found, part, target))
        is_method = isclass(found) and isfunction(getattr_static(found, part))
        owner, found = found if is_method else None, getattr(found, part)
    if not callable(found):
        raise NotFoundError(f"{name} must be a function, it is {found!r:.100}, of type {type(found).__name__}")
    return Loaded(found, owner)


def _what_is_there(owner: Any, name: str, target: Json) -> str:
    where = target["module"] if "module" in target else Path(target["filename"]).name
    if isclass(owner):
        where, noun = f"the class {owner.__name__}", "method"
    else:
        noun = "function"
    names = [key for key, value in vars(owner).items() if isfunction(value) and not key.startswith("_")]
    there = f"{noun}s there: {', '.join(names[:10])}" if names else f"no {noun} is defined there"
    there += "" if isclass(owner) else _hidden_definition(target, name)
    return f"there is no {name!r} in {where}; {there}"


def _hidden_definition(target: Json, name: str) -> str:
    """Where a definition stands that Python does not see: in a block, or in a comment."""
    for source in target.get("sources", []):
        if found := re.search(rf"^(?:([ \t]*#.*)|[ \t]+)def {re.escape(name)}\b", source, re.MULTILINE):
            where = "a comment" if found[1] else "a block, a class or a function"
            return f"; its definition stands inside {where}"
    return ""


def what_went_wrong(error: BaseException, target: Json) -> Json:
    """Describe an error that was raised while the code was loaded: its line in the code, and what `causes` looks up."""
    name, text = type(error).__name__, str(error)[:500]
    own = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == target.get("filename")
    ]
    line = own[-1][1] if own else None
    code = linecache.getline(target["filename"], line).strip()[:500] if line else ""
    if isinstance(error, SyntaxError):
        text, line, code = error.msg, error.lineno, (error.text or "")[:500]
    where = "" if line is None else f" in line {line}"
    described = f"{name}{where}: {text}" if text else f"{name}{where}"
    return {"error": described, "type": name, "text": text, "code": code, "hidden": hidden(target, error)}


def hidden(target: Json, error: BaseException | None = None) -> str:
    """Which file beside the code was imported in place of a module of Python or an installed one, and what to do."""
    for file in {*_imported(), *_imported_in_vain(target, error)}:
        path = Path(file)
        path = path.parent if path.name == "__init__.py" else path
        if str(path.parent) in target["path"] and _is_elsewhere(path.stem, target["path"]):
            what = "folder" if path.suffix == "" else "file"
            return f"your {what} {path.name} is imported in place of the module {path.stem}: rename your {what}"
    return ""


def _imported() -> Iterator[str]:
    """The files of the modules that were imported."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and name in {Path(file).stem, Path(file).parent.name}:
            yield file


def _imported_in_vain(target: Json, error: BaseException | None) -> Iterator[str]:
    """The files whose import failed with this error. The code itself is one only where it was imported, too."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        bodies = [frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
        if target.get("filename") in bodies:
            bodies.remove(target["filename"])
        yield from bodies
        error = error.__cause__ or error.__context__


def _is_elsewhere(name: str, folders: list[str]) -> bool:
    if name in sys.stdlib_module_names:
        return True
    return PathFinder.find_spec(name, [entry for entry in sys.path if entry not in folders]) is not None
