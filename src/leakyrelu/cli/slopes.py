"""Which slope, and which width: networks that are born dead, and the search for a slope."""

from pathlib import Path
from typing import Annotated

import typer

from leakyrelu._shared.progress import progress_bar
from leakyrelu.cli.options import Alpha
from leakyrelu.cli.output import errors_in_one_line, picture_format, save

commands = typer.Typer()


@commands.command(
    epilog="Examples: `leakyrelu born-dead --width 2 --depth 10`, "
    "`leakyrelu born-dead --width 4 --depth 50 --risk 0.001 -o born_dead.png`"
)
def born_dead(
    width: Annotated[int, typer.Option(help="Units in each hidden layer.")],
    depth: Annotated[int, typer.Option(help="Layers, the output layer included.")],
    alpha: Alpha = 0.0,
    networks: Annotated[int, typer.Option(help="How many networks to simulate.")] = 100_000,
    risk: Annotated[float, typer.Option(help="The largest probability of a dead network that you accept.")] = 0.01,
    seed: Annotated[int, typer.Option(help="The seed of the simulated weights.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Draw the probability over width and depth: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Print how likely a network is dead before its first step, in theory and simulation, and how wide to make it."""
    from leakyrelu.theory import born_dead_report, plot_born_dead

    with errors_in_one_line():
        ending = None if output is None else picture_format(output)
        typer.echo(born_dead_report(width, depth, alpha=alpha, networks=networks, risk=risk, rng=seed))
        if output is not None and ending is not None:
            save(plot_born_dead(width, depth, rng=seed), output, ending)


@commands.command(
    epilog="Examples: `leakyrelu tune` (a second call continues the search), "
    "`leakyrelu tune train:accuracy --trials 20 --seeds 5 --storage postgresql://me@db/tune` (on each machine)"
)
def tune(
    objective: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FUNCTION]",
            help="Trains with a slope and a seed and returns a score, higher is better. Default: a network on digits.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="How many slopes to try in all, ReLU and 0.01 included.")] = 40,
    seeds: Annotated[int, typer.Option(help="How many seeds to try each slope with.")] = 10,
    limits: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="The smallest and the largest slope to try.")
    ] = (0.001, 1.0),
    storage: Annotated[
        str,
        typer.Option(
            envvar="LEAKYRELU_STORAGE",
            help="Where the search is kept, to be continued or shared: the URL of a database, or a file.",
        ),
    ] = "sqlite:///leakyrelu-tune.db",
    study_name: Annotated[
        str | None, typer.Option(help="The name of the search in the storage.  [default: the objective]")
    ] = None,
    patience: Annotated[
        float, typer.Option(help="How many seconds to wait while the storage's server is down or its disk is full.")
    ] = 300.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write: .png, .svg or .pdf.")] = Path(
        "leakyrelu-tune.png"
    ),
) -> None:
    """Find by experiment which slope suits a task, and how sure that is (on digits, a minute or two)."""
    from leakyrelu import tuning
    from leakyrelu._shared.importing import load_object

    with errors_in_one_line():
        ending = picture_format(output)
        wanted = "the objective must be given as MODULE:FUNCTION, such as train:accuracy"
        function = None if objective is None else load_object(objective, wanted)
        with progress_bar("Trying slopes") as progress:
            found = tuning.tune(
                function,
                trials=trials,
                seeds=seeds,
                limits=limits,
                storage=storage,
                study_name=study_name or objective,
                patience=patience,
                progress=progress,
            )
        typer.echo(found)
        if found.best is not None:
            save(found.plot(), output, ending)
    if found.best is None:
        raise typer.Exit(1)
