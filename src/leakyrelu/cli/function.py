"""The function on numbers and on files, and its picture."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from leakyrelu._shared.arguments import finite_slope
from leakyrelu._shared.progress import progress_bar
from leakyrelu._shared.wording import shown
from leakyrelu.cli.options import Alpha
from leakyrelu.cli.output import errors_in_one_line, fail, picture_format, save
from leakyrelu.functions import leaky_relu, leaky_relu_derivative

commands = typer.Typer()

Derivative = Annotated[bool, typer.Option("--derivative", "-d", help="Compute the derivative instead of the function.")]


@commands.command(
    "eval",
    context_settings={"ignore_unknown_options": True},  # negative numbers look like options
    epilog="Examples: `leakyrelu eval -2 -1 0 1 2`, `leakyrelu eval -a 0.1 -2`, `seq -5 5 | leakyrelu eval -d`",
)
def evaluate(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(help="The inputs. Without any, standard input is read."),
    ] = None,
    alpha: Alpha = 0.01,
    derivative: Derivative = False,
) -> None:
    """Print the value at each number, one per line."""
    function = leaky_relu_derivative if derivative else leaky_relu
    if not numbers and (sys.stdin is None or sys.stdin.isatty()):
        fail("no numbers given; name them (leakyrelu eval -2 -1 0 1 2) or pipe them in")
    words = numbers or (word for line in sys.stdin for word in line.replace("\ufeff", " ").split())
    with errors_in_one_line():
        finite_slope(alpha)  # checked even if no number follows
        for word in words:
            typer.echo(function(_number(word), alpha))


def _number(word: str) -> float:
    """The number as Python reads it: an integer stays one."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    if word.startswith("-"):
        raise ValueError(f"{word!r} is neither a number nor an option; see leakyrelu eval --help")
    raise ValueError(f"{word!r} is not a number")


@commands.command(
    epilog="Examples: `leakyrelu apply in.npy out.npy`, `leakyrelu apply -a 0.1 --derivative in.npy out.npy --force`"
)
def apply(
    source: Annotated[Path, typer.Argument(metavar="IN.npy", help="The array to read; it may be larger than memory.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.npy", help="The file to write; it appears when it is complete.")
    ],
    alpha: Alpha = 0.01,
    derivative: Derivative = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.npy if it exists.")] = False,
) -> None:
    """Apply Leaky ReLU to a .npy file, block by block."""
    from leakyrelu._shared import files

    function = partial(leaky_relu_derivative if derivative else leaky_relu, alpha=alpha)
    with errors_in_one_line(), progress_bar(shown(source.name), of_bytes=True) as progress:
        try:
            files.apply(function, source, target, overwrite=force, progress=progress)
        except FileExistsError as error:
            raise ValueError(f"{error}; use --force to overwrite it") from error


@commands.command(
    epilog="Examples: `leakyrelu plot -o figure.png`, `leakyrelu plot -a 0.01 -a 0.1 -a 0.3 -o slopes.svg`"
)
def plot(
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write: .png, .svg or .pdf.")],
    alpha: Annotated[
        list[float] | None,
        typer.Option("--alpha", "-a", help="The slope for negative inputs; repeat the option to compare slopes."),
    ] = None,
    derivative: Annotated[bool, typer.Option(help="Draw the derivative, too.")] = True,
) -> None:
    """Draw the function and its derivative."""
    from leakyrelu.plot import plot_leaky_relu

    with errors_in_one_line():
        ending = picture_format(output)
        save(plot_leaky_relu(alpha or 0.01, derivative=derivative), output, ending)
