"""The gain, and how likely a network is born dead: theory, simulation and two slow oracles agree."""

import subprocess
import sys
from fractions import Fraction
from functools import cache
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from numpy.polynomial.legendre import leggauss

from leakyrelu import leaky_relu
from leakyrelu.theory import (
    BornDead,
    born_dead,
    born_dead_probability,
    born_dead_report,
    gain,
    plot_born_dead,
    simulate_born_dead,
    width_for_risk,
)

DEPTHS = range(3, 21)
NETWORKS = 10_000


# --- Oracles ---------------------------------------------------------------------------------------------------------


def theorem(width, depth):
    """The bounds as the paper prints them, in fractions: nothing is rounded."""
    p = Fraction(1, 2**width)
    a1, a2, k = 1 - p, 1 - 2 * p - (width - 1) * p**2, depth - 2
    lower = 1 - a1**k + (1 - 2 * p) * (1 - p) / (1 + (width - 1) * p) * (a2**k - a1**k)
    return lower, 1 - (1 - p) ** (depth - 1)


def on(low, high, points):
    """Nodes and weights of a quadrature on an interval."""
    x, weight = leggauss(points)
    return (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * weight


@cache
def one_layer(points=20, nodes=14):
    """For width 2: angles between the hidden vectors, and what the next layer makes of them, as linear maps.

    Gives the angles t, the chance q(t) that a given unit is off for both, and a matrix that takes h at the angles to the
    mean of h(next angle) where both next vectors are nonzero. The weights of a unit, in the plane of the two vectors,
    have a uniform angle psi and a Rayleigh length; of the two lengths only the ratio tan(phi) matters, with density
    sin(2 phi). A unit is on for the first vector where cos(psi) > 0, for the second where cos(psi - t) > 0.
    """
    angles = pi / 4 * (1 + chebyshev.chebpts2(nodes))
    basis = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts2(nodes), nodes - 1))

    def rows(next_angles, weights):
        """Weights of h at the angles, for a mean of h at the next angles."""
        return (chebyshev.chebvander(4 / pi * next_angles - 1, nodes - 1) * weights[..., None]).reshape(-1, nodes).sum(
            0
        ) @ basis

    ratio, ratio_weight = on(0, pi / 2, points)
    ratio, ratio_weight = ratio[:, None, None], (ratio_weight * np.sin(2 * ratio))[:, None, None]

    def direction(first, second):
        return np.arctan2(np.sin(ratio) * second, np.cos(ratio) * first)

    matrix = []
    for t in angles:
        off = (pi - t) / (2 * pi)
        row = rows(np.array([0.0, pi / 2]), np.array([2 * off**2, 2 * (t / (2 * pi)) ** 2]))
        psi, weight = (each[:, None] for each in on(t - pi / 2, pi / 2, points))  # on for both
        # The other unit is on for the first vector alone: times 4, for the units and the vectors may change places.
        other, other_weight = on(-pi / 2, t - pi / 2, points)
        row += rows(direction(np.cos(psi), np.cos(other)), 4 * ratio_weight * weight * other_weight / (2 * pi) ** 2)
        # Both are on for both: the half where other > psi, times 2, for the angle has a kink where they are equal.
        part, part_weight = on(0, 1, points)
        other = psi + (pi / 2 - psi) * part
        angle = direction(np.cos(psi), np.cos(other)) - direction(np.cos(psi - t), np.cos(other - t))
        row += rows(np.abs(angle), 2 * ratio_weight * weight * (pi / 2 - psi) * part_weight / (2 * pi) ** 2)
        matrix.append(row)
    return angles, (pi - angles) / (2 * pi), np.array(matrix)


def width_2(depth):
    """The probability at width 2: h_k(angle) = P(dead within k further layers), from the last layer back."""
    angles, off, matrix = one_layer()
    h = np.zeros_like(angles)
    for k in range(depth - 2):
        one_direction = 1 - 0.75**k
        h = off**2 + 2 * (1 / 4 - off**2) * one_direction + matrix @ h
    return (h[angles.argmax()] + 1 - 0.75 ** (depth - 2)) / 2


class Recorder(np.random.Generator):
    """Remembers the weights it gave."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.given = []

    def standard_normal(self, *arguments, **keywords):
        self.given.append(super().standard_normal(*arguments, **keywords))
        return self.given[-1]


def output_is_zero(matrices, alpha, x):
    """Whether the hidden vector is zero, by naive loops over layers, units and weights."""
    hidden = [x]
    for matrix in matrices:
        sums = [sum(h * matrix[i][j] for i, h in enumerate(hidden)) for j in range(len(matrix[0]))]
        hidden = [z if z >= 0 else alpha * z for z in sums]
    return not any(hidden)


# --- Gain ------------------------------------------------------------------------------------------------------------


def test_gain_is_that_of_he_et_al():
    assert gain() == gain(0) == sqrt(2)
    assert gain(1) == gain(-1) == 1
    assert gain(1e200) == sqrt(2) / 1e200  # whose square is infinite


@given(st.floats(-1e6, 1e6))
def test_gain_is_the_formula(alpha):
    assert gain(alpha) == pytest.approx(sqrt(2 / (1 + alpha**2)), rel=1e-14)


def test_gain_keeps_the_mean_square():
    z = np.random.default_rng(0).standard_normal(10**6)
    for alpha in (0, 0.01, 0.3, -1):
        assert gain(alpha) ** 2 * np.mean(leaky_relu(z, alpha) ** 2) == pytest.approx(1, abs=0.01)


# --- Bounds ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(2, 60))
def test_bounds_are_those_of_the_paper_to_the_last_digits(width, depth):
    bounds = born_dead_probability(width, depth)
    lower, upper = theorem(width, depth)
    assert bounds.lower == pytest.approx(float(lower), rel=1e-13)
    assert bounds.upper == pytest.approx(float(upper), rel=1e-13)


@given(st.integers(1, 2000), st.integers(1, 10**12))
def test_bounds_are_probabilities_in_order(width, depth):
    lower, upper, exact = born_dead_probability(width, depth)
    assert 0 <= lower <= upper <= 1
    assert exact is None or lower <= exact <= upper
    assert born_dead_probability(width, depth + 1).upper >= upper >= born_dead_probability(width + 1, depth).upper


@pytest.mark.parametrize("width", [1, 2, 3, 5, 60])
def test_exact_values(width):
    p = 2.0**-width
    assert born_dead_probability(width, 1) == BornDead(0, 0, 0)
    assert born_dead_probability(width, 2) == BornDead(0, pytest.approx(p, rel=1e-14), 0)
    exact = (1 - 2 * p) * p**2 + 2 * p * p  # two directions and then none, or one and then none
    assert born_dead_probability(width, 3).exact == pytest.approx(exact, rel=1e-14)
    if width > 1:
        assert born_dead_probability(width, 4).exact is None


def test_exact_values_of_the_paper_and_of_width_1():
    assert born_dead_probability(2, 3).exact == 0.15625
    assert born_dead_probability(3, 3).exact == 0.04296875
    for depth in range(2, 50):
        assert born_dead_probability(1, depth).exact == 1 - 2.0 ** -(depth - 2)


def test_any_slope_but_zero_never():
    for alpha in (0.01, -0.2, 1, 5e-324, np.float32(0.1)):
        assert born_dead_probability(2, 10, alpha=alpha) == (0, 0, 0)


def test_numpy_integers_are_integers():
    assert born_dead_probability(np.int8(2), np.uint16(10)) == born_dead_probability(2, 10)


@given(st.floats(1e-300, 1, exclude_max=True), st.integers(1, 10**9))
def test_width_for_risk_is_the_smallest_that_keeps_the_bound(risk, depth):
    width = width_for_risk(risk, depth)
    assert born_dead_probability(width, depth).upper <= risk
    assert width == 1 or born_dead_probability(width - 1, depth).upper > risk


# --- Simulation ------------------------------------------------------------------------------------------------------


def test_the_oracle_of_width_2_is_right_where_it_is_known():
    assert width_2(3) == pytest.approx(0.15625, abs=1e-12)
    assert width_2(4) == pytest.approx(1045 / 3072, abs=1e-5)  # by hand: the next vectors are independent at 90 degrees
    assert abs(width_2(10) - 0.8796) < 3 * 0.0003  # simulated by others


@pytest.mark.parametrize("depth", DEPTHS)
def test_simulation_meets_the_oracle_at_width_2(depth):
    probability, error = simulate_born_dead(2, depth, networks=50_000, rng=depth)
    assert abs(probability - width_2(depth)) < 3 * error


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_simulation_is_between_the_bounds(width):
    for depth in DEPTHS:
        probability, error = simulate_born_dead(width, depth, networks=NETWORKS, rng=depth)
        lower, upper, exact = born_dead_probability(width, depth)
        assert lower - 3 * error < probability < upper + 3 * error, depth
        assert exact is None or abs(probability - exact) < 3 * error
        assert error == sqrt(probability * (1 - probability) / NETWORKS)


def test_simulation_at_width_3_and_depth_10():
    probability, error = simulate_born_dead(3, 10, networks=100_000, rng=0)
    assert abs(probability - 0.5781) < 3 * sqrt(error**2 + 0.0005**2)


def test_simulation_at_width_1():
    for depth in range(3, 12):
        probability, error = simulate_born_dead(1, depth, networks=NETWORKS, rng=depth)
        assert abs(probability - born_dead_probability(1, depth).exact) < 3 * error


def test_one_and_two_layers_are_never_dead():
    for depth in (1, 2):
        assert simulate_born_dead(1, depth, networks=NETWORKS) == (0, 0)


def test_leaky_relu_is_never_dead():
    assert simulate_born_dead(2, 10, alpha=0.01, networks=200_000, rng=0).probability == 0


@pytest.mark.parametrize("alpha", [0.01, -0.01, 1, 1e-200, 5e-324, 1e300])
def test_no_slope_and_no_depth_makes_a_false_death(alpha):
    for width in (1, 2):
        assert simulate_born_dead(width, 400, alpha=alpha, networks=500, rng=0).probability == 0


def test_narrow_and_deep_is_always_dead():
    assert simulate_born_dead(1, 10**9, networks=NETWORKS, rng=0) == (1, 0)


@pytest.mark.parametrize(("width", "alpha"), [(1, 0), (2, 0), (3, 0), (2, 0.01)])
def test_each_network_is_decided_as_by_brute_force(width, alpha):
    recorder, networks = Recorder(width), 300
    found = simulate_born_dead(width, 4, alpha=alpha, networks=networks, rng=recorder)
    first, *layers = recorder.given
    nets = [[matrix] for matrix in first.tolist()]
    grid = np.linspace(-3, 3, 12).tolist()
    for layer in layers:  # each has weights for the networks that live, in their order
        assert len(layer) == len(nets)
        nets = [[*net, matrix] for net, matrix in zip(nets, layer.tolist(), strict=True)]
        nets = [net for net in nets if not all(output_is_zero(net, alpha, x) for x in grid)]
    assert len(layers) == 2
    assert found.probability == (networks - len(nets)) / networks
    assert alpha or found.probability > 0


def test_every_network_has_its_own_weights_also_over_several_blocks(monkeypatch):
    monkeypatch.setattr(born_dead, "_WEIGHTS_AT_ONCE", 400)
    recorder = Recorder(0)
    probability, error = simulate_born_dead(2, 4, networks=2050, rng=recorder)
    weights = np.concatenate([each.ravel() for each in recorder.given])
    assert len(np.unique(weights)) == len(weights)
    assert sum(len(each) for each in recorder.given if each.shape[1] == 1) == 2050
    assert max(each.size for each in recorder.given) == 400
    assert abs(probability - 1045 / 3072) < 3 * error


def test_the_seed_decides():
    assert simulate_born_dead(2, 6, networks=1000, rng=7) == simulate_born_dead(2, 6, networks=1000, rng=7)
    rng = np.random.default_rng(7)
    first, *others = (simulate_born_dead(2, 6, networks=1000, rng=rng) for _ in range(5))
    assert first == simulate_born_dead(2, 6, networks=1000, rng=7)
    assert len({first, *others}) > 1


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["width", "depth", "networks"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        *((value, ValueError) for value in (0, -3)),
        *((value, TypeError) for value in (2.0, True, np.True_, "2", None, np.float64(2))),
    ],
)
def test_counts_must_be_positive_integers(name, value, error):
    arguments = {"width": 2, "depth": 3, "networks": 10} | {name: value}
    for function in (simulate_born_dead, plot_born_dead, born_dead_report):
        with pytest.raises(error, match=f"{name} must be .*, got "):
            function(**arguments)
    if name != "networks":
        del arguments["networks"]
        with pytest.raises(error, match=f"{name} must be"):
            born_dead_probability(**arguments)


@pytest.mark.parametrize(
    ("alpha", "error", "text"),
    [
        (np.nan, ValueError, "finite"),
        (np.inf, ValueError, "finite"),
        ("0", TypeError, "got str"),
        ([0.1], TypeError, "one slope"),
        (1j, TypeError, "complex"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_bad_slopes_are_refused(alpha, error, text):
    for function in (gain, lambda a: born_dead_probability(2, 3, alpha=a), lambda a: simulate_born_dead(2, 3, alpha=a)):
        with pytest.raises(error, match=text):
            function(alpha)


@pytest.mark.parametrize("risk", [0, 1, -0.1, 2, np.nan, "0.1", None])
def test_bad_risks_are_refused(risk):
    with pytest.raises(ValueError, match="risk must be a number between 0 and 1, got"):
        width_for_risk(risk, 10)


def test_bad_seeds_are_refused_by_numpy():
    with pytest.raises(ValueError, match="non-negative"):
        simulate_born_dead(2, 3, rng=-1)


# --- Report and picture ----------------------------------------------------------------------------------------------


def test_report_has_both_and_the_width():
    first, by_theory, simulated, advice = born_dead_report(2, 10, networks=2000, rng=0).splitlines()
    assert first == "ReLU, one input, width 2, depth 10 (9 hidden layers), zero biases: born dead"
    assert by_theory == "by theory:      at least 0.8703, at most 0.9249"
    assert simulated.startswith("in simulation:  0.8")
    assert "± 0.007" in simulated
    assert simulated.endswith("(standard error, 2,000 networks)")
    assert advice == "for a risk of at most 0.01 at this depth:  width 10 or more"
    assert "0.15625, known exactly" in born_dead_report(2, 3, networks=10)
    assert "risk of at most 0.5 at this depth:  width 4 or more" in born_dead_report(2, 10, risk=0.5, networks=10)


def test_report_claims_no_certainty_from_a_simulation():
    assert "none of 1,000 networks, so below 0.003 with 95 %" in born_dead_report(20, 3, networks=1000, rng=0)
    assert "all of 1,000 networks, so above 0.997 with 95 %" in born_dead_report(1, 99, networks=1000, rng=0)
    assert "none of 1 networks, so below 1 " in born_dead_report(20, 3, networks=1)
    assert "by theory:      never" in born_dead_report(2, 99, alpha=-0.1, networks=10)
    assert "any width" in born_dead_report(2, 99, alpha=-0.1, networks=10)


def test_picture_has_a_band_and_a_line_per_width():
    axes = plot_born_dead(5, 10, networks=500, rng=0).axes[0]
    legend = axes.get_legend_handles_labels()[1]
    assert legend == [*(f"width {n}" for n in (2, 3, 4, 5, 6, 8, 10)), "Leaky ReLU, any width", legend[-1]]
    bounds = born_dead_probability(5, 10)
    assert legend[-1] == f"width 5, depth 10: {bounds.lower:.3g} to {bounds.upper:.3g}"
    depths, fractions = axes.get_lines()[0].get_data()
    assert (depths[0], fractions[0], depths[-1]) == (2, 0, 100)
    assert np.all(np.diff(fractions) >= 0)
    for depth, fraction in zip(depths, fractions, strict=True):
        lower, upper, _ = born_dead_probability(2, int(depth))
        assert lower - 0.07 < fraction < upper + 0.07  # three standard errors of 500


def test_picture_of_a_wide_and_deep_network_is_drawn_from_the_bounds(tmp_path):
    figure = plot_born_dead(200, 3000, networks=10, rng=0)
    assert figure.axes[0].get_xlim()[1] > 6000
    for ending in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"picture.{ending}")
        assert (tmp_path / f"picture.{ending}").stat().st_size > 5000


def test_without_matplotlib_only_the_picture_is_missing():
    code = (
        "import sys; sys.modules['matplotlib.figure'] = None\n"
        "from leakyrelu import theory\n"
        "theory.simulate_born_dead(2, 3, networks=10)\n"
        "try: theory.plot_born_dead()\n"
        "except ImportError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "the picture needs matplotlib, which is missing: pip install 'leakyrelu[plot]'\n"
