"""Two diagnoses, compared."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leakyrelu._shared.npy import refuse_special
from leakyrelu._shared.wording import shown
from leakyrelu.cli.output import errors_in_one_line, fail

if TYPE_CHECKING:
    from leakyrelu.units import Diagnosis

commands = typer.Typer()


@commands.command(epilog="Example: `leakyrelu compare before.json after.json --tolerance 0.01`")
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE.json", help="What leakyrelu diagnose --json wrote.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER.json", help="The same of a later run.")],
    tolerance: Annotated[float, typer.Option(help="By how much the dead fraction may grow (0 to 1).")] = 0.0,
) -> None:
    """Compare two diagnoses of a model, and say which sites got worse.

    Exit code: 0 if the fraction of dead units grew by no more than the tolerance, 1 if it grew by more, 2 if the files
    do not tell.
    """
    from leakyrelu.units import compare as compared

    with errors_in_one_line():
        if not 0 <= tolerance <= 1:
            raise ValueError(f"--tolerance must be a fraction from 0 to 1, got {tolerance:g}")
        comparison = compared(_read(before), _read(after))
        typer.echo(comparison)
    grew = comparison.grew(tolerance)
    if grew is None:
        fail("too few units were judged to say whether the dead fraction grew; find out where the NaN comes from")
    if grew:
        typer.echo(f"leakyrelu: the dead fraction grew by more than {tolerance:g}", err=True)
        raise typer.Exit(1)


def _read(path: Path) -> "Diagnosis":
    from leakyrelu.units import Diagnosis

    refuse_special(path)
    try:
        return Diagnosis.from_dict(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{shown(path)} holds no diagnosis that leakyrelu diagnose --json wrote: {error}") from error
