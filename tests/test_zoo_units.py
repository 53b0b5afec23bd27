"""The benchmark of planted dead units: what is planted, and that each kind of fault is found."""

import copy
import json
import math
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

import leakyrelu.torch
from benchmarks import dead_again, zoo, zoo_own, zoo_planting, zoo_running, zoo_units
from benchmarks.zoo_models import Architecture, Family
from leakyrelu.torch import diagnose, revive


class Net(nn.Module):
    """Two calls of ReLU, one of which nothing with as many units comes before."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 8), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.layer(x))
        return functional.relu(self.layer.weight.sum() - x.clone())


class Branches(nn.Module):
    """Another layer of the same width runs between the layer that makes the units and their activation."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        made, other = self.first(x), self.second(x)
        return self.last(functional.relu(made)) + other.sum()


class Summed(Branches):
    """What runs in between enters all units, so that its bias would kill all of them."""

    def forward(self, x):
        made, other = self.first(x), self.second(x)
        return self.last(functional.relu(made + other.sum(-1, keepdim=True) + 8))


class Twice(nn.Module):
    """A layer that two sites share."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(3, 12), nn.Linear(12, 2)

    def forward(self, x):
        return self.last(functional.relu(self.layer(x)) + functional.relu(self.layer(-x)))


def without_bias():
    first = (nn.Linear(3, 16, bias=False), nn.ReLU(), nn.Linear(16, 8, bias=False), nn.ReLU())
    return nn.Sequential(*first, nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 12, 1, bias=False), nn.ReLU())


def batches_of(rows, count):
    return [torch.rand(rows, 3, generator=torch.Generator().manual_seed(number)) + 0.1 for number in range(count)]


@pytest.mark.parametrize("build", [Net, Branches, Summed, Twice, without_bias])
def test_what_is_planted_is_dead_and_was_not_dead_before(build):
    torch.manual_seed(0)
    model = build().eval()
    twin = copy.deepcopy(model)
    batches = batches_of(8, 2)
    before = zoo_planting.dead_units(diagnose(model, batches, forward=zoo.run))
    planted = zoo_planting.plant(model, batches)
    after = zoo_planting.dead_units(diagnose(model, batches, forward=zoo.run))
    assert planted.units
    assert after == zoo_planting.dead_units(planted.diagnosis)
    for name, units in planted.units.items():
        assert set(units) <= set(after[name])
        if build is not without_bias:  # where units may die or fire because of those that were planted before
            assert set(units).isdisjoint(before.get(name, ()))
    assert zoo_planting.plant(twin, batches).units == planted.units
    assert all(map(torch.equal, twin.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize("build", [Branches, Summed])
def test_only_what_kills_exactly_the_units_is_written(build):
    torch.manual_seed(0)
    model = build().eval()
    untouched = copy.deepcopy(model)
    planted = zoo_planting.plant(model, batches_of(8, 2))
    (units,) = planted.units.values()
    assert len(units) == 2
    for name, value in model.state_dict().items():
        changed = (value != untouched.state_dict()[name]).nonzero().flatten().tolist()
        assert changed == (list(units) if name == "first.bias" else [])
    assert (model.first.bias[list(units)] == zoo_planting.FAR_BELOW).all()


def test_a_site_where_nothing_can_be_planted_is_named():
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3, 8), nn.ReLU())
    planted = zoo_planting.plant(model, [torch.randn(16, 3)])
    assert planted.without == ("1",)
    assert list(planted.units) == ["3"]


# One row is below zero on all of them, but the least squares towards -1 are not.
POINTS = torch.tensor([[10.0, 0.0]] * 20 + [[-1.0, 1.5], [-1.0, 30.0]])


def test_rows_without_a_bias_are_below_zero_on_all_values():
    assert (POINTS @ zoo_planting._row_below(POINTS) < 0).all()


def test_rows_without_a_bias_are_below_zero_on_the_other_batches_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16, bias=False), nn.ReLU())
    planted = zoo_planting.plant(model, [POINTS[:20]], [POINTS[20:]])
    elsewhere = zoo_planting.dead_units(diagnose(model, [POINTS[20:]]))
    assert len(planted.units["1"]) >= 2
    assert set(planted.units["1"]) <= set(elsewhere["1"])


class Said(NamedTuple):
    skipped: dict


class SaidRemoved(NamedTuple):
    removed: dict
    skipped: dict


def does_nothing(model, batches, **_):
    return Said({})


def lists_all(model, batches, **_):
    return Said({"1": "a reason", "3": "one reason"})


def lists_others(model, batches, **_):
    return Said({"1": "one (unit 1000); another (units 1001, 1002)", "3": ""})


def fails(model, batches, **_):
    raise KeyError("oh")


def shifts_all(model, batches, **_):
    model[0].bias.data[:] = 50
    model[2].bias.data[:] = 50
    return Said({})


def removes_all(model, batches, **_):
    removed = zoo_planting.dead_units(diagnose(model, batches))
    for index, name in ((0, "1"), (2, "3")):
        first, then = model[index], model[index + 2]
        alive = [unit for unit in range(first.out_features) if unit not in removed.get(name, ())]
        first.weight, first.bias = nn.Parameter(first.weight[alive]), nn.Parameter(first.bias[alive])
        then.weight = nn.Parameter(then.weight[:, alive])
    return SaidRemoved(removed, {})


def claims_to_remove(model, batches, **_):
    return SaidRemoved({"1": tuple(range(16))}, {"3": "a reason"})


def perceptron():
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))


def examined(tool):
    return zoo_units.examine(tool, "own", Architecture("perceptron", perceptron, torch.randn(32, 3)))


def test_units_that_are_revived_pass():
    result = examined(revive)
    assert result.planted == result.done >= 4
    assert (result.listed, result.silent, result.faults, result.without) == (0, {}, [], ())
    assert result.calls > 4
    assert result.change < 1e-6


def test_units_that_are_listed_pass():
    result = examined(lists_all)
    assert (result.done, result.listed, result.faults) == (0, result.planted, [])
    assert result.reasons.keys() == {"a reason", "one reason"}
    assert result.bitwise
    assert result.calls == 0


@pytest.mark.parametrize("faulty", [does_nothing, lists_others, fails])
def test_units_that_are_neither_revived_nor_listed_are_found(faulty):
    result = examined(faulty)
    assert sum(map(len, result.silent.values())) == result.planted
    assert any(fault.startswith("silently left, 1: units ") for fault in result.faults)
    assert ("KeyError: 'oh'" in result.faults) == (faulty is fails)
    assert "silently left" in zoo_units.line(result, "alive")


def test_changed_outputs_are_found():
    result = examined(shifts_all)
    assert not result.bitwise
    assert any(fault.startswith("outputs changed by ") for fault in result.faults)


def test_outputs_on_the_other_batch_may_change_only_where_a_dead_unit_fires_there():
    result = zoo_units.Result("own", "some", other_change=0.1)
    assert result.faults == ["outputs on the other batch changed by 0.1"]
    result.firing = 1
    assert result.faults == []


def test_units_that_are_removed_pass():
    result = examined(removes_all)
    assert result.planted == result.done
    assert (result.silent, result.faults) == ({}, [])
    before, after = result.parameters
    assert before > after
    assert f", {result.done} removed, " in zoo_units.line(result, "removed")
    assert f" | {before:,} | {after:,} |" in "\n".join(zoo_units.table([result], "removed"))


def test_units_that_are_said_to_be_removed_and_are_not_are_found():
    assert "1 has 16 units, 16 of 16 being removed" in examined(claims_to_remove).faults


def test_another_batch_has_the_kind_and_range_of_the_first():
    batch = {"x": torch.rand(4, 3), "ids": torch.randint(5, 9, (2, 8)), "one": True, "deep": {"y": torch.ones(2)}}
    one, other = zoo_units.redrawn(batch, 1), zoo_units.redrawn(batch, 2)
    assert one["one"] is True
    assert torch.equal(one["deep"]["y"], torch.ones(2))
    for key in ("x", "ids"):
        assert (one[key].shape, one[key].dtype) == (batch[key].shape, batch[key].dtype)
        assert torch.isin(one[key], batch[key]).all()
        assert not torch.equal(one[key], batch[key])
        assert not torch.equal(one[key], other[key])
    assert torch.equal(zoo_units.redrawn(batch, 1)["x"], one["x"])


def test_the_change_is_relative_to_the_largest_output():
    old, new = torch.tensor([4.0, 1.0, math.nan, math.inf]), torch.tensor([4.0, 2.0, math.nan, math.inf])
    assert zoo_units.largest_change([old], [new]) == 0.25
    assert zoo_units.largest_change([old], [old]) == 0
    assert zoo_units.largest_change([old], [torch.nan_to_num(new)]) == math.inf
    assert zoo_units.largest_change([old], []) == math.inf
    assert zoo_units.largest_change([torch.zeros(2)], [torch.ones(2)]) == math.inf


def test_gelu_becomes_relu_only_where_no_activation_is_flat():
    batches = batches_of(8, 2)
    smooth = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 4), nn.SiLU())
    found = diagnose(zoo_units.with_relu(smooth, batches), batches)
    assert [site.operation for site in found.sites] == ["relu", "relu"]
    mixed = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.SiLU())
    assert zoo_units.with_relu(mixed, batches) is mixed
    assert isinstance(mixed[3], nn.SiLU)


def test_an_architecture_that_can_be_had_with_relu_is_taken_only_so(monkeypatch):
    named = [Architecture(name, Net, torch.ones(2, 3)) for name in ("a", "a with relu", "b", "c")]
    monkeypatch.setattr(zoo, "FAMILIES", {"some": Family("torch", lambda: iter(named))})
    found = zoo_units.chosen("some", "")
    assert [architecture.name for architecture in found] == ["a with relu", "b", "c"]
    assert [architecture.name for architecture in zoo_units.spread(found, 2)] == ["a with relu", "b"]
    assert zoo_units.spread(found, 0) == zoo_units.spread(found, 9) == found


def test_reasons_are_grouped_without_their_names():
    text = "the weight of layers.0.fc1 is shared (units 1, 2); Net cannot be traced (unit 7)"
    assert zoo_units.reasons_of(text, [2, 7, 8]) == {
        2: "the weight of layers.0.fc1 is shared",
        7: "Net cannot be traced",
    }
    assert zoo_units.reasons_of("it is (as said) shared", [3]) == {3: "it is (as said) shared"}
    assert zoo_units.without_names("the weight of layers.0.fc1 is shared") == "the weight of … is shared"
    assert zoo_units.without_names("the scale of bn is 'x y'") == "the scale of bn is …"


def test_the_table_has_a_row_for_each_group_and_says_what_is_left(monkeypatch, tmp_path, capsys):
    one = Architecture("one", perceptron, torch.randn(32, 3))
    monkeypatch.setattr(zoo_units.zoo_own, "architectures", lambda: iter([one, one._replace(batch=torch.ones(1, 9))]))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # which would hold for the other tests, too
    monkeypatch.setattr(leakyrelu.torch, "revive", lists_all)
    path = tmp_path / "units.json"
    assert zoo_units.main(["--family", "own", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    first, second = json.loads(path.read_text())["results"]
    count = first["planted"]
    assert f"| own | 1 | {count} | 0 | {count} | 0 | 0.0 | 1 | 0 | 0 | 0 | 0 | 0 |" in out
    assert "a reason" in out
    assert "Not run: 1" in out
    assert "RuntimeError" in second["error"]
    monkeypatch.setattr(leakyrelu.torch, "revive", does_nothing)
    assert zoo_units.main(["--family", "own"]) == 1


def test_each_of_our_own_networks_runs_and_can_be_planted():
    zoo_running.seed()
    for architecture in zoo_own.architectures():
        result = zoo_units.examine(does_nothing, "own", architecture)
        assert not result.error
        assert result.planted, architecture.name
        assert not result.without


class Kills(torch.optim.SGD):
    """Puts all units far below zero."""

    def step(self):
        for weight in self.param_groups[0]["params"]:
            weight.data.fill_(-1000.0 if weight.dim() == 1 else 0.0)


def test_revived_units_that_die_again_are_counted(monkeypatch):
    architecture = Architecture("perceptron", perceptron, torch.randn(32, 3))
    monkeypatch.setattr(dead_again, "BEFORE", 0)
    monkeypatch.setattr(dead_again, "STEPS", (1, 3))
    monkeypatch.setitem(dead_again.OPTIMIZERS, "still", lambda weights: torch.optim.SGD(weights, lr=0.0))
    monkeypatch.setitem(dead_again.OPTIMIZERS, "kills", Kills)
    still, killed = (dead_again.examine(architecture, name) for name in ("still", "kills"))
    assert still.revived >= still.planted >= 4
    assert still.others + still.revived == 24
    assert (still.again, still.others_dead) == ({1: 0, 3: 0}, {1: 0, 3: 0})
    count, others = still.revived, still.others
    assert (killed.again, killed.others_dead) == ({1: count, 3: count}, {1: others, 3: others})
    lines = list(dead_again.table([still, killed]))
    assert lines[2] == f"| perceptron | {still.planted} | {count} | 0 | 0 | {others} | 0 | 0 |"
    both = (2 * still.planted, 2 * count, count, count, 2 * others, others, others)
    assert lines[-1] == f"| all | {' | '.join(map(str, both))} |"
