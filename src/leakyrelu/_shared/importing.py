"""What a command line names: MODULE:NAME."""

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
        What it is to be, and an example, for the message: "the model must be given as ..., such as ...".

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
    except (Exception, SystemExit) as error:  # whatever somebody's code does, such as reading its own command line
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise  # it says what there is no module of
        kind = ImportError if isinstance(error, ImportError) else ValueError
        raise kind(f"importing {name} failed: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """In one line: what it is, what it says, and where."""
    message = in_one_line(error)
    described = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError) and error.lineno:
        return described  # which says where
    # A function that the module calls may be anyone's; what is called while importing is in a module.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    return f"{described} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else described  # noqa: PTH119  # as a SyntaxError has it
