"""What the commands write: errors and warnings in one line each, and pictures whole."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from errno import ENOENT
from itertools import combinations
from os import strerror
from pathlib import Path
from sysconfig import get_path
from typing import TYPE_CHECKING, NoReturn

import typer

import leakyrelu
from leakyrelu._shared.files import written_whole
from leakyrelu._shared.wording import in_one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["errors_in_one_line", "fail", "picture_format", "refuse_overlap", "save"]

_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_INSTALLED_LIBRARIES = frozenset(("site-packages", "dist-packages"))


class PictureFormat(StrEnum):
    """The formats of pictures, by the ending of the file's name."""

    PNG = ".png"
    SVG = ".svg"
    PDF = ".pdf"


def fail(message: object) -> NoReturn:
    """End the command with this line and exit code 2."""
    typer.echo(f"leakyrelu: {message}", err=True)
    raise typer.Exit(2)


def _show_warning(message: Warning | str, category: type[Warning], filename: str) -> None:
    """Show a warning in one line, unless it tells the authors of an installed library what they should change.

    Python hides most of these, but not where a library has asked for its own, as scikit-learn does, nor a
    FutureWarning. Whoever sets -W or PYTHONWARNINGS sees what they ask for.
    """
    if issubclass(category, _DEPRECATIONS) and _is_installed(filename) and not sys.warnoptions:
        return
    typer.echo(f"leakyrelu: warning: {message}", err=True)


def _is_installed(filename: str) -> bool:
    path = Path(filename)
    ours, python = Path(leakyrelu.__file__).parent, get_path("stdlib")
    return path.is_relative_to(ours) or path.is_relative_to(python) or not _INSTALLED_LIBRARIES.isdisjoint(path.parts)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the command on bad input with one clear line and exit code 2; show a warning in one line, too."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, filename, *_: _show_warning(message, category, filename)
        try:
            yield
        except BrokenPipeError:
            raise  # the reader of our output is gone: typer ends the command silently
        except OSError as error:
            fail(f"{error.strerror}: {error.filename}" if error.strerror and error.filename else error)
        except (ImportError, MemoryError, OverflowError, TypeError, ValueError) as error:
            fail(in_one_line(error) or type(error).__name__)


def picture_format(output: Path) -> PictureFormat:
    """The format by the name of the file; called before the work, so that a wrong name costs no time."""
    if not output.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(output))
    try:
        return PictureFormat(output.suffix.lower())
    except ValueError:
        raise ValueError(f"{output} must end in {', '.join(PictureFormat)}") from None


def save(figure: "Figure", output: Path, ending: PictureFormat) -> None:
    """Write the picture whole, or not at all."""
    with written_whole(output) as file:
        figure.savefig(file, format=ending.removeprefix("."))


def refuse_overlap(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Raise a `ValueError` if a file that is written is another one of these, too; the options name them."""
    files = {option: path for option, path in (*written.items(), *read.items()) if path is not None}
    for one, other in combinations(files, 2):
        if one in written and _are_one(files[one], files[other]):
            raise ValueError(f"{one} and {other} are the same file, {files[one]}; write to another one")


def _are_one(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
