"""Whether an implementation is right, or those of a whole class are."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from leakyrelu._shared.files import refuse_target
from leakyrelu._shared.progress import progress_bar
from leakyrelu._shared.wording import shown
from leakyrelu.cli.output import errors_in_one_line, fail

commands = typer.Typer()


def _slope(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--default must be a number or none, got {text!r}") from None


def _levels(incomplete: str) -> list[str]:
    from leakyrelu.check.cases import LEVELS

    return [level for level in LEVELS if level.startswith(incomplete)]


def _exercises(incomplete: str) -> list[str]:
    from leakyrelu.check.cases import EXERCISES

    return [exercise for exercise in EXERCISES if exercise.startswith(incomplete)]


@commands.command(
    epilog="Examples: `leakyrelu check answer.py`, `leakyrelu check activations.py:lrelu --level array`, "
    "`leakyrelu check answer.py --exercise derivative`, "
    "`leakyrelu check network.py:LeakyReLU.forward --default 0.2`, `leakyrelu check homework.ipynb`, "
    "`leakyrelu check jax.nn:leaky_relu --level derivative --json`, `leakyrelu check submissions/ --csv grades.csv`, "
    "`leakyrelu check --peers`"
)
def check(
    functions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE[:NAME] | MODULE:NAME | FOLDER]...",
            help="The function, a class or Class.method; FILE ends in .py or .ipynb, or "
            "is - for standard input. Several functions, or a FOLDER with a file or folder per student, give a table.",
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option(
            help="exercise, array, ieee or derivative: each asks all that the ones before it ask, and more.",
            autocompletion=_levels,
        ),
    ] = "exercise",
    derivative: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The function's derivative, at level derivative.  [default: NAME_derivative]"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The function's name where FILE or FOLDER does not say it.  [default: that of the exercise]",
        ),
    ] = None,
    exercise: Annotated[
        str,
        typer.Option(
            help="What was to be written, at level exercise: the function; its derivative, leaky_relu_derivative(z, "
            "alpha=0.01); or backward, leaky_relu_backward(gradients, zs, alpha=0.01) of two lists.",
            autocompletion=_exercises,
        ),
    ] = "function",
    slope_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The parameter that is the slope; none: the slope is fixed. auto looks for alpha, negative_slope and "
            "the like, or takes the second parameter.",
        ),
    ] = "auto",
    default: Annotated[
        str, typer.Option(metavar="SLOPE", help="The slope where none is given; none: it must be given.")
    ] = "0.01",
    seconds: Annotated[float, typer.Option(help="How many seconds one call may take; loading may take 15.")] = 5.0,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write a row per student to this file: points, verdict and cause."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Check the installed libraries instead, and show where they differ.")
    ] = False,
) -> None:
    """Check whether an implementation is right, and say what is wrong with it.

    Exit code: 0 if all passed, 1 if something failed, 2 if the function could not be asked. For several functions it is
    1 if one of them could not be asked.
    """
    from leakyrelu.check.peers import matrix

    with errors_in_one_line(), _as_json(level) if json else nullcontext():
        if peers:
            if json:
                raise ValueError("--peers prints a table, which has no JSON; leave out one of the two")
            typer.echo(matrix())
        elif not functions:
            raise ValueError("a function is needed: leakyrelu check FILE.py, FILE.py:NAME or MODULE:NAME")
        else:
            options = {
                "name": name,
                "level": level,
                "exercise": exercise,
                "seconds": seconds,
                "derivative": derivative,
                "slope_name": None if slope_name == "none" else slope_name,
                "default": _slope(default),
            }
            if len(functions) > 1 or csv is not None or Path(functions[0]).is_dir():
                _check_all(functions, csv, as_json=json, **options)
            else:
                _check_one(functions[0], as_json=json, **options)


@contextmanager
def _as_json(level: str) -> Iterator[None]:
    """Print an error as the report that there would have been, too."""
    from leakyrelu.check.grading import unasked

    try:
        yield
    except (TypeError, ValueError, ImportError, OSError) as error:
        typer.echo(dumps(unasked(level, error).to_dict(), indent=2))
        raise


def _check_one(function: str, *, as_json: bool, **options: Any) -> None:
    from leakyrelu.check import check_named

    report = check_named(function, **options)
    typer.echo(dumps(report.to_dict(), indent=2) if as_json else report)
    if report.error:
        fail(f"{shown(function)} could not be checked; the report says why")
    if not report.passed:
        raise typer.Exit(1)


def _check_all(functions: list[str], table: Path | None, *, as_json: bool, **options: Any) -> None:
    from leakyrelu.check import grade

    if table is not None:
        if table.suffix != ".csv":  # a slip must not overwrite a program
            raise ValueError(f"{shown(table)} must end in .csv")
        refuse_target(table)
    with progress_bar("Checking") as progress:
        grades = grade(functions, progress=progress, **options)
    if table is not None:
        grades.to_csv(table)
    typer.echo(dumps(grades.to_dict(), indent=2) if as_json else grades)
    if not grades.passed:
        raise typer.Exit(1)
