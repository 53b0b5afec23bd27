"""Shrinking by a plan: what stays computes what it did, everything follows its size, and all of it can be taken back."""

import copy
import json
import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from leakyrelu.torch.removal import Plan, Removal, shrink
from leakyrelu.torch.removal.attributes import local_name
from leakyrelu.torch.removal.cost import multiply_adds, parameters, seconds
from leakyrelu.torch.removal.plan import tensors_of


def integers(*shape, generator=None):
    """Whole numbers, whose sums are exact in any order."""
    return torch.randint(-3, 4, shape, generator=generator).double()


def whole(model, seed=0):
    """The model with whole numbers for weights."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    for parameter in model.parameters():
        parameter.data.copy_(integers(*parameter.shape, generator=generator))
    return model


def mlp(*widths, bias=True):
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    return nn.Sequential(*[module for layer in layers for module in (layer, nn.ReLU())][:-1])


def small_plan():
    """For `mlp(4, 5, 3)`: three of five units stay."""
    return Plan({"0.weight": {"0": [0, 2, 4]}, "0.bias": {"0": [0, 2, 4]}, "2.weight": {"1": [0, 2, 4]}})


def snapshot(model, optimizer=None):
    """All that shrinking may touch, by identity and by value."""
    held = [(name, id(tensor), tensor.clone(), tensor.grad) for name, tensor in tensors_of(model).items()]
    sizes = [
        (name, {k: v for k, v in vars(module).items() if isinstance(v, int | tuple)})
        for name, module in model.named_modules()
    ]
    if optimizer is None:
        return held, sizes
    groups = [{**group, "params": [id(p) for p in group["params"]]} for group in optimizer.param_groups]
    state = {id(p): {k: copy.deepcopy(v) for k, v in of.items()} for p, of in optimizer.state.items()}
    return held, sizes, groups, state


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@st.composite
def hidden_units(draw, least=1):
    """Widths of hidden layers, and which units stay in each."""
    widths = draw(st.lists(st.integers(1, 6), min_size=least, max_size=3))
    stay = [sorted(draw(st.sets(st.integers(0, width - 1), min_size=1))) for width in widths]
    return widths, stay


@given(hidden_units(), st.booleans(), st.integers(0, 99))
def test_an_mlp_computes_as_if_the_removed_units_gave_zero(hidden, bias, seed):
    widths, stay = hidden
    model = whole(mlp(4, *widths, 2, bias=bias), seed)
    expected, keep = copy.deepcopy(model), {}
    for layer, (width, kept) in enumerate(zip(widths, stay, strict=True)):
        gone = [unit for unit in range(width) if unit not in kept]
        expected[2 * layer + 2].weight.data[:, gone] = 0
        keep.setdefault(f"{2 * layer}.weight", {})["0"] = kept
        keep[f"{2 * layer + 2}.weight"] = {"1": kept}
        if bias:
            keep[f"{2 * layer}.bias"] = {"0": kept}
    x = integers(7, 4)
    shrink(model, Plan.of(model, keep))
    assert torch.equal(model(x), expected(x))
    assert [module.out_features for module in model[::2]] == [*map(len, stay), 2]
    assert [module.in_features for module in model[::2]] == [4, *map(len, stay)]


@given(st.data(), st.integers(1, 3), st.integers(0, 99))
def test_a_cnn_with_groups_computes_as_if_the_removed_channels_gave_zero(data, multiplier, seed):
    groups, per = data.draw(st.integers(2, 3)), data.draw(st.integers(2, 3))
    channels = groups * per
    left = data.draw(st.integers(1, per))
    inside = [sorted(data.draw(st.sets(st.integers(0, per - 1), min_size=left, max_size=left))) for _ in range(groups)]
    kept = [group * per + unit for group, units in enumerate(inside) for unit in units]
    spread = [channel * multiplier + i for channel in kept for i in range(multiplier)]
    model = whole(
        nn.Sequential(
            nn.Conv2d(2, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, groups=groups, padding=1),  # groups, cut on both sides
            nn.ReLU(),
            nn.Conv2d(channels, channels * multiplier, 3, groups=channels),  # depthwise
            nn.ReLU(),
            nn.ConvTranspose2d(channels * multiplier, 2 * groups, 2, groups=groups),
            nn.Conv2d(2 * groups, 2, 1),
        ),
        seed,
    )
    expected = copy.deepcopy(model)
    gone = [channel for channel in range(channels) if channel not in kept]
    for layer in (0, 2):
        expected[layer].weight.data[gone] = 0
        expected[layer].bias.data[gone] = 0
    gone = [channel for channel in range(channels * multiplier) if channel not in spread]
    expected[4].weight.data[gone] = 0
    expected[4].bias.data[gone] = 0
    rows = {"0": kept}
    keep = {"0.weight": rows, "0.bias": rows, "2.weight": {**rows, "groups": inside}, "2.bias": rows}
    keep |= {"4.weight": {"0": spread}, "4.bias": {"0": spread}, "6.weight": {"0": spread}}
    x = integers(2, 2, 5, 5)
    shrink(model, Plan.of(model, keep))
    assert torch.equal(model(x), expected(x))
    assert (model[2].in_channels, model[2].out_channels, model[2].groups) == (len(kept), len(kept), groups)
    assert (model[4].in_channels, model[4].out_channels, model[4].groups) == (len(kept), len(spread), len(kept))
    assert (model[6].in_channels, model[6].out_channels, model[6].groups) == (len(spread), 2 * groups, groups)


class Conv1D(nn.Module):
    """As in transformers: a linear layer whose weight is transposed."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def extra_repr(self):
        return f"{self.nf}, {self.nx}"


class Foreign(nn.Module):
    """A linear layer with names of its own."""

    def __init__(self, in_channels, out_channels, heads=2):
        super().__init__()
        self.in_channels, self._out_feats, self.out_dim, self.heads = in_channels, 0, out_channels, heads
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))

    def extra_repr(self):
        return f"{self.in_channels}, {self._out_feats}, {self.out_dim}, {self.heads}"


class TwoLayers(nn.Module):
    """Two matrices, where a size may be that of either."""

    def __init__(self, size, hidden):
        super().__init__()
        self.in_features = self.out_features = size
        self.first, self.second = nn.Parameter(torch.randn(hidden, size)), nn.Parameter(torch.randn(size, hidden))

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}"


ROWS, COLUMNS, BOTH = [0, 2], [1, 3, 4], {"0": [0, 2], "1": [1, 3, 4]}
UNITS = {"0": ROWS}


def layers():
    """By name: a layer, what stays of it, and a layer of the sizes that it then has."""
    return {
        "linear": (nn.Linear(5, 4), {"weight": BOTH, "bias": UNITS}, nn.Linear(3, 2)),
        "square": (nn.Linear(4, 4), {"weight": {"1": ROWS}}, nn.Linear(2, 4)),
        "bilinear": (
            nn.Bilinear(5, 4, 3),
            {"weight": {"0": ROWS, "1": COLUMNS, "2": [0]}, "bias": UNITS},
            nn.Bilinear(3, 1, 2),
        ),
        "conv1d": (nn.Conv1d(5, 4, 3), {"weight": BOTH, "bias": UNITS}, nn.Conv1d(3, 2, 3)),
        "conv3d": (nn.Conv3d(5, 4, 3, bias=False), {"weight": BOTH}, nn.Conv3d(3, 2, 3, bias=False)),
        "transposed": (
            nn.ConvTranspose1d(4, 5, 2),
            {"weight": BOTH, "bias": {"0": COLUMNS}},
            nn.ConvTranspose1d(2, 3, 2),
        ),
        "transposed in groups": (  # the outputs of each group
            nn.ConvTranspose2d(4, 6, 2, groups=2),
            {"weight": {"groups": [[0, 2], [1, 2]]}, "bias": {"0": [0, 2, 4, 5]}},
            nn.ConvTranspose2d(4, 4, 2, groups=2),
        ),
        "a whole group": (
            nn.Conv1d(6, 6, 3, groups=3),
            {"weight": {"0": [0, 1, 4, 5]}, "bias": {"0": [0, 1, 4, 5]}},
            nn.Conv1d(4, 4, 3, groups=2),
        ),
        "batch norm": (
            nn.BatchNorm2d(4),
            dict.fromkeys(("weight", "bias", "running_mean", "running_var"), UNITS),
            nn.BatchNorm2d(2),
        ),
        "plain batch norm": (
            nn.BatchNorm1d(4, affine=False),
            dict.fromkeys(("running_mean", "running_var"), UNITS),
            nn.BatchNorm1d(2, affine=False),
        ),
        "instance norm": (
            nn.InstanceNorm2d(4, affine=True),
            dict.fromkeys(("weight", "bias"), UNITS),
            nn.InstanceNorm2d(2, affine=True),
        ),
        "group norm": (
            nn.GroupNorm(3, 6),
            {"weight": {"0": [0, 1, 4, 5]}, "bias": {"0": [0, 1, 4, 5]}},
            nn.GroupNorm(2, 4),
        ),
        "layer norm": (nn.LayerNorm(4), dict.fromkeys(("weight", "bias"), UNITS), nn.LayerNorm(2)),
        "layer norm over two": (
            nn.LayerNorm((4, 5)),
            dict.fromkeys(("weight", "bias"), BOTH),
            nn.LayerNorm((2, 3)),
        ),
        "rms norm": (nn.RMSNorm(4), {"weight": UNITS}, nn.RMSNorm(2)),
        "embedding": (nn.Embedding(4, 5, padding_idx=2), {"weight": BOTH}, nn.Embedding(2, 3, padding_idx=1)),
        "embedding bag": (nn.EmbeddingBag(4, 5), {"weight": BOTH}, nn.EmbeddingBag(2, 3)),
        "prelu": (nn.PReLU(4), {"weight": UNITS}, nn.PReLU(2)),
        "lstm": (
            nn.LSTM(5, 4, bidirectional=True),
            {"weight_ih_l0": {"1": COLUMNS}, "weight_ih_l0_reverse": {"1": COLUMNS}},
            nn.LSTM(3, 4, bidirectional=True),
        ),
        "gru cell": (nn.GRUCell(5, 4), {"weight_ih": {"1": COLUMNS}}, nn.GRUCell(3, 4)),
        "conv1d of transformers": (
            Conv1D(5, 4),
            {"weight": BOTH, "bias": {"0": COLUMNS}},
            Conv1D(3, 2),
        ),
        "foreign": (Foreign(5, 4), {"weight": BOTH}, Foreign(3, 2)),
        "two layers": (TwoLayers(4, 4), {"first": UNITS, "second": {"1": ROWS}}, TwoLayers(4, 2)),
        "weight norm": (
            parametrizations.weight_norm(nn.Linear(5, 4)),
            {"parametrizations.weight.original0": UNITS, "parametrizations.weight.original1": BOTH, "bias": UNITS},
            parametrizations.weight_norm(nn.Linear(3, 2)),
        ),
        "spectral norm": (
            spectral_norm(nn.Linear(5, 4)),
            {"weight_orig": BOTH, "weight_u": UNITS, "weight_v": {"0": COLUMNS}, "bias": UNITS},
            spectral_norm(nn.Linear(3, 2)),
        ),
        "older weight norm": (
            weight_norm(nn.Linear(5, 4)),
            {"weight_g": UNITS, "weight_v": BOTH, "bias": UNITS},
            weight_norm(nn.Linear(3, 2)),
        ),
        "pruned": (
            prune.identity(nn.Linear(5, 4), "weight"),
            {"weight_orig": BOTH, "weight_mask": BOTH, "bias": UNITS},
            prune.identity(nn.Linear(3, 2), "weight"),
        ),
    }


with warnings.catch_warnings(action="ignore"):  # the older weight norm is deprecated
    NAMES = list(layers())
INPUTS = {
    "lstm": (7, 3),
    "linear": (7, 3),
    "weight norm": (7, 3),
    "pruned": (7, 3),
    "older weight norm": (7, 3),
    "transposed in groups": (1, 4, 5, 5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", NAMES)
def test_a_layer_becomes_what_is_made_of_the_smaller_sizes(name):
    layer, keep, expected = layers()[name]
    before, text = snapshot(layer), repr(layer)
    undo = shrink(layer, Plan.of(layer, keep))
    assert repr(layer) == repr(expected)
    assert vars(layer).keys() == vars(expected).keys()
    assert {k: v for k, v in vars(layer).items() if isinstance(v, int | tuple)} == {
        k: v for k, v in vars(expected).items() if isinstance(v, int | tuple)
    }
    expected.load_state_dict(layer.state_dict())
    if name in INPUTS:
        x = torch.randn(INPUTS[name])
        assert same(layer(x), expected(x))
    undo()
    assert repr(layer) == text
    assert same(snapshot(layer), before)


def test_the_right_rows_stay_in_a_grouped_convolution():
    layer = whole(nn.Conv1d(4, 4, 1, groups=2))
    old = layer.weight.detach().clone()
    shrink(layer, Plan({"weight": {"0": [1, 2], "groups": [[1], [0]]}, "bias": {"0": [1, 2]}}))
    assert torch.equal(layer.weight, torch.stack([old[1, 1:2], old[2, 0:1]]))


def test_everything_is_put_back_whole():
    model = mlp(4, 5, 3)
    optimizer = torch.optim.Adam([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters()}])
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    before = snapshot(model, optimizer)
    undo = shrink(model, small_plan(), additions={"2.bias": torch.ones(3)}, optimizer=optimizer)
    assert not same(snapshot(model, optimizer), before)
    model(torch.randn(8, 4)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
    optimizer.step()
    undo()
    assert same(snapshot(model, optimizer), before)
    optimizer.step()


def test_what_was_trained_in_between_leaves_nothing_in_the_optimizer():
    model = mlp(4, 5, 3)
    optimizer = torch.optim.Adam(model.parameters())  # without a state, so it makes one for the new weights
    undo = shrink(model, small_plan(), optimizer=optimizer)
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    undo()
    assert set(optimizer.state) == {model[2].bias}
    optimizer.state_dict()


@pytest.mark.parametrize("optimizer", [object(), torch.optim.SGD(nn.Linear(2, 2).parameters())])
def test_after_an_error_everything_is_as_it_was(optimizer):
    model = mlp(4, 5, 3)
    before = snapshot(model)
    with pytest.raises((TypeError, ValueError), match="optimizer"):
        shrink(model, small_plan(), optimizer=optimizer)
    assert same(snapshot(model), before)


def test_a_graph_that_is_alive_does_not_disturb_the_next_backward_pass():
    model, x = mlp(4, 5, 3), torch.randn(8, 4)
    loss = model(x).sum()
    loss.backward()
    shrink(model, small_plan())
    model(x).sum().backward()
    assert model[0].weight.grad.shape == (3, 4)


def test_type_order_in_memory_gradient_and_attributes_stay():
    model = nn.Conv2d(4, 6, 3).to(torch.bfloat16, memory_format=torch.channels_last)
    model.bias.requires_grad = False
    model.weight.no_decay = "yes"
    model.weight.grad = torch.arange(216.0).view(6, 4, 3, 3).to(torch.bfloat16)
    old = model.weight.detach().clone()
    shrink(model, Plan({"weight": {"0": [0, 5], "1": [1, 2, 3]}, "bias": {"0": [0, 5]}}))
    weight, bias = model.weight, model.bias
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert (weight.requires_grad, bias.requires_grad, weight.no_decay) == (True, False, "yes")
    assert torch.equal(weight, old[[0, 5]][:, 1:])
    assert torch.equal(weight.grad, torch.arange(216.0).view(6, 4, 3, 3)[[0, 5]][:, 1:].to(torch.bfloat16))
    assert weight.untyped_storage().nbytes() == 2 * weight.numel()  # no view of the large one


def test_a_weight_that_lies_transposed_in_memory_stays_so():
    model = nn.Linear(5, 4)
    model.weight = nn.Parameter(torch.randn(5, 4).t())
    old = model.weight.detach().clone()
    shrink(model, Plan({"weight": {"1": [0, 3]}}))
    assert model.weight.stride() == (1, 4)
    assert torch.equal(model.weight, old[:, [0, 3]])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(4, 5), nn.Linear(4, 5)
        self.other.weight = self.one.weight
        self.again = self.one


def test_shared_weights_and_shared_modules_shrink_once_and_stay_shared():
    model = Tied()
    kept = {name: {"0": [0, 3]} for name in tensors_of(model)}
    assert len(kept) == 6  # three names of the weight
    shrink(model, Plan.of(model, kept), additions={"again.bias": torch.ones(5)})
    assert model.one.weight is model.other.weight
    assert model.again is model.one
    assert (model.one.out_features, model.other.out_features) == (2, 2)


def test_a_shared_depthwise_convolution_shrinks_once():
    layer = nn.Conv2d(4, 4, 1, groups=4, bias=False)
    model = nn.Sequential(layer, layer)
    shrink(model, Plan.of(model, {name: {"0": [1, 2, 3]} for name in ("0.weight", "1.weight")}))
    assert (layer.groups, layer.in_channels, layer.weight.shape[0]) == (3, 3, 3)


def test_only_a_weight_that_is_computed_stands_for_another():
    attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    assert local_name("attention.bias_v", tensors_of(nn.ModuleDict({"attention": attention}))) == (
        "attention",
        "bias_v",
    )
    assert local_name("a.weight_v", {"a.weight_v": 0, "a.weight_g": 0}) == ("a", "weight")


@pytest.mark.parametrize("other", [{}, {"other.weight": {"0": [0, 4]}}])
def test_shared_weights_are_not_cut_differently(other):
    model = Tied()
    keep = {"one.weight": {"0": [0, 3]}, "again.weight": {"0": [0, 3]}} | other
    with pytest.raises(ValueError, match=r"one\.weight and other\.weight are one tensor"):
        shrink(model, Plan(keep))


def test_additions_are_summed_in_double_precision_and_then_cut():
    model = nn.Linear(2, 3)
    nn.init.ones_(model.bias)
    old = model.bias
    tiny = 2.0**-24 + 2.0**-50  # a float32 of this would leave 1 as it is
    addition = torch.tensor([0.0, tiny, 2.0], dtype=torch.float64)
    undo = shrink(model, Plan({"weight": {"0": [1, 2]}, "bias": {"0": [1, 2]}}), additions={"bias": addition})
    assert model.bias.tolist() == [1 + 2.0**-23, 3]
    undo()
    assert model.bias is old
    assert old.tolist() == [1, 1, 1]


def test_additions_reach_what_does_not_shrink():
    model = nn.BatchNorm1d(2)
    shrink(model, Plan({}), additions={"running_mean": torch.tensor([1.0, -1.0])})
    assert model.running_mean.tolist() == [1, -1]
    assert "running_mean" in model.state_dict()


def new_bias_plan(model):
    keep = {"0.weight": {"0": [0, 2]}, "0.bias": {"0": [0, 2]}, "2.weight": {"1": [0, 2]}}
    return Plan.of(model, keep, ["0.bias", "2.bias"])


def test_a_layer_gets_a_bias_and_the_state_dict_loads_into_a_fresh_model():
    model = mlp(4, 3, 2, bias=False)
    additions = {"2.bias": torch.tensor([1.0, 2.0]), "0.bias": torch.tensor([3.0, 4.0, 5.0])}
    plan = new_bias_plan(model)
    undo = shrink(model, plan, additions=additions)
    assert (model[0].bias.tolist(), model[2].bias.tolist()) == ([3, 5], [1, 2])
    fresh = mlp(4, 3, 2, bias=False)
    shrink(fresh, Plan.from_dict(json.loads(json.dumps(plan.as_dict()))))
    assert not fresh[2].bias.any()
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(fresh(x), model(x))
    undo()
    assert model[0].bias is None
    assert list(model.state_dict()) == ["0.weight", "2.weight"]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.ConvTranspose1d(4, 6, 2, groups=2, bias=False), 6),
        (parametrizations.weight_norm(nn.Linear(3, 4, bias=False)), 4),
        (nn.Conv2d(2, 5, 1, bias=False, dtype=torch.float16), 5),
    ],
)
def test_a_new_bias_has_the_size_and_the_type_of_its_layer(layer, size):
    layer = copy.deepcopy(layer)
    layer.requires_grad_(size != 5)
    shrink(layer, Plan({}, ("bias",)))
    assert layer.bias.shape == (size,)
    assert layer.bias.dtype == layer.weight.dtype
    assert layer.bias.requires_grad == (size != 5)


def planted(width=6, dead=(1, 4), bias=True):
    """An MLP whose dead units get no gradient, in or out."""
    torch.manual_seed(0)
    model = mlp(3, width, 2, bias=bias).double()
    if bias:
        model[0].bias.data[list(dead)] = -10
    return model


def train(model, optimizer, steps=3):
    x = torch.linspace(-1, 1, 24, dtype=torch.float64).view(8, 3)

    def loss():
        optimizer.zero_grad()
        value = (model(x) - x[:, :2]).square().mean()
        value.backward()
        return value

    for _ in range(steps):
        optimizer.step(loss)


KEPT = [0, 2, 3, 5]
PLANTED = Plan({"0.weight": {"0": KEPT}, "0.bias": {"0": KEPT}, "2.weight": {"1": KEPT}})
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.5),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "adadelta": torch.optim.Adadelta,
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"adafactor", "lbfgs"}))
def test_an_optimizer_goes_on_as_it_would_have(name):
    model = planted()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    whole_model, whole_optimizer = copy.deepcopy((model, optimizer))
    shrink(model, PLANTED, optimizer=optimizer)
    train(model, optimizer)
    train(whole_model, whole_optimizer)
    shrink(whole_model, PLANTED)
    for one, other in zip(model.parameters(), whole_model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["adafactor", "lbfgs"])
def test_an_optimizer_that_mixes_weights_goes_on(name):
    model = planted()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    before = list(model.parameters())
    undo = shrink(model, PLANTED, optimizer=optimizer)
    for _ in range(2):
        old = copy.deepcopy(model)
        train(model, optimizer)
        for one, other in zip(model.parameters(), old.parameters(), strict=True):
            assert one.isfinite().all()
            assert not torch.equal(one, other)
        undo()
        assert all(one is other for one, other in zip(model.parameters(), before, strict=True))
    optimizer.state_dict()


def test_the_rows_and_columns_of_adafactor_are_cut():
    model = planted()
    optimizer = OPTIMIZERS["adafactor"](model.parameters())
    train(model, optimizer)
    rows = [optimizer.state[model[i].weight]["row_var"].clone() for i in (0, 2)]
    columns = [optimizer.state[model[i].weight]["col_var"].clone() for i in (0, 2)]
    shrink(model, PLANTED, optimizer=optimizer)
    first, second = (optimizer.state[model[i].weight] for i in (0, 2))
    assert torch.equal(first["row_var"], rows[0][KEPT])
    assert torch.equal(first["col_var"], columns[0])
    assert torch.equal(second["row_var"], rows[1])
    assert torch.equal(second["col_var"], columns[1][:, KEPT])


def test_the_states_of_other_optimizers_are_cut_or_start_anew():
    layer = nn.Conv2d(4, 4, (3, 2), groups=2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    row, column = torch.arange(24.0).view(4, 2, 3), torch.arange(16.0).view(4, 2, 2)
    optimizer.state[layer.weight] = {"step": 3, "RMS": 0.5, "exp_avg_sq_row": row, "exp_avg_sq_col": column}
    optimizer.state[layer.bias] = {"step": torch.tensor(3), "state1": torch.zeros(256, dtype=torch.uint8)}
    kept = {"0": [0, 3], "groups": [[1], [0]]}
    shrink(layer, Plan({"weight": kept, "bias": {"0": [0, 3]}}), optimizer=optimizer)
    assert set(optimizer.state) == {layer.weight}
    state = optimizer.state[layer.weight]
    assert (state["step"], state["RMS"]) == (3, 0.5)
    assert torch.equal(state["exp_avg_sq_row"], torch.stack([row[0, 1:], row[3, :1]]))
    assert torch.equal(state["exp_avg_sq_col"], torch.stack([column[0, 1:], column[3, :1]]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_new_bias_is_trained_beside_its_weight(name):
    model = planted(bias=False)
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    keep = {"0.weight": {"0": KEPT}, "2.weight": {"1": KEPT}}
    shrink(model, Plan(keep, ("2.bias",)), optimizer=optimizer)
    train(model, optimizer)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [
        id(p) for p in (model[0].weight, model[2].weight, model[2].bias)
    ]
    assert model[2].bias.all()


def test_adagrad_has_a_state_for_a_new_bias_before_its_first_step():
    model = planted(bias=False)
    optimizer = OPTIMIZERS["adagrad"](model.parameters())
    undo = shrink(model, Plan({"2.weight": {"1": KEPT}}, ("2.bias",)), optimizer=optimizer)
    state = optimizer.state[bias := model[2].bias]
    assert (state["step"], state["sum"].tolist()) == (0, [0.5, 0.5])
    undo()
    assert bias not in optimizer.state


def test_a_new_bias_joins_even_if_nothing_shrinks():
    layer = nn.Linear(4, 3, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    shrink(layer, Plan({}, ("bias",)), optimizer=optimizer)
    assert optimizer.param_groups[0]["params"][1] is layer.bias


def test_a_new_bias_joins_the_group_and_the_names_of_its_weight():
    model = mlp(3, 6, 2, bias=False)
    groups = [
        {"params": [("0.weight", model[0].weight)], "lr": 0.1},
        {"params": [("2.weight", model[2].weight)], "lr": 0.2},
    ]
    optimizer = torch.optim.SGD(groups)
    undo = shrink(model, Plan({"2.weight": {"1": KEPT}}, ("0.bias",)), optimizer=optimizer)
    assert optimizer.param_groups[0]["params"] == [model[0].weight, model[0].bias]
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias"]
    assert optimizer.param_groups[1]["params"][0] is model[2].weight
    undo()
    assert optimizer.param_groups[0]["param_names"] == ["0.weight"]
    assert len(optimizer.param_groups[0]["params"]) == 1


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_an_optimizer_of_matrices_gets_no_bias():
    model = planted(bias=False)
    optimizer = torch.optim.Muon(model.parameters(), lr=0.01)
    train(model, optimizer)
    shrink(model, Plan({"0.weight": {"0": KEPT}, "2.weight": {"1": KEPT}}, ("2.bias",)), optimizer=optimizer)
    train(model, optimizer)
    assert len(optimizer.param_groups[0]["params"]) == 2


def mistakes():
    rows = {"weight": {"0": [0, 2]}}
    grouped = nn.Conv1d(4, 4, 1, groups=2)
    return {
        "a weight that is missing": (nn.Linear(4, 3), Plan({"net.weight": {"0": [0]}}), {}, r"lacks net\.weight"),
        "another shape": (
            nn.Linear(4, 3),
            Plan(rows, shapes={"weight": (64, 4)}),
            {},
            r"has the shape \(64, 4\); in this model it is \(3, 4\)",
        ),
        "too few rows": (nn.Linear(4, 2), Plan(rows), {}, "keeps index 2 of weight .* has the size 2"),
        "too few dimensions": (nn.Linear(4, 2), Plan({"bias": {"1": [0]}}), {}, "along dimension 1, .* it has 1"),
        "a bias that is there": (nn.Linear(4, 3), Plan({}, ("bias",)), {}, "this model has one"),
        "a bias without a layer": (nn.Linear(4, 3), Plan({}, ("net.bias",)), {}, "has no weight there"),
        "a bias that cannot be": (nn.Embedding(4, 3), Plan({}, ("bias",)), {}, "Embedding.* cannot have one"),
        "a bias of the old size": (nn.Linear(4, 3, bias=False), Plan(rows, ("bias",)), {}, "3 values for 2 units"),
        "uneven groups": (grouped, Plan({"weight": {"0": [0, 1, 2]}}), {}, r"leaves \[1, 2\] rows of the groups"),
        "columns without groups": (grouped, Plan({"weight": {"1": [0]}}), {}, "has 2 groups: use 'groups'"),
        "other groups": (grouped, Plan({"weight": {"groups": [[0]]}}), {}, "has 1 groups for weight; .* it has 2"),
        "part of a norm's group": (nn.GroupNorm(2, 4), Plan({"weight": {"0": [0, 2]}}), {}, "apart within a group"),
        "the padding": (nn.Embedding(3, 2, padding_idx=1), Plan(rows), {}, "row 1 of weight, which is its padding"),
        "an addition to nothing": (nn.Linear(4, 3), Plan({}), {"b": torch.ones(3)}, "added to b, .* lacks"),
        "an addition after the cut": (nn.Linear(4, 3), Plan(rows), {"bias": torch.ones(2)}, r"its shape \(3,\)"),
        "an addition to integers": (
            nn.BatchNorm1d(3),
            Plan({}),
            {"num_batches_tracked": torch.tensor(1)},
            "must hold floats",
        ),
        "two additions to one": (
            Tied(),
            Plan({}),
            {name: torch.ones(5, 4) for name in ("one.weight", "other.weight")},
            "under another name already",
        ),
    }


@pytest.mark.parametrize("name", mistakes())
def test_a_plan_for_another_model_is_refused_and_changes_nothing(name):
    model, plan, additions, message = mistakes()[name]
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        shrink(model, plan, additions=additions)
    assert same(snapshot(model), before)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"w": {"0": []}}, "at least one"),
        ({"w": {"0": [1, 1]}}, "ascending"),
        ({"w": {"0": [-1]}}, "ascending"),
        ({"w": {"0": [True]}}, "ascending"),
        ({"w": {"0": "12"}}, "ascending"),
        ({"w": {"-1": [0]}}, "a dimension is"),
        ({"w": {0: [0]}}, "a dimension is"),
        ({"w": {"groups": [[0], [0, 1]]}}, r"as many in each group, got \[1, 2\]"),
        ({"w": {"groups": [0, 1]}}, "one list"),
        ({"w": [0]}, r"keep\['w'\] must be a mapping"),
        ([], "keep must be a mapping"),
    ],
)
def test_a_plan_that_says_nothing_sound_is_refused(keep, message):
    with pytest.raises(ValueError, match=message):
        Plan(keep)
    with pytest.raises(ValueError, match=message):
        Plan.from_dict({"format": 1, "keep": keep, "new_biases": [], "shapes": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has the format 2, and this version of leakyrelu reads 1"),
        ({"new_biases": "0.bias"}, "new_biases must be a list"),
        ({"new_biases": [1]}, "must be the name of a bias, got 1"),
        ({"shapes": {"0.weight": [4, "5"]}}, "must be a tuple of sizes"),
        ({"shapes": [1]}, "shapes must be a mapping"),
    ],
)
def test_a_file_with_something_else_in_it_is_refused(change, message):
    data = small_plan().as_dict()
    with pytest.raises(ValueError, match=message):
        Plan.from_dict(data | change)
    for key in ("keep", "new_biases", "shapes"):
        with pytest.raises(ValueError, match=f"lacks {key}"):
            Plan.from_dict({name: value for name, value in data.items() if name != key})
    for nothing in ([], None, {}):
        with pytest.raises(ValueError, match="this is no plan"):
            Plan.from_dict(nothing)


def test_a_plan_survives_json():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2, bias=False))
    plan = Plan.of(model, {"0.weight": {"0": [0, 2], "groups": [[1], [0]]}, "0.bias": {"0": [0, 2]}}, ["0.bias"])
    assert plan.shapes == {"0.weight": (4, 2, 1, 1)}
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_the_weights_of_a_model_without_values_shrink_too():
    with torch.device("meta"):
        model = mlp(4, 5, 3)
    shrink(model, small_plan())
    assert model[2].weight.shape == (3, 3)
    assert model[2].weight.is_meta


def test_the_report_says_what_is_gone_and_what_it_brought():
    model = mlp(4, 5, 3)
    plan = Plan.of(model, small_plan().keep)
    before = parameters(model), multiply_adds(model, torch.ones(7, 4))
    undo = shrink(model, plan)
    after = parameters(model), multiply_adds(model, torch.ones(7, 4))
    undo()
    assert before == (43, 7 * 35)
    assert after == (27, 7 * 21)
    removal = Removal({"1": (1, 3)}, {"relu": "why"}, (43, 27), (245, 147), (0.002, 0.001), 3e-8, plan, ("something",))
    assert str(removal).splitlines() == [
        "2 dead units removed; the output changed by at most 3e-08 of its largest value",
        "  parameters: 43 -> 27 (63 %)",
        "  multiply-adds for a batch: 245 -> 147 (60 %)",
        "  time for a batch: 2 ms -> 1 ms (50 %)",
        "  1: units 1, 3",
        "  left alone, relu: why",
        "  note: something",
    ]
    assert removal.apply(model) is model
    assert parameters(model) == 27
    with pytest.raises(ValueError, match=r"made for a model whose 0\.weight"):
        removal.apply(model)


def test_multiply_adds_of_fused_attention_are_counted():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    tokens, width = 2 * 5, 8
    linear = tokens * (4 * width * width + 2 * width * 16)
    attention = 2 * 2 * (2 * 5 * 5 * width // 2)
    layer.train()
    assert multiply_adds(layer, torch.randn(2, 5, 8)) == linear + attention
    assert layer.training


def test_the_model_is_timed_in_its_own_mode_again():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    assert all(time > 0 for time in seconds([model, model], torch.randn(4, 3)))
    assert model.training
    assert model[0].num_batches_tracked == 0


def test_a_plan_as_json_is_no_plan():
    plan = Plan({"0.weight": {"0": [0]}})
    with pytest.raises(TypeError, match=r"plan must be a Plan, got dict; from a file, it is Plan\.from_dict"):
        shrink(nn.Sequential(nn.Linear(2, 2)), plan.as_dict())
