"""Options that several groups of commands share."""

from typing import Annotated

import typer

__all__ = ["Alpha"]

Alpha = Annotated[float, typer.Option("--alpha", "-a", help="The slope for negative inputs.")]
