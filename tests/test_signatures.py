"""What tests/typing states about the functions is true at run time: the types of results, and what is refused."""

import ast
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import numpy as np
import pytest

TYPING = Path(__file__).parent / "typing"
REFUSED = [line.split("#")[0].strip() for line in (TYPING / "refused.py").read_text().splitlines() if "# type:" in line]


def stated(name):
    """The functions of a file that state types: those without parameters."""
    tree = ast.parse((TYPING / f"{name}.py").read_text())
    return [(name, node.name) for node in tree.body if isinstance(node, ast.FunctionDef) and not node.args.args]


def load(name):
    spec = spec_from_file_location(f"typing_{name}", TYPING / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_type(value, type_):
    if isinstance(type_, UnionType):
        type_ = next(each for each in get_args(type_) if isinstance(value, get_origin(each) or each))
    kind = get_origin(type_) or type_
    if kind is float:
        assert isinstance(value, int | float)
    elif kind is not Any:
        assert isinstance(value, kind)
    if isinstance(value, np.ndarray) and kind is not Any:
        (scalar,) = get_args(get_args(type_)[1])
        assert scalar is Any or issubclass(value.dtype.type, get_origin(scalar) or scalar)


@pytest.mark.parametrize(("file", "function"), stated("results") + stated("libraries"))
def test_what_comes_out_has_the_type_stated(file, function, monkeypatch):
    module = load(file)
    calls = []
    monkeypatch.setattr(module, "assert_type", lambda *arguments: (calls.append(arguments), assert_type(*arguments)))
    getattr(module, function)()
    assert calls


@pytest.mark.parametrize("line", REFUSED)
def test_what_type_checkers_refuse_is_refused_at_run_time_too(line):
    with pytest.raises((TypeError, ValueError, AttributeError, ImportError)):
        exec(line, vars(load("refused")))
