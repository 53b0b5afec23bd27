"""The search over slopes: what it tries, what it says, and that nothing is lost or done twice."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from math import inf, nan

import numpy as np
import optuna
import pytest
from commands import WARNINGS_ARE_ERRORS, invoke
from optuna.trial import TrialState

from leakyrelu._shared.intervals import paired_difference
from leakyrelu.tuning import Slope, SlopeState, Tuning, search, tune, workers
from leakyrelu.tuning.storage import _storage

OBJECTIVE = """
import os, sys, time

def objective(alpha, seed):
    with open("calls", "a") as calls:
        calls.write(f"{alpha!r} {seed}\\n")
    time.sleep(float(os.environ.get("SECONDS", 0)))
    return 80 - 10 * abs(alpha - 0.2) + seed % 3
"""


def hill(alpha, seed):
    """Best at 0.2, with noise that all slopes share and some of their own."""
    noise = np.random.default_rng([seed, int(1e9 * alpha)])
    return 80 - 4 * abs(np.log10(alpha + 1e-4) + 0.7) + seed % 5 + 0.2 * noise.normal()


def database(path):
    return f"sqlite:///{path / 'tune.db'}"


def studies_in(storage):
    """By name, the trials of each study that is kept in a storage or under a URL; what is opened is closed."""
    with _storage(storage) as backend:
        names = optuna.get_all_study_names(backend)
        return {name: optuna.load_study(study_name=name, storage=backend).trials for name in names}


def trials_in(storage):
    (trials,) = studies_in(storage).values()
    return trials


# What is tried


def test_relu_and_the_slope_of_habit_are_always_tried_first_and_with_all_seeds():
    found = tune(hill, limits=(0.1, 0.5), trials=8, seeds=5)
    assert [result.alpha for result in found.slopes[:2]] == [0, 0.01]
    assert found.relu is found.slopes[0]
    assert found.baseline is found.slopes[1]
    for result in found.slopes[:2]:
        assert list(result.scores) == [0, 1, 2, 3, 4]
        assert result.state == SlopeState.COMPLETE
    assert all(0.1 <= result.alpha <= 0.5 for result in found.slopes[2:])
    assert len({result.alpha for result in found.slopes}) == len(found.slopes) == 8


def test_slopes_spread_over_the_orders_of_magnitude():
    found = tune(lambda alpha, seed: 0.0, trials=40, seeds=1)
    alphas = np.array([result.alpha for result in found.slopes[2:]])
    assert all(np.sum((low <= alphas) & (alphas < 10 * low)) >= 5 for low in (0.001, 0.01, 0.1))


def test_a_clear_optimum_is_found_and_said_to_be_better():
    found = tune(hill, trials=30)
    assert 0.1 < found.best.alpha < 0.4
    mean, spread = found.difference(found.best)
    assert mean - spread > 0
    assert f"{found.best.alpha:.4g} is better than 0.01 by {mean:.3g} ± {spread:.2g} points." in found.conclusions
    assert any(sentence.startswith("ReLU (0) is worse than 0.01 by") for sentence in found.conclusions)


def test_a_slope_that_is_clearly_worse_is_given_up_early():
    found = tune(hill, trials=30, seeds=10)
    assert found.pruned
    assert all(len(result.scores) < 10 for result in found.pruned)
    assert all(result.mean < found.best.mean for result in found.pruned)


@pytest.mark.parametrize("seeds", [1, 2, 10])
def test_no_difference_is_claimed_where_there_is_none(seeds):
    def noise(alpha, seed):
        return np.random.default_rng([seed, int(1e9 * alpha)]).normal()

    found = tune(noise, trials=30, seeds=seeds)
    text = " ".join(found.conclusions)
    assert "better" not in text or "No slope did better" in text
    assert "worse" not in text


def test_of_many_searches_without_a_difference_few_claim_one():
    """Bonferroni: in at most 5 % the best of many is called better; without it, in about half."""
    claims = 0
    for search_seed in range(40):
        rng = np.random.default_rng(search_seed)
        slopes = tuple(
            Slope(i, alpha, SlopeState.COMPLETE, dict(enumerate(rng.normal(size=8))))
            for i, alpha in enumerate([0, 0.01, *np.geomspace(0.02, 1, 20)])
        )
        found = Tuning((0.001, 1), tuple(range(8)), slopes)
        claims += any("is better" in sentence for sentence in found.conclusions)
    assert claims <= 5


def test_scores_of_few_values_that_agree_by_chance_are_no_evidence():
    """Two seeds of 100 test images often differ by the same number of images: that is not a spread of zero."""
    claims = 0
    for search_seed in range(100):
        rng = np.random.default_rng(search_seed)
        slopes = tuple(
            Slope(i, alpha, SlopeState.COMPLETE, dict(enumerate(rng.binomial(100, 0.97, 2).astype(float))))
            for i, alpha in enumerate([0, 0.01, *np.geomspace(0.02, 1, 20)])
        )
        claims += any("is better" in sentence for sentence in Tuning((0.001, 1), (0, 1), slopes).conclusions)
    assert claims <= 5


def test_the_same_search_twice_gives_the_same():
    assert tune(hill, trials=12, seeds=4) == tune(hill, trials=12, seeds=4)


def test_seeds_may_be_named():
    seen = set()
    found = tune(lambda alpha, seed: seen.add(seed) or 1.0, trials=3, seeds=(7, 11))
    assert seen == {7, 11}
    assert found.seeds == (7, 11)
    assert list(found.best.scores) == [7, 11]


def test_the_default_objective_is_the_network_on_digits(monkeypatch):
    accuracy, never_positive = search.digits_accuracy(0.01, 0)
    assert 20 < accuracy <= 100
    assert 0 <= never_positive < 1
    monkeypatch.setattr(search, "digits_accuracy", lambda alpha, seed: (50.0 + alpha, 0.25))
    found = tune(trials=3, seeds=2)
    assert found.best.never_positive == {0: 0.25, 1: 0.25}
    assert "25.0 %" in str(found)


# Failures


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: nan, "ValueError: the objective gave nan"),
        (lambda: -inf, "ValueError: the objective gave -inf"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: None, "TypeError: "),
        (lambda: (1, 2, 3), "ValueError: "),
        (lambda: sys.exit(3), "SystemExit: 3"),
        (lambda: (1.0, nan), "ValueError: the objective gave nan as the fraction"),
        (lambda: (1.0, 25), "ValueError: the objective gave 25.0 as the fraction"),
    ],
)
def test_a_trial_that_fails_is_named_and_the_search_goes_on(wrong, named):
    storage = optuna.storages.InMemoryStorage()

    def objective(alpha, seed):
        return wrong() if alpha > 0.05 and seed == 1 else float(seed)

    found = tune(objective, trials=12, seeds=3, storage=storage)
    assert len(found.slopes) == 12
    assert found.failed
    for result in found.failed:
        assert result.alpha > 0.05
        assert result.error.startswith(f"seed 1: {named}")
        assert result.scores == {0: 0.0}
    assert f"Failed: slope {found.failed[0].alpha:.4g} (trial {found.failed[0].trial}), seed 1: {named}" in str(found)
    states = Counter(trial.state for trial in trials_in(storage))
    assert states[TrialState.FAIL] == len(found.failed)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states)


@pytest.mark.parametrize(
    ("error", "named"), [(RuntimeError("two\n  lines"), "RuntimeError: two lines"), (OSError(), "OSError")]
)
def test_why_a_trial_failed_is_one_line(error, named):
    def objective(alpha, seed):
        raise error

    assert tune(objective, trials=3, seeds=1).failed[0].error == f"seed 0: {named}"


def test_where_all_fail_it_says_so():
    found = tune(lambda alpha, seed: nan, trials=4, seeds=2)
    assert found.best is found.relu is found.baseline is None
    assert "No slope was tried to the end: seed 0: ValueError: the objective gave nan." in str(found)
    assert found.plot() is not None


def test_without_the_slope_of_habit_nothing_is_compared():
    found = tune(lambda alpha, seed: nan if alpha == 0.01 else 1.0, trials=4, seeds=2)
    assert "The slope 0.01 failed, so there is nothing to compare with." in found.conclusions


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"trials": 2}, "trials must be an integer of at least 3 .*, got 2"),
        ({"trials": True}, "got True"),
        ({"trials": 4.0}, "got 4.0"),
        ({"limits": (0, 1)}, r"limits must be two finite numbers above zero, the smaller first, got \(0, 1\)"),
        ({"limits": (1, 0.1)}, "the smaller first"),
        ({"limits": 0.1}, "limits must be two numbers"),
        ({"limits": (0.1, inf)}, "finite"),
        ({"seeds": 0}, "at least one"),
        ({"seeds": [1, 1]}, "differ"),
        ({"seeds": "ab"}, "seeds must be a number of seeds or a sequence of integers"),
        ({"seeds": 2.5}, "seeds must be a number of seeds or a sequence of integers"),
        ({"storage": 3}, "storage must be a URL, a path or a storage of Optuna's, got int"),
        ({"storage": "nonsense://x"}, "the storage .* cannot be opened: .*nonsense"),
        ({"storage": "sqlite:////nowhere/x.db"}, "the storage .* cannot be opened: .*unable to open database file"),
    ],
)
def test_bad_arguments_are_named(keywords, message, monkeypatch):
    monkeypatch.setattr("leakyrelu.tuning.storage._WAIT_SECONDS", 0.01)
    with pytest.raises((TypeError, ValueError), match=message):
        tune(hill, **{"trials": 3, "seeds": 1, **keywords})


def test_a_file_that_is_no_journal_is_named_and_left_as_it_is(tmp_path):
    tune(hill, trials=3, seeds=1, storage=database(tmp_path))
    (tmp_path / "text").write_text("without an end of line, so Optuna would append to it")
    for name, message in (
        ("tune.db", "is a SQLite database; give it as sqlite:///"),
        ("text", "is no journal of Optuna's"),
    ):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ValueError, match=message):
            tune(hill, trials=3, seeds=1, storage=str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == before
    (tmp_path / "empty").touch()
    assert len(tune(hill, trials=3, seeds=1, storage=str(tmp_path / "empty")).slopes) == 3


def test_a_storage_that_fails_in_the_middle_is_said_to_have_failed(tmp_path):
    def objective(alpha, seed):
        if alpha == 0.01:
            with closing(sqlite3.connect(tmp_path / "tune.db")) as connection, connection:
                connection.executescript("DROP TABLE trials; DROP TABLE studies")
        return hill(alpha, seed)

    with pytest.raises(
        OSError,
        match=r"the storage sqlite:.* failed: .*no such table: trials; it keeps what is finished, and a later call continues",
    ):
        tune(objective, trials=3, seeds=2, storage=database(tmp_path))


def test_an_objective_is_a_function():
    with pytest.raises(TypeError, match="objective must be a function of alpha and seed, got str"):
        tune("objective")


def test_a_study_begun_with_other_settings_is_refused(tmp_path):
    storage = database(tmp_path)
    tune(hill, trials=3, seeds=2, storage=storage)
    with pytest.raises(ValueError, match=r"was begun with seeds \[0, 1\], not \[0, 1, 2\]; ask for the same"):
        tune(hill, trials=3, seeds=3, storage=storage)
    with pytest.raises(ValueError, match=r"was begun with limits \[0.001, 1.0\], not \[0.1, 1.0\]"):
        tune(hill, trials=3, seeds=2, limits=(0.1, 1), storage=storage)
    assert len(tune(hill, trials=3, seeds=3, storage=storage, study_name="another").slopes) == 3
    with _storage(storage) as backend:
        optuna.create_study(storage=backend, study_name="foreign", direction="minimize")
    with pytest.raises(ValueError, match="the study 'foreign' is to be minimised"):
        tune(hill, trials=3, seeds=2, storage=storage, study_name="foreign")


# Going on


@pytest.mark.parametrize("kind", ["sqlite", "journal", "object"])
def test_trials_are_the_total_of_the_study(tmp_path, kind):
    calls = []

    def objective(alpha, seed):
        calls.append((alpha, seed))
        return hill(alpha, seed)

    storage = {
        "sqlite": database(tmp_path),
        "journal": str(tmp_path / "journal"),
        "object": optuna.storages.InMemoryStorage(),
    }[kind]
    first = tune(objective, trials=5, seeds=3, storage=storage)
    more = tune(objective, trials=9, seeds=3, storage=storage)
    assert (len(first.slopes), len(more.slopes)) == (5, 9)
    assert more.slopes[:5] == first.slopes
    assert len(calls) == len(set(calls)) == sum(len(result.scores) for result in more.slopes)
    assert tune(objective, trials=9, seeds=3, storage=storage) == more
    assert more == tune(hill, trials=9, seeds=3)  # as if it had never been interrupted


def test_an_interrupted_trial_keeps_its_scores_and_is_continued_at_once(tmp_path):
    calls = []

    def objective(alpha, seed):
        calls.append((alpha, seed))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return hill(alpha, seed)

    with pytest.raises(KeyboardInterrupt):
        tune(objective, trials=6, seeds=4, storage=database(tmp_path))
    begun = time.monotonic()
    found = tune(objective, trials=6, seeds=4, storage=database(tmp_path))
    assert time.monotonic() - begun < workers._SILENCE_SECONDS
    assert [call for call, times in Counter(calls).items() if times > 1] == [calls[5]]
    assert found == tune(hill, trials=6, seeds=4)


def started(path, count, seconds, *words):
    (path / "objective.py").write_text(OBJECTIVE)
    command = [sys.executable, "-c", SILENCE + "from leakyrelu.__main__ import main; main()", "tune"]
    command += ["objective:objective", "--seeds", "4", "--storage", database(path), *words]
    environment = {"SECONDS": str(seconds), "PATH": "/usr/bin:/bin", **WARNINGS_ARE_ERRORS}
    return [
        subprocess.Popen(command, cwd=path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]


SILENCE = "import leakyrelu.tuning.workers as s; s._SIGN_SECONDS, s._SILENCE_SECONDS = 0.2, 2.0; "


def calls_of(path):
    return Counter((path / "calls").read_text().splitlines())


@pytest.mark.slow
def test_killed_in_the_middle_no_trial_is_lost_or_run_twice(tmp_path):
    (worker,) = started(tmp_path, 1, 0.05, "--trials", "10")
    for kill in range(3):
        while not (tmp_path / "calls").exists() or sum(calls_of(tmp_path).values()) < 9 * (kill + 1):
            assert worker.poll() is None, worker.stderr.read()
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        finished = {trial.number for trial in trials_in(database(tmp_path)) if trial.state.is_finished()}
        assert finished  # and these are not run again: see below
        (worker,) = started(tmp_path, 1, 0.05, "--trials", "10")
    output, errors = worker.communicate()
    assert (worker.returncode, errors) == (0, "")
    trials = trials_in(database(tmp_path))
    assert len(trials) == 10
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    calls = calls_of(tmp_path)
    assert len({call.split()[0] for call in calls}) == 10
    twice = [call for call, times in calls.items() if times > 1]
    assert len(twice) <= 3  # the seed that a killed worker was running, and nothing else
    assert sum(calls.values()) <= sum(len(trial.intermediate_values) for trial in trials) + 3
    assert "Best of 10 slopes" in output


@pytest.mark.slow
def test_two_processes_on_one_database_run_no_trial_twice(tmp_path):
    both = started(tmp_path, 2, 0.02, "--trials", "14")
    outputs = [worker.communicate() for worker in both]
    assert [(worker.returncode, errors) for worker, (_, errors) in zip(both, outputs, strict=True)] == [(0, "")] * 2
    assert outputs[0][0] == outputs[1][0]  # both wait for the last trial, and say the same
    assert set(calls_of(tmp_path).values()) == {1}
    trials = trials_in(database(tmp_path))
    assert sum(trial.state.is_finished() for trial in trials) == 14
    assert len({trial.user_attrs["worker"] for trial in trials[:14]}) == 2


def test_a_worker_that_loses_the_last_trial_to_another_waits_for_its_end(monkeypatch):
    running, lost, go_on = threading.Event(), threading.Event(), threading.Event()

    def slow(alpha, seed):
        running.set()
        assert go_on.wait(30)
        return hill(alpha, seed)

    storage = optuna.storages.InMemoryStorage()
    other = threading.Thread(target=lambda: tune(slow, trials=3, seeds=1, storage=storage, study_name="x"))
    claim = workers.Worker._claim

    def claim_too_late(self, trial):
        if trial.number == 2 and threading.current_thread() is not other and not lost.is_set():
            other.start()
            assert running.wait(30)
            lost.set()
        return claim(self, trial)

    def progress(done, total):
        if lost.is_set():
            go_on.set()

    monkeypatch.setattr(workers.Worker, "_claim", claim_too_late)
    found = tune(hill, trials=3, seeds=1, storage=storage, study_name="x", progress=progress)
    go_on.set()
    other.join()
    assert [result.trial for result in found.slopes] == [0, 1, 2]


def test_a_worker_that_was_asleep_drops_what_another_has_taken_over(tmp_path, monkeypatch):
    """Frozen in mid-trial for longer than the others wait: its score no longer counts."""
    monkeypatch.setattr(workers, "_SIGN_SECONDS", 1000.0)  # gives no sign: as if it were asleep
    monkeypatch.setattr(workers, "_SILENCE_SECONDS", 0.5)
    frozen, go_on = threading.Event(), threading.Event()

    def sleeper(alpha, seed):
        if alpha == 0.01 and not frozen.is_set():
            frozen.set()
            assert go_on.wait(30)
            return -1000.0
        return hill(alpha, seed)

    storage = database(tmp_path)
    asleep = []
    thread = threading.Thread(
        target=lambda: asleep.append(tune(sleeper, trials=4, seeds=2, storage=storage, study_name="x"))
    )
    thread.start()
    assert frozen.wait(30)
    found = tune(hill, trials=4, seeds=2, storage=storage, study_name="x")
    go_on.set()
    thread.join()
    assert asleep == [found]
    assert min(result.mean for result in found.slopes) > 0


# What it shows


def some():
    scores = {0: {0: 70.0, 1: 71.0, 2: 75.0}, 0.01: {0: 80.0, 1: 82.0, 2: 84.0}, 0.1: {0: 80.5, 1: 82.6, 2: 84.4}}
    slopes = [Slope(i, alpha, SlopeState.COMPLETE, values) for i, (alpha, values) in enumerate(scores.items())]
    slopes += [
        Slope(3, 0.5, SlopeState.PRUNED, {0: 60.0, 1: 61.0}),
        Slope(4, 0.7, SlopeState.FAILED, {}, error="seed 0: why"),
    ]
    return Tuning((0.001, 1.0), (0, 1, 2), tuple(slopes))


def test_means_spreads_and_differences_are_those_of_the_scores():
    found = some()
    assert found.best.alpha == 0.1
    assert found.best.mean == pytest.approx(82.5)
    assert found.best.spread == pytest.approx(np.std([80.5, 82.6, 84.4], ddof=1))
    mean, spread = found.difference(found.best)
    assert (mean, spread) == paired_difference([80, 82, 84], [80.5, 82.6, 84.4], comparisons=2)
    assert mean == pytest.approx(0.5)
    assert found.difference(found.relu) == paired_difference(
        [80, 82, 84], [70, 71, 75]
    )  # a planned comparison: not corrected
    # The seeds of a pruned slope ended where it looked worst, so an interval would claim too much.
    assert found.difference(found.pruned[0]) == (-20.5, inf)
    assert np.isnan(found.difference(found.baseline)).all()


def test_the_table_has_one_row_per_slope_in_ascending_order():
    lines = str(some()).splitlines()
    headings = ["Slope", "Seeds", "Score (mean ± standard deviation)", "Less 0.01 (95 %)", "State"]
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == headings
    assert [line.split("|")[1].strip() for line in lines[2:7]] == ["ReLU (0)", "0.01", "0.1", "0.5", "0.7"]
    assert "failed" in lines[6]
    assert "Best of 5 slopes: 0.1, 82.5 ± 2." in lines
    assert "Failed: slope 0.7 (trial 4), seed 0: why." in lines


def test_one_seed_has_no_spread_so_nothing_is_claimed():
    found = tune(lambda alpha, seed: alpha, trials=3, seeds=1)
    assert any("one seed has no spread" in sentence for sentence in found.conclusions)


def test_the_same_difference_at_every_seed_has_no_spread_so_nothing_is_claimed():
    found = tune(lambda alpha, seed: 80.3 + alpha + seed / 7, trials=3, seeds=3)  # equal but for rounding
    assert found.difference(found.relu) == (pytest.approx(-0.01), inf)
    sentence = "ReLU (0) and 0.01: the same at every seed (-0.01) has no spread, so no difference is claimed."
    assert sentence in found.conclusions


def test_large_figures_are_written_without_an_exponent():
    scores = {0: {0: 12345.0, 1: 22345.0}, 0.01: {0: 1.0, 1: 5.0}}
    found = Tuning(
        (0.1, 1),
        (0, 1),
        tuple(Slope(i, *item) for i, item in enumerate((a, SlopeState.COMPLETE, s) for a, s in scores.items())),
    )
    text = str(found)
    assert "17340 ± 7100" in text
    assert "e+" not in text


def test_the_picture_shows_every_slope_and_the_units_where_known(tmp_path):
    figure = some().plot()
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    assert {"ReLU", "0.01", "Leaky ReLU, complete", "Leaky ReLU, pruned"} <= {
        text.get_text() for text in ax.get_legend().get_texts()
    }
    known = Tuning((0.001, 1.0), (0,), (Slope(0, 0.0, SlopeState.COMPLETE, {0: 1.0}, {0: 0.5}),))
    assert len(known.plot().axes) == 2
    figure.savefig(tmp_path / "picture.png")


# The command


def command(path, *words, code=0):
    (path / "objective.py").write_text(OBJECTIVE)
    result = invoke("tune", *words, cwd=path)
    assert result.exit_code == code, result.stderr
    return result.stderr if code == 2 else result.stdout


def test_the_command_prints_a_table_writes_a_picture_and_goes_on(tmp_path):
    words = ("objective:objective", "--seeds", "3", "--storage", "sqlite:///tune.db", "--limits", "0.05", "0.5")
    output = command(tmp_path, *words, "--trials", "4")
    assert output.count("complete") + output.count("pruned") == 4
    assert "Best of 4 slopes" in output
    assert (tmp_path / "leakyrelu-tune.png").read_bytes().startswith(b"\x89PNG")
    output = command(tmp_path, *words, "--trials", "6", "-o", "picture.svg")
    assert "Best of 6 slopes" in output
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    assert set(calls_of(tmp_path).values()) == {1}
    assert list(studies_in(database(tmp_path))) == ["objective:objective"]


def test_the_command_keeps_its_search_in_a_file_unless_told_otherwise(tmp_path):
    for trials in ("3", "5"):
        command(tmp_path, "objective:objective", "--seeds", "1", "--trials", trials)
    assert set(calls_of(tmp_path).values()) == {1}
    assert len(trials_in(f"sqlite:///{tmp_path / 'leakyrelu-tune.db'}")) == 5


def test_the_command_names_bad_input_in_one_line(tmp_path):
    for words, message in (
        (("objective",), "the objective must be given as MODULE:FUNCTION, such as train:accuracy, got 'objective'"),
        (("objective:other",), "objective has no 'other'"),
        (("nowhere:f",), "No module named 'nowhere'"),
        (("objective:objective", "--trials", "1"), "trials must be an integer of at least 3"),
        (("objective:objective", "--output", "x.txt"), "x.txt must end in .png, .svg, .pdf"),
        (("objective:objective", "--output", "none/x.png"), "No such file or directory: none/x.png"),
    ):
        error = command(tmp_path, *words, code=2)
        assert error.startswith("leakyrelu: ")
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "calls").exists()  # nothing was tried before the error


def test_the_command_ends_with_code_1_where_no_slope_was_tried_to_the_end(tmp_path):
    (tmp_path / "broken.py").write_text("def f(alpha, seed):\n    raise RuntimeError('no data')\n")
    output = command(tmp_path, "broken:f", "--trials", "3", code=1)
    assert "No slope was tried to the end: seed 0: RuntimeError: no data." in output
    assert not list(tmp_path.glob("*.png"))


def test_without_optuna_it_says_what_to_install(tmp_path):
    script = "import sys; sys.modules['optuna'] = None; from leakyrelu.tuning import tune; tune(len)"
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert "ImportError: the search needs optuna, which is missing: pip install 'leakyrelu[tune]'" in result.stderr
