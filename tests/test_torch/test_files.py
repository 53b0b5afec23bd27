"""A model by its name, its weights and its data from files: what is read, and what is refused."""

import json
import os
import pickle
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fails
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from leakyrelu.cli import app
from leakyrelu.torch import saving
from leakyrelu.torch.arrays import Batches
from leakyrelu.torch.files import (
    diagnose_files,
    load_plan,
    load_weights,
    make_model,
    remove_files,
    revive_files,
)
from leakyrelu.torch.removal import Plan, removing, shrink
from leakyrelu.torch.saving import plan_beside, save_smaller, save_weights

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

class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.relu = nn.BatchNorm1d(4), nn.ReLU()
    def forward(self, x):
        return self.relu(self.norm(x))

class Alive(Net):
    def __init__(self):
        super().__init__()
        self.hidden.bias.data.fill_(1.0)

class Sized(Net):
    def forward(self, x):
        return self.out(self.hidden(x).relu().view(-1, 3))

class Tied(Net):
    def __init__(self):
        super().__init__()
        self.same = self.out

class Deep(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
        for layer in (self[0], self[2]):
            layer.weight.data.fill_(1.0)
            layer.bias.data.copy_(torch.arange(layer.out_features))
        self[0].bias.data[:2] = -100
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


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda name: f"_fsdp_wrapped_module.{name}",
        lambda name: f"_checkpoint_wrapped_module.{name}",
        lambda name: f"module._fsdp_wrapped_module.{name}",
        lambda name: f"_fsdp_wrapped_module._checkpoint_wrapped_module._orig_mod.{name}",
        lambda name: name.replace(".", "._checkpoint_wrapped_module."),
        lambda name: f"_fsdp_wrapped_module.{name.replace('.', '._orig_mod._checkpoint_wrapped_module.')}",
        lambda name: name.replace("hidden.", "hidden._orig_mod."),
    ],
)
def test_names_of_wrappers_are_left_out_wherever_they_are(here, wrapped):
    saved, loaded = model(), model()
    nn.init.normal_(saved.hidden.weight)
    torch.save({wrapped(name): value for name, value in saved.state_dict().items()}, "net.pt")
    load_weights(loaded, Path("net.pt"))
    assert torch.equal(loaded.hidden.weight, saved.hidden.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_weights_are_loaded_into_a_model_that_is_compiled(here):
    saved, loaded = model(), torch.compile(model())
    nn.init.normal_(saved.hidden.weight)
    torch.save(saved.state_dict(), "net.pt")
    load_weights(loaded, Path("net.pt"))
    assert torch.equal(loaded.hidden.weight, saved.hidden.weight)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({0: torch.ones(1)}, "Tensor under 0"),
        ({("a", 1): torch.ones(1)}, r"Tensor under \('a', 1\)"),
        ({None: torch.ones(1)}, "Tensor under None"),
        ({"hidden.weight": [[1.0]]}, "list under 'hidden.weight'"),
        ({"hidden.weight": torch.ones(1), 7: torch.ones(1)}, "Tensor under 7"),
        ({"state_dict": {0: torch.ones(1)}}, "Tensor under 0"),
        ([1, 2], "one list"),
        (torch.ones(1), "one Tensor"),
        (None, "one NoneType"),
        ({}, "are not this model's"),
    ],
)
def test_what_is_no_state_dict_is_named(here, state, found):
    torch.save(state, "net.pt")
    with pytest.raises(ValueError, match=rf"net\.pt.*{found}"):
        load_weights(model(), Path("net.pt"))


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


def test_longdouble_data_become_the_type_of_the_model(here):
    np.save("x.npy", np.ones((3, 4), np.longdouble))
    (batch,) = Batches(Path("x.npy"), model(), 3)
    assert batch.dtype == torch.float32
    assert batch.sum() == 12


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_bfloat16_is_told_how_to_be_saved(here, save):
    name = "x.npy" if save is np.save else "x.npz"
    save(name, np.ones((3, 4), pytest.importorskip("ml_dtypes").bfloat16))
    with pytest.raises(
        ValueError, match=rf"{name} holds elements of 2 bytes without a type \(V2\), as NumPy saves bfloat16"
    ):
        Batches(Path(name), model(), 3)


def test_integers_that_int64_has_not_are_refused(here):
    np.save("x.npy", np.full((3, 4), 2**63, np.uint64))
    with pytest.raises(ValueError, match=r"x\.npy holds integers beyond int64"):
        Batches(Path("x.npy"), model(), 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("option", ["--data", "--weights", "--plan"])
def test_no_file_that_is_read_may_be_a_pipe_which_would_be_waited_for(here, option):
    os.mkfifo("pipe.npy")
    np.save("x.npy", np.ones((3, 4)))
    words = ["diagnose", "nets_for_tests:Net", *(() if option == "--data" else ("--data", "x.npy")), option, "pipe.npy"]
    assert "pipe.npy is not a regular file" in fails(*words, cwd=here)


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


MASK = np.array([[1, 1, 0], [1, 0, 0]])
TOKENS = np.where(MASK[..., None], 1.0, 100.0) * np.ones(4)


@pytest.mark.parametrize("names", [["x"], ["arr_0"], ["x", "scale"]])
def test_a_mask_may_lie_beside_the_arguments_of_forward(here, names):
    shapes = {"scale": np.ones((2, 1, 1))}
    np.savez(here / "x.npz", real=MASK, **{name: shapes.get(name, TOKENS) for name in names})
    found = diagnose_files("nets_for_tests:Net", here / "x.npz", mask="real")
    assert (found.sites[0].values, found.sites[0].maximum.max() < 200) == (3, True)


def test_a_mask_may_be_an_argument_of_forward_and_of_any_type(here):
    np.savez(here / "x.npz", x=np.ones((2, 3, 4)), scale=MASK.astype("float32"))
    (here / "takes_mask.py").write_text(
        "from nets_for_tests import Net\n"
        "class Takes(Net):\n"
        "    def forward(self, x, scale):\n"
        "        return super().forward(x * scale[..., None])\n"
    )
    found = diagnose_files("takes_mask:Takes", here / "x.npz", batch_size=1, mask="scale")
    assert (found.sites[0].values, found.examples, found.notes) == (3, 2, ())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": TOKENS, "mask": MASK}, "holds x, mask, and no mask 'real'; name one of its arrays"),
        ({"real": MASK}, "holds the mask 'real' alone; save the inputs in the same file"),
        ({"x": TOKENS, "real": MASK[:1]}, "one row per example, got {'x': 2, 'real': 1}"),
        ({"x": TOKENS, "real": MASK - 1.0}, "negative values"),
        ({"x": TOKENS, "real": MASK.astype(str)}, "must hold real numbers, but real is <U"),
    ],
)
def test_a_mask_that_does_not_fit_the_data_is_named(here, arrays, message):
    np.savez(here / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        diagnose_files("nets_for_tests:Net", here / "x.npz", mask="real")


def test_a_file_of_one_array_has_no_room_for_a_mask(here):
    np.save(here / "x.npy", TOKENS)
    with pytest.raises(ValueError, match=r"x\.npy has no room for the mask 'real': save .* in a \.npz file"):
        diagnose_files("nets_for_tests:Net", here / "x.npy", mask="real")


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
        ("text.npy", "must hold real numbers, but input is <U1"),
        ("objects.npy", "objects.npy holds object, not plain numbers"),
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


def outputs(name, weights, *plans):
    """What the model computes with these weights, loaded as the documentation says, on the data."""
    made = make_model(f"nets_for_tests:{name}")
    for plan in plans:
        shrink(made, Plan.from_dict(json.loads(plan.read_text())))
    load_weights(made, weights)
    with torch.no_grad():
        return made(torch.from_numpy(INPUTS).float())


INPUTS = np.random.default_rng(0).normal(size=(50, 4))


@pytest.fixture
def x(here):
    np.save(here / "x.npy", INPUTS)
    return here / "x.npy"


def files(here):
    """What is in the directory, but for the model and its data."""
    return sorted(
        path.name for path in here.iterdir() if path.is_file() and path.name not in ("nets_for_tests.py", "x.npy")
    )


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("small.pt", "small.plan.json"),
        ("small.safetensors", "small.plan.json"),
        ("small", "small.plan.json"),
        ("net.v2.pt", "net.v2.plan.json"),
    ],
)
def test_a_newly_made_model_shrinks_by_the_plan_beside_the_weights_and_takes_them(here, x, name, plan):
    torch.save(model().state_dict(), here / "w.pt")
    change = remove_files("nets_for_tests:Net", x, here / "w.pt", 3, here / name)
    assert (change.before.dead, change.done.removed, change.after.units) == (1, {"relu": (1,)}, 2)
    assert files(here) == sorted([name, plan, "w.pt"])
    assert plan_beside(here / name) == here / plan
    assert load_plan(here / plan) == change.done.plan
    torch.testing.assert_close(outputs("Net", here / name, here / plan), outputs("Net", here / "w.pt"))
    after = diagnose_files("nets_for_tests:Net", x, here / name, plans=[here / plan])
    assert (after.units, after.dead, str(after)) == (2, 0, str(change.after))


def test_plans_are_carried_out_one_after_the_other(here, x):
    """First units of the first layer go; then one of the second is killed and goes, too."""
    spec, first, second = "nets_for_tests:Deep", here / "first.pt", here / "second.pt"
    change = remove_files(spec, x, None, 7, first)
    assert change.done.removed == {"1": (0, 1)}
    state = torch.load(first, weights_only=True)
    state["2.bias"][3] = -1000
    torch.save(state, first)
    change = remove_files(spec, x, first, 7, second, plans=[plan_beside(first)])
    assert change.done.removed == {"3": (3,)}
    plans = [plan_beside(first), plan_beside(second)]
    torch.testing.assert_close(outputs("Deep", second, *plans), outputs("Deep", first, *plans[:1]))
    assert diagnose_files(spec, x, second, plans=plans).units == 4 + 4
    with pytest.raises(
        ValueError, match=r"shrink by the plan in .*second\.plan\.json: the plan was made for a model whose"
    ):
        diagnose_files(spec, x, second, plans=plans[::-1])


def test_a_smaller_model_can_be_revived(here, x):
    remove_files("nets_for_tests:Deep", x, None, 7, here / "small.pt")
    state = torch.load(here / "small.pt", weights_only=True)
    state["2.bias"][3] = -1000
    torch.save(state, here / "small.pt")
    plans = [here / "small.plan.json"]
    change = revive_files("nets_for_tests:Deep", x, here / "small.pt", 7, here / "new.pt", plans=plans)
    assert change.done.revived == {"3": (3,)}
    assert diagnose_files("nets_for_tests:Deep", x, here / "new.pt", plans=plans).dead == 0


@pytest.mark.parametrize(("name", "dead"), [("Alive", 0), ("Sized", 1)])
def test_if_nothing_can_be_removed_the_weights_are_as_they_were_and_the_plan_keeps_all(here, x, name, dead):
    torch.save(make_model(f"nets_for_tests:{name}").state_dict(), here / "w.pt")
    change = remove_files(f"nets_for_tests:{name}", x, here / "w.pt", 7, here / "small.pt")
    assert (change.before.dead, change.after.dead, change.done.removed) == (dead, dead, {})
    assert "(the plan is in" in str(change)
    assert "keeps all of the weights, which are as they were" in str(change)
    assert ("left alone, relu" in str(change)) == bool(dead)
    assert torch.equal(outputs(name, here / "small.pt", here / "small.plan.json"), outputs(name, here / "w.pt"))


def test_weights_of_a_smaller_model_that_do_not_fit_lead_to_the_plan_beside_them(here, x):
    remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt")
    with pytest.raises(
        ValueError, match=r"are not this model's \(if --remove wrote them, add --plan .*small\.plan\.json\)"
    ):
        diagnose_files("nets_for_tests:Net", x, here / "small.pt")
    (here / "small.plan.json").unlink()
    with pytest.raises(ValueError, match="are not this model's: "):
        diagnose_files("nets_for_tests:Net", x, here / "small.pt")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"format": 99}',
        b'{"format": 1, "keep": {"0.weight": [1]}, "new_biases": [], "shapes": {}}',
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(here, x, text):
    (here / "p.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"p\.json holds no plan that --remove wrote: ") as error:
        diagnose_files("nets_for_tests:Net", x, plans=[here / "p.json"])
    assert "\n" not in str(error.value)


def test_a_plan_that_is_missing_or_of_another_model_is_named(here, x):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        diagnose_files("nets_for_tests:Net", x, plans=[here / "none.json"])
    remove_files("nets_for_tests:Deep", x, None, 7, here / "deep.pt")
    with pytest.raises(ValueError, match=r"shrink by the plan in .*deep\.plan\.json: the plan is for another model"):
        diagnose_files("nets_for_tests:Net", x, plans=[here / "deep.plan.json"])


@pytest.mark.parametrize("existing", ["small.pt", "small.plan.json"])
@pytest.mark.parametrize("link", [False, True])
def test_either_file_that_exists_is_kept_and_nothing_runs(here, x, monkeypatch, existing, link):
    if link:
        (here / existing).symlink_to(here / "nowhere")
    else:
        (here / existing).write_text("mine")
    before = files(here)
    monkeypatch.setattr("leakyrelu.torch.files.make_model", lambda spec: pytest.fail("the model was made"))
    with pytest.raises(FileExistsError, match=rf"{existing} exists already"):
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt")
    assert files(here) == before
    assert link or (here / existing).read_text() == "mine"


def test_what_can_hold_no_file_is_refused_before_anything_runs(here, x, monkeypatch):
    monkeypatch.setattr("leakyrelu.torch.files.make_model", lambda spec: pytest.fail("the model was made"))
    (here / "folder.pt").mkdir()
    (here / "small.plan.json").mkdir()
    for work in (revive_files, remove_files):
        with pytest.raises(ValueError, match=r"folder\.pt is not a regular file"):
            work("nets_for_tests:Net", x, None, 7, here / "folder.pt", overwrite=True)
        with pytest.raises(FileNotFoundError, match=r"nowhere/small\.pt"):
            work("nets_for_tests:Net", x, None, 7, here / "nowhere/small.pt")
    with pytest.raises(ValueError, match=r"small\.plan\.json is not a regular file"):
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt", overwrite=True)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for work in (revive_files, remove_files):
        with pytest.raises(ImportError, match="needs safetensors"):
            work("nets_for_tests:Net", x, None, 7, here / "new.safetensors")


def test_with_overwrite_both_files_are_written_through_links_and_keep_their_modes(here, x):
    for name in ("small.pt", "small.plan.json"):
        (here / f"real.{name}").write_text("old")
        (here / f"real.{name}").chmod(0o600)
        (here / name).symlink_to(here / f"real.{name}")
    change = remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt", overwrite=True)
    assert load_plan(here / "real.small.plan.json") == change.done.plan
    assert outputs("Net", here / "real.small.pt", here / "small.plan.json").shape == (50, 2)
    for name in ("small.pt", "small.plan.json"):
        assert (here / name).is_symlink()
        assert (here / f"real.{name}").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("failing", ["small.pt", "small.plan.json"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_if_either_file_cannot_be_written_both_are_as_before(here, x, monkeypatch, old, failing, error):
    names = ["small.pt", "small.plan.json"]
    for name in names if old else ():
        (here / name).write_text(f"{old} {name}")
    replace, written = Path.replace, []

    def fails(part, target):
        if target.name == failing and error not in written:
            written.append(error)
            raise error("no space")
        written.append(target.name)
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(error, match="no space"):
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt", overwrite=True)
    assert error in written
    assert files(here) == (sorted(names) if old else [])
    assert all((here / name).read_text() == f"{old} {name}" for name in files(here))


def test_if_the_second_file_appears_meanwhile_it_is_kept_and_the_first_is_taken_back(here, x, monkeypatch):
    link = os.link

    def meanwhile(part, target):
        if target.name == "small.pt":
            target.write_text("theirs")
        link(part, target)

    monkeypatch.setattr(os, "link", meanwhile)
    with pytest.raises(FileExistsError, match=r"small\.pt exists already"):
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt")
    assert files(here) == ["small.pt"]
    assert (here / "small.pt").read_text() == "theirs"


def test_a_link_that_led_nowhere_leads_nowhere_again_if_the_weights_cannot_be_written(here, monkeypatch):
    (here / "small.plan.json").symlink_to(here / "target.json")
    monkeypatch.setattr(saving, "written_whole", fails_for("small.pt", saving.written_whole))
    with pytest.raises(OSError, match="no space"):
        save_smaller(model(), Plan({}), here / "small.pt", overwrite=True)
    assert (here / "small.plan.json").is_symlink()
    assert not (here / "target.json").exists()


def fails_for(name, write):
    def fails(path, **keywords):
        if path.name == name:
            raise OSError("no space")
        return write(path, **keywords)

    return fails


@pytest.mark.parametrize("name", ["new.pt", "new.safetensors"])
def test_a_full_disk_is_named_and_leaves_nothing_behind(here, x, name):
    resource = pytest.importorskip("resource")
    # A limit on the size of files stands in for a full disk. The plan is below it, and the weights are above.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        for work in (revive_files, remove_files):
            with pytest.raises(OSError, match="File too large"):
                work("nets_for_tests:Net", x, None, 7, here / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert files(here) == []
    remove_files("nets_for_tests:Net", x, None, 7, here / name)
    assert (here / "new.plan.json").stat().st_size < 300 < (here / name).stat().st_size


@pytest.mark.parametrize("name", ["new.pt", "new.safetensors"])
@pytest.mark.parametrize("work", [revive_files, remove_files])
def test_weights_with_two_names_are_written_under_both(here, x, work, name):
    torch.save(make_model("nets_for_tests:Tied").state_dict(), here / "w.pt")
    change = work("nets_for_tests:Tied", x, here / "w.pt", 7, here / name)
    assert (change.before.dead, change.after.dead) == (1, 0)
    plans = [here / "new.plan.json"] if work is remove_files else []
    torch.testing.assert_close(outputs("Tied", here / name, *plans), outputs("Tied", here / "w.pt"))


def test_a_state_that_the_format_cannot_hold_is_refused_and_nothing_is_written(here):
    class Own(nn.Linear):
        def get_extra_state(self):
            return threading.Lock()

        def set_extra_state(self, state):
            pass

    for name, message in (
        ("w.pt", "cannot pickle"),
        ("w.safetensors", "_extra_state is a lock, and safetensors holds"),
    ):
        with pytest.raises(ValueError, match=rf"cannot be written to .*{name}: .*{message}"):
            save_weights(Own(1, 1), here / name)
        with pytest.raises(ValueError, match=rf"cannot be written to .*{name}: .*{message}"):
            save_smaller(Own(1, 1), Plan({}), here / name)
    assert files(here) == []


def uncopyable():
    made = model()
    made.lock = threading.Lock()
    return made


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (uncopyable, TypeError, "the model cannot be copied by copy.deepcopy"),
        (lambda: nn.DataParallel(model()), TypeError, "the model is compiled or replicated; give the one within"),
    ],
)
def test_a_model_that_cannot_be_changed_is_refused_and_nothing_is_written(here, x, monkeypatch, make, error, message):
    monkeypatch.setattr("leakyrelu.torch.files.make_model", lambda spec: make())
    with pytest.raises(error, match=message) as caught:
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt")
    assert "\n" not in str(caught.value)
    assert files(here) == []


def test_if_the_outputs_would_change_the_error_says_so_and_nothing_is_written(here, x, monkeypatch):
    monkeypatch.setattr(removing, "_TOLERANCE", -1.0)
    monkeypatch.setattr(removing, "_MOST", -1.0)
    with pytest.raises(
        ValueError, match=r"^removing units of the model failed on .*: removing the dead units changed the"
    ):
        remove_files("nets_for_tests:Net", x, None, 7, here / "small.pt")
    assert files(here) == []


def test_an_error_of_the_model_names_the_data_whatever_its_class(here):
    np.save(here / "one.npy", np.zeros((4, 4, 4, 4, 4)))
    with pytest.raises(
        ValueError, match=r"^the model failed on .*one\.npy \(input float64 .*\): expected 2D or 3D input"
    ):
        diagnose_files("nets_for_tests:Normed", here / "one.npy")


def test_a_model_that_does_not_run_is_named_before_anything_is_removed(here, x):
    with pytest.raises(ValueError, match=r"^the model failed on .*x\.npy \(input float64 \(50, 4\)\): AssertionError"):
        remove_files("nets_for_tests:Failing", x, None, 7, here / "small.pt")
    assert files(here) == []
