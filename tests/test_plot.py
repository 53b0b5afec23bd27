"""The picture, read back as numbers."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from leakyrelu import leaky_relu
from leakyrelu.plot import plot_leaky_relu


def lines(axes):
    """The lines that have a label, by that label."""
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_defaults_give_the_textbook_picture():
    figure = plot_leaky_relu()
    axes = figure.axes[0]
    assert tuple(figure.get_size_inches()) == (10, 6)
    assert axes.get_title() == "Leaky ReLU Activation Function and Its Derivative"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Input (x)", "Output")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines(axes))
    assert all(line.get_visible() for line in axes.get_xgridlines())
    function, derivative = lines(axes).values()
    assert function.get_color() == "tab:blue"
    assert (derivative.get_color(), derivative.get_linestyle()) == ("tab:red", "--")
    x, y = function.get_data()
    assert len(x) >= 100
    assert (x.min(), x.max()) == (-10, 10)
    assert 0 in x
    np.testing.assert_array_equal(y, leaky_relu(x))


def test_derivative_is_a_true_step():
    x, y = lines(plot_leaky_relu(0.3).axes[0])["Derivative, alpha = 0.3"].get_data()
    assert list(zip(x, y, strict=True)) == [(-10, 0.3), (0, 0.3), (0, 1), (10, 1)]


@pytest.mark.parametrize(("limits", "level"), [((1, 5), 1), ((-5, -1), 0.2), ((-5, 0), None)])
def test_derivative_where_zero_is_not_inside(limits, level):
    x, y = lines(plot_leaky_relu(0.2, limits=limits).axes[0])["Derivative, alpha = 0.2"].get_data()
    assert (min(x), max(x)) == limits
    if level is not None:
        assert set(y) == {level}


def test_small_slopes_are_enlarged():
    axes = plot_leaky_relu().axes[0]
    (inset,) = axes.child_axes
    low, high = inset.get_ylim()
    assert low < -0.1  # the value at -10
    assert high - low < 0.3
    assert not plot_leaky_relu(0.3).axes[0].child_axes


def test_several_slopes():
    axes = plot_leaky_relu([0.01, 0.1, np.float32(0.5)]).axes[0]
    assert list(lines(axes)) == [
        f"{kind}, alpha = {a}" for kind in ("Leaky ReLU", "Derivative") for a in (0.01, 0.1, 0.5)
    ]
    assert list(lines(plot_leaky_relu([0.01, 0.1], derivative=False).axes[0])) == [
        "Leaky ReLU, alpha = 0.01",
        "Leaky ReLU, alpha = 0.1",
    ]
    colors = [line.get_color() for line in lines(axes).values()]
    assert len(set(colors)) == 3


def test_without_derivative():
    axes = plot_leaky_relu(derivative=False).axes[0]
    assert axes.get_title() == "Leaky ReLU Activation Function"
    assert len(lines(axes)) == 1


def test_draws_on_the_axes_given():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_leaky_relu(0.1, ax=right) is figure
    assert lines(right)
    assert not left.get_lines()
    nested = figure.subfigures().subplots()
    assert plot_leaky_relu(ax=nested) is figure


def test_no_global_state_is_touched():
    code = (
        "import matplotlib, sys\n"
        "before = matplotlib.rcParams.copy()\n"
        "from leakyrelu.plot import plot_leaky_relu\n"
        "plot_leaky_relu()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams.copy() == before\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("limits", [(1, 1), (2, -2), (0, np.inf), (np.nan, 1), (1,), (1, 2, 3), "ab", None])
def test_bad_limits_are_refused(limits):
    with pytest.raises(ValueError, match="limits must be two"):
        plot_leaky_relu(limits=limits)


@pytest.mark.parametrize(
    ("alpha", "error", "text"),
    [
        ([], ValueError, "got none"),
        (np.nan, ValueError, "finite"),
        ([0.1, np.inf], ValueError, "finite"),
        ("0.1", TypeError, "got str"),
        ([[0.1, 0.2]], TypeError, "flat sequence"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_bad_slopes_are_refused(alpha, error, text):
    with pytest.raises(error, match=text):
        plot_leaky_relu(alpha)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_can_be_saved(tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    with mpl.rc_context():
        plot_leaky_relu().savefig(path)
    assert path.stat().st_size > 5000
