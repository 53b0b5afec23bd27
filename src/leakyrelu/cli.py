"""The command line; no logic of its own."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from errno import ENOENT
from functools import partial
from os import strerror
from pathlib import Path
from sysconfig import get_path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import leakyrelu
from leakyrelu._shared.arguments import finite_slope
from leakyrelu._shared.files import written_whole
from leakyrelu._shared.progress import progress_bar
from leakyrelu.functions import leaky_relu, leaky_relu_derivative

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer(
    name="leakyrelu",
    help="Leaky ReLU: x where x >= 0, alpha * x elsewhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_INSTALLED_LIBRARIES = frozenset(("site-packages", "dist-packages"))

Alpha = Annotated[float, typer.Option("--alpha", "-a", help="The slope for negative inputs.")]
Derivative = Annotated[bool, typer.Option("--derivative", "-d", help="Compute the derivative instead of the function.")]


class PictureFormat(StrEnum):
    """The formats of pictures, by the ending of the file's name."""

    PNG = ".png"
    SVG = ".svg"
    PDF = ".pdf"


def _fail(message: object) -> NoReturn:
    typer.echo(f"leakyrelu: {message}", err=True)
    raise typer.Exit(2)


def _show_warning(message: Warning | str, category: type[Warning], filename: str) -> None:
    """Show a warning in one line, unless it tells the authors of an installed library what they should change.

    Python hides most of these, but not where a library has asked for its own, as scikit-learn does, nor a
    FutureWarning. Whoever sets -W or PYTHONWARNINGS sees what they ask for.
    """
    if issubclass(category, _DEPRECATIONS) and _is_installed(filename) and not sys.warnoptions:
        return
    typer.echo(f"leakyrelu: warning: {message}", err=True)


def _is_installed(filename: str) -> bool:
    path = Path(filename)
    ours, python = Path(leakyrelu.__file__).parent, get_path("stdlib")
    return path.is_relative_to(ours) or path.is_relative_to(python) or not _INSTALLED_LIBRARIES.isdisjoint(path.parts)


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """End the command on bad input with one clear line and exit code 2; show a warning in one line, too."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, filename, *_: _show_warning(message, category, filename)
        try:
            yield
        except BrokenPipeError:
            raise  # the reader of our output is gone: typer ends the command silently
        except OSError as error:
            _fail(f"{error.strerror}: {error.filename}" if error.strerror and error.filename else error)
        except (ImportError, MemoryError, OverflowError, TypeError, ValueError) as error:
            _fail(str(error) or type(error).__name__)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leakyrelu {leakyrelu.__version__}")
        raise typer.Exit


@app.callback(
    epilog="Examples: `leakyrelu demo`, `leakyrelu eval -2 -1 0 1 2`, "
    "`leakyrelu apply in.npy out.npy --alpha 0.1`, `leakyrelu plot -o figure.png`"
)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Leaky ReLU: x where x >= 0, alpha * x elsewhere."""


@app.command(
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
        _fail("no numbers given; name them (leakyrelu eval -2 -1 0 1 2) or pipe them in")
    words = numbers or (word for line in sys.stdin for word in line.split())
    with _errors_in_one_line():
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


@app.command(
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
    with _errors_in_one_line(), progress_bar(source.name, of_bytes=True) as progress:
        try:
            files.apply(function, source, target, overwrite=force, progress=progress)
        except FileExistsError as error:
            raise ValueError(f"{error}; use --force to overwrite it") from error


@app.command(epilog="Examples: `leakyrelu plot -o figure.png`, `leakyrelu plot -a 0.01 -a 0.1 -a 0.3 -o slopes.svg`")
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

    with _errors_in_one_line():
        ending = _picture_format(output)
        _save(plot_leaky_relu(alpha or 0.01, derivative=derivative), output, ending)


def _picture_format(output: Path) -> PictureFormat:
    """The format by the name of the file; called before the work, so that a wrong name costs no time."""
    if not output.parent.is_dir():
        raise FileNotFoundError(ENOENT, strerror(ENOENT), str(output))
    try:
        return PictureFormat(output.suffix.lower())
    except ValueError:
        raise ValueError(f"{output} must end in {', '.join(PictureFormat)}") from None


def _save(figure: "Figure", output: Path, ending: PictureFormat) -> None:
    with written_whole(output) as file:
        figure.savefig(file, format=ending.removeprefix("."))


@app.command(epilog="Examples: `leakyrelu demo`, `leakyrelu demo --output pictures`")
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The directory for the two pictures; it is made if it is missing.")
    ] = Path("leakyrelu-demo"),
) -> None:
    """Train a ReLU and a Leaky ReLU network on real digits, and count the units that die (under a minute)."""
    from leakyrelu.demo.report import show

    with _errors_in_one_line():
        show(output)


@app.command(
    epilog="Examples: `leakyrelu diagnose nets:make_model --data x.npy --weights net.pt --html report.html`, "
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
    html: Annotated[Path | None, typer.Option(help="Write the report to this file, as an HTML page.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
    fail_above: Annotated[
        float | None, typer.Option(help="Exit with code 1 if more than this fraction of the units is dead (0 to 1).")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="How many examples run through the model at a time.")] = 256,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show the diagnosis of a small network whose units die.")
    ] = False,
) -> None:
    """Find the dead units of a PyTorch model."""
    with _errors_in_one_line():
        if demo:
            from leakyrelu.torch.experiment import show

            show()
            return
        if model is None or data is None:
            raise ValueError("a model and its data are needed: leakyrelu diagnose PACKAGE.MODULE:FACTORY --data X.npy")
        if fail_above is not None and not 0 <= fail_above <= 1:
            raise ValueError(f"--fail-above must be a fraction from 0 to 1, got {fail_above:g}")
        from leakyrelu.torch.files import diagnose_files

        with progress_bar("Diagnosing") as progress:
            diagnosis = diagnose_files(model, data, weights, batch_size, progress)
        typer.echo(diagnosis)
        if html is not None:
            diagnosis.to_html(html)
        if json is not None:
            diagnosis.to_json(json)
    if fail_above is not None and diagnosis.dead_fraction > fail_above:
        found, allowed = f"{diagnosis.dead_fraction:.1%}", f"{fail_above:.1%}"
        typer.echo(f"leakyrelu: {found} of the units are dead, more than {allowed}", err=True)
        raise typer.Exit(1)


def _levels(incomplete: str) -> list[str]:
    from leakyrelu.check.cases import LEVELS

    return [level for level in LEVELS if level.startswith(incomplete)]


@app.command(
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

    with _errors_in_one_line():
        if peers:
            typer.echo(matrix())
            return
        if function is None:
            raise ValueError("a function is needed: leakyrelu check FILE.py, FILE.py:NAME or MODULE:NAME")
        report = check_named(function, level=level, seconds=seconds, derivative=derivative)
    typer.echo(json_format.dumps(report.to_dict(), indent=2) if json else report)
    if not report.passed:
        raise typer.Exit(2 if report.error else 1)


@app.command(
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

    with _errors_in_one_line():
        ending = None if output is None else _picture_format(output)
        typer.echo(born_dead_report(width, depth, alpha=alpha, networks=networks, risk=risk, rng=seed))
        if output is not None and ending is not None:
            _save(plot_born_dead(width, depth, rng=seed), output, ending)


@app.command(
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
        typer.Option(help="Where the search is kept, to be continued or shared: the URL of a database, or a file."),
    ] = "sqlite:///leakyrelu-tune.db",
    study_name: Annotated[
        str | None, typer.Option(help="The name of the search in the storage.  [default: the objective]")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write: .png, .svg or .pdf.")] = Path(
        "leakyrelu-tune.png"
    ),
) -> None:
    """Find by experiment which slope suits a task, and how sure that is (on digits, a minute or two)."""
    from leakyrelu import tuning
    from leakyrelu._shared.importing import load_object

    with _errors_in_one_line():
        ending = _picture_format(output)
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
                progress=progress,
            )
        typer.echo(found)
        if found.best is not None:
            _save(found.plot(), output, ending)
    if found.best is None:
        raise typer.Exit(1)


@app.command(epilog="Examples: `leakyrelu learn`, `leakyrelu learn --no-browser --port 8000`")
def learn(
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Learn Leaky ReLU by playing with it, on a page in the browser that only this machine can open."""
    import webbrowser

    from leakyrelu.lesson import serve_lesson

    with _errors_in_one_line():
        serve_lesson(port=port, open_browser=webbrowser.open if browser else None, say=typer.echo)
