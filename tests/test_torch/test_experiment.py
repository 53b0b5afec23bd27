"""The experiment on digits does what it says."""

from io import StringIO

import pytest
import torch
from rich.console import Console

from benchmarks import timing, torch_removal
from leakyrelu.torch import experiment

pytestmark = pytest.mark.slow


def test_each_killer_kills_and_revive_leaves_no_dead_unit_at_once():
    for killer in experiment.KILLERS:
        control, revived = experiment.outcomes(killer, 0, ("control", "revive"))
        assert control.never_at_once > 0.2
        assert (revived.never_at_once, revived.left_dead) == (0, 0)
        # Nothing changed on the training images. Some test images make a unit fire that was dead on those.
        assert abs(revived.accuracy_at_once - control.accuracy_at_once) < 0.05


def test_a_seed_decides_everything():
    one, same, other = (experiment.killed("SGD at 0.3", seed) for seed in (1, 1, 2))
    assert torch.equal(one.model[0].weight, same.model[0].weight)
    assert torch.equal(one.test_images, same.test_images)
    assert not torch.equal(one.test_images, other.test_images)


def test_cures_begin_with_the_same_network_and_leave_it_alone():
    patient = experiment.killed("SGD at 0.3", 3)
    accuracy = patient.accuracy(patient.model)
    results = experiment.outcomes("SGD at 0.3", 3)
    assert [result.cure for result in results] == list(experiment.CURES)
    assert results[0].accuracy_at_once == accuracy


def test_without_its_dead_units_a_network_is_smaller_and_as_accurate():
    effort = timing.Effort(batch=0, budget=0, fewest=2, most=2)
    size = torch_removal.size("SGD at 0.3", 0, effort)
    assert size.parameters[0] == 64 * 32 + 2 * 32 * 32 + 32 * 10 + 3 * 32 + 10
    assert size.multiply_adds[0] == 64 * 32 + 2 * 32 * 32 + 32 * 10
    assert size.parameters[1] < size.parameters[0] / 2
    assert size.multiply_adds[1] < size.multiply_adds[0] / 2
    control, smaller = experiment.outcomes("SGD at 0.3", 0, ("control", "remove_dead"))
    assert control.never_at_once > 0.2
    assert smaller.never_at_once == 0
    assert abs(smaller.accuracy_at_once - control.accuracy_at_once) < 0.05


def test_the_table_of_removal_has_a_row_for_each_way(capsys):
    torch_removal.main(["--seeds", "1"], timing.Effort(batch=0, budget=0, fewest=2, most=2))
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| killed")]
    assert [row[0] for row in rows] == [f"| {title}" for title, *_ in torch_removal.ROWS]
    assert [row[1] for row in rows if "remove_dead" not in row[0]] == 3 * ["4,522 ± 0"]
    assert any(line.startswith("Accuracy with remove_dead minus that of the control") for line in lines)


def test_the_demonstration_shows_diagnosis_revival_and_the_figures_beside_a_control():
    text = StringIO()
    results = experiment.show(seeds=(0, 1), console=Console(file=text, width=200))
    assert len(results) == 4
    for words in ("are dead", "dead units revived", "| control |", "| revive | 0.0 ± 0.0 %", "with revive minus"):
        assert words in text.getvalue()


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [([(0.5, 0.9), (0.5, 0.91)], "better"), ([(0.9, 0.5), (0.9, 0.51)], "worse"), ([(0.5, 0.9), (0.9, 0.5)], "no dif")],
)
def test_a_difference_is_claimed_only_beyond_its_spread(accuracies, verdict):
    results = [
        experiment.Outcome(cure, seed, 0, 0, 0, accuracy)
        for seed, pair in enumerate(accuracies)
        for cure, accuracy in zip(("control", "revive"), pair, strict=True)
    ]
    assert verdict in experiment.conclusion(results)
