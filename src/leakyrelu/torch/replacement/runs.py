"""Runs a model, and tells who calls which activation: the site's name, and the file and line."""

import sys
from collections.abc import Container
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from leakyrelu.torch.capture import Call
from leakyrelu.torch.replacement.editor import Place, place_of
from leakyrelu.torch.replacement.modules import is_new
from leakyrelu.torch.replacement.sources import original_file

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Seen", "caller", "in_order", "is_same", "still_called", "where", "without_number"]


class Seen(NamedTuple):
    """A call of an activation to be replaced, in a run."""

    name: str  # of the site
    path: str  # of the module that made it
    module: nn.Module
    place: Place
    file: str
    line: int
    function: str
    foreign: bool  # whether code of PyTorch made it
    is_new: bool  # whether it is the new activation that was called
    gone: bool = False  # whether it was called in the first run alone


def caller(call: Call, path: str, kinds: Container[type[nn.Module]]) -> Seen | None:
    """Who made a call: the innermost function that is neither PyTorch's nor this library's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # as inspect.currentframe has it
    new, foreign = is_new(call.module, kinds), False
    while frame is not None:
        names, code = frame.f_globals, frame.f_code
        owner: Any = frame.f_locals.get("self")
        if "__name__" not in names and code.co_filename.startswith("<leakyrelu "):
            new = True  # a function in place of the activation's
        elif is_new(owner, kinds) and code is getattr(type(owner).forward, "__code__", None):
            new = True
        elif str(names.get("__name__")).partition(".")[0] not in ("torch", "leakyrelu"):
            break
        foreign = foreign or (owner is call.module and code.co_name == "forward" and not is_new(owner, kinds))
        frame = frame.f_back
    if frame is None:
        return None
    position = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    place, file = place_of(frame.f_globals, position), original_file(frame.f_code.co_filename)
    return Seen(call.name, path, call.module, place, file, frame.f_lineno, frame.f_code.co_qualname, foreign, new)


def is_same(one: Seen, other: Seen) -> bool:
    """Whether two calls, before and after the replacement, are made by the same line for the same module."""
    return (one.path, one.file, one.line) == (other.path, other.file, other.line)


def where(seen: Seen) -> str:
    """The file and the line of a call."""
    return f"{seen.file}:{seen.line}"


def still_called(seen: Seen, reason: str) -> str:
    """The reason for a call that is left."""
    called = "called in the first of two runs alone, so it is not known," if seen.gone else "still called"
    return f"{called} at {where(seen)}, in {seen.function}" + (f": {reason}" if reason else "")


def without_number(name: str) -> str:
    """The name of a site without the number of the call."""
    first, _, number = name.rpartition(":")
    return first if number.isdecimal() else name


def in_order(seen: list[Seen]) -> list[str]:
    """The names of calls, each once."""
    return list(dict.fromkeys(each.name for each in seen))
