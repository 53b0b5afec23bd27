"""Loads what a command line names as MODULE:NAME."""

import os
import sys
import traceback
from importlib import import_module
from typing import Any

from leakyrelu._shared.wording import in_one_line

__all__ = ["load_object"]


def load_object(spec: str, wanted: str) -> Any:
    """The object that ``package.module:name`` names; modules are looked for in the current directory, too.

    Parameters
    ----------
    spec : str
        The name, as the user has given it.
    wanted : str
        How the name must be given, with an example, for the error: "the model must be given as ..., such as ...".

    Raises
    ------
    ImportError, ValueError
        There is no such module or name, or the module failed when it was imported.

    Examples
    --------
    >>> from leakyrelu._shared.importing import load_object
    >>> load_object("math:sqrt", "the function must be given as MODULE:NAME, such as math:sqrt")(4)
    2.0
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"{wanted}, got {spec!r}")
    if module_name.endswith(".py"):
        module = module_name.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise ValueError(f"{wanted}, got {spec!r}, which names a file; write {module}:{name}")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # a string, as in sys.path
        sys.path.insert(0, here)
    found: Any = _imported(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{found.__name__} has no {part!r}")
        found = getattr(found, part)
    return found


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's module may do anything, such as reading the command line
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise  # its text names the missing module
        kind = ImportError if isinstance(error, ImportError) else ValueError
        raise kind(f"importing {name} failed: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """An error in one line: its type, its text, and where it was raised."""
    message = in_one_line(error)
    described = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError) and error.lineno:
        return described  # its text says where
    # The place is the last line of a module that was running: a function that it called may belong to any library.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    return f"{described} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else described  # noqa: PTH119  # as a SyntaxError has it
