"""Networks: the demonstration, and the diagnosis of a model of yours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from leakyrelu._shared.files import refuse_target, write_text
from leakyrelu._shared.progress import progress_bar
from leakyrelu._shared.wording import in_one_line
from leakyrelu.cli.output import errors_in_one_line, fail, refuse_overlap
from leakyrelu.cli.signals import said_before_os_exit

if TYPE_CHECKING:
    from leakyrelu.units import Diagnosis

commands = typer.Typer()


@commands.command(epilog="Examples: `leakyrelu demo`, `leakyrelu demo --output pictures`")
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The directory for the two pictures; it is made if it is missing.")
    ] = Path("leakyrelu-demo"),
) -> None:
    """Train a ReLU and a Leaky ReLU network on real digits, and count the units that die (under a minute)."""
    from leakyrelu.demo.report import show

    with errors_in_one_line():
        show(output)


@commands.command(
    epilog="Examples: `leakyrelu diagnose nets:make_model --data x.npy --weights net.pt --html report.html`, "
    "`leakyrelu diagnose nets:make_model --data x.npz --mask attention_mask`, "
    "`leakyrelu diagnose nets:make_model --data x.npy --weights net.pt --revive revived.pt`, "
    "`leakyrelu diagnose nets:make_model --data x.npy --weights net.pt --remove small.pt`, "
    "`leakyrelu diagnose nets:make_model --data x.npy --plan small.plan.json --weights small.pt`, "
    "`leakyrelu diagnose --demo`"
)
def diagnose(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="PACKAGE.MODULE:FACTORY",
            help="A function without arguments that returns the model.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The inputs: a .npy file, or a .npz file that holds the arguments of forward by name."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The weights: a state dict that torch.save or safetensors wrote.")
    ] = None,
    plan: Annotated[
        list[Path] | None,
        typer.Option(
            help="A plan that --remove wrote: the model is shrunk by it before the weights are loaded. If units were "
            "removed several times, give all plans in that order."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The array of the .npz file that is nonzero where a token (or an example) is real; padding does not "
            "count then.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report to this file, as an HTML page.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
    fail_above: Annotated[
        float | None, typer.Option(help="Exit with code 1 if more than this fraction of the units is dead (0 to 1).")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="How many examples run through the model at a time.")] = 256,
    revive: Annotated[
        Path | None,
        typer.Option(
            help="Make the dead units fire again, and write the new weights to this file. "
            "The reports and --fail-above are then about the model afterwards."
        ),
    ] = None,
    remove: Annotated[
        Path | None,
        typer.Option(
            help="Take the dead units out of the model, and write the weights of the smaller model to this file, and "
            "the plan by which it shrank beside it (small.plan.json for small.pt). The reports and --fail-above are "
            "then about the model afterwards."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the files that --revive or --remove writes, if they exist.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show the diagnosis of a small network whose units die.")
    ] = False,
) -> None:
    """Find the dead units of a PyTorch model."""
    with errors_in_one_line():
        if demo:
            from leakyrelu.torch.experiment import show

            show()
            return
        if model is None or data is None:
            raise ValueError("a model and its data are needed: leakyrelu diagnose PACKAGE.MODULE:FACTORY --data X.npy")
        if fail_above is not None and not 0 <= fail_above <= 1:
            raise ValueError(f"--fail-above must be a fraction from 0 to 1, got {fail_above:g}")
        new = _new_weights(revive, remove, force=force)
        if mask is not None and new is not None:
            raise ValueError(
                "--mask cannot be given with --revive or --remove: they keep the outputs for all values, so padding "
                "counts for them"
            )
        from leakyrelu.torch.saving import plan_beside

        plans = plan or []
        reports = {"--html": html, "--json": json, "the plan of --remove": plan_beside(remove) if remove else None}
        refuse_overlap(reports, {"--weights": weights})  # which --force allows the new weights to replace
        read = {"--data": data} | {f"--plan {path}": path for path in plans}
        refuse_overlap({"--revive": revive, "--remove": remove} | reports, read)
        for report in filter(None, (html, json)):
            refuse_target(report)
        with _failure_in(json):
            files = _Files(model, data, weights, batch_size, plans)
            diagnosis = files.diagnosis(mask) if new is None else files.changed(new, remove=new is remove, force=force)
        if html is not None:
            diagnosis.to_html(html)
        if json is not None:
            diagnosis.to_json(json)
    if fail_above is not None:
        _judge(diagnosis, fail_above)


class _Files(NamedTuple):
    """What a model is made of, and its data."""

    model: str
    data: Path
    weights: Path | None
    batch_size: int
    plans: list[Path]

    def diagnosis(self, mask: str | None) -> "Diagnosis":
        """Print the diagnosis."""
        from leakyrelu.torch.files import diagnose_files

        with progress_bar("Diagnosing") as progress:
            diagnosis = diagnose_files(*self[:4], progress, plans=self.plans, mask=mask)
        typer.echo(diagnosis)
        return diagnosis

    def changed(self, new: Path, *, remove: bool, force: bool) -> "Diagnosis":
        """Revive units or remove them, print what was done, and return the diagnosis afterwards."""
        from leakyrelu.torch.files import remove_files, revive_files

        try:
            change = (remove_files if remove else revive_files)(*self[:4], new, plans=self.plans, overwrite=force)
        except FileExistsError as error:
            raise ValueError(f"{error}; name another file, or add --force to overwrite it") from error
        typer.echo(change)
        return change.after


@contextmanager
def _failure_in(report: Path | None) -> Iterator[None]:
    """Say in the report why there is no diagnosis, so that one of an earlier run is not taken for it."""

    def write(why: str) -> None:
        from leakyrelu.units.json import failure_as_json

        if report is not None:
            write_text(report, failure_as_json(why))

    try:
        with said_before_os_exit(write):
            yield
    except Exception as error:
        write(in_one_line(error) or type(error).__name__)
        raise


def _judge(diagnosis: "Diagnosis", most: float) -> None:
    """End with 1 if more units are dead than are allowed, and with 2 if units that were not judged leave that open."""
    if diagnosis.dead_fraction > most:
        typer.echo(f"leakyrelu: {diagnosis.dead_fraction:.1%} of the units are dead, more than {most:.1%}", err=True)
        raise typer.Exit(1)
    unknown = diagnosis.units - diagnosis.judged
    if not diagnosis.units:
        fail("no unit was seen, so --fail-above cannot be answered; see the notes of the report")
    if not diagnosis.judged or (diagnosis.dead + unknown) / diagnosis.units > most:
        fail(
            f"{unknown} of {diagnosis.units} units had a NaN and were not judged, so --fail-above cannot be answered; "
            "find out where the NaN comes from: the weights, the data or the model"
        )


def _new_weights(revive: Path | None, remove: Path | None, *, force: bool) -> Path | None:
    """The file for the new weights, if there are to be any."""
    if revive is not None and remove is not None:
        raise ValueError("--revive brings dead units back, and --remove takes them out; give one of the two")
    new = remove if revive is None else revive
    if force and new is None:
        raise ValueError("--force says that the file of --revive or --remove may be overwritten; no such file is given")
    return new
