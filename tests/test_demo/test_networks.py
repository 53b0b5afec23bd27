"""The demonstration trains what it says it trains, counts what is there, and claims no more than the spread allows."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from leakyrelu.demo import (
    DemoResult,
    Digits,
    Network,
    Run,
    Setting,
    conclusions,
    load_digits,
    run,
    train,
)

SHORT = Setting(hidden=(8, 6), epochs=2, seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


@pytest.fixture(scope="module")
def result(digits: Digits) -> DemoResult:
    return run(SHORT, digits)


def made_up_run(accuracy: float, dead: int, seed: int = 0) -> Run:
    """Of a network with hidden layers of 8 and 6 units."""
    return Run(
        alpha=0,
        seed=seed,
        never_positive=np.array([[0, 0], [dead, 0]]),
        accuracy=np.array([0.1, accuracy]),
        without_gradient=np.array([dead, 0]),
        one_answer=False,
        overflowed=False,
    )


def made_up_result(relu: list[tuple[float, int]], leaky: list[tuple[float, int]]) -> DemoResult:
    return DemoResult(SHORT, *(tuple(made_up_run(*each) for each in runs) for runs in (relu, leaky)))


def cross_entropy(network: Network, batch: Digits) -> float:
    logits = network.forward(batch.images)[1][-1]
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -float(log_probabilities[np.arange(len(batch.labels)), batch.labels].mean())


@pytest.mark.parametrize("alpha", [0, 0.01, 0.3])
def test_a_step_follows_the_gradient_of_the_cross_entropy(alpha: float, digits: Digits) -> None:
    rng = np.random.default_rng(5)
    network = Network((64, 7, 5, 10), alpha, rng)
    network.weights = [weight.astype(np.float64) for weight in network.weights]
    network.biases = [rng.normal(0, 0.1, bias.shape) for bias in network.biases]
    batch = Digits(digits.images[:20].astype(np.float64), digits.labels[:20])

    parameters = [*network.weights, *network.biases]
    finite_differences = []
    for parameter in parameters:
        slopes = np.empty_like(parameter)
        for index in np.ndindex(parameter.shape):
            kept = parameter[index]
            parameter[index] = kept + 1e-6
            above = cross_entropy(network, batch)
            parameter[index] = kept - 1e-6
            slopes[index] = (above - cross_entropy(network, batch)) / 2e-6
            parameter[index] = kept
        finite_differences.append(slopes)

    before = [parameter.copy() for parameter in parameters]
    network.step(batch, learning_rate=1)
    for old, new, expected in zip(before, parameters, finite_differences, strict=True):
        np.testing.assert_allclose(old - new, expected, atol=1e-8)


def test_both_networks_start_from_the_same_weights_and_see_the_same_batches(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[float, list[np.ndarray]] = {0: [], 0.01: []}

    def remember_and_stay(self: Network, batch: Digits, learning_rate: float) -> None:
        seen[self.alpha] += [batch.images, batch.labels, *(weight.copy() for weight in self.weights)]

    monkeypatch.setattr(Network, "step", remember_and_stay)
    run(replace(SHORT, seeds=(3,)), digits)
    relu, leaky = seen.values()
    assert len(relu) == 2 * 41 * 5  # epochs, batches in 1,297 images, arrays per batch
    for one, other in zip(relu, leaky, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_epoch_shows_each_training_image_once_and_no_test_image(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered = Digits(np.pad(np.arange(100.0)[:, None], ((0, 0), (0, 3))), digits.labels[:100])
    shown: list[float] = []
    monkeypatch.setattr(Network, "step", lambda self, batch, learning_rate: shown.extend(batch.images[:, 0]))
    train(replace(SHORT, epochs=3, test_images=30), 0, 0, numbered)
    epochs = np.sort(np.reshape(shown, (3, 70)), axis=1)
    assert len(np.unique(epochs)) == 70
    assert (epochs == epochs[0]).all()


def test_dead_units_are_those_a_direct_look_at_every_image_finds(digits: Digits) -> None:
    network = Network((64, 12, 9, 10), 0, np.random.default_rng(0))
    network.biases[0][[1, 4]] = -100
    network.biases[1][2] = -100
    alive = [set(), set()]
    for image in digits.images:
        values = image
        for layer in (0, 1):
            preactivation = network.weights[layer].T @ values + network.biases[layer]
            alive[layer] |= set(np.flatnonzero(preactivation > 0))
            values = np.maximum(preactivation, 0)
    dead = [12 - len(alive[0]), 9 - len(alive[1])]
    assert dead[0] >= 2
    assert dead[1] >= 1
    np.testing.assert_array_equal(network.never_positive(digits.images), dead)


def test_a_never_positive_unit_has_no_gradient_with_relu_and_a_small_one_with_leaky_relu(digits: Digits) -> None:
    for alpha, without_gradient in ((0, 3), (0.01, 0)):
        network = Network((64, 12, 10), alpha, np.random.default_rng(0))
        network.biases[0][:] = 10
        network.biases[0][:3] = -100
        assert network.never_positive(digits.images) == [3]
        assert network.without_gradient(digits) == [without_gradient]


def test_the_same_setting_gives_the_same_result(digits: Digits, result: DemoResult) -> None:
    again = run(SHORT, digits)
    for one, other in zip((*result.relu, *result.leaky_relu), (*again.relu, *again.leaky_relu), strict=True):
        np.testing.assert_array_equal(one.never_positive, other.never_positive)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)
        np.testing.assert_array_equal(one.without_gradient, other.without_gradient)


def test_a_run_has_an_entry_before_the_training_and_one_after_each_epoch(result: DemoResult) -> None:
    assert len(result.relu) == len(result.leaky_relu) == 3
    for each in (*result.relu, *result.leaky_relu):
        assert each.never_positive.shape == (3, 2)
        assert each.accuracy.shape == (3,)
        assert each.without_gradient.shape == (2,)
        assert ((each.accuracy >= 0) & (each.accuracy <= 1)).all()


def test_progress_counts_the_epochs_of_all_networks(digits: Digits) -> None:
    calls: list[tuple[int, int]] = []
    run(replace(SHORT, seeds=(0, 1)), digits, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_relu_units_die_in_the_setting_of_the_demonstration(digits: Digits) -> None:
    setting = Setting()
    network = train(setting, 0, setting.seeds[0], digits)
    assert (network.never_positive[-1] > 0).all()
    assert (network.without_gradient >= network.never_positive[-1]).all()


def test_an_overflow_is_reported_and_does_not_warn(digits: Digits) -> None:
    result = run(replace(SHORT, learning_rate=1e30), digits)
    assert all(each.overflowed for each in result.leaky_relu)
    assert "Networks that overflowed: 3 of 3 with ReLU, 3 of 3 with Leaky ReLU." in conclusions(result)


def test_identical_runs_show_no_difference() -> None:
    runs = [(0.8, 2), (0.9, 3), (0.7, 1)]
    sentences = conclusions(made_up_result(runs, runs))
    for what in ("Test accuracy", "Units never positive", "Units without gradient"):
        assert f"{what}: no difference beyond the spread (mean 0.0, spread ± 0.0 points)." in sentences
    assert "better" not in " ".join(sentences)


def test_a_difference_within_the_spread_is_not_claimed() -> None:
    sentences = conclusions(made_up_result([(0.8, 2), (0.9, 2), (0.7, 2)], [(0.95, 1), (0.8, 4), (0.75, 2)]))
    assert "better" not in " ".join(sentences)
    assert "fewer" not in " ".join(sentences)


@pytest.mark.parametrize("winner", ["ReLU", "Leaky ReLU"])
def test_a_clear_difference_is_claimed_for_the_one_that_is_better(winner: str) -> None:
    good, bad = [(0.90, 0), (0.91, 1), (0.92, 0)], [(0.50, 7), (0.52, 8), (0.51, 7)]
    relu, leaky = (good, bad) if winner == "ReLU" else (bad, good)
    sentences = conclusions(made_up_result(relu, leaky))
    assert f"Test accuracy: {winner} is better by 40.0 ± 2.5 points." in sentences
    assert f"Units never positive: fewer with {winner}, by 50.0 ± 0.0 points." in sentences


def test_one_seed_is_no_ground_for_a_claim() -> None:
    assert "no difference is claimed" in conclusions(made_up_result([(0.5, 7)], [(0.9, 0)]))[1]


def test_importing_the_module_needs_numpy_alone() -> None:
    program = (
        "import sys, leakyrelu.demo; "
        "assert not {'matplotlib', 'sklearn', 'scipy', 'rich', 'typer'}.intersection(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": np.nan}, "alpha must be finite"),
        ({"seeds": ()}, "a seed and a hidden layer are needed"),
        ({"hidden": ()}, "a seed and a hidden layer are needed"),
        ({"epochs": 0}, "at least 1"),
        ({"hidden": (8, 0)}, "at least 1"),
    ],
)
def test_a_setting_that_cannot_be_run_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **wrong)


def test_a_test_set_that_leaves_nothing_to_train_on_is_refused(digits: Digits) -> None:
    with pytest.raises(ValueError, match="must leave images to train on, got 1797 of 1797"):
        train(replace(SHORT, test_images=1797), 0, 0, digits)
