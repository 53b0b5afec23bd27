"""The plugin for pytest, as the tests of another library use it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SEES_NUMPY = """
import sys

def pytest_collection_finish():
    print("\\nmodules:", *sorted({"numpy", "leakyrelu", "pytest_leakyrelu"} & set(sys.modules)))
"""


def outcome(folder, text, *words):
    """What pytest says of this test, with no plugin but ours."""
    (folder / "test_it.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "pytest_leakyrelu",
        "-p",
        "no:cacheprovider",
        "-q",
        *words,
        "test_it.py",
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_our_own_function_is_asked_in_one_line(tmp_path):
    result = outcome(
        tmp_path,
        """
import leakyrelu
import pytest

@pytest.mark.parametrize("level", ["exercise", "array", "ieee", "derivative"])
def test_leaky_relu(check_leaky_relu, level):
    assert check_leaky_relu(leakyrelu.leaky_relu, level=level).passed

def test_the_derivative_by_its_name(check_leaky_relu):
    check_leaky_relu(leakyrelu.leaky_relu, level="derivative", derivative=leakyrelu.leaky_relu_derivative)
""",
    )
    assert result.returncode == 0, result.stdout
    assert "5 passed" in result.stdout


@pytest.mark.slow
def test_so_is_that_of_pytorch(tmp_path):
    pytest.importorskip("torch")
    result = outcome(
        tmp_path,
        """
import numpy as np
import pytest
import torch
import torch.nn.functional as F

def of_floats(x, alpha=0.01):
    x = torch.as_tensor(np.array(x))
    return F.leaky_relu(x if x.is_floating_point() else x.double(), alpha).numpy()

def test_floats(check_leaky_relu):
    check_leaky_relu(of_floats, level="array")

def test_integers(check_leaky_relu):
    check_leaky_relu(F.leaky_relu, level="array")  # that it refuses them is a remark

def test_zeros(check_leaky_relu):
    with pytest.raises(AssertionError, match="a zero lost its sign"):
        check_leaky_relu(of_floats, level="ieee")
""",
    )
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


def test_what_is_wrong_is_told_at_the_line_of_the_test(tmp_path):
    result = outcome(
        tmp_path, "def test_mine(check_leaky_relu):\n    check_leaky_relu(lambda z, alpha=0.01: max(0, z))\n"
    )
    assert result.returncode == 1
    assert ">   ???" not in result.stdout
    assert "check_leaky_relu(lambda z, alpha=0.01: max(0, z))" in result.stdout
    assert "E       AssertionError: failed    <lambda>(-1) -> 0" in result.stdout
    assert "Likely cause: it is the ReLU, max(0, z): below zero return alpha * z." in result.stdout
    assert "passed    <lambda>(1)" not in result.stdout
    assert "pytest_leakyrelu.py" not in result.stdout


def test_whoever_does_not_use_it_pays_nothing(tmp_path):
    (tmp_path / "conftest.py").write_text(SEES_NUMPY)
    result = outcome(tmp_path, "def test_nothing(): pass\n", "-s")
    assert "\nmodules: pytest_leakyrelu\n" in result.stdout
    assert result.returncode == 0


def test_it_is_registered_under_the_name_of_its_module():
    """So that `-p pytest_leakyrelu` and its installation do not load it twice."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entries == {"pytest_leakyrelu": "pytest_leakyrelu"}
    assert "'pytest_leakyrelu.py'," in (ROOT / "src/meson.build").read_text()
