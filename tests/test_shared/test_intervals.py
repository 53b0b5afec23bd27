"""Confidence intervals of differences, compared with printed tables and with a simulation."""

import subprocess
import sys

import numpy as np
import pytest

from leakyrelu._shared.intervals import paired_difference


def test_the_interval_is_students():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.303 for two degrees of freedom (any table).
    mean, spread = paired_difference([5.0, 5.0, 5.0], [6.0, 7.0, 8.0])
    assert mean == 2
    assert spread == pytest.approx(4.303 / np.sqrt(3), rel=1e-4)


def test_a_single_pair_has_an_infinite_interval():
    assert paired_difference([1.0], [3.0]) == (2.0, np.inf)


def test_several_comparisons_share_the_five_percent():
    # 0.025 / 5 = 0.005 on each side: 9.925 for two degrees of freedom (any table).
    _, spread = paired_difference([5.0, 5.0, 5.0], [6.0, 7.0, 8.0], comparisons=5)
    assert spread == pytest.approx(9.925 / np.sqrt(3), rel=1e-4)


def test_intervals_of_twenty_comparisons_all_hold_in_95_of_100():
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        baseline, slopes = rng.normal(size=6), rng.normal(size=(20, 6))
        pairs = [paired_difference(baseline, scores, comparisons=20) for scores in slopes]
        missed += any(abs(mean) > spread for mean, spread in pairs)
    assert missed / 400 <= 0.05


def test_without_scipy_it_says_what_to_install():
    script = "import sys; sys.modules['scipy'] = None; import leakyrelu._shared.intervals as i; i.paired_difference([1, 2], [2, 3])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (
        "ImportError: a confidence interval needs SciPy, which is missing: pip install 'leakyrelu[demo]'"
        in result.stderr
    )
