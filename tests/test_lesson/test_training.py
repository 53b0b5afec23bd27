"""The networks that the page trains are those of `leakyrelu.demo`: the same weights and batches give the same weights."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import leakyrelu.lesson
from leakyrelu.demo import Network, load_digits

SCRIPTS = Path(leakyrelu.lesson.__file__).parent / "page" / "scripts"
SIZES = (64, 16, 16, 16, 10)

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js (apt-get install nodejs)")


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory):
    """Trains like `step` of a network on each batch, with the page's scripts, and returns what they give."""
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(SCRIPTS, folder / "scripts")
    shutil.copy(Path(__file__).with_name("training.mjs"), folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(network, batches, rate):
        flat = [{"images": batch.images.ravel().tolist(), "labels": batch.labels.tolist()} for batch in batches]
        given = {
            "sizes": SIZES,
            "weights": [weight.ravel().tolist() for weight in network.weights],
            "biases": [bias.tolist() for bias in network.biases],
            "alpha": network.alpha,
            "rate": rate,
            "batches": flat,
        }
        result = subprocess.run(
            ["node", "training.mjs"], input=json.dumps(given), cwd=folder, capture_output=True, text=True, check=True
        )
        return json.loads(result.stdout)

    return run


@pytest.fixture(scope="module")
def digits():
    loaded = load_digits()
    return type(loaded)(loaded.images.astype(np.float64), loaded.labels)


def in_float64(alpha, seed):
    network = Network(SIZES, alpha, np.random.default_rng(seed))
    network.weights = [weight.astype(np.float64) for weight in network.weights]
    network.biases = [bias.astype(np.float64) for bias in network.biases]
    return network


def batches_of(digits, seed):
    order = np.random.default_rng(seed).permutation(1297)
    return [digits.take(order[start : start + 32]) for start in range(0, len(order), 32)]


def assert_same(network, found, tolerance):
    for ours, theirs in zip((*network.weights, *network.biases), (*found["weights"], *found["biases"]), strict=True):
        assert_allclose(np.array(theirs).reshape(ours.shape), ours, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("alpha", [0, 0.01, 0.1, 0.3, 1])
def test_one_step_gives_the_same_weights(in_javascript, digits, alpha):
    network = in_float64(alpha, 0)
    batch = batches_of(digits, 1)[0]
    found = in_javascript(network, [batch], 0.5)
    network.step(batch, 0.5)
    assert_same(network, found, 1e-12)
    for ours, theirs in zip(network.forward(batch.images)[1], found["z"], strict=True):
        assert_allclose(np.array(theirs).reshape(ours.shape), ours, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("alpha", [0, 0.1])
def test_each_epoch_gives_the_same_weights_from_the_same_start(in_javascript, digits, alpha):
    """Over several epochs rounding grows without bound, so each begins anew from the same weights."""
    network = in_float64(alpha, 0)
    for epoch in range(5):
        batches = batches_of(digits, epoch)
        found = in_javascript(network, batches, 0.5)
        for batch in batches:
            network.step(batch, 0.5)
        assert_same(network, found, 1e-6)
    if alpha == 0:
        assert network.never_positive(digits.images).sum() > 3  # what the page is about did happen


def test_the_seeds_that_the_text_speaks_of_are_counted_with_the_pages_own_networks(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "lesson_seeds.mjs"
    loaded = load_digits()
    records = np.column_stack([np.rint(16 * loaded.images), loaded.labels]).astype(np.uint8)
    (tmp_path / "digits.bin").write_bytes(records.tobytes())
    for folder in ("benchmarks", "src/leakyrelu/lesson/page/scripts"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(script, tmp_path / "benchmarks")
    shutil.copytree(SCRIPTS, tmp_path / "src/leakyrelu/lesson/page/scripts", dirs_exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    command = ["node", "benchmarks/lesson_seeds.mjs", "digits.bin", "0.5", "0.1", "1"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    title, relu, leaky, changed = result.stdout.splitlines()
    assert title == "rate 0.5, slope 0.1, means over 1 seeds:"
    assert "ReLU             never above zero at epoch 0, 10, 20:" in relu
    assert ", 31.0; accuracy 51.8 %; overflowed 0 of 1" in relu  # what the page shows at first, once it is trained
    assert ", 0.0; accuracy 96.6 %; overflowed 0 of 1" in leaky
    assert ", 5.0; accuracy 91.0 %; overflowed 0 of 1" in changed
