"""What the commands write: errors and warnings in one line each, and pictures whole."""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from errno import ENOENT
from functools import partial
from itertools import combinations
from pathlib import Path
from sysconfig import get_path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

import leakyrelu
from leakyrelu._shared.files import written_whole
from leakyrelu._shared.wording import in_one_line, printable, said, shown
from leakyrelu.cli.signals import said_before_os_exit, stopped_tidily

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Commands", "errors_in_one_line", "fail", "picture_format", "refuse_overlap", "save"]

_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_COMPLETION = "_LEAKYRELU_COMPLETE"  # by which a shell asks for what may be typed next
_INSTALLED_LIBRARIES = frozenset(("site-packages", "dist-packages"))


class PictureFormat(StrEnum):
    """The formats of pictures, by the ending of the file's name."""

    PNG = ".png"
    SVG = ".svg"
    PDF = ".pdf"


def fail(message: object) -> NoReturn:
    """End the command with this line and exit code 2."""
    _say(message)
    raise typer.Exit(2)


def _say(message: object) -> None:
    if sys.stderr is not None:  # which somebody may have closed
        from leakyrelu.tuning.secrets import without_passwords  # a start without anything to say is faster

        text = printable(without_passwords(in_one_line(message)))
        typer.echo(f"leakyrelu: {text}", err=True)


def _show_warning(message: Warning | str, category: type[Warning], filename: str) -> None:
    """Show a warning in one line, unless it tells the authors of an installed library what they should change.

    Python hides most of these, but not where a library has asked for its own, as scikit-learn does, nor a
    FutureWarning. Whoever sets -W or PYTHONWARNINGS sees what they ask for.
    """
    if issubclass(category, _DEPRECATIONS) and _is_installed(filename) and not sys.warnoptions:
        return
    _say(f"warning: {in_one_line(message)}")


def _is_installed(filename: str) -> bool:
    path = Path(filename)
    ours, python = Path(leakyrelu.__file__).parent, get_path("stdlib")
    return path.is_relative_to(ours) or path.is_relative_to(python) or not _INSTALLED_LIBRARIES.isdisjoint(path.parts)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the command on bad input with one clear line and exit code 2; show a warning in one line, too."""
    with warnings.catch_warnings(), said_before_os_exit(_say):
        warnings.showwarning = lambda message, category, filename, *_: _show_warning(message, category, filename)
        try:
            yield
        except BrokenPipeError:
            raise  # the reader of our output is gone: typer ends the command silently
        except OSError as error:
            fail(f"{error.strerror}: {shown(error.filename)}" if error.filename else error.strerror or error)
        except (ImportError, MemoryError, OverflowError, TypeError, ValueError) as error:
            fail(in_one_line(error) or type(error).__name__)
        except (typer.Exit, typer.Abort):
            raise
        except SystemExit as error:  # the code that a command has run for somebody
            fail(f"the code that was run ended the process: {said(error)}")
        except Exception as error:  # noqa: BLE001
            fail(_unexpected(error))


class Commands(TyperGroup):
    """The commands; what is wrong with the words that call them is said in one line, too."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and end the process; without `standalone_mode`, as typer does it."""
        run = partial(
            super().main, args, prog_name, complete_var, standalone_mode=False, windows_expand_args=windows_expand_args
        )
        if not standalone_mode:
            return run(**extra)
        try:
            _refuse_completion()
            code = run(**extra)
        except SystemExit as ended:  # of a completion, of which all that went wrong has been said
            code = ended.code and 2
        except typer.Exit as ended:
            code = ended.exit_code
        except typer.Abort:
            code = 1
        except Exception as error:  # noqa: BLE001
            code = _ended_by(error)
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for; SIGTERM and SIGHUP let it tidy up."""
        with stopped_tidily():
            return super().invoke(ctx)


def _refuse_completion() -> None:
    """End with one line where the variable by which a shell asks for completions holds something else."""
    asked = os.environ.get(_COMPLETION)
    if asked and not re.fullmatch(r"(complete|source)_(bash|zsh|fish|powershell|pwsh)", asked):
        fail(
            f"the environment variable {_COMPLETION} must be complete_ or source_ and the name of a shell (bash, zsh, "
            f"fish, powershell or pwsh), got {shown(asked)}; unset it, since only the shell's completion sets it"
        )


def _ended_by(error: Exception) -> int:
    """Say what is wrong with the words of the command line; return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # of click, or of typer's copy of it
        error.show()  # type: ignore[attr-defined]
    elif isinstance(error, OSError):
        _say(f"{error.strerror or error}")
    elif (format_message := getattr(error, "format_message", None)) is not None:
        context = getattr(error, "ctx", None)
        command = "leakyrelu" if context is None else context.command_path
        _say(f"{in_one_line(format_message()).removesuffix('.')}; see {command} --help")
    elif _COMPLETION in os.environ:
        _say(f"the environment variable {_COMPLETION} asks for a completion, but {said(error)}; unset it")
    else:
        _say(_unexpected(error))
    return 2


def _unexpected(error: BaseException) -> str:
    """An error that nobody has thought of, with the place where it was raised."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    place = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return f"unexpected {type(error).__name__}: {in_one_line(error)} ({place}); if it is not your own code, report it"


def picture_format(output: Path) -> PictureFormat:
    """The format by the name of the file; called before the work, so that a wrong name costs no time."""
    if not output.parent.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(output))
    try:
        return PictureFormat(output.suffix.lower())
    except ValueError:
        raise ValueError(f"{shown(output)} must end in {', '.join(PictureFormat)}") from None


def save(figure: "Figure", output: Path, ending: PictureFormat) -> None:
    """Write the picture whole, or not at all."""
    with written_whole(output) as file:
        figure.savefig(file, format=ending.removeprefix("."))


def refuse_overlap(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Raise a `ValueError` if a file that is written is another one of these, too; the options name them."""
    files = {option: path for option, path in (*written.items(), *read.items()) if path is not None}
    for one, other in combinations(files, 2):
        if one in written and _are_one(files[one], files[other]):
            raise ValueError(f"{one} and {other} are the same file, {shown(files[one])}; write to another one")


def _are_one(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other) or (one.exists() and other.exists() and one.samefile(other))
