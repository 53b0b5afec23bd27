"""Networks: the demonstration, and the diagnosis of a model of yours."""

from pathlib import Path
from typing import Annotated

import typer

from leakyrelu._shared.progress import progress_bar
from leakyrelu.cli.output import errors_in_one_line, refuse_overlap

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
        from leakyrelu.torch.files import diagnose_files, remove_files, revive_files
        from leakyrelu.torch.saving import plan_beside

        given, plans = (model, data, weights, batch_size), plan or []
        reports = {"--html": html, "--json": json, "the plan of --remove": plan_beside(remove) if remove else None}
        refuse_overlap(reports, {"--weights": weights})  # which --force allows the new weights to replace
        read = {"--data": data} | {f"--plan {path}": path for path in plans}
        refuse_overlap({"--revive": revive, "--remove": remove} | reports, read)
        if new is None:
            with progress_bar("Diagnosing") as progress:
                diagnosis = diagnose_files(*given, progress, plans=plans, mask=mask)
            typer.echo(diagnosis)
        else:
            try:
                change = (revive_files if remove is None else remove_files)(*given, new, plans=plans, overwrite=force)
            except FileExistsError as error:
                raise ValueError(f"{error}; name another file, or add --force to overwrite it") from error
            diagnosis = change.after
            typer.echo(change)
        if html is not None:
            diagnosis.to_html(html)
        if json is not None:
            diagnosis.to_json(json)
    if fail_above is not None and diagnosis.dead_fraction > fail_above:
        found, allowed = f"{diagnosis.dead_fraction:.1%}", f"{fail_above:.1%}"
        typer.echo(f"leakyrelu: {found} of the units are dead, more than {allowed}", err=True)
        raise typer.Exit(1)


def _new_weights(revive: Path | None, remove: Path | None, *, force: bool) -> Path | None:
    """The file for the new weights, if there are to be any."""
    if revive is not None and remove is not None:
        raise ValueError("--revive brings dead units back, and --remove takes them out; give one of the two")
    new = remove if revive is None else revive
    if force and new is None:
        raise ValueError("--force says that the file of --revive or --remove may be overwritten; no such file is given")
    return new
