"""What the demonstration prints and draws."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu._shared.digits import load_digits
from leakyrelu._shared.extras import needs
from leakyrelu._shared.files import written_whole
from leakyrelu._shared.progress import progress_bar
from leakyrelu.demo.comparison import DemoResult, conclusions, final, run
from leakyrelu.demo.networks import Floats, Setting
from leakyrelu.functions import leaky_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

__all__ = ["plot_history", "show"]


def plot_history(result: DemoResult) -> "Figure":
    """Never-positive units and test accuracy over the epochs: the mean over the seeds, and one standard deviation.

    Raises
    ------
    ImportError
        matplotlib is missing: ``pip install 'leakyrelu[demo]'``.
    """
    with needs("leakyrelu[demo]", "the picture"):
        from matplotlib.figure import Figure
    setting = result.setting
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for runs, label, color in (
        (result.relu, "ReLU", "tab:red"),
        (result.leaky_relu, f"Leaky ReLU, alpha = {setting.alpha:g}", "tab:blue"),
    ):
        units = np.array([run.never_positive.sum(axis=1) for run in runs]) / sum(setting.hidden)
        _draw_history(left, units, label, color)
        _draw_history(right, np.array([run.accuracy for run in runs]), label, color)
    left.set(title="Units never positive on the training set", xlabel="Epoch", ylabel="Percent", ylim=(0, 100))
    right.set(title="Test accuracy", xlabel="Epoch")
    right.tick_params(labelleft=True)
    for ax in (left, right):
        ax.grid(True, alpha=0.4)
    left.legend(title="Mean ± standard deviation over the seeds")
    figure.suptitle(f"{_describe(setting)}, {len(setting.seeds)} seeds")
    return figure


def _draw_history(ax: "Axes", fractions: Floats, label: str, color: str) -> None:
    percent = 100 * fractions
    epochs, mean = np.arange(percent.shape[1]), percent.mean(axis=0)
    deviation = percent.std(axis=0, ddof=1) if len(percent) > 1 else np.zeros_like(mean)
    ax.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=0.2, lw=0)
    ax.plot(epochs, mean, color=color, lw=2, label=label)


def show(directory: Path, *, setting: Setting | None = None, console: "Console | None" = None) -> DemoResult:
    """Run the demonstration: train with a progress bar, print what happened, and write two pictures.

    Parameters
    ----------
    directory : Path
        Where ``leaky_relu.png`` and ``dead_units.png`` are written; it is made if it is missing.
    setting : Setting, optional
        By default the one that `leakyrelu.demo.networks` describes.
    console : rich.console.Console, optional
        Where to print; by default standard output.

    Returns
    -------
    DemoResult
        All that was counted.

    Raises
    ------
    ImportError
        scikit-learn, matplotlib or rich is missing: ``pip install 'leakyrelu[demo]'``.
    OSError
        The directory cannot be made or written.
    """
    from leakyrelu.plot import plot_leaky_relu

    with needs("leakyrelu[demo]", "the demonstration"):
        import matplotlib.figure  # noqa: F401  # fails before the training, not after it
        from rich.console import Console
    console = Console() if console is None else console
    setting = Setting() if setting is None else setting
    digits = load_digits()
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=directory):
        pass  # fails before the training if the directory cannot be written to

    _print(console, *(f"{expression} -> {value}" for expression, value in _textbook_values()), "")
    _print(console, f"{_describe(setting)}: chosen because ReLU units die in it.")
    with progress_bar(f"Training {2 * len(setting.seeds)} networks", console=console) as progress:
        result = run(setting, digits, progress)
    console.print(_table(result))
    _print(console, *_accuracies(result), "", *conclusions(result), "")
    for name, figure in (("leaky_relu.png", plot_leaky_relu(setting.alpha)), ("dead_units.png", plot_history(result))):
        with written_whole(directory / name) as file:
            figure.savefig(file, format="png", dpi=120)
        _print(console, f"Picture: {directory / name}")
    return result


def _textbook_values() -> list[tuple[str, Any]]:
    """Expressions and their values."""
    return [
        ("leaky_relu(0)", leaky_relu(0)),
        ("leaky_relu(1)", leaky_relu(1)),
        ("leaky_relu(-1)", leaky_relu(-1)),
        ("leaky_relu(-2, alpha=0.1)", leaky_relu(-2, alpha=0.1)),
        ("leaky_relu(np.array([-2, -1, 0, 1, 2]))", leaky_relu(np.array([-2, -1, 0, 1, 2]))),
    ]


def _table(result: DemoResult) -> "Table":
    """Units by layer."""
    from rich.table import Table

    hidden = result.setting.hidden
    table = Table(
        title="Dead units after the training, in percent of the layer",
        caption=f"Mean ± standard deviation over {len(result.relu)} seeds. Never positive: at most zero on the whole "
        "training set. No gradient: from none of its images.",
    )
    for heading in ("Hidden layer", "Units"):
        table.add_column(heading)
    for kind in ("ReLU", "Leaky ReLU"):
        table.add_column(f"{kind}: never positive", justify="right")
        table.add_column(f"{kind}: no gradient", justify="right")
    finals = [final(runs, hidden) for runs in (result.relu, result.leaky_relu)]
    columns = [column for final in finals for column in (final.never_positive.T, final.without_gradient.T)]
    names = [*map(str, range(1, len(hidden) + 1)), "all"]
    for i, (name, units) in enumerate(zip(names, (*hidden, sum(hidden)), strict=True)):
        table.add_row(
            name, str(units), *(_mean_and_deviation(column[i]) for column in columns), end_section=name == names[-2]
        )
    return table


def _accuracies(result: DemoResult) -> Iterator[str]:
    for kind, runs in (("ReLU", result.relu), (f"Leaky ReLU, alpha = {result.setting.alpha:g}", result.leaky_relu)):
        accuracy = final(runs, result.setting.hidden).accuracy
        least, most = accuracy.min(), accuracy.max()
        yield f"Test accuracy, {kind}: {_mean_and_deviation(accuracy)} % ({least:.1f} to {most:.1f})"


def _mean_and_deviation(percent: Floats) -> str:
    if len(percent) < 2:
        return f"{percent.mean():.1f}"
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}"


def _describe(setting: Setting) -> str:
    sizes = "-".join(map(str, setting.hidden))
    rate, batch, epochs = setting.learning_rate, setting.batch_size, setting.epochs
    return f"Digits, hidden layers {sizes}, SGD at {rate:g}, batches of {batch}, {epochs} epochs"


def _print(console: "Console", *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
