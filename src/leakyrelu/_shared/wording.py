"""Texts for people: what an exception says in one line, names that a terminal can show, numbers with their nouns."""

import os
from collections.abc import Iterable
from itertools import islice

__all__ = ["count", "first_line", "in_one_line", "kind_of", "listed", "printable", "said", "shown"]


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type where it says nothing."""
    return _text(error).strip().partition("\n")[0] or type(error).__name__


def said(error: BaseException) -> str:
    """The first line of an error; with its type where the line alone is no sentence, such as the key of a KeyError."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else in_one_line(repr(error.code))})"
    line, kind = first_line(error), type(error).__name__
    return line if isinstance(error, RuntimeError | ValueError) or line == kind else f"{kind}: {line}"


def in_one_line(text: object) -> str:
    """The text with each run of white space, line breaks included, as one space."""
    return " ".join(_text(text).split())


def _text(value: object) -> str:
    """The value as a string; an empty one if it cannot say what it is, as may happen to an error of somebody's code."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001
        return ""


def kind_of(value: object) -> str:
    """What somebody gave instead of something else: its class, or which class it is."""
    return f"the class {value.__name__}, not an instance" if isinstance(value, type) else type(value).__name__


def printable(text: str) -> str:
    """The text with line breaks, control characters and the like written as escapes, so that no terminal obeys them."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shown(path: object) -> str:
    """The name of a file as it is shown: `printable`, and without its line breaks."""
    return printable(os.fsdecode(path) if isinstance(path, bytes) else str(path))


def listed(items: Iterable[object], most: int | None = None) -> str:
    """The items separated by commas; if there are more than `most`, only the first ones and an ellipsis."""
    items = iter(items)
    words = [str(item) for item in islice(items, most)]
    return ", ".join([*words, "..."] if next(items, None) is not None else words)


def count(number: int, noun: str) -> str:
    """``1 unit``, ``2 units``, ``1,000 units``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
