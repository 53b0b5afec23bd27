"""Whether an implementation is right."""

from typing import Annotated

import typer

from leakyrelu.cli.output import errors_in_one_line

commands = typer.Typer()


def _levels(incomplete: str) -> list[str]:
    from leakyrelu.check.cases import LEVELS

    return [level for level in LEVELS if level.startswith(incomplete)]


@commands.command(
    epilog="Examples: `leakyrelu check answer.py`, `leakyrelu check activations.py:lrelu --level array`, "
    "`leakyrelu check jax.nn:leaky_relu --level derivative --json`, `leakyrelu check --peers`"
)
def check(
    function: Annotated[
        str | None,
        typer.Argument(metavar="[FILE.py[:NAME] | MODULE:NAME]", help="The function; NAME is leaky_relu by default."),
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
    seconds: Annotated[float, typer.Option(help="How many seconds one call may take.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Check the installed libraries instead, and show where they differ.")
    ] = False,
) -> None:
    """Check whether an implementation is right, and say what is wrong with it.

    Exit code: 0 if all passed, 1 if something failed, 2 if the function could not be asked.
    """
    import json as json_format

    from leakyrelu.check import check_named
    from leakyrelu.check.peers import matrix

    with errors_in_one_line():
        if peers:
            typer.echo(matrix())
            return
        if function is None:
            raise ValueError("a function is needed: leakyrelu check FILE.py, FILE.py:NAME or MODULE:NAME")
        report = check_named(function, level=level, seconds=seconds, derivative=derivative)
    typer.echo(json_format.dumps(report.to_dict(), indent=2) if json else report)
    if not report.passed:
        raise typer.Exit(2 if report.error else 1)
