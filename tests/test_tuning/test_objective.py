"""How an objective is called."""

from functools import partial

import pytest

from leakyrelu.tuning import tune
from leakyrelu.tuning.objective import called_by_name


class Method:
    def objective(self, seed, alpha):
        return alpha, seed

    def __call__(self, *, seed, alpha):
        return alpha, seed


def swapped(seed, alpha):
    return alpha, seed


def positional(seed, alpha, /):
    return alpha, seed


def half_positional(seed, /, epochs=3, *, alpha):
    return alpha, seed


def with_data(data, alpha, seed=0):
    return alpha, seed


GOOD = {
    "in order": lambda alpha, seed: (alpha, seed),
    "swapped": swapped,
    "a method": Method().objective,
    "an object": Method(),
    "a partial": partial(with_data, "data"),
    "a partial by name": partial(with_data, data="data"),
    "positional": positional,
    "half positional": half_positional,
    "any names": lambda **named: (named["alpha"], named["seed"]),
    "one name and any": lambda seed, **named: (named["alpha"], seed),
    "any arguments": lambda *both: both,
    "both and more": lambda seed, alpha, *more, **named: (alpha, seed, *more, *named),
    "defaults": lambda epochs=3, seed=7, alpha=0.2: (alpha, seed),
}


@pytest.mark.parametrize("name", GOOD)
def test_alpha_and_seed_reach_the_parameters_of_these_names(name):
    assert called_by_name(GOOD[name])(0.25, 3) == (0.25, 3)


def test_what_shows_no_names_is_called_with_alpha_first():
    assert called_by_name(max)(0.25, 3) == 3
    assert called_by_name(divmod)(7, 3) == (2, 1)


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        (lambda slope, number: 0, "slope, number"),
        (lambda alpha: 0, "alpha"),
        (lambda trial: 0, "trial"),
        (lambda seed, slope: 0, "seed, slope"),
        (lambda alpha, seed, data: 0, "alpha, seed, data"),
        (lambda alpha, seed, *, data: 0, "alpha, seed, data"),
        (with_data, "data, alpha, seed"),
    ],
)
def test_other_names_are_refused_before_anything_runs(objective, names, tmp_path):
    with pytest.raises(TypeError, match=rf"must be called alpha and seed, got {names};"):
        tune(objective, trials=3, seeds=1, storage=f"sqlite:///{tmp_path / 'x.db'}")
    assert not list(tmp_path.iterdir())


def test_a_function_without_parameters_is_refused():
    with pytest.raises(TypeError, match="takes no arguments"):
        tune(lambda: 1, trials=3, seeds=1)


def test_a_swapped_objective_finds_what_one_in_order_finds():
    def score(alpha, seed):
        return 10 - abs(alpha - 0.2) + seed

    expected = tune(score, trials=6, seeds=2, study_name="x")
    assert tune(lambda seed, alpha: score(alpha, seed), trials=6, seeds=2, study_name="x") == expected
