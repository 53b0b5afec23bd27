"""What a command line names: MODULE:NAME."""

import os
import sys
from importlib import import_module
from typing import Any

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
        There is no such module or name.

    Examples
    --------
    >>> from leakyrelu.importing import load_object
    >>> load_object("math:sqrt", "the function must be given as MODULE:NAME, such as math:sqrt")(4)
    2.0
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"{wanted}, got {spec!r}")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # a string, as in sys.path
        sys.path.insert(0, here)
    found: Any = import_module(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{found.__name__} has no {part!r}")
        found = getattr(found, part)
    return found
