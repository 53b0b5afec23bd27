"""A model by its name, its weights and its data from files: what is read, and what is refused."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from leakyrelu.cli import app
from leakyrelu.torch.files import Batches, diagnose_files, load_weights, make_model

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 3), nn.Linear(3, 2)
        self.hidden.weight.data.fill_(1.0)
        self.hidden.bias.data.copy_(torch.tensor([0.0, -100.0, 100.0]))

    def forward(self, x, scale=None):
        x = self.hidden(x).relu()
        return self.out(x if scale is None else x * scale)

class holder:
    made = Net()

def number():
    return 3

def broken():
    raise RuntimeError("no such luck")

def exiting():
    raise SystemExit("no arguments")

class Failing(Net):
    def forward(self, x):
        assert not len(x)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "nets_for_tests.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "nets_for_tests", raising=False)
    return tmp_path


def model():
    return make_model("nets_for_tests:Net")


@pytest.mark.parametrize("name", ["Net", "holder.made"])
def test_a_model_is_a_class_a_function_or_a_module_in_the_current_directory(name):
    assert type(make_model(f"nets_for_tests:{name}")).__name__ == "Net"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("nets_for_tests", ValueError, "PACKAGE.MODULE:FACTORY"),
        (":Net", ValueError, "PACKAGE.MODULE:FACTORY"),
        ("nets_for_tests:Nothing", ValueError, "has no 'Nothing'"),
        ("no_such_module:Net", ImportError, "no_such_module"),
        ("nets_for_tests:number", TypeError, "gives int, not a torch.nn.Module"),
        ("nets_for_tests:broken", ValueError, r"broken\(\) failed: RuntimeError: no such luck"),
        ("nets_for_tests:exiting", ValueError, r"exiting\(\) failed: SystemExit: no arguments"),
    ],
)
def test_what_is_no_model_is_named(spec, error, message):
    with pytest.raises(error, match=message):
        make_model(spec)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("def make(:", ValueError, r"SyntaxError: invalid syntax \(failing_nets\.py, line 1\)"),
        ("\nmake = 1\n1 / 0", ValueError, r"ZeroDivisionError: division by zero \(failing_nets\.py, line 3\)"),
        (
            "import no_such_thing",
            ImportError,
            r"ModuleNotFoundError: No .* 'no_such_thing' \(failing_nets\.py, line 1\)",
        ),
        ("\nfrom os import nothing", ImportError, r"ImportError: cannot import .* \(failing_nets\.py, line 2\)"),
        ("open('none.npy')", ValueError, r"FileNotFoundError: .*none\.npy' \(failing_nets\.py, line 1\)"),
        ("assert False", ValueError, r"AssertionError \(failing_nets\.py, line 1\)"),
        ("import json\n\njson.loads('{')", ValueError, r"JSONDecodeError: .* \(failing_nets\.py, line 3\)"),
        ("raise ValueError('one\\ntwo')", ValueError, r"ValueError: one two \(failing_nets\.py, line 1\)"),
        ("import sys\nsys.exit('no arguments')", ValueError, r"SystemExit: no arguments \(failing_nets\.py, line 2\)"),
        ("import broken_nets", ValueError, r"SyntaxError: .* \(broken_nets\.py, line 2\)"),
    ],
)
def test_a_module_that_fails_when_imported_is_named_with_the_line(here, source, error, message):
    (here / "failing_nets.py").write_text(source)
    (here / "broken_nets.py").write_text("\nclass:")
    with pytest.raises(error, match=rf"^importing failing_nets failed: {message}$"):
        make_model("failing_nets:make")


@pytest.mark.parametrize("name", ["no_such_nets", "nets_for_tests.nothing"])
def test_a_missing_module_is_named(name):
    with pytest.raises(ModuleNotFoundError, match=f"^No module named '{name}'"):
        make_model(f"{name}:make")


def test_a_file_is_told_how_to_be_named():
    with pytest.raises(ValueError, match=r"which names a file; write nets_for_tests:make$"):
        make_model("nets_for_tests.py:make")


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_weights_of_torch_save_alone_and_in_a_checkpoint(here, wrap):
    state = {name: torch.randn_like(value) for name, value in model().state_dict().items()}
    torch.save(wrap(state), here / "w.pt")
    loaded = model()
    load_weights(loaded, here / "w.pt")
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_weights_of_safetensors(here):
    state = {name: torch.randn_like(value) for name, value in model().state_dict().items()}
    save_file(state, here / "w.safetensors")
    loaded = model()
    load_weights(loaded, here / "w.safetensors")
    assert torch.equal(loaded.hidden.weight, state["hidden.weight"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_weights_of_a_model_that_was_wrapped_or_compiled(here, prefix):
    state = {name: torch.randn_like(value) for name, value in model().state_dict().items()}
    torch.save({prefix + name: value for name, value in state.items()}, here / "w.pt")
    loaded = model()
    load_weights(loaded, here / "w.pt")
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_a_child_named_module_keeps_its_name(here):
    made = nn.Sequential()
    made.module = nn.Linear(1, 1)
    torch.save({name: torch.full_like(value, 3) for name, value in made.state_dict().items()}, here / "w.pt")
    load_weights(made, here / "w.pt")
    assert made.module.bias.item() == 3


def test_if_the_names_differ_by_more_than_a_prefix_the_error_shows_those_of_the_file(here):
    torch.save({"module.other.weight": torch.ones(1)}, here / "w.pt")
    with pytest.raises(ValueError, match=r"are not this model's: .*module\.other\.weight"):
        load_weights(model(), here / "w.pt")


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(here, save):
    save({"hidden.weight": Attack()}, here / "w.pt")
    with pytest.raises(ValueError, match="it may hold code"):
        load_weights(model(), here / "w.pt")
    assert not (here / "attacked").exists()


def test_other_weights_and_other_files_are_refused(here):
    torch.save(nn.Linear(2, 2).state_dict(), here / "other.pt")
    torch.save(torch.ones(3), here / "tensor.pt")
    (here / "empty.pt").touch()
    (here / "text.pt").write_text("weights")
    for i, text in enumerate(("hello", "<html>", "version https://git-lfs", "\x80\x02}.", "0", "cos\n", "I1\n.")):
        (here / f"garbage{i}.pt").write_text(text, encoding="latin-1")
    (here / "text.safetensors").write_text("weights")
    for name, message in [
        ("other.pt", "are not this model's: .*Missing key"),
        ("tensor.pt", "holds no state dict"),
        ("empty.pt", "empty.pt"),
        ("text.pt", "text.pt"),
        ("text.safetensors", "not a safetensors file"),
        ("garbage0.pt", r"was not written by torch\.save \(KeyError: 101\)"),
        *((f"garbage{i}.pt", f"garbage{i}.pt") for i in range(1, 7)),
    ]:
        with pytest.raises(ValueError, match=message):
            load_weights(model(), here / name)
    for name in ("no.pt", "no.safetensors"):
        with pytest.raises(FileNotFoundError):
            load_weights(model(), here / name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f4"])
def test_floats_become_the_type_of_the_model(here, dtype):
    np.save(here / "x.npy", np.arange(20, dtype=dtype).reshape(5, 4))
    batches = list(Batches(here / "x.npy", model(), 2))
    assert [batch.shape[0] for batch in batches] == [2, 2, 1]
    assert {batch.dtype for batch in batches} == {torch.float32}
    assert torch.equal(torch.cat(batches), torch.arange(20.0).reshape(5, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32])
def test_integers_become_int64(here, dtype):
    np.save(here / "x.npy", np.arange(4, dtype=dtype))
    (batch,) = Batches(here / "x.npy", model(), 9)
    assert batch.tolist() == [0, 1, 2, 3]
    assert batch.dtype == torch.int64


def test_the_only_array_of_an_npz_is_the_input_if_it_has_no_name(here):
    np.savez(here / "x.npz", np.ones((3, 4)))
    (batch,) = Batches(here / "x.npz", model(), 9)
    assert batch.shape == (3, 4)


def test_the_only_array_of_an_npz_is_the_input_under_another_name_with_a_warning(here):
    np.savez(here / "x.npz", images=np.ones((3, 4)))
    with pytest.warns(UserWarning, match=r"x\.npz holds 'images', which is no argument of the .* \(x, scale\); it is "):
        (batch,) = Batches(here / "x.npz", model(), 9)
    assert batch.shape == (3, 4)


def test_the_only_array_of_an_npz_is_passed_by_its_name(here):
    np.savez(here / "x.npz", scale=np.ones((3, 4)))
    (batch,) = Batches(here / "x.npz", model(), 9)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {"scale": (3, 4)}


def test_a_forward_without_named_arguments_takes_an_array_of_any_name(here):
    class Any(nn.Module):
        def forward(self, *args, **kwargs):
            return args[0], kwargs

    np.savez(here / "x.npz", args=np.ones((3, 4)))
    (batch,) = Batches(here / "x.npz", Any(), 9)
    assert batch.shape == (3, 4)


def test_several_arrays_are_passed_by_name_as_far_as_forward_takes_them(here):
    np.savez(here / "x.npz", x=np.ones((3, 4)), scale=np.ones((3, 1)), labels=np.ones(3))
    (batch,) = Batches(here / "x.npz", model(), 9)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {"x": (3, 4), "scale": (3, 1)}
    assert diagnose_files("nets_for_tests:Net", here / "x.npz").examples == 3


def test_data_that_do_not_fit_are_named(here):
    np.savez(here / "names.npz", images=np.ones((3, 4)), labels=np.ones(3))
    np.savez(here / "lengths.npz", x=np.ones((3, 4)), scale=np.ones((2, 1)))
    np.save(here / "empty.npy", np.ones((0, 4)))
    np.save(here / "number.npy", np.float64(3))
    np.save(here / "text.npy", np.array(["a"]))
    np.save(here / "objects.npy", np.array([{}]), allow_pickle=True)
    (here / "x.csv").touch()
    (here / "damaged.npz").write_bytes(b"PK\x03\x04")
    np.save(here / "wide.npy", np.ones((3, 5)))
    for name, message in [
        ("names.npz", r"images, labels; name the arrays as the arguments of the model's forward \(x, scale\)"),
        ("lengths.npz", "one row per example, got {'x': 3, 'scale': 2}"),
        ("empty.npy", "holds no examples"),
        ("number.npy", "holds no examples"),
        ("text.npy", "the data must be numbers, got <U1"),
        ("objects.npy", "objects.npy is not a .npy file of numbers"),
        ("x.csv", "must be a .npy or .npz file"),
        ("damaged.npz", "damaged.npz is not a .npz file"),
        ("wide.npy", r"the model failed on .*wide.npy \(input float64 \(3, 5\)\): .*3x5"),
    ]:
        with pytest.raises(ValueError, match=message):
            diagnose_files("nets_for_tests:Net", here / name)
    with pytest.raises(FileNotFoundError):
        diagnose_files("nets_for_tests:Net", here / "no.npy")
    with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
        diagnose_files("nets_for_tests:Net", here / "wide.npy", batch_size=0)


def test_the_diagnosis_is_that_of_the_model_on_the_data(here):
    np.save(here / "x.npy", np.ones((7, 4)))
    diagnosis = diagnose_files("nets_for_tests:Net", here / "x.npy", batch_size=3)
    assert (diagnosis.examples, diagnosis.units, diagnosis.dead) == (7, 3, 1)
    assert diagnosis.sites[0].dead.tolist() == [1]


def test_progress_counts_the_batches_and_reaches_their_total(here):
    np.save(here / "x.npy", np.ones((7, 4)))
    calls = []
    diagnose_files("nets_for_tests:Net", here / "x.npy", batch_size=3, progress=lambda *at: calls.append(at))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_model_that_fails_in_any_way_is_bad_input(here):
    np.save(here / "x.npy", np.ones((7, 4)))
    with pytest.raises(ValueError, match=r"the model failed on .*x\.npy \(input float64 \(7, 4\)\): AssertionError"):
        diagnose_files("nets_for_tests:Failing", here / "x.npy")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("failing_nets:make", "importing failing_nets failed: SyntaxError: invalid syntax (failing_nets.py, line 1)"),
        ("nets_for_tests:Failing", "the model failed on x.npy (input float64 (7, 4)): AssertionError"),
        ("nets_for_tests:Net --weights w.pt", "w.pt was not written by torch.save (KeyError: 101)"),
    ],
)
def test_on_the_command_line_bad_input_is_one_line_and_the_exit_code_2(here, model, message):
    (here / "failing_nets.py").write_text("def make(:")
    (here / "w.pt").write_text("hello")
    np.save(here / "x.npy", np.ones((7, 4)))
    result = CliRunner().invoke(app, ["diagnose", *model.split(), "--data", "x.npy"])
    assert result.exit_code == 2
    assert result.output.startswith(f"leakyrelu: {message}")
    assert result.output.count("\n") == 1
