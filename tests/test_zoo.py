"""The zoo's checks: what is right passes, and each kind of fault is found. Its architectures are not run here."""

import importlib
import json
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks import zoo, zoo_models
from benchmarks.zoo_models import Architecture, Family
from leakyrelu.torch import replace_relu
from leakyrelu.torch.replacement import Replacement


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 8), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.layer(x))
        return functional.relu(self.layer.weight.sum() - x.clone()), [torch.dropout(x, 0.5, self.training)]


ARCHITECTURE = Architecture("net", Net, torch.ones(2, 3))


def test_a_replacement_that_is_right_passes_every_check():
    result = zoo.examine("own", ARCHITECTURE)
    assert result.kinds == ("relu",)
    assert (result.calls, result.dispatched, result.replaced, result.listed, result.faults) == (2, 2, 2, 0, [])
    assert set(result.checks.values()) == {True}


def nothing(model, slope, **_):
    return Replacement(model, (), {})


def modules_only(model, slope, **options):
    return replace_relu(model, slope, only=["act"])


def another_slope(model, slope, **options):
    return replace_relu(model, slope / 2, **options)


def not_in_training(model, slope, **options):
    replacement = replace_relu(model, slope, **options)
    replacement.model.register_forward_pre_hook(_fail_in_training)
    return replacement


def _fail_in_training(model, _):
    if model.training:
        raise RuntimeError("no training")


def another_key(model, slope, **options):
    model.register_buffer("extra", torch.zeros(1))
    return replace_relu(model, slope, **options)


@pytest.mark.parametrize(
    ("faulty", "found"),
    [
        (nothing, "silently left: act"),
        (modules_only, "silently left: relu"),
        (another_slope, "outputs as forced: no"),
        (not_in_training, "no RuntimeError (no training): no"),
        (another_key, "keys of state_dict: no"),
    ],
)
def test_what_is_wrong_is_found(faulty, found, monkeypatch):
    monkeypatch.setattr(zoo, "replace_relu", faulty)
    result = zoo.examine("own", ARCHITECTURE)
    assert found in result.faults
    assert found in zoo.line(result)


def test_a_call_that_is_listed_is_no_fault_and_is_left_in_the_reference(monkeypatch):
    def listing(model, slope, **_):
        replacement = replace_relu(model, slope, only=["act"])
        return Replacement(model, replacement.replaced, {"relu": "a reason"}, _changes=replacement._changes)

    monkeypatch.setattr(zoo, "replace_relu", listing)
    result = zoo.examine("own", ARCHITECTURE)
    assert (result.replaced, result.listed, result.faults) == (1, 1, [])
    assert result.missed == 1
    assert result.reasons == {"relu": "a reason"}


@pytest.mark.parametrize(
    ("activation", "kind"),
    [(functional.silu, "silu"), (functional.gelu, "gelu"), (functional.relu6, "relu6"), (torch.celu_, "celu")],
)
def test_the_dispatcher_sees_every_kind(activation, kind):
    class Other(nn.Module):
        def forward(self, x):
            return activation(x.clone())

    assert zoo.dispatched(Other(), torch.ones(3)) == [kind]
    result = zoo.examine("own", Architecture("other", Other, torch.linspace(-2, 2, 9)))
    assert (result.kinds, result.replaced, result.faults) == ((kind,), 1, [])


def test_a_model_that_fails_does_not_stop_the_others():
    result = zoo.examine("own", Architecture("net", Net, torch.ones(2, 4)))
    assert "RuntimeError" in result.error
    assert zoo.line(result).startswith("own: net: not run (RuntimeError")


def test_a_missing_family_is_named_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    def missing():
        yield importlib.import_module("no_such_library")

    families = {"absent": Family("no-such-library", missing), "own": Family("torch", lambda: iter([ARCHITECTURE] * 3))}
    monkeypatch.setattr(zoo, "FAMILIES", families)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # which would hold for the other tests, too
    path = tmp_path / "zoo.json"
    assert zoo.main(["--limit", "2", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "absent is left out" in out
    assert "python -m pip install no-such-library" in out
    assert "| own | 2 | 4 | 4 | 4 | 0 | 0 | 0 | 2 |" in out
    assert [result["name"] for result in json.loads(path.read_text())["results"]] == ["net", "net"]


def test_what_cannot_be_written_is_known_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    with pytest.raises(FileNotFoundError):
        zoo.main(["--json", str(tmp_path / "missing" / "zoo.json")])


def test_a_stub_stands_in_for_torchvision(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    for name in zoo_models._TORCHVISION.split():
        monkeypatch.setitem(sys.modules, name, None)
    zoo_models.need_torchvision()
    resnet = importlib.import_module("torchvision.models.resnet")
    assert issubclass(resnet.ResNet, nn.Module)
    transforms = importlib.import_module("torchvision.transforms.functional")
    assert transforms.InterpolationMode.NEAREST is not transforms.InterpolationMode.BILINEAR
