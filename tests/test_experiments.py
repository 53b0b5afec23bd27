"""The experiment with slopes: what it trains, that it resumes, and that its page follows from its figures."""

import json
import math
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from experiments import data, networks, slopes, slopes_report
from experiments.networks import ACTIVATIONS, Batches, Stack, Training, gain, train

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs/explanation"
SHORT = Training(epochs=2, rising_epochs=1, width=16, samples=96)
MODULES = {
    "ReLU": nn.ReLU(),
    "0.01": nn.LeakyReLU(0.01),
    "0.1": nn.LeakyReLU(0.1),
    "1/5.5": nn.LeakyReLU(1 / 5.5),
    "1/3": nn.LeakyReLU(1 / 3),
    "PReLU": nn.PReLU(),
    "RReLU": nn.RReLU(),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def as_module(stack, activation):
    """The first network of a stack, as anybody would write it."""
    layers = []
    for weight, bias in zip(stack.weights, stack.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[0].T)
            linear.bias.copy_(bias[0, 0])
        layers += [linear, nn.PReLU() if activation == "PReLU" else MODULES[activation]]
    return nn.Sequential(*layers[:-1])


# What is trained


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_in_a_stack_becomes_what_it_becomes_alone(activation):
    stack, ends = train("digits", 4, activation, [3, 4, 5], [0.02, 0.1, 0.01], SHORT)
    alone, ends_alone = train("digits", 4, activation, [4], [0.1], SHORT)
    for together, single in zip(stack.parameters, alone.parameters, strict=True):
        torch.testing.assert_close(together[1], single[0])
    assert ends.test_accuracy[1] == ends_alone.test_accuracy[0]
    assert ends.slope[1] == pytest.approx(ends_alone.slope[0])


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "RReLU"])
def test_training_is_that_of_torch(activation):
    how = Training(epochs=2, rising_epochs=1, width=16, samples=96, longest_gradient=0.5)
    stack, _ = train("digits", 3, activation, [7], [0.1], how)
    own = data.split("digits", 7, how.samples)
    module = as_module(Stack(activation, [7], (64, 16, 16, 10)), activation).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    step = 0
    batches = Batches([7], [own.training], how.batch_size)
    for _ in range(how.epochs):
        for batch in batches.epoch():
            optimizer.param_groups[0]["lr"] = 0.1 * min(1, (step + 1) / 3) * (1 + math.cos(math.pi * step / 6)) / 2
            optimizer.zero_grad()
            x, y = (torch.from_numpy(part)[batch[0]] for part in (own.training.x, own.training.y))
            nn.functional.cross_entropy(module(x), y).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimizer.step()
            step += 1
    logits = stack.preactivations(torch.from_numpy(own.test.x)[None])[-1][0]
    torch.testing.assert_close(logits, module(torch.from_numpy(own.test.x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activations_are_those_of_torch_and_rrelu_is_evaluated_with_its_mean_slope(activation):
    stack = Stack(activation, [0, 1], (64, 16, 16, 10))
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    expected = as_module(stack, activation).eval()(x)
    torch.testing.assert_close(stack.preactivations(x.expand(2, 5, 64))[-1][0], expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gain_keeps_the_mean_square_of_what_passes(activation):
    z = gain(activation) * torch.randn(10**6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the slopes that RReLU draws
        assert MODULES[activation].train()(z).square().mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_begin_with_the_gain_of_their_slope_and_biases_with_zero(activation):
    stack = Stack(activation, range(4), (64, 256, 256, 10))
    for weight, bias in zip(stack.weights, stack.biases, strict=True):
        expected = gain(activation) / math.sqrt(weight.shape[1])
        assert weight.std().item() == pytest.approx(expected, rel=0.03)
        assert not bias.any()


def test_fixed_slopes_have_the_gain_of_torch():
    for name in ("ReLU", "0.01", "0.1", "1/5.5", "1/3"):
        assert gain(name) == pytest.approx(nn.init.calculate_gain("leaky_relu", ACTIVATIONS[name]))


def test_all_activations_of_a_seed_begin_in_the_same_direction():
    relu = Stack("ReLU", [5], (64, 16, 10)).weights
    for name in ACTIVATIONS:
        for weight, reference in zip(Stack(name, [5], (64, 16, 10)).weights, relu, strict=True):
            torch.testing.assert_close(weight / gain(name), reference / gain("ReLU"))


def test_prelu_learns_its_slopes_and_no_other_has_any_to_learn():
    for name in ACTIVATIONS:
        stack, ends = train("digits", 3, name, [0], [0.1], SHORT)
        moved = [slope.item() for slope in stack.slopes]
        assert all(slope.requires_grad == (name == "PReLU") for slope in stack.slopes)
        assert (moved != [pytest.approx(networks.PRELU_START)] * 2) if name == "PReLU" else len(set(moved)) == 1
        assert ends.slope[0] == pytest.approx(np.mean(moved))


def test_rrelu_draws_a_slope_for_each_unit_and_sample_of_each_step():
    batches = Batches([0, 1], [data.split("digits", seed, 96).training for seed in (0, 1)], 32)
    first, second = batches.slopes(3, 16), batches.slopes(3, 16)
    assert first.shape == (3, 2, 32, 16)
    assert 1 / 8 <= first.min() < 0.126
    assert 0.332 < first.max() <= 1 / 3 + 1e-7
    assert first.unique().numel() > 0.99 * first.numel()
    assert not (first == second).any()


def test_an_overflowing_network_leaves_the_others_alone():
    how = Training(epochs=1, rising_epochs=0, width=16, samples=96, longest_gradient=math.inf)
    _, ends = train("digits", 12, "1/3", [0, 1], [1e6, 0.01], how)
    _, alone = train("digits", 12, "1/3", [1], [0.01], how)
    assert not math.isfinite(ends.training_loss[0])
    assert ends.training_loss[1] == pytest.approx(alone.training_loss[0])


@pytest.mark.parametrize(("name", "samples"), [("digits", (997, 300, 500)), ("mnist1d", (3000, 1000, 1000))])
def test_a_split_uses_every_sample_once_and_scales_by_those_trained_on(name, samples):
    whole, own = data.load(name), data.split(name, 0)
    parts = own.training, own.validation, own.test
    assert tuple(len(part.y) for part in parts) == samples
    mean = whole.x.mean(axis=0)
    assert sum(part.y.sum() for part in parts) == whole.y.sum()
    assert len(mean) == own.test.x.shape[1]
    np.testing.assert_allclose(own.training.x.mean(axis=0), 0, atol=1e-5)
    assert own.training.x.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(data.split(name, 0).test.x, own.test.x)
    assert not np.array_equal(data.split(name, 1).test.y, own.test.y)


def test_generating_signals_leaves_the_global_generators_alone(monkeypatch):
    def make_dataset(_):
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        return {"x": np.zeros((4, 2)), "x_test": np.zeros((1, 2)), "y": np.zeros(4), "y_test": np.zeros(1)}

    monkeypatch.setattr(data.mnist1d, "make_dataset", make_dataset)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert data.load.__wrapped__("mnist1d").x.shape == (5, 2)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="one of digits, mnist1d; got 'cifar'"):
        data.load("cifar")


# Resuming


def stub(calls):
    def measure(cell, setting):
        calls.append(cell)
        count = len(setting.seeds)
        fields = "test_accuracy", "validation_accuracy", "training_accuracy", "training_loss", "never_positive", "slope"
        return {
            **vars(cell),
            "rate": setting.rates[0],
            "seconds": 0.0,
            **{name: [0.5] * count for name in fields},
        }

    return measure


def test_what_is_finished_is_not_computed_again(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(slopes, "measure", stub(calls))
    setting = slopes.QUICK
    document = slopes.run(setting, tmp_path)
    assert sorted(map(str, calls)) == sorted(map(str, slopes.cells(setting)))
    calls.clear()
    assert slopes.run(setting, tmp_path) == document
    assert calls == []
    (lost := slopes.cells(setting)[3]).path(tmp_path).unlink()
    assert slopes.run(setting, tmp_path) == document
    assert calls == [lost]


def test_what_another_run_has_finished_meanwhile_is_not_computed_again(tmp_path, monkeypatch):
    calls = []
    measure = stub(calls)
    other = slopes.cells(slopes.QUICK)[1]

    def with_another_run(cell, setting):
        if not other.path(tmp_path).exists():
            result = measure(other, setting)
            other.path(tmp_path).write_text(json.dumps({"setting": setting.as_json(), **result}))
        return measure(cell, setting)

    monkeypatch.setattr(slopes, "measure", with_another_run)
    slopes.run(slopes.QUICK, tmp_path)
    assert calls.count(other) == 1


def test_results_of_another_setting_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(slopes, "measure", stub([]))
    slopes.run(slopes.QUICK, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    changed = replace(slopes.QUICK, training=replace(slopes.QUICK.training, epochs=3))
    with pytest.raises(SystemExit, match=r"of another setting \(training: .*'epochs': 2.* there, .*'epochs': 3.* here"):
        slopes.run(changed, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


SLOW_ENOUGH = replace(slopes.QUICK, data=("digits",), training=replace(slopes.QUICK.training, epochs=12))


@pytest.mark.slow
def test_a_killed_run_loses_no_finished_cell_and_the_next_computes_the_rest(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); from pathlib import Path\n"
    code += "from experiments import slopes; from test_experiments import SLOW_ENOUGH\n"
    code += f"slopes.run(SLOW_ENOUGH, Path({str(tmp_path)!r}))"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*.json"))) < 2 and run.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    every = slopes.cells(SLOW_ENOUGH)
    assert 2 <= len(kept) < len(every) == 7
    document = slopes.run(SLOW_ENOUGH, tmp_path, processes=2)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [slopes.Cell(cell["data"], cell["depth"], cell["activation"]) for cell in document["cells"]] == every[::-1]
    last = document["cells"][0]  # measured by either process, or by the one that was killed
    assert slopes.measure(every[-1], SLOW_ENOUGH) | {"seconds": 0} == last | {"seconds": 0}


def test_the_command_writes_figures_page_and_picture(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(slopes, "measure", stub(calls))
    slopes.main(["--quick", "--results", str(tmp_path)])
    document = json.loads((tmp_path / "slopes.json").read_text())
    assert len(document["cells"]) == len(calls) == 14
    assert (tmp_path / "slopes.md").read_text() == slopes_report.page(document)
    assert (tmp_path / "slopes.png").read_bytes().startswith(b"\x89PNG")
    assert "0 of 14 cells are in" in capsys.readouterr().out
    (tmp_path / "slopes.md").unlink()
    slopes.main(["--report", "--docs", str(tmp_path)])
    assert (tmp_path / "slopes.md").read_text() == slopes_report.page(document)
    assert len(calls) == 14


# The page


@pytest.fixture(scope="module")
def committed():
    return json.loads((DOCS / "slopes.json").read_text())


def test_the_page_is_what_the_script_makes_of_the_figures(committed):
    assert (DOCS / "slopes.md").read_text() == slopes_report.page(committed)


def test_the_figures_are_those_of_the_setting_in_the_script(committed):
    here = slopes.Setting().as_json()
    assert {**committed["setting"], "versions": here["versions"]} == here
    assert len(committed["cells"]) == 28
    assert all(len(cell["test_accuracy"]) == 20 for cell in committed["cells"])


def test_the_rates_are_those_that_validate_best(committed):
    for cell in committed["cells"]:
        by_rate = dict(zip(committed["setting"]["rates"], cell["validation_accuracy_by_rate"], strict=True))
        assert by_rate[cell["rate"]] == max(by_rate.values())


@pytest.mark.parametrize(("block", "depth"), [("digits", 3), ("digits", 12), ("mnist1d", 3), ("mnist1d", 12)])
def test_the_table_says_what_the_figures_say(committed, block, depth):
    cells = {c["activation"]: c for c in committed["cells"] if (c["data"], c["depth"]) == (block, depth)}
    section = (DOCS / "slopes.md").read_text().split(f"### {block}, {depth} layers")[1].split("###")[0]
    relu = np.array(cells["ReLU"]["test_accuracy"])
    for name, cell in cells.items():
        row = next(line for line in section.splitlines() if line.startswith(f"| {name} |"))
        accuracy = [100 * value for value in cell["test_accuracy"]]
        mean, deviation = (round(figure, 6) for figure in (statistics.mean(accuracy), statistics.stdev(accuracy)))
        assert f"| {mean:.2f} ± {deviation:.2f} |" in row
        if name == "ReLU":
            continue
        test = stats.ttest_rel(100 * np.array(cell["test_accuracy"]), 100 * relu)
        low, high = test.confidence_interval(1 - 0.05 / 6)
        expected = f"{round((low + high) / 2, 6):+.2f} ± {round((high - low) / 2, 6):.2f}"
        assert f"| **{expected}** |" in row or (low <= 0 <= high and f"| {expected} |" in row)


def made_up(**changed):
    """A document in which all activations are equal but those named."""
    setting = slopes.Setting(data=("digits",), depths=(3,), rates=(0.1, 0.2, 0.3), seeds=(0, 1, 2, 3))
    cells = []
    for name in ACTIVATIONS:
        cell = {
            "data": "digits",
            "depth": 3,
            "activation": name,
            "rate": 0.2,
            "test_accuracy": [0.90, 0.91, 0.92, 0.93],
            "training_accuracy": [1.0] * 4,
            "training_loss": [0.1] * 4,
            "never_positive": [0.0] * 4,
            "slope": [0.25] * 4,
        }
        cells.append(cell | changed.get(name, {}))
    return {"setting": setting.as_json(), "cells": cells}


def test_no_difference_is_claimed_between_equals():
    (block,) = slopes_report.blocks(made_up())
    told = slopes_report.conclusions(block, (0.1, 0.2, 0.3))
    assert told[0] == "Beside ReLU, no difference beyond the spread: 0.01, 0.1, 1/5.5, 1/3, PReLU, RReLU."
    assert len(told) == 3
    told = "\n".join(slopes_report.beside([block]))
    assert "| undecided |" in told
    assert "- RReLU does better than PReLU: undecided on digits, 3 layers." in told
    assert "**" not in slopes_report.table(block)


def test_better_worse_untrained_and_the_edge_of_the_rates_are_told():
    document = made_up(
        RReLU={"test_accuracy": [0.95, 0.961, 0.971, 0.98], "rate": 0.3},
        PReLU={"test_accuracy": [0.1] * 4, "training_accuracy": [0.1] * 4, "training_loss": [None] * 4, "rate": 0.1},
    )
    (block,) = slopes_report.blocks(document)
    told = slopes_report.conclusions(block, (0.1, 0.2, 0.3))
    assert told[0].startswith("Beside ReLU, better: RReLU (+5.05 ± ")
    assert "; worse: PReLU (-81.50 ± " in told[0]
    assert told[0].endswith("; no difference beyond the spread: 0.01, 0.1, 1/5.5, 1/3.")
    assert told[3:] == [
        "Networks that did not train (training accuracy below 20 %): 4 with PReLU.",
        "At the edge of the rates tried, a smaller one may be better: PReLU.",
        "At the edge of the rates tried, a larger one may be better: RReLU.",
    ]
    assert slopes_report.in_short([block])[0] == (
        "digits, 3 layers: the highest mean is that of RReLU, 96.55 %; better than all others."
    )
    told = "\n".join(slopes_report.beside([block]))
    assert "| RReLU does better than PReLU | **+86.55 ± " in told
    assert "- RReLU does better than PReLU: agrees on digits, 3 layers." in told
    assert "- A slope other than zero improves on ReLU: mixed on digits, 3 layers." in told
    assert "- PReLU has the lowest training loss: disagrees on digits, 3 layers." in told
    assert any("dead units alone hardly explain it" in sentence for sentence in slopes_report.in_short([block]))


def test_the_picture_shows_the_differences_to_relu():
    figure = slopes_report.picture(made_up(RReLU={"test_accuracy": [0.95, 0.961, 0.971, 0.98]}))
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.01", "0.1", "1/5.5", "1/3", "PReLU", "RReLU"]
    means = [container.lines[0].get_xdata()[0] for container in ax.containers]
    assert means == pytest.approx([0, 0, 0, 0, 0, 5.05])
    assert ax.containers[-1].lines[0].get_color() == "tab:blue"
    assert ax.get_title() == "digits, 3 layers (ReLU: 91.5 %)"
