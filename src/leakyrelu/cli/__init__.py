"""The command line; no logic of its own. Each file has a group of commands."""

from typing import Annotated

import typer

import leakyrelu
from leakyrelu.cli import checking, comparing, function, learning, networks, slopes
from leakyrelu.cli.output import Commands

app = typer.Typer(
    cls=Commands,
    name="leakyrelu",
    help="Leaky ReLU: x where x >= 0, alpha * x elsewhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leakyrelu {leakyrelu.__version__}")
        raise typer.Exit


@app.callback(
    epilog="Examples: `leakyrelu demo`, `leakyrelu eval -2 -1 0 1 2`, "
    "`leakyrelu apply in.npy out.npy --alpha 0.1`, `leakyrelu plot -o figure.png`"
)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Leaky ReLU: x where x >= 0, alpha * x elsewhere."""


for group in (function, networks, comparing, checking, slopes, learning):  # the order in which --help shows them
    app.add_typer(group.commands)
