"""What the demonstration prints and draws is what happened."""

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from leakyrelu import leaky_relu
from leakyrelu.demo import Setting, conclusions, run
from leakyrelu.demo.report import plot_history, show

SHORT = Setting(hidden=(8, 6), epochs=2, seeds=(0, 1, 2))


def test_the_history_is_drawn_in_two_labelled_panels() -> None:
    result = run(SHORT)
    figure = plot_history(result)
    left, right = figure.axes
    assert left.get_title() == "Units never positive on the training set"
    assert right.get_title() == "Test accuracy"
    assert [line.get_label() for line in left.lines] == ["ReLU", "Leaky ReLU, alpha = 0.01"]
    np.testing.assert_allclose(
        right.lines[0].get_ydata(), 100 * np.mean([each.accuracy for each in result.relu], axis=0)
    )


def test_the_demonstration_prints_the_textbook_values_and_writes_two_pictures(tmp_path: Path) -> None:
    output = StringIO()
    directory = tmp_path / "new" / "pictures"
    result = show(directory, setting=SHORT, console=Console(file=output, width=80))
    printed = output.getvalue().splitlines()
    for line in (
        "leaky_relu(0) -> 0",
        "leaky_relu(1) -> 1",
        "leaky_relu(-1) -> -0.01",
        "leaky_relu(-2, alpha=0.1) -> -0.2",
        "leaky_relu(np.array([-2, -1, 0, 1, 2])) -> [-0.02 -0.01  0.    1.    2.  ]",
        *conclusions(result),
    ):
        assert line in printed
        expression, arrow, value = line.partition(" -> ")
        assert not arrow or str(eval(expression, {"leaky_relu": leaky_relu, "np": np})) == value
    assert sorted(path.name for path in directory.iterdir()) == ["dead_units.png", "leaky_relu.png"]
    for path in directory.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"Picture: {path}" in printed


def test_one_seed_is_shown_without_a_spread(tmp_path: Path) -> None:
    output = StringIO()
    show(tmp_path, setting=replace(SHORT, seeds=(0,)), console=Console(file=output, width=200))
    assert "no difference is claimed" in output.getvalue()


def test_a_picture_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_a_part_and_fail(self: Figure, file: object, **keywords: object) -> None:
        file.write(b"\x89PNG")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", write_a_part_and_fail)
    with pytest.raises(OSError, match="No space left"):
        show(tmp_path, setting=SHORT, console=Console(file=StringIO()))
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_known_before_the_training(monkeypatch):
    monkeypatch.setattr("leakyrelu.demo.report.run", None)
    with pytest.raises(OSError, match="/proc"):
        show(Path("/proc"), setting=SHORT, console=Console(file=StringIO()))


@pytest.mark.parametrize("missing", ["sklearn", "matplotlib", "rich"])
def test_a_missing_dependency_says_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'leakyrelu\[demo\]'"):
        show(tmp_path / "new", setting=SHORT)
    assert not list(tmp_path.iterdir())
