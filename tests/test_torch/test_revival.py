"""revive: dead units fire again, the output stays, and nothing else changes; what cannot be proven is left alone."""

import copy
import pickle
import random as python_random

import numpy as np
import pytest
import torch
from test_torch.planted import seeded
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it
from torch.nn.utils import parametrizations, prune

from leakyrelu.torch import Monitor, Revival, counts, diagnose, edits, revive, surgery, waking

__all__ = ["seeded"]  # a fixture that each test of a module uses which has it

EVERY = slice(None)


def data(*shape, batches=2, dtype=None):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(64, *shape, generator=generator).to(dtype) for _ in range(batches)]


def kill(module, units=(1, 3), by=-100.0):
    """Kill units through the bias or, if there is none, by negative weights, which needs positive inputs."""
    with torch.no_grad():
        if module.bias is not None:
            module.bias[list(units)] = by
        else:
            module.weight[list(units)] = -module.weight[list(units)].abs()
    return module


def state_of(model, optimizer=None):
    """Every number of a model and of its optimizer, by name."""
    state = dict(model.state_dict())
    if optimizer:
        names = {parameter: name for name, parameter in model.named_parameters()}
        state |= {f"{names[p]}/{key}": value for p, of in optimizer.state.items() for key, value in of.items()}
    return {name: value.clone() for name, value in state.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def outputs_of(model, batches):
    training = model.training
    model.eval()
    with torch.no_grad():
        outputs = [model(**batch) if isinstance(batch, dict) else model(batch.clone()) for batch in batches]
    model.train(training)
    return [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def revived(model, batches, units, *, touched=None, outgoing=None, rate=(0.3, 0.7), **keywords):
    """Revive, and check all promises; `touched` and `outgoing` are indices into the weights, by name."""
    touched, outgoing = touched or {}, outgoing or {}
    before, outputs = state_of(model), outputs_of(model, batches)
    revival = revive(model, batches, **keywords)
    assert revival.revived == units, str(revival)
    assert revival.skipped == {}
    assert revival.before.dead == sum(map(len, units.values()))
    assert revival.after.dead == 0
    assert revival.output_change <= 1e-5
    for site in revival.after.sites:
        for unit in units.get(site.name, ()):
            assert rate[0] <= site.firing_rate[unit] <= rate[1], (site.name, unit, site.firing_rate[unit])
    for old, new in zip(outputs, outputs_of(model, batches), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-5 * float(old.abs().max()))
    after = state_of(model)
    for name, index in outgoing.items():
        assert (before[name][index] != 0).any()
        assert (after[name][index] == 0).all()
    for name in after:
        may = torch.zeros_like(after[name], dtype=torch.bool)
        for indices in (touched, outgoing):
            if name in indices:
                may[indices[name]] = True
        assert torch.equal(after[name][~may], before[name][~may]), name
    return revival


def learns(model, batches, incoming, outgoing, *, through_others=False):
    """Check that the outgoing weights have a gradient and, after one step, the incoming ones, too."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    parameters = dict(model.named_parameters())
    model.train()
    for names, before in ((outgoing, {} if through_others else incoming), (incoming, {})):
        optimizer.zero_grad()
        output = model(batches[0])
        (output - torch.randn(output.shape)).square().mean().backward()
        for name, index in names.items():
            assert (parameters[name].grad[index] != 0).any(), name
        for name, index in before.items():
            assert (parameters[name].grad[index] == 0).all(), name
        optimizer.step()


def dead_after(revival):
    """The units that are still dead, by the names of their sites."""
    return {site.name: tuple(site.dead.tolist()) for site in revival.after.sites if len(site.dead)}


def left_alone(model, batches, reason, *, dead=2):
    before = state_of(model)
    revival = revive(model, batches)
    assert equal(before, state_of(model))
    assert revival.revived == {}
    assert revival.output_change == 0
    assert revival.after.dead == revival.before.dead == sum(map(len, dead_after(revival).values())) == dead
    assert revival.skipped.keys() == dead_after(revival).keys()
    reasons = set(revival.skipped.values())
    assert any(reason in given for given in reasons), reasons
    assert reason in str(revival)
    return revival


class Model(nn.Module):
    """Layers by their names, and a forward."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def mlp(*between):
    layer = nn.Linear(6, 8)
    nn.init.ones_(layer.bias)
    return nn.Sequential(kill(layer), *between, nn.ReLU(), nn.Linear(8, 3))


# Architectures, each with units 1 and 3 of its first layer dead.

MLP = {"touched": {"0.bias": [1, 3]}, "outgoing": {"2.weight": (EVERY, [1, 3])}}


def test_dead_units_of_an_mlp_are_revived():
    model = mlp()
    revived(model, data(6), {"1": (1, 3)}, **MLP)
    learns(model, data(6), {"0.weight": [1, 3]}, {"2.weight": (EVERY, [1, 3])})


SPELLINGS = {
    "nn.Flatten": nn.Flatten(),
    "torch.flatten": lambda x: torch.flatten(x, 1),
    "x.flatten": lambda x: x.flatten(start_dim=1),
    "view": lambda x: x.view(x.size(0), -1),
    "view with shape": lambda x: x.view(x.shape[0], -1),
    "view with all of the shape": lambda x: x.view(-1, x.shape[1] * x.shape[2] * x.shape[3]),
    "reshape with len": lambda x: x.reshape(len(x), -1),
    "reshape": lambda x: torch.reshape(x, (x.size()[0], -1)),
    "mean of space": lambda x: x.mean((2, 3)),
    "mean twice": lambda x: torch.mean(x, dim=-1).mean(-1),
    "sum, kept": lambda x: x.sum((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    "amax": lambda x: x.amax((-2, -1)),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "adaptive pool, module": nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    "average pool with padding": nn.Sequential(nn.AvgPool2d(3, padding=1), nn.Flatten()),
    "max pool": nn.Sequential(nn.MaxPool2d(2), nn.Dropout2d(), nn.Identity(), nn.Flatten()),
    "F.max_pool2d": lambda x: F.max_pool2d(F.dropout(x, training=False), 3, 2, 1).flatten(1),
    "F.avg_pool2d": lambda x: F.avg_pool2d(x, 2).contiguous().flatten(1),
    "L2 pool": nn.Sequential(nn.LPPool2d(2, 2), nn.Flatten()),
    "upsampled": nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Flatten()),
    "interpolate": lambda x: F.interpolate(x, size=3).flatten(1),
    "permuted": lambda x: x.permute(0, 2, 3, 1).reshape(x.size(0), -1),
    "transposed tokens": lambda x: x.flatten(2).transpose(1, 2).mean(1),
    "the first position": lambda x: x[:, :, 0, 0],
    "pixel shuffle": nn.Sequential(nn.PixelShuffle(2), nn.Flatten()),
    "pieces joined": lambda x: torch.cat([x.flatten(1), x.mean((2, 3)), x.new_ones(x.size(0), 2)], 1),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_channel_of_a_cnn_is_followed_to_its_columns(spelling):
    flat = SPELLINGS[spelling]
    if isinstance(flat, nn.Module):
        flat.eval()
    only = torch.zeros(1, 4, 6, 6)
    only[:, [1, 3]] = 1
    owned = (flat(only) != flat(0 * only))[0]
    model = Model(
        lambda self, x: self.head(self.flat(self.relu(self.norm(self.conv(x))))),
        conv=nn.Conv2d(3, 4, 3),
        norm=kill(nn.BatchNorm2d(4), by=-20.0),
        relu=nn.ReLU(inplace=True),
        flat=flat,
        head=nn.Linear(len(owned), 5),
    )
    touched = {f"norm.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    touched["conv.bias"] = [1, 3]
    outgoing = {"head.weight": (EVERY, owned)}
    revived(model, data(3, 8, 8), {"relu": (1, 3)}, touched=touched, outgoing=outgoing)
    learns(model, data(3, 8, 8), {"conv.weight": [1, 3]}, outgoing)


CONVOLUTIONS = {
    "Conv1d": (nn.Conv1d(2, 4, 3), nn.Conv1d(4, 5, 3), (2, 9), [1, 3], (EVERY, [1, 3])),
    "Conv3d": (nn.Conv3d(2, 4, 2), nn.Conv3d(4, 5, 2), (2, 4, 4, 4), [1, 3], (EVERY, [1, 3])),
    "circular": (
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(4, 5, 3, dilation=2, stride=2),
        (2, 7, 7),
        [1, 3],
        (EVERY, [1, 3]),
    ),
    "ConvTranspose1d": (nn.ConvTranspose1d(2, 4, 3), nn.ConvTranspose1d(4, 5, 3), (2, 9), (EVERY, [1, 3]), [1, 3]),
    "ConvTranspose2d": (nn.ConvTranspose2d(2, 4, 3), nn.Conv2d(4, 5, 3), (2, 5, 5), (EVERY, [1, 3]), (EVERY, [1, 3])),
    "ConvTranspose3d": (
        nn.ConvTranspose3d(2, 4, 2, stride=2),
        nn.ConvTranspose3d(4, 5, 2),
        (2, 2, 2, 2),
        (EVERY, [1, 3]),
        [1, 3],
    ),
    "depthwise consumer": (nn.Conv2d(2, 4, 3), nn.Conv2d(4, 8, 3, groups=4), (2, 7, 7), [1, 3], [2, 3, 6, 7]),
    "depthwise layer": (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 5, 1), (4, 7, 7), [1, 3], (EVERY, [1, 3])),
    "grouped": (
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 6, 3, groups=2),
        (4, 7, 7),
        [1, 3],
        ([0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]),
    ),
    "grouped, transposed": (
        nn.ConvTranspose2d(4, 4, 3, groups=2),
        nn.ConvTranspose2d(4, 6, 3, groups=2),
        (4, 5, 5),
        ([0, 1, 2, 3], [1, 1, 1, 1]),
        [1, 3],
    ),
}


@pytest.mark.parametrize("redrawn", [False, True])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_of_all_kinds(kind, redrawn):
    layer, consumer, shape, incoming, outgoing = CONVOLUTIONS[kind]
    layer, consumer = copy.deepcopy(layer), copy.deepcopy(consumer)
    if redrawn:
        with torch.no_grad():
            layer.weight[incoming] = 0
    model = nn.Sequential(kill(layer), nn.ReLU(), consumer)
    touched = {"0.bias": [1, 3]} | ({"0.weight": incoming} if redrawn else {})
    revived(model, data(*shape), {"1": (1, 3)}, touched=touched, outgoing={"2.weight": outgoing})
    learns(model, data(*shape), {"0.weight": incoming}, {"2.weight": outgoing})


NORMS = {
    "BatchNorm1d": (nn.BatchNorm1d(8), (6,)),
    "LayerNorm": (nn.LayerNorm(8), (6,)),
    "LayerNorm on tokens": (nn.LayerNorm(8), (5, 6)),
    "GroupNorm": (nn.GroupNorm(4, 8), (6,)),
}


@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_behind_a_linear_layer_is_reset_and_shifted(kind):
    norm, shape = copy.deepcopy(NORMS[kind][0]), NORMS[kind][1]
    kill(norm)
    with torch.no_grad():
        norm.weight[[1, 3]] = 0
    model = nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU(), nn.Linear(8, 3))
    touched = {f"1.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    touched |= {"0.bias": [1, 3]} if isinstance(norm, nn.BatchNorm1d) else {}
    revived(model, data(*shape), {"2": (1, 3)}, touched=touched, outgoing={"3.weight": (EVERY, [1, 3])})
    assert norm.weight[[1, 3]].tolist() == [1, 1]
    through_others = not isinstance(norm, nn.BatchNorm1d)
    outgoing = {"3.weight": (EVERY, [1, 3])}
    learns(model, data(*shape), {"0.weight": [1, 3]}, outgoing, through_others=through_others)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.BatchNorm2d(4)])
def test_a_norm_behind_a_convolution_is_reset_and_shifted(norm):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), kill(norm), nn.ReLU(), nn.Conv2d(4, 3, 3))
    touched = {f"1.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    revived(model, data(2, 8, 8), {"2": (1, 3)}, touched=touched, outgoing={"3.weight": (EVERY, [1, 3])})
    through_others = isinstance(norm, nn.GroupNorm)
    outgoing = {"3.weight": (EVERY, [1, 3])}
    learns(model, data(2, 8, 8), {"0.weight": [1, 3]}, outgoing, through_others=through_others)


def test_units_behind_a_batch_norm_fire_in_training_mode_too():
    layer = nn.Linear(6, 8)
    norm = kill(nn.BatchNorm1d(8))
    with torch.no_grad():
        layer.bias[1] = -500
        norm.running_mean[3] = 1e6
    model = nn.Sequential(layer, norm, nn.ReLU(), nn.Linear(8, 3))
    batches = [5 * batch + 9 for batch in data(6)]
    revive(model, batches)
    with torch.no_grad():
        made = layer(torch.cat(batches))[:, [1, 3]]
        rates = (model.train()[:2](batches[0])[:, [1, 3]] > 0).double().mean(0)
    assert all(0.3 < rate < 0.7 for rate in rates)
    torch.testing.assert_close(norm.running_mean[[1, 3]], 0.9 * made.mean(0) + 0.1 * made[:64].mean(0))
    torch.testing.assert_close(norm.running_var[[1, 3]], 0.9 * made.var(0, correction=0) + 0.1 * made[:64].var(0))


def test_a_norm_that_makes_units_of_a_sum_is_enough():
    model = Model(
        lambda self, x: x + self.two(F.relu(self.norm(x + self.one(x)))),
        one=nn.Linear(6, 6),
        norm=kill(nn.BatchNorm1d(6)),
        two=nn.Linear(6, 6),
    )
    touched = {f"norm.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    touched["one.bias"] = [1, 3]
    revived(model, data(6), {"relu": (1, 3)}, touched=touched, outgoing={"two.weight": (EVERY, [1, 3])})


def test_a_norm_of_channels_that_were_features_is_enough():
    model = nn.Sequential(
        nn.Linear(6, 64), nn.Unflatten(1, (4, 4, 4)), kill(nn.BatchNorm2d(4)), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2)
    )
    touched = {f"2.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    revived(model, data(6), {"3": (1, 3)}, touched=touched, outgoing={"4.weight": [1, 3]})


def test_a_norm_of_a_layer_that_is_not_its_own_is_enough():
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(6, 8)), kill(nn.BatchNorm1d(8)), nn.ReLU(), nn.Linear(8, 3)
    )
    touched = {f"1.{name}": [1, 3] for name in ("weight", "bias", "running_mean", "running_var")}
    revived(model, data(6), {"2": (1, 3)}, touched=touched, outgoing={"3.weight": (EVERY, [1, 3])})


def test_a_batch_norm_behind_the_activation_keeps_its_constant():
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(1e-9, 2)
        norm.bias.normal_()
    model = nn.Sequential(
        kill(nn.Conv2d(2, 4, 3)), nn.ReLU(), norm, nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    )
    touched = {"0.bias": [1, 3]} | {f"2.{name}": [1, 3] for name in ("bias", "running_mean", "running_var")}
    revival = revived(model, data(2, 8, 8), {"1": (1, 3)}, touched=touched, outgoing={"2.weight": [1, 3]})
    assert revival.output_change == 0
    learns(model, data(2, 8, 8), {"0.weight": [1, 3]}, {"2.weight": [1, 3]})


def test_a_batch_norm_between_two_activations_takes_units_and_makes_units():
    layer, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    nn.init.ones_(layer.bias)
    nn.init.ones_(norm.bias)
    model = nn.Sequential(kill(layer), nn.ReLU(), kill(norm, [2, 3]), nn.ReLU(), nn.Conv2d(4, 3, 3))
    touched = {"0.bias": [1, 3]} | {
        f"2.{name}": [1, 2, 3] for name in ("weight", "bias", "running_mean", "running_var")
    }
    outgoing = {"4.weight": (EVERY, [2, 3])}
    revived(model, data(2, 8, 8), {"1": (1, 3), "3": (2, 3)}, touched=touched, outgoing=outgoing)
    assert norm.weight[1] == 0


def test_units_joined_with_others_are_followed():
    model = Model(
        lambda self, x: self.two(torch.cat([x, self.relu(self.one(x)), x], dim=1)),
        one=kill(nn.Conv2d(2, 4, 3, padding=1)),
        relu=nn.ReLU(),
        two=nn.Conv2d(8, 3, 3),
    )
    revived(
        model, data(2, 6, 6), {"relu": (1, 3)}, touched={"one.bias": [1, 3]}, outgoing={"two.weight": (EVERY, [3, 5])}
    )


def test_linear_layers_without_bias_get_new_weights():
    model = nn.Sequential(kill(nn.Linear(6, 8, bias=False)), nn.ReLU(), nn.Linear(8, 3, bias=False))
    batches = [batch.abs() for batch in data(6)]
    outgoing = {"2.weight": (EVERY, [1, 3])}
    revived(model, batches, {"1": (1, 3)}, touched={"0.weight": [1, 3]}, outgoing=outgoing, rate=(0.05, 0.95))
    learns(model, batches, {"0.weight": [1, 3]}, outgoing)


def test_several_consumers_are_all_cut():
    def forward(self, x):
        hidden = self.relu(self.body(x))
        return {"class": self.one(hidden), "rest": [self.two(self.dropout(hidden)), x]}

    layers = {"body": kill(nn.Linear(6, 8)), "relu": nn.ReLU(), "dropout": nn.Dropout(), "two": nn.Linear(8, 2)}
    model = Model(forward, **layers, one=nn.Linear(8, 3))
    outgoing = {"one.weight": (EVERY, [1, 3]), "two.weight": (EVERY, [1, 3])}
    revived(model, data(6), {"relu": (1, 3)}, touched={"body.bias": [1, 3]}, outgoing=outgoing)


class Shared(nn.Module):
    def __init__(self, relu):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        for layer in (self.one, self.two):
            nn.init.ones_(layer.bias)
            kill(layer)
        self.relu = relu

    def forward(self, x):
        return self.three(self.relu(self.two(self.relu(self.one(x)))))


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(),
        nn.ReLU6(),
        F.relu,
        torch.relu,
        torch.relu_,
        lambda x: x.relu(),
        lambda x: x.clamp(min=0),
        nn.LeakyReLU(0),
    ],
)
def test_an_activation_may_be_shared_a_function_or_a_method(relu):
    model = Shared(relu)
    name = diagnose(model, data(6)).sites[0].name
    touched = {"one.bias": [1, 3], "two.bias": [1, 3]}
    outgoing = {"two.weight": (EVERY, [1, 3]), "three.weight": (EVERY, [1, 3])}
    revived(model, data(6), {name: (1, 3), f"{name}:2": (1, 3)}, touched=touched, outgoing=outgoing)


def test_one_activation_may_follow_another():
    model = nn.Sequential(kill(nn.Conv1d(2, 4, 3)), nn.ReLU(), nn.MaxPool1d(2), nn.ReLU(), nn.Conv1d(4, 3, 2))
    revival = revive(model, data(2, 9))
    assert (revival.before.dead, revival.after.dead) == (4, 0)
    assert revival.revived == {"1": (1, 3)}
    assert revival.skipped == {}


def test_the_linear_layers_of_a_transformer_are_known():
    model = nn.Sequential(
        nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 2, enable_nested_tensor=False),
        nn.Linear(6, 2),
    )
    kill(model[0].layers[0].linear1)
    kill(model[0].layers[1].linear1)
    units = {f"0.layers.{i}.relu": (1, 3) for i in range(2)}
    touched = {f"0.layers.{i}.linear1.bias": [1, 3] for i in range(2)}
    outgoing = {f"0.layers.{i}.linear2.weight": (EVERY, [1, 3]) for i in range(2)}
    revived(model, data(5, 6), units, touched=touched, outgoing=outgoing)


def test_a_transformer_layer_whose_activation_is_a_module():
    model = nn.Sequential(nn.Linear(6, 6), nn.TransformerEncoderLayer(6, 2, 8, activation=nn.ReLU()), nn.Linear(6, 2))
    kill(model[1].linear1)
    outgoing = {"1.linear2.weight": (EVERY, [1, 3])}
    revived(model, data(5, 6), {"1.activation": (1, 3)}, touched={"1.linear1.bias": [1, 3]}, outgoing=outgoing)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda self, x: self.head(self.body(x)) + self.body.linear1(x).sum(), "make it also reach an output"),
        (lambda self, x: self.head(self.body(x)) + self.body.linear2.weight.sum(), "linear2.weight, which takes its"),
    ],
)
def test_a_transformer_layer_that_is_used_otherwise_is_left_alone(forward, reason):
    model = Model(forward, body=nn.TransformerEncoderLayer(6, 2, 8), head=nn.Linear(6, 2))
    nn.init.ones_(model.body.linear1.bias)
    kill(model.body.linear1)
    before = state_of(model)
    revival = revive(model, data(5, 6))
    assert equal(before, state_of(model))
    assert any(reason in given for given in revival.skipped.values()), str(revival)


def test_a_transformer_layer_may_be_called_twice():
    model = Model(
        lambda self, x: self.head(self.body(self.body(x))),
        body=nn.TransformerEncoderLayer(6, 2, 8),
        head=nn.Linear(6, 2),
    )
    nn.init.ones_(model.body.linear1.bias)
    kill(model.body.linear1)
    outputs = outputs_of(model, data(5, 6))
    revival = revive(model, data(5, 6))
    assert revival.revived == {"body.relu": (1, 3), "body.relu:2": (1, 3)}
    assert all(torch.equal(*pair) for pair in zip(outputs, outputs_of(model, data(5, 6)), strict=True))


def test_statistics_that_are_read_elsewhere_stay():
    model = Model(
        lambda self, x: self.two(F.relu(self.norm(x))) + self.norm.running_mean.sum(),
        norm=kill(nn.BatchNorm1d(6)),
        two=nn.Linear(6, 3),
    )
    left_alone(model, data(6), "the weights that make it also reach an output")


# How dead.


def test_a_layer_of_dead_units_alone_is_revived():
    model = mlp()
    kill(model[0], range(8))
    revived(model, data(6), {"1": tuple(range(8))}, touched={"0.bias": EVERY}, outgoing={"2.weight": EVERY})
    assert (model[2].bias != 0).all()


@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm1d, nn.LayerNorm])
def test_dead_layers_one_after_the_other_are_revived(norm):
    model = nn.Sequential(
        *[layer for _ in range(3) for layer in (nn.Linear(8, 8), norm(8), nn.ReLU())], nn.Linear(8, 2)
    )
    for i in (0, 3, 6):
        kill(model[i] if norm is nn.Identity else model[i + 1], range(8))
    batches = data(8)
    before = outputs_of(model, batches)
    revival = revive(model, batches)
    assert (revival.before.dead, revival.after.dead) == (24, 0), str(revival)
    assert all(torch.equal(*pair) for pair in zip(before, outputs_of(model, batches), strict=True))
    assert all(((site.firing_rate > 0.2) & (site.firing_rate < 0.8)).all() for site in revival.after.sites)


def test_units_with_a_constant_value_get_new_weights():
    model = mlp()
    with torch.no_grad():
        model[0].weight[[1, 3]] = 0
        model[0].bias[[1, 3]] = -1
    revived(model, data(6), {"1": (1, 3)}, touched={"0.bias": [1, 3], "0.weight": [1, 3]}, outgoing=MLP["outgoing"])
    assert 0.3 < model[0].weight[[1, 3]].norm() < 5


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_weights_that_have_vanished_or_exploded_are_replaced_by_new_ones(scale):
    model = mlp()
    with torch.no_grad():
        model[0].weight[[1, 3]] *= scale
        model[0].bias[[1, 3]] *= max(1.0, 100 * scale)
    revived(model, data(6), {"1": (1, 3)}, touched={"0.bias": [1, 3], "0.weight": [1, 3]}, outgoing=MLP["outgoing"])
    assert 0.3 < model[0].weight[[1, 3]].norm() < 5


@pytest.mark.parametrize("bias", [-1e10, -1e38, -float("inf")])
def test_a_large_bias_hides_nothing(bias):
    model = mlp()
    kill(model[0], by=bias)
    revived(model, data(6), {"1": (1, 3)}, **MLP)


def test_ties_are_not_cut_through():
    batches = [(batch > 0.5).float() for batch in data(6)]
    model = mlp()
    with torch.no_grad():
        model[0].weight[[1, 3]] = 0
        model[0].weight[[1, 3], 0] = torch.tensor([1.0, -1.0])  # two values, 30 and 70 % of them
    revived(model, batches, {"1": (1, 3)}, **MLP, rate=(0.2, 0.8))


def test_units_with_an_almost_constant_value_get_new_weights_or_fire_rarely():
    batches = data(6)
    for batch in batches:
        batch[:] = batches[0][0]
    batches[1][0] *= -1
    revival = revived(
        mlp(),
        batches,
        {"1": (1, 3)},
        touched={"0.bias": [1, 3], "0.weight": [1, 3]},
        outgoing=MLP["outgoing"],
        rate=(0.005, 0.995),
    )
    assert revival.after.dead == 0


@pytest.mark.parametrize(
    ("norm", "reason"),
    [(nn.Identity(), "the same for every example, whatever"), (nn.LayerNorm(8), "could not be drawn anew")],
)
def test_units_that_see_the_same_for_every_example_are_left_alone(norm, reason):
    model = mlp(norm)
    if isinstance(norm, nn.LayerNorm):
        kill(norm)
    left_alone(model, [torch.ones(64, 6)], reason)


# What cannot be proven.


def an_output(self, x):
    x = F.relu(self.one(x))
    return self.two(x), x


def used_twice(self, x):
    x = self.one(x)
    return self.two(F.relu(x)) + x


def by_data(self, x):
    hidden = F.relu(self.one(x))
    return self.two(hidden) if x.sum() > -1e9 else x


def kept(self, x):
    self.hidden = F.relu(self.one(x))
    return self.two(self.hidden)


def written(self, x):
    hidden = torch.zeros(len(x), 6)
    hidden[:, :4] = F.relu(self.one(x)[:, :4])
    hidden[:, 4:].copy_(x[:, 4:])
    return self.two(hidden)


def autocast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return self.two(F.relu(self.one(x)))


def inference(self, x):
    with torch.inference_mode():
        return self.two(F.relu(self.one(x)))


UNPROVEN = {
    "other values are added to its output (as in a skip connection) before two.weight": lambda self, x: self.two(
        x + F.relu(self.one(x))
    ),
    "multiplied by a matrix that is no parameter": lambda self, x: self.two(F.relu(self.one(x)) @ x[:6]),
    "a softmax mixes its output": lambda self, x: self.two(F.relu(self.one(x)).softmax(-1)),
    "multiplied by other values, and it reaches": lambda self, x: self.two(x) * F.relu(self.one(x)).sum(-1, True),
    "three.weight takes its output in columns that take other values": (
        lambda self, x: self.two(x) + self.three(F.relu(self.one(x)).transpose(0, 1)).T
    ),
    "added to its output (as in a skip connection), and it reaches": lambda self, x: (
        self.two(x) + F.relu(self.one(x)).sum(0)
    ),
    "in max_pool2d_with_indices before two": lambda self, x: self.two(F.max_pool1d(F.relu(self.one(x)), 3, 1, 1)),
    "its output is an output of the model": an_output,
    "make it also reach an output": lambda self, x: self.two(F.relu(self.one(x))) + self.one(x),
    "two.weight takes its output in columns that take other values at another call": (
        lambda self, x: self.two(self.two(F.relu(self.one(x))))
    ),
    "also reach an output": used_twice,
    "the weights that make it are used for something else, too": (
        lambda self, x: self.two(F.relu(self.one(x))) + self.one.weight.sum() + self.one.bias.sum()
    ),
    "no weight takes its output": lambda self, x: self.two(x) + F.relu(self.one(x)).size(1),
    "reads its values, and the program goes on by them": (
        lambda self, x: self.two(F.relu(self.one(x))) if F.relu(self.one(x)).sum().item() > 0 else x
    ),
    "keeps its output beyond the run": kept,
    "gives as much as its values say": lambda self, x: self.two(x) + F.relu(self.one(x)).nonzero().sum(),
    "two runs of the model on the same batch gave different outputs": (
        lambda self, x: self.two(F.relu(self.one(x))) + next(self.noise)
    ),
}


@pytest.mark.parametrize("reason", UNPROVEN)
def test_units_whose_wiring_is_not_proven_are_left_alone(reason):
    model = Model(UNPROVEN[reason], one=nn.Linear(6, 6), two=nn.Linear(6, 6), three=nn.Linear(64, 1))
    model.noise = iter(range(1000))
    nn.init.ones_(model.one.bias)
    kill(model.one)
    batches = data(6)
    left_alone(model, batches, reason, dead=diagnose(model, batches).dead)


PROVEN = {  # no graph is needed for these, though one would not show them, or could not be made
    "a product by elements": lambda self, x: self.two(torch.sigmoid(x) * F.relu(self.one(x))),
    "a product with a number": lambda self, x: self.two(2 * F.relu(self.one(x))),
    "a transposition and back": lambda self, x: self.two(F.relu(self.one(x)).T.T),
    "a weight that a function takes": lambda self, x: F.linear(F.relu(self.one(x)), self.two.weight),
    "an einsum": lambda self, x: torch.einsum("ni,oi->no", F.relu(self.one(x)), self.two.weight),
    "matmul with a transposed weight": lambda self, x: F.relu(self.one(x)) @ self.two.weight.T,
    "columns of a weight": lambda self, x: F.relu(self.one(x)[:, :4]) @ self.two.weight[:, :4].T,
    "pieces, joined": lambda self, x: self.two(torch.cat(F.relu(self.one(x)).chunk(2, -1), -1)),
    "pieces, apart": lambda self, x: sum(
        part @ weight.T
        for part, weight in zip(F.relu(self.one(x)).chunk(2, -1), self.two.weight.chunk(2, 1), strict=True)
    ),
    "mv": lambda self, x: torch.mv(F.relu(self.one(x)), self.two.weight[0]),
    "mul and sum": lambda self, x: (F.relu(self.one(x)) * self.two.weight[0]).sum(-1),
    "an activation of a slice": lambda self, x: F.relu(self.one(x)[:, 1:]) @ self.two.weight[:, 1:].T,
    "a sine before it": lambda self, x: self.two(F.relu(torch.sin(self.one(x) / 100) * 100 - 1)),
    "a branch that hangs on data": by_data,
    "a weight that is computed": lambda self, x: self.two(F.relu(F.linear(x, self.one.weight * 2, self.one.bias))),
    "a loop over halves": lambda self, x: torch.cat([self.two(F.relu(self.one(half))) for half in x.chunk(2)]),
    "written into a tensor": written,
    "in float64": lambda self, x: F.linear(F.relu(self.one(x)).double(), self.two.weight.double()),
    "under autocast": autocast,
    "in inference mode": inference,
    "checkpointed": lambda self, x: torch.utils.checkpoint.checkpoint(
        lambda y: self.two(F.relu(self.one(y))), x, use_reentrant=False
    ),
    "a layer that is called twice": lambda self, x: self.two(F.relu(self.one(x))) + self.two(F.relu(self.one(-x))),
}


@pytest.mark.parametrize("kind", PROVEN)
def test_units_are_followed_whatever_the_code(kind):
    model = Model(PROVEN[kind], one=nn.Linear(6, 6), two=nn.Linear(6, 6))
    nn.init.ones_(model.one.bias)
    kill(model.one)
    batches = data(6)
    before, outputs = state_of(model), outputs_of(model, batches)
    revival = revive(model, batches)
    assert revival.skipped == {}
    assert revival.after.dead == 0
    assert sum(map(len, revival.revived.values())) == revival.before.dead >= 2
    assert all(torch.equal(*pair) for pair in zip(outputs, outputs_of(model, batches), strict=True))
    after = state_of(model)
    assert torch.equal(after["two.bias"], before["two.bias"])
    rows = [0, 2, 4, 5]
    assert torch.equal(after["one.weight"][rows], before["one.weight"][rows])
    assert torch.equal(after["one.bias"][rows], before["one.bias"][rows])
    assert torch.equal(after["two.weight"][:, rows], before["two.weight"][:, rows])


def normed(kind):
    return lambda: nn.Sequential(kind(kill(nn.Linear(6, 8))), nn.ReLU(), nn.Linear(8, 3))


def consumed_by(*modules):
    def make():
        layer = nn.Linear(6, 8)
        nn.init.ones_(layer.bias)
        return nn.Sequential(kill(layer), nn.ReLU(), *modules)

    return make


def tied():
    model = nn.Sequential(kill(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    return model


def frozen(i):
    model = mlp()
    model[i].requires_grad_(False)
    return model


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.attention, self.two = kill(nn.Linear(6, 8)), nn.MultiheadAttention(8, 2), nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.one(x))
        return self.two(self.attention(x, x, x)[0])


UNPROVEN_MODULES = {
    "multiplied by a matrix that is no parameter": (consumed_by(parametrizations.orthogonal(nn.Linear(8, 3))), (6,)),
    "a norm mixes its output with other units": (consumed_by(nn.LayerNorm(8), nn.Linear(8, 3)), (6,)),
    "a softmax mixes its output with other units": (consumed_by(nn.Softmax(-1), nn.Linear(8, 3)), (6,)),
    "0.weight takes its output in columns that take other values": (tied, (6,)),
    "0.bias, which makes it, is frozen (requires_grad is False; frozen=['0.bias']": (lambda: frozen(0), (6,)),
    "2.weight, which takes its output, is frozen (requires_grad is False; frozen=": (lambda: frozen(2), (6,)),
    "its output is an output of the model": (consumed_by(), (6,)),
    "the weights that make it also move other units of 2": (
        lambda: nn.Sequential(
            kill(nn.Linear(6, 8), by=-30), nn.LayerNorm(8, elementwise_affine=False), nn.ReLU(), nn.Linear(8, 3)
        ),
        (6,),
    ),
    "a threshold gives a value of its own": (
        lambda: Model(
            lambda self, x: self.two(torch.threshold(self.one(x), -50, 0.5)),
            one=kill(nn.Linear(6, 8)),
            two=nn.Linear(8, 3),
        ),
        (6,),
    ),
    "it could not be made to fire": (  # the norm's shift is along the other axis
        lambda: nn.Sequential(nn.Conv1d(2, 2, 1), kill(nn.LayerNorm(6), range(6)), nn.ReLU(), nn.Linear(6, 3)),
        (2, 6),
    ),
}


@pytest.mark.parametrize("reason", UNPROVEN_MODULES)
def test_units_in_modules_that_are_not_proven_are_left_alone(reason):
    make, shape = UNPROVEN_MODULES[reason]
    left_alone(make(), data(*shape), reason)


def behind_a_norm(activation):
    """A layer with small outputs, and a norm behind it whose output does not enter the activation as it is."""

    def make():
        model = Model(
            lambda self, x: self.two(activation(self.norm(self.one(x)))),
            one=nn.Linear(6, 8),
            norm=kill(nn.BatchNorm1d(8), by=-1e3),
            two=nn.Linear(8, 3),
        )
        with torch.no_grad():
            model.one.weight.mul_(0.1)
            model.norm.running_var.fill_(0.01)
        return model

    return make


def on_a_table(register):
    """A layer that is applied to a part of the model itself, such as to positions."""

    def make():
        model = Model(
            lambda self, x: x + self.two(F.relu(self.one(self.table))).mean(0),
            one=kill(nn.Linear(6, 8)),
            two=nn.Linear(8, 4),
        )
        register(model, "table", torch.randn(16, 6))
        return model

    return make


PROVEN_MODULES = {
    "weight_norm": (normed(parametrizations.weight_norm), (6,)),
    "spectral_norm": (normed(parametrizations.spectral_norm), (6,)),
    "spectral_norm by a hook": (normed(torch.nn.utils.spectral_norm), (6,)),
    "BatchNorm without weights": (consumed_by(nn.BatchNorm1d(8, affine=False), nn.Linear(8, 3)), (6,)),
    "BatchNorm without statistics": (consumed_by(nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)), (6,)),
    "attention": (Attention, (5, 6)),
    "several calls of a transformer's layer": (
        lambda: Model(
            lambda self, x: self.head(self.body(x)) + self.body.linear2.bias.sum(),
            body=positive(nn.TransformerEncoderLayer(6, 2, 8)),
            head=nn.Linear(6, 2),
        ),
        (5, 6),
    ),
    "without a batch": (lambda: nn.Sequential(mlp(), nn.Unflatten(0, (1, -1))), (6,)),
    "pruned": (lambda: pruned(mlp()), (6,)),
    "masked by a frozen parameter": (
        lambda: Model(
            lambda self, x: F.linear(F.relu(self.one(x)), self.two.weight * self.mask, self.two.bias),
            one=kill(nn.Linear(6, 8)),
            two=nn.Linear(8, 3),
            mask=nn.Parameter((torch.rand(3, 8) < 0.7).float(), requires_grad=False),
        ),
        (6,),
    ),
    "a norm, then a hard sigmoid as in MobileNetV3": (behind_a_norm(lambda x: F.relu6(x + 3) / 6), (6,)),
    "a norm, then hard swish": (behind_a_norm(lambda x: x * F.relu6(x + 3) / 6), (6,)),
    "a norm whose output is scaled and shifted": (behind_a_norm(lambda x: F.relu(x * 0.01 + 0.5)), (6,)),
    "scaled at each call": (
        lambda: Model(
            lambda self, x: F.linear(F.relu(F.linear(x, self.one.weight * 0.3, self.one.bias)), self.two.weight / 2),
            one=kill(nn.Linear(6, 8)),
            two=nn.Linear(8, 3),
        ),
        (6,),
    ),
    "applied to a buffer": (on_a_table(nn.Module.register_buffer), (4,)),
    "applied to a parameter": (
        on_a_table(lambda model, name, value: model.register_parameter(name, nn.Parameter(value))),
        (4,),
    ),
}


def pruned(model):
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", 0.4)
    return model


def positive(layer):
    nn.init.ones_(layer.linear1.bias)
    kill(layer.linear1)
    return layer


@pytest.mark.parametrize("kind", PROVEN_MODULES)
def test_units_in_modules_of_all_kinds_are_revived(kind):
    make, shape = PROVEN_MODULES[kind]
    model, batches = make(), data(*shape)
    outputs = outputs_of(model, batches)
    revival = revive(model, batches)
    assert revival.skipped == {}
    assert revival.after.dead == 0
    assert list(revival.revived.values()) == [(1, 3)]
    for old, new in zip(outputs, outputs_of(model, batches), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-5 * float(old.abs().max()))


@pytest.mark.parametrize("factors", [(1.0, 0.0), (0.01, 100.0), (1.0, -1.0)])
def test_biases_that_are_masked_or_scaled_by_unit(factors):
    """A unit whose bias has no effect is woken by its weights, and the others beside it are woken as ever."""
    model = Model(
        lambda self, x: self.two(F.relu(F.linear(x.abs(), self.one.weight, self.one.bias * self.factors))),
        one=kill(nn.Linear(6, 8), by=-1e5),
        two=nn.Linear(8, 3),
    )
    model.register_buffer("factors", torch.ones(8))
    with torch.no_grad():
        model.one.bias[[0, 2, 4, 5, 6, 7]] = 1
        model.factors[[1, 3]] = torch.tensor(factors)
        model.one.bias[3] *= 1 if factors[1] >= 0 else -1
        model.one.weight[3] = -model.one.weight[3].abs()
    revived(model, data(6), {"relu": (1, 3)}, touched={"one.weight": [1, 3], "one.bias": [1, 3], "two.weight": EVERY})


def test_a_data_loader_leaves_the_random_state_as_it_was():
    loader = torch.utils.data.DataLoader(torch.randn(128, 6), batch_size=64, shuffle=True)
    model, before = mlp(), torch.get_rng_state()
    revive(model, loader)
    assert torch.equal(before, torch.get_rng_state())


def test_a_copy_of_a_weight_that_is_written_into_does_not_keep_other_units_from_revival():
    def forward(self, x):
        weight = self.two.weight.clone()
        weight[:, 1] = 5.0
        return self.four(F.relu(self.three(F.linear(F.relu(self.one(x)), weight))))

    layers = {
        "one": kill(nn.Linear(6, 8)),
        "two": nn.Linear(8, 5),
        "three": kill(nn.Linear(5, 8)),
        "four": nn.Linear(8, 3),
    }
    revival = revive(Model(forward, **layers), data(6))
    assert revival.revived.keys() == {"relu:2"}
    assert {1, 3} <= set(revival.revived["relu:2"])
    assert "no parameter" in revival.skipped["relu"]


@pytest.mark.parametrize("names", [["2.weight"], ["0.bias", "0.weight", "2.weight"]])
def test_frozen_weights_are_changed_if_they_are_named(names):
    model = frozen(2)
    if len(names) > 1:
        model.requires_grad_(False)
    revival = revive(model, data(6), frozen=names)
    assert revival.revived == {"1": (1, 3)}
    assert not any(model.get_parameter(name).requires_grad for name in names)


@pytest.mark.parametrize(
    ("frozen", "error", "message"),
    [("2.weight", TypeError, "put it in a list"), (["2.wieght"], ValueError, "'2.wieght', which is not a parameter")],
)
def test_names_of_frozen_weights_are_checked(frozen, error, message):
    with pytest.raises(error, match=message):
        revive(mlp(), data(6), frozen=frozen)


def test_what_batches_do_differently_is_noted():
    model = Model(
        lambda self, x: self.two(F.relu(self.one(x))) if x.mean() < 5 else self.three(F.relu(self.one(x))),
        one=kill(nn.Linear(6, 8)),
        two=nn.Linear(8, 3),
        three=nn.Linear(8, 3),
    )
    batches = [data(6)[0], data(6)[1] + 10]
    revival = revive(model, batches)
    assert "on some batches than on others" in "".join(revival.notes)
    assert revival.notes[0] in str(revival)
    assert (model.two.weight[:, [1, 3]] == 0).all()
    assert (model.three.weight[:, [1, 3]] == 0).all()
    assert revive(mlp(), batches).notes == ()


def test_the_model_runs_few_times_however_many_sites_it_has():
    layers = [layer for _ in range(12) for layer in (kill(nn.Linear(8, 8)), nn.BatchNorm1d(8), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    for i in range(1, 36, 3):
        kill(model[i])
    calls = []
    model.register_forward_pre_hook(lambda module, args: calls.append(1))
    revival = revive(model, data(8))
    assert len(revival.revived) == 12
    assert len(calls) <= 20


@pytest.mark.parametrize("empty", [False, True])
def test_a_batch_without_examples_is_no_obstacle(empty):
    model = mlp()
    batches = [torch.empty(0, 6), *data(6)] if empty else data(6)
    assert revive(model, batches).after.dead == 0


def test_a_single_example_tells_nothing():
    model = mlp()
    left_alone(model, [torch.randn(6)], "what enters it is the same for every example")


def test_provable_sites_are_revived_beside_sites_that_are_not():
    model = Model(
        lambda self, x: self.four(self.relu(self.three(x + self.relu(self.one(x))))),
        one=kill(nn.Linear(6, 6)),
        three=kill(nn.Linear(6, 6)),
        four=nn.Linear(6, 2),
        relu=nn.ReLU(),
    )
    nn.init.ones_(model.one.bias)
    nn.init.ones_(model.three.bias)
    kill(model.one)
    kill(model.three, [2])
    revival = revive(model, data(6))
    assert revival.revived == {"relu:2": (2,)}
    reason = "other values are added to its output (as in a skip connection) before three.weight takes it"
    assert revival.skipped == {"relu": reason}
    assert dead_after(revival) == {"relu": (1, 3)}
    assert str(revival).splitlines() == [
        "1 of 3 dead units revived; the outputs on the batches are exactly the same",
        "  relu:2: unit 2",
        f"  left alone, relu: units 1, 3: {reason}",
    ]


# Other choices.


def dormant():
    model = mlp()
    with torch.no_grad():
        model[0].weight[5] *= 1e-3
        model[0].bias[5] = 1e-3
    return model


def test_dormant_units_are_revived_too():
    model, batches = dormant(), data(6)
    before = state_of(model)
    revival = revive(model, batches, which="dormant", outgoing="keep")
    assert revival.revived == {"1": (1, 3, 5)}
    assert torch.equal(state_of(model)["2.weight"], before["2.weight"])
    assert revival.output_change > 0
    assert 0.3 < revival.after.sites[0].firing_rate[5] < 0.7
    assert revive(dormant(), batches, which="dormant", tau=0, outgoing="keep").revived == {"1": (1, 3)}


def test_outgoing_weights_are_drawn_small():
    model, batches = dormant(), data(6)
    before = state_of(model)
    revival = revive(model, batches, which="dormant", outgoing="init")
    assert revival.revived == {"1": (1, 3, 5)}
    weight, old = state_of(model)["2.weight"], before["2.weight"]
    rest = [0, 2, 4, 6, 7]
    assert torch.equal(weight[:, rest], old[:, rest])
    assert (weight[:, [1, 3, 5]] != 0).all()
    assert weight[:, [1, 3, 5]].abs().max() < old.abs().mean()
    assert 0 < revival.output_change < 0.5


def test_dead_units_may_keep_their_outgoing_weights():
    model, batches = mlp(), data(6)
    before = state_of(model)
    revival = revive(model, batches, outgoing="keep")
    assert (revival.revived, revival.after.dead) == ({"1": (1, 3)}, 0)
    assert torch.equal(model[2].weight, before["2.weight"])
    (now,) = [
        max(float((a - b).abs().max()) for a, b in zip(outputs_of(model, batches), outputs, strict=True))
        for outputs in [outputs_of(with_state(mlp(), before), batches)]
    ]
    largest = max(float(output.abs().max()) for output in outputs_of(with_state(mlp(), before), batches))
    assert revival.output_change == pytest.approx(now / largest, rel=1e-3)


def with_state(model, state):
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize(("outgoing", "finite"), [("zero", False), ("init", True), ("keep", True)])
def test_columns_that_are_divided_by_their_norm_after_each_step_may_be_small_but_not_zero(outgoing, finite):
    model = Model(lambda self, x: self.two(F.relu(self.one(x))), one=kill(nn.Linear(6, 8)), two=nn.Linear(8, 6))
    assert revive(model, data(6), outgoing=outgoing).revived == {"relu": (1, 3)}
    with torch.no_grad():
        model.two.weight /= model.two.weight.norm(dim=0)
    assert bool(model.two.weight.isfinite().all()) == finite


def test_columns_that_are_divided_by_their_norm_in_the_forward_are_never_zero():
    def forward(self, x):
        return F.relu(self.one(x)) @ (self.two.weight / self.two.weight.norm(dim=0)).T

    model = Model(forward, one=kill(nn.Linear(6, 8)), two=nn.Linear(8, 6, bias=False))
    revival = revive(model, data(6))
    assert "a matrix that is no parameter" in revival.skipped["relu"]
    assert all(output.isfinite().all() for output in outputs_of(model, data(6)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"which": "dorment"}, "which must be one of 'dead', 'dormant', got 'dorment'"),
        ({"outgoing": None}, "outgoing must be one of 'zero', 'keep', 'init', got None"),
        ({"tau": -1}, "tau must be a number that is at least 0, got -1"),
        ({"tau": True}, "tau must be a number"),
        ({"which": "dormant"}, "outgoing='keep' or outgoing='init'"),
    ],
)
def test_wrong_choices_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        revive(mlp(), data(6), **arguments)


# The optimizer's state.

OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, amsgrad=True),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, centered=True),
    "no state yet": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}


def trained(kind):
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 3, 3))
    optimizer = OPTIMIZERS[kind](model.parameters())
    for batch in [] if kind == "no state yet" else data(2, 9):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        model[0].weight[3] = 0  # so that new weights are drawn
    kill(model[1])
    return model, optimizer


TOUCHED = {
    "0.weight": [3],
    "0.bias": [1, 3],
    "1.weight": [1, 3],
    "1.bias": [1, 3],
    "1.running_mean": [1, 3],
    "1.running_var": [1, 3],
    "3.weight": (EVERY, [1, 3]),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_optimizers_state_of_what_is_touched_is_reset(kind):
    model, optimizer = trained(kind)
    before = state_of(model, optimizer)
    assert revive(model, data(2, 9), optimizer=optimizer).revived == {"2": (1, 3)}
    after = state_of(model, optimizer)
    assert before.keys() == after.keys()
    for name, value in after.items():
        parameter, _, key = name.partition("/")
        may = torch.zeros_like(value, dtype=torch.bool)
        if parameter in TOUCHED and key != "step":
            may[TOUCHED[parameter]] = True
        assert torch.equal(value[~may], before[name][~may]), name
        if key and key != "step":
            assert (value[may] == 0).all(), name
    optimizer.zero_grad()
    model(data(2, 9)[0]).square().mean().backward()
    optimizer.step()


def stepped(model, optimizer):
    for batch in data(6):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
    kill(model[0])
    return optimizer


@pytest.mark.parametrize(
    ("make", "initial"),
    [
        (lambda parameters: torch.optim.Rprop(parameters, lr=0.02), {"prev": 0, "step_size": 0.02}),
        (lambda parameters: torch.optim.Adagrad(parameters, initial_accumulator_value=0.5), {"sum": 0.5}),
    ],
)
def test_a_state_that_starts_above_zero_is_set_back_to_its_start(make, initial):
    model = mlp()
    optimizer = stepped(
        model, make([{"params": [model[0].bias]}, {"params": [model[0].weight, *model[2].parameters()]}])
    )
    before = state_of(model, optimizer)
    assert revive(model, data(6), optimizer=optimizer).revived == {"1": (1, 3)}
    after = state_of(model, optimizer)
    for name, value in initial.items():
        for key, index in (("0.bias", [1, 3]), ("2.weight", (EVERY, [1, 3]))):
            state, old = after[f"{key}/{name}"].clone(), before[f"{key}/{name}"]
            assert torch.equal(state[index], torch.full_like(state[index], value))
            state[index] = old[index]
            assert torch.equal(state, old)


def test_what_is_kept_for_rows_and_columns_stays():
    model = mlp()
    optimizer = stepped(model, torch.optim.Adafactor(model.parameters()))
    before = {key: value.clone() for key, value in optimizer.state[model[2].weight].items()}
    revive(model, data(6), optimizer=optimizer)
    assert equal(before, optimizer.state[model[2].weight])
    assert (optimizer.state[model[0].bias]["variance"][[1, 3]] == 0).all()


def test_an_optimizer_of_other_weights_is_an_error():
    model, other = mlp(), mlp()
    before = state_of(model)
    for parameters in (other.parameters(), [model[0].weight]):  # this weight stays: only the bias is changed
        with pytest.raises(ValueError, match="optimizer holds none of the weights that are revived; give the one that"):
            revive(model, data(6), optimizer=torch.optim.Adam(parameters))
        assert equal(before, state_of(model))
    assert revive(model, data(6), optimizer=torch.optim.Adam([model[2].weight])).revived == {"1": (1, 3)}


@pytest.mark.parametrize("wrong", [{}, "Adam", torch.optim.Adam])
def test_what_is_no_optimizer_is_an_error(wrong):
    alive = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    for model in (mlp(), alive):
        with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer, got (dict|str|type);"):
            revive(model, data(6), optimizer=wrong)


def test_without_the_optimizer_its_state_stays():
    model, optimizer = trained("Adam")
    before = state_of(model, optimizer)
    revive(model, data(2, 9))
    assert all(torch.equal(value, before[name]) for name, value in state_of(model, optimizer).items() if "/" in name)


# Rolling back.


def collapsed():
    """Three dead layers in a row: weights that are written for one layer are written again for the next."""
    layers = [layer for _ in range(3) for layer in (kill(nn.Linear(6, 6), range(6)), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(6, 2))


@pytest.mark.parametrize("model", [collapsed, mlp, lambda: mlp(kill(nn.BatchNorm1d(8)))])
@pytest.mark.parametrize("change", [1e-3, float("nan"), float("inf")])
def test_if_the_output_changes_everything_is_rolled_back(monkeypatch, model, change):
    model = model()
    optimizer = torch.optim.Adam(model.parameters())
    model(data(6)[0]).square().mean().backward()
    optimizer.step()
    before, rng = state_of(model, optimizer), torch.get_rng_state()
    original = counts.largest_change
    monkeypatch.setattr(surgery, "largest_change", lambda *outputs: original(*outputs) + change)
    with pytest.raises(
        RuntimeError, match=r"changed the output by (0\.001|nan|inf) of its largest value, more than 1e-05"
    ):
        revive(model, data(6), optimizer=optimizer)
    assert equal(before, state_of(model, optimizer))
    assert torch.equal(rng, torch.get_rng_state())
    assert model.training


def test_if_the_output_changes_a_likely_site_is_named():
    model = Model(  # NumPy reads a weight, which no mode of PyTorch sees
        lambda self, x: self.two(F.relu(self.one(x))) + self.two.weight.detach().numpy().sum(),
        one=kill(nn.Linear(6, 8)),
        two=nn.Linear(8, 3),
    )
    before = state_of(model)
    with pytest.raises(
        RuntimeError, match=r"more than 1e-05, most likely because of relu; the model is as it was before"
    ):
        revive(model, data(6))
    assert equal(before, state_of(model))


def test_what_a_hook_makes_of_a_unit_is_seen():
    model = mlp()
    model[1].register_forward_hook(lambda module, args, output: output + 1)  # dead units give 1 instead of 0
    left_alone(model, data(6), "2.weight")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
@pytest.mark.parametrize("calls", [0, 1, 10, 30])
def test_an_exception_in_the_middle_rolls_everything_back(monkeypatch, error, calls):
    model = collapsed()
    before, left = state_of(model), [calls]
    original = edits.Edits._write

    def write(*args):
        original(*args)
        left[0] -= 1
        if left[0] < 0:
            raise error

    monkeypatch.setattr(edits.Edits, "_write", write)
    with pytest.raises(error):
        revive(model, data(6))
    assert equal(before, state_of(model))


def sabotaged(monkeypatch, unit, *, fails=()):
    """Let what is done for units of an MLP be in vain: they are shifted so that they stay dead, or not at all."""
    original = waking.Waking._fires

    def fires(self, group, member, *args):
        ((_, number),) = member.targets
        if number in fails:
            return False
        done = original(self, group, member, *args)
        if number in unit:
            self._put(member, member.shifts[0].storage, number, -10.0)
        return done

    monkeypatch.setattr(waking.Waking, "_fires", fires)


def test_a_unit_that_is_still_dead_is_given_up(monkeypatch):
    model = mlp()
    before = state_of(model)
    sabotaged(monkeypatch, [3])
    revival = revive(model, data(6))
    assert revival.skipped == {"1": "it could not be made to fire"}
    assert dead_after(revival) == {"1": (3,)}
    assert revival.revived == {"1": (1,)}
    after = state_of(model)
    assert after["0.bias"][3] == before["0.bias"][3]
    assert torch.equal(after["2.weight"][:, 3], before["2.weight"][:, 3])
    assert (after["2.weight"][:, 1] == 0).all()


def test_if_units_of_a_site_are_left_for_several_reasons_each_reason_names_its_units(monkeypatch):
    model = mlp()
    kill(model[0], (1, 3, 5))
    before = state_of(model)
    sabotaged(monkeypatch, [3, 5], fails=[1])
    revival = revive(model, data(6))
    constant, dead = (
        "what enters it is the same for every example, whatever its weights",
        "it could not be made to fire",
    )
    assert revival.skipped == {"1": f"{constant} (unit 1); {dead} (units 3, 5)"}
    assert dead_after(revival) == {"1": (1, 3, 5)}
    assert str(revival).splitlines()[1:] == [
        f"  left alone, 1: units 1, 3, 5: {constant} (unit 1); {dead} (units 3, 5)"
    ]
    assert equal(before, state_of(model))


def test_units_are_left_alone_at_each_width_that_a_site_has():
    model = Model(lambda self, x: self.relu(x) * self.scale.weight[0, 0], relu=nn.ReLU(), scale=nn.Linear(1, 1))
    narrow, wide, last = torch.randn(64, 3), torch.randn(64, 5), torch.randn(64, 4)
    narrow[:, 0] = wide[:, 2] = wide[:, 4] = -1
    revival = revive(model, [narrow, wide, last])
    assert [(site.name, site.dead.tolist()) for site in revival.after.sites] == [
        ("relu", [0]),
        ("relu", [2, 4]),
        ("relu", []),
    ]
    (line,) = str(revival).splitlines()[1:]
    assert line.startswith("  left alone, relu: units 0, 2, 4: ")


def test_the_median_is_between_two_values():
    for values, cut in (
        ([0, 1, 2, 3], (1.5, 0.5)),
        ([0, 2, 2, 2], (1, 0.75)),
        ([-1, 1, 1, 1 + 1e-7, 1 + 1e-7], (0, 0.8)),
    ):
        assert counts.split(np.array(values, float)) == (pytest.approx(cut[0], abs=1e-4), pytest.approx(cut[1]))
    for constant in ([1, 1], [1, 1.000001], [-np.inf, 1], [np.nan, 1], [0, 0]):
        assert counts.split(np.array(constant, float)) == (0, 0)


def test_each_output_is_compared_with_its_own_largest_value():
    old = [[torch.tensor([1e9, 1.0]), torch.tensor([[2.0, float("nan")]]), torch.tensor([True]), torch.empty(0)]]
    new = [[torch.tensor([1e9, 1.0]), torch.tensor([[2.5, float("nan")]]), torch.tensor([True]), torch.empty(0)]]
    assert counts.largest_change(old, old) == 0
    assert counts.largest_change(old, new) == 0.25
    inf, zero, one = (torch.tensor([value]) for value in (float("inf"), 0.0, 1.0))
    assert counts.largest_change([[inf], [one]], [[inf], [one]]) == 0
    for was, now in ((inf, one), (one, inf), (inf, -inf), (zero, one), (one, one * float("nan"))):
        assert counts.largest_change([[was]], [[now]]) == float("inf")
    assert counts.largest_change([[torch.tensor([2j])]], [[torch.tensor([2j + 1])]]) == 0.5


# What else stays as it is.


def test_modes_and_random_states_are_restored():
    model = mlp(nn.Dropout(), nn.BatchNorm1d(8).eval())
    before = torch.get_rng_state(), python_random.getstate(), np.random.get_state()  # noqa: NPY002
    modes = [module.training for module in model.modules()]
    revive(model, data(6))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == python_random.getstate()
    assert all(np.array_equal(*pair) for pair in zip(before[2], np.random.get_state(), strict=True))  # noqa: NPY002
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    pickle.dumps(model)


def test_new_weights_come_from_the_generator():
    def drawn(seed, generator=None):
        torch.manual_seed(7)
        model = mlp()
        nn.init.zeros_(model[0].weight[3].data)
        torch.manual_seed(seed)
        revive(model, data(6), generator=generator)
        return model[0].weight.detach()

    def own():
        return torch.Generator().manual_seed(5)

    assert torch.equal(drawn(0, own()), drawn(1, own()))
    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
    with_seed_five = drawn(5)
    assert torch.equal(with_seed_five, drawn(0, own()))


def test_without_dead_units_nothing_is_done(monkeypatch):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.ones_(model[0].bias)
    before = state_of(model)
    monkeypatch.setattr(surgery, "Waking", None)
    revival = revive(model, data(6))
    assert isinstance(revival, Revival)
    assert (revival.before.dead, revival.after.dead, revival.output_change) == (0, 0, 0)
    assert (revival.revived, revival.skipped) == ({}, {})
    assert str(revival) == "0 of 0 dead units revived; the outputs on the batches are exactly the same"
    assert equal(before, state_of(model))


def test_what_a_model_does_to_its_input_in_place_is_done_once():
    model = Model(lambda self, x: self.two(F.relu(self.one(x.mul_(2)))), one=kill(nn.Linear(6, 8)), two=nn.Linear(8, 3))
    batches = data(6)
    before = [batch.clone() for batch in batches]
    assert revive(model, batches).after.dead == 0
    assert all(torch.equal(*pair) for pair in zip(before, batches, strict=True))


def test_random_numbers_in_a_forward_are_the_same_before_and_after():
    model = mlp()
    noisy = Model(lambda self, x: self.body(F.dropout(x, 0.5)), body=model)
    revival = revive(noisy, data(6))
    assert revival.output_change == 0
    assert revival.after.dead == 0


# Batches, arguments, types.


def test_a_generator_of_batches_is_used_once():
    model = mlp()
    assert revive(model, (batch for batch in data(6))).after.dead == 0
    assert revive(model, ([batch, 0] for batch in data(6))).before.dead == 0


@pytest.mark.parametrize("batches", [[], (batch for batch in ())])
def test_no_batches_is_an_error(batches):
    with pytest.raises(ValueError, match="empty"):
        revive(mlp(), batches)


def test_a_batch_alone_is_an_error():
    with pytest.raises(TypeError, match="put it in a list"):
        revive(mlp(), torch.randn(5, 6))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_and_scripted_models_are_errors():
    with pytest.raises(TypeError, match=r"compiled or replicated; give the one within"):
        revive(torch.compile(mlp()), data(6))
    scripted = torch.jit.script(mlp())
    with pytest.raises(TypeError, match="script"):
        revive(scripted, data(6))
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        revive(F.relu, data(6))


def test_a_traced_graph_is_a_model_too():
    assert revive(fx.symbolic_trace(mlp()), data(6)).revived == {"1": (1, 3)}


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = kill(nn.Linear(6, 8)), nn.Linear(8, 3)

    def forward(self, x, *, y=None, mask=None, scale=1.0, labels=None, **others):
        if y is not None:
            x = x + y
        if mask is not None:
            x = x * mask
        made = self.two(F.relu(self.one(x), inplace=bool(others)) if scale else x)
        return (made, labels) if labels is not None else made


@pytest.mark.parametrize(
    "more", [{}, {"y": torch.ones(6)}, {"y": torch.ones(64, 6), "scale": 2}, {"labels": torch.arange(64), "z": 1}]
)
def test_arguments_are_as_in_the_call(more):
    batches = [{"x": batch, **more} for batch in data(6)]
    touched, outgoing = {"one.bias": [1, 3]}, {"two.weight": (EVERY, [1, 3])}
    revived(TwoInputs(), batches, {"relu": (1, 3)}, touched=touched, outgoing=outgoing)


def test_batches_of_any_kind_have_a_forward():
    batches = [{"image": batch, "label": None} for batch in data(6)]
    losses = []

    def forward(model, batch):
        losses.append(model(x=batch["image"], y=torch.ones(6)).square().mean())

    model = TwoInputs()
    before = outputs_of(model, [{"x": batch["image"], "y": torch.ones(6)} for batch in batches])
    revival = revive(model, batches, forward=forward)
    assert (revival.revived, revival.output_change, revival.after.dead) == ({"relu": (1, 3)}, 0, 0)
    after = outputs_of(model, [{"x": batch["image"], "y": torch.ones(6)} for batch in batches])
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert losses[:2] == losses[-2:]
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    "forward",
    [lambda model, batch: model[2](model[1](model[0](batch))), lambda model, batch: model(batch) + model(-batch)],
)
def test_a_forward_may_call_the_model_in_any_way(forward):
    model, batches = mlp(), data(6)
    with torch.no_grad():
        before = [forward(model, batch) for batch in batches]
    revival = revive(model, batches, forward=forward)
    assert revival.skipped == {}
    assert (revival.after.dead, revival.output_change) == (0, 0)
    with torch.no_grad():
        assert all(torch.equal(old, forward(model, batch)) for old, batch in zip(before, batches, strict=True))


def test_a_forward_that_returns_nothing_revives_nothing():
    model = mlp()
    before = state_of(model)
    revival = revive(model, data(6), forward=lambda model, batch: bool(model[1](model[0](batch)) is None))
    assert equal(before, state_of(model))
    assert "returned a tensor" in revival.skipped["1"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm1d, nn.LayerNorm])
def test_models_of_any_precision(dtype, norm):
    norm = norm(8)
    model = mlp(norm) if isinstance(norm, nn.Identity) else mlp(kill(norm))
    model = nn.Sequential(*model[:-1], nn.BatchNorm1d(8), model[-1]).to(dtype)
    with torch.no_grad():
        model[-2].running_mean.normal_()
        model[-2].bias.normal_()
    batches = data(6, dtype=dtype)
    revival = revive(model, batches)
    assert revival.output_change == 0
    assert revival.revived == {"2": (1, 3)}
    assert all(0.3 < rate < 0.7 for rate in revival.after.sites[0].firing_rate[[1, 3]])


def test_many_values_are_looked_at_evenly(monkeypatch):
    monkeypatch.setattr(waking, "_VALUES", 512)  # the step would be two rows
    model = nn.Sequential(kill(nn.Conv2d(2, 4, 3, padding=1)), nn.ReLU(), nn.Conv2d(4, 3, 3))
    ramp = torch.arange(8.0).expand(64, 2, 8, 8)
    revived(
        model,
        [ramp + batch for batch in data(2, 8, 8)],
        {"1": (1, 3)},
        touched={"0.bias": [1, 3]},
        outgoing={"2.weight": (EVERY, [1, 3])},
    )


def test_a_monitor_may_be_attached():
    model = mlp()
    with Monitor(model) as monitor:
        revive(model, data(6))
        model(data(6)[0])
    assert monitor.diagnosis().dead == 0
