"""What the error says if an optional dependency is missing."""

import sys
from importlib import import_module

import pytest

from leakyrelu._shared.extras import needs


def test_what_is_missing_is_named_with_what_needs_it_and_how_to_get_it():
    with pytest.raises(ImportError) as raised, needs("leakyrelu[plot]", "the picture"):
        import_module("nowhere_to_be_found")
    assert str(raised.value) == "the picture needs nowhere_to_be_found, which is missing: pip install 'leakyrelu[plot]'"
    assert raised.value.name == "nowhere_to_be_found"
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_missing_module_within_a_package_is_named_by_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with (
        pytest.raises(ImportError, match="the picture needs matplotlib, which is missing") as raised,
        needs("leakyrelu[plot]", "the picture"),
    ):
        import_module("matplotlib.figure")
    assert raised.value.name == "matplotlib.figure"


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("torch", "PyTorch"), ("scipy", "SciPy"), ("rich", "rich")]
)
def test_a_package_is_named_as_people_call_it(module, package):
    with pytest.raises(ImportError, match=f"^this needs {package}, which is missing: "), needs("leakyrelu[x]", "this"):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def test_a_package_that_is_no_extra_needs_no_quotes():
    with pytest.raises(ImportError, match=r": pip install safetensors$"), needs("safetensors", "reading net.st"):
        raise ModuleNotFoundError(name="safetensors")


def test_what_is_there_but_broken_is_not_called_missing():
    with (
        pytest.raises(ImportError, match=r"^this could not import what it needs \(libx.so: cannot open") as raised,
        needs("leakyrelu[x]", "this"),
    ):
        raise ImportError("libx.so: cannot open shared object file", name="torch")
    assert str(raised.value).endswith(": pip install --upgrade 'leakyrelu[x]'")


def test_if_nothing_is_missing_there_is_no_error():
    with needs("leakyrelu[plot]", "the picture"):
        found = import_module("math")
    assert found.pi > 3


@pytest.mark.parametrize("error", [ValueError("other"), KeyboardInterrupt()])
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as raised, needs("leakyrelu[plot]", "the picture"):
        raise error
    assert raised.value is error
