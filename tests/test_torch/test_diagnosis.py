"""diagnose finds all dead units and no others, however a model calls its activations, and changes nothing."""

import copy
import math
import random
import warnings
from collections import UserDict
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch.planted import Model
from test_torch.planted import planted as plant
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from leakyrelu.torch import LeakyReLU, diagnose, leaky_relu
from leakyrelu.torch.capture import Call, Capture
from leakyrelu.torch.counts import Counts
from leakyrelu.torch.operations import Activation
from leakyrelu.units.layout import Part

DEAD = [1, 4]  # the units that `planted` kills
aten = torch.ops.aten


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


def planted(layer, dead=DEAD):
    return plant(layer, dead)


def layer_and(activation):
    """A planted linear layer of six units, and an activation that is a function."""
    return Model(lambda self, x: activation(self.fc(x)), fc=planted(nn.Linear(4, 6)))


def found(model, *batches, **kwargs):
    """The dead units of each site."""
    return {site.name: site.dead.tolist() for site in diagnose(model, batches, **kwargs).sites}


def rows(n=200):
    return torch.randn(n, 4)


def images(n=16, channels=3):
    return torch.randn(n, channels, 8, 8)


# What a unit is


def test_mlp():
    model = nn.Sequential(
        planted(nn.Linear(4, 6)), nn.ReLU(), planted(nn.Linear(6, 5), [0]), nn.ReLU(), planted(nn.Linear(5, 3), [2])
    )
    diagnosis = diagnose(model, [rows()])
    assert [(site.name, site.dead.tolist()) for site in diagnosis.sites] == [("1", DEAD), ("3", [0])]
    assert (diagnosis.units, diagnosis.dead, diagnosis.examples) == (11, 3, 200)  # the model's outputs are not units


def test_the_count_is_of_what_enters_after_the_norm():
    model = nn.Sequential(
        planted(nn.Conv2d(3, 6, 3), [0]),
        planted(nn.BatchNorm2d(6, momentum=1.0)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(216, 2),
    )
    model(images(64))  # so the running mean is subtracted, and the convolution's dead unit fires
    (site,) = diagnose(model, [images()]).sites
    assert (site.dead.tolist(), site.units, site.values, site.examples) == (DEAD, 6, 16 * 36, 16)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 6, 3), (9, 3, 12)),
        (nn.Conv1d(3, 6, 1), (6, 3, 6)),
        (nn.Conv2d(3, 6, 3), (9, 3, 12, 12)),
        (nn.Conv3d(3, 6, 3), (9, 3, 5, 5, 5)),
        (nn.ConvTranspose1d(3, 6, 3), (9, 3, 12)),
        (nn.ConvTranspose2d(3, 6, 3), (9, 3, 12, 12)),
        (nn.Conv2d(6, 6, 3, groups=6), (9, 6, 12, 12)),
        (nn.Conv2d(6, 6, 3, groups=2), (9, 6, 12, 12)),
        (nn.Conv2d(6, 12, 3, groups=6), (9, 6, 12, 12)),
        (nn.Linear(3, 6), (9, 3)),
        (nn.Linear(3, 6), (9, 7, 3)),
        (nn.Linear(3, 6), (9, 6, 3)),
        (nn.Linear(3, 6), (9, 6, 6, 3)),
        (nn.Bilinear(3, 3, 6), (9, 3)),
    ],
    ids=str,
)
def test_units_are_channels_of_convolutions_and_the_last_axis_of_all_else(layer, shape):
    def forward(self, x):
        return functional.relu(self.layer(x, x) if isinstance(layer, nn.Bilinear) else self.layer(x))

    x = torch.randn(shape)
    (site,) = diagnose(Model(forward, layer=planted(layer)), [x]).sites
    convolution = not isinstance(layer, nn.Linear | nn.Bilinear)
    assert site.dead.tolist() == DEAD
    assert site.units == (layer.out_channels if convolution else 6)
    assert site.examples == len(x)


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(3, 6, 3), nn.Conv2d(3, 6, 3), nn.Conv3d(3, 6, 3), nn.Linear(3, 6)], ids=str
)
def test_one_example_without_a_batch_is_one_example(layer):
    x = torch.randn(3, *(8,) * (layer.weight.ndim - 2))
    diagnosis = diagnose(nn.Sequential(planted(layer), nn.ReLU()), [x, x])
    (site,) = diagnosis.sites
    assert set(DEAD) <= set(site.dead.tolist())
    assert (site.units, site.examples, diagnosis.examples, site.bound) == (6, 2, 2, 1)


def test_a_vector_beside_the_batch_is_one_example_and_the_batch_is_counted_as_before():
    model = Model(
        lambda self, x: functional.relu(self.fc(x) + functional.silu(self.embed(self.vector))),
        fc=planted(nn.Linear(4, 6)),
        embed=nn.Linear(3, 6),
        vector=nn.Parameter(torch.randn(3)),
    )
    diagnosis = diagnose(model, [rows()])
    assert [(site.name, site.units, site.examples) for site in diagnosis.sites] == [("silu", 6, 1), ("relu", 6, 200)]
    assert diagnosis.examples == 200


def test_channels_last_in_memory_changes_nothing():
    model = nn.Sequential(planted(nn.Conv2d(3, 6, 3)), nn.ReLU(), planted(nn.Conv2d(6, 6, 3)), nn.ReLU())
    x = images()
    plain = diagnose(model, [x])
    model = model.to(memory_format=torch.channels_last)
    last = diagnose(model, [x.to(memory_format=torch.channels_last)])
    for one, other in zip(plain.sites, last.sites, strict=True):
        assert one.dead.tolist() == other.dead.tolist() == DEAD
        assert np.array_equal(one.fired, other.fired)
        assert np.allclose(one.mean_output, other.mean_output)


def test_flattened_maps_are_columns():
    model = Model(
        lambda self, x: functional.relu(self.fc(functional.relu(self.conv(x).flatten(1)))),
        conv=planted(nn.Conv2d(3, 2, 7), [1]),
        fc=planted(nn.Linear(8, 6)),
    )
    assert found(model, images()) == {"relu": [4, 5, 6, 7], "relu:2": DEAD}


# From the layer to the activation

CONV1D = nn.Conv1d(3, 6, 3)
WAYS_FROM_CONV1D = {
    "transpose": lambda y: y.transpose(1, 2),
    "there and back": lambda y: y.transpose(1, 2).transpose(-1, -2),
    "torch.transpose by name": lambda y: torch.transpose(input=y, dim0=1, dim1=2),
    "permute": lambda y: y.permute(2, 0, 1),
    "movedim": lambda y: torch.movedim(y, 1, 0),
    "mT": lambda y: y.mT,
    "in place": lambda y: y.transpose_(1, 2),
    "einsum": lambda y: torch.einsum("ncl->lcn", y).permute(2, 1, 0),
    "reshape to two axes of space": lambda y: y.reshape(len(y), 6, 2, -1),
    "unsqueeze": lambda y: y.unsqueeze(-1),
    "unsqueeze and squeeze": lambda y: y[:, None].squeeze(1),
    "to rows": lambda y: y.transpose(1, 2).reshape(-1, 6),
    "to rows, through a copy": lambda y: y.transpose(1, 2).contiguous().view(-1, 6),
    "mean over space": lambda y: y.mean(2),
    "largest over space": lambda y: y.max(2)[0],
    "mean, axis kept": lambda y: y.mean(2, keepdim=True),
    "one position": lambda y: y[:, :, 3],
    "some positions": lambda y: y[..., 2:7],
    "chunks": lambda y: torch.cat(y.chunk(2, dim=2), dim=2),
    "pad": lambda y: functional.pad(y, (1, 1), value=-1.0),
    "interpolate": lambda y: functional.interpolate(y, scale_factor=2),
    "pool": lambda y: functional.max_pool1d(y, 2),
    "dropout": lambda y: functional.dropout(y, 0.5),
    "a sum": lambda y: y + torch.zeros(1, 6, 1),
    "in place, scaled": lambda y: y.mul_(2.0).clamp_(-1e4, 1e4),
    "another type": lambda y: y.double(),
    "detached": lambda y: y.detach().clone(),
    "cat over examples": lambda y: torch.cat([y, y]),
    "norm over channels": lambda y: (
        functional.group_norm(y, 6) - 1000 * torch.isin(torch.arange(6), torch.tensor(DEAD))[:, None]
    ),
}


@pytest.mark.parametrize("way", WAYS_FROM_CONV1D)
@pytest.mark.parametrize("length", [12, 6])  # the other axis may be of the same length
def test_the_axis_of_channels_is_followed(way, length):
    model = Model(
        lambda self, x: functional.relu(WAYS_FROM_CONV1D[way](self.conv(x))), conv=planted(copy.deepcopy(CONV1D))
    )
    assert found(model, torch.randn(100, 3, length + 2)) == {"relu": DEAD}


WAYS_FROM_TOKENS = {
    "as they are": lambda y: y,
    "to channels": lambda y: y.transpose(1, 2),
    "to maps": lambda y: y.permute(0, 2, 1).unflatten(2, (2, 3)),
    "to maps by view": lambda y: y.transpose(1, 2).reshape(len(y), 6, 3, 2),
    "norm": lambda y: functional.batch_norm(y.transpose(1, 2), torch.zeros(6), torch.ones(6)),
    "first token": lambda y: y[:, 0],
    "mean of tokens": lambda y: y.mean(1),
    "each token": lambda y: y.unbind(1)[2],
    "heads and back": lambda y: y.view(len(y), 6, 2, 3).transpose(1, 2).transpose(1, 2).reshape(y.shape),
    "axes before": lambda y: y[None],
}


@pytest.mark.parametrize("way", WAYS_FROM_TOKENS)
def test_the_axis_of_features_is_followed(way):
    model = Model(lambda self, x: functional.relu(WAYS_FROM_TOKENS[way](self.fc(x))), fc=planted(nn.Linear(4, 6)))
    assert found(model, torch.randn(50, 6, 4)) == {"relu": DEAD}


@settings(max_examples=100)
@given(st.data())
def test_the_axis_is_followed_through_any_moves(data):
    units = 13  # as long as no other axis

    def moved(y):
        for _ in range(data.draw(st.integers(1, 6))):
            axis = y.shape.index(units)
            others = [i for i in range(y.ndim) if i != axis]
            move = data.draw(
                st.sampled_from(["permute", "transpose", "unsqueeze", "squeeze", "split", "merge", "select", "mean"])
            )
            if move == "permute":
                y = y.permute(data.draw(st.permutations(range(y.ndim))))
            elif move == "transpose":
                y = y.transpose(axis, data.draw(st.integers(-y.ndim, y.ndim - 1))).contiguous()
            elif move == "unsqueeze":
                y = y.unsqueeze(data.draw(st.integers(-y.ndim - 1, y.ndim)))
            elif move == "squeeze":
                y = y.squeeze()
            elif move == "split":
                i = data.draw(st.sampled_from(others)) if others else axis
                y = y.unflatten(i, (2, -1)) if y.shape[i] % 2 == 0 else y
            elif move == "merge":
                starts = [i for i in others if i + 1 in others]
                i = data.draw(st.sampled_from(starts)) if starts else axis
                y = y.reshape(*y.shape[:i], -1, *y.shape[i + 2 :]) if starts else y
            elif others:
                i = data.draw(st.sampled_from(others))
                y = y.select(i, 0) if move == "select" else y.mean(i)
        return y

    dead = [3, 7]
    model = Model(lambda self, x: functional.relu(moved(self.conv(x))), conv=planted(nn.Conv1d(2, units, 1), dead))
    with torch.no_grad():
        model.conv.weight.zero_()
    (site,) = diagnose(model, [torch.randn(8, 2, 4)]).sites
    assert (site.units, site.dead.tolist()) == (units, dead)


def test_maps_to_tokens_as_in_a_vision_transformer():
    model = Model(
        lambda self, x: functional.gelu(self.fc(functional.relu(self.conv(x).flatten(2).transpose(1, 2)))),
        conv=planted(nn.Conv2d(3, 6, 2, stride=2)),
        fc=planted(nn.Linear(6, 5), [3]),
    )
    relu, gelu = diagnose(model, [images(channels=3)]).sites
    assert (relu.dead.tolist(), relu.values, relu.examples) == (DEAD, 16 * 16, 16)
    assert (gelu.dead.tolist(), gelu.one_sided.tolist(), gelu.units) == ([], [3], 5)


def test_each_feature_of_each_head_is_a_unit():
    model = Model(
        lambda self, x: functional.relu(self.fc(x).view(len(x), -1, 2, 3).transpose(1, 2)), fc=planted(nn.Linear(4, 6))
    )
    (site,) = diagnose(model, [torch.randn(50, 7, 4)]).sites
    assert (site.units, site.dead.tolist(), site.values) == (6, DEAD, 50 * 7)


# The shape alone makes features that become an image its channels, as the convolution after them does.
WAYS_TO_AN_IMAGE = {
    "view": lambda y: y.view(-1, 6, 4, 4),
    "unflatten": lambda y: y.unflatten(1, (6, 4, 4)),
    "a volume": lambda y: y.reshape(len(y), 6, 2, 2, 4),
    "one row": lambda y: y.view(-1, 6, 1, 16),
    "from one pixel": lambda y: y[:, :, None, None].view(-1, 6, 4, 4),
    "from tokens": lambda y: y.view(-1, 5, 96).reshape(-1, 6, 4, 4),
    "channels last": lambda y: y.view(-1, 6, 16).mT.reshape(-1, 96).view(-1, 4, 4, 6).permute(0, 3, 1, 2),
    "channels last, kept so": lambda y: functional.layer_norm(
        y.view(-1, 6, 16).mT.reshape(-1, 96).view(-1, 4, 4, 6), (6,)
    ),
    "a norm of all": lambda y: functional.layer_norm(y.view(-1, 6, 4, 4), (6, 4, 4)),
    "a larger one": lambda y: functional.interpolate(y.view(-1, 6, 4, 4), scale_factor=2),
    "its mean": lambda y: y.view(-1, 6, 4, 4).mean((2, 3)),
    "and tokens": lambda y: y.view(-1, 6, 4, 4).flatten(2).transpose(1, 2),
}


@pytest.mark.parametrize("way", WAYS_TO_AN_IMAGE)
def test_features_that_become_an_image_are_its_channels(way):
    dead = [16 * i + j for i in DEAD for j in range(16)]
    model = Model(
        lambda self, x: functional.relu(WAYS_TO_AN_IMAGE[way](self.fc(x))), fc=planted(nn.Linear(4, 96), dead)
    )
    assert found(model, rows()) == {"relu": DEAD}


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(6), (6, 16)),
        (nn.BatchNorm2d(6), (6, 4, 4)),
        (nn.BatchNorm3d(6), (6, 2, 2, 4)),
        (nn.InstanceNorm1d(6, affine=True), (6, 16)),
        (nn.InstanceNorm2d(6, affine=True), (6, 4, 4)),
        (nn.GroupNorm(2, 6), (6, 16)),
        (nn.GroupNorm(3, 6), (6, 2, 2, 4)),
    ],
    ids=str,
)
@pytest.mark.parametrize("tokens", [False, True])
def test_a_norm_of_channels_says_which_axis_they_are(norm, shape, tokens):
    model = nn.Sequential(nn.Linear(4, 96), nn.Unflatten(-1, shape), planted(norm), nn.ReLU())
    x = rows(64)
    if tokens:  # each token is a channel: the norm decides, though another axis was known before
        model = nn.Sequential(nn.Linear(4, 16), *model[2:])
        x = torch.randn(64, 6, *(2,) * (len(shape) - 2), 4)
    (site,) = diagnose(model, [x]).sites
    assert (site.units, site.dead.tolist()) == (6, DEAD)


@pytest.mark.parametrize("tokens", [7, 1])
def test_tokens_that_are_split_into_three_are_no_images(tokens):
    def forward(self, x):
        return functional.relu(self.fc(x).view(len(x), tokens, 2, -1))

    (site,) = diagnose(Model(forward, fc=nn.Linear(4, 6)), [torch.randn(50, tokens, 4)]).sites
    assert site.units == 6  # an image would have as many channels as there are tokens


def test_one_example_that_becomes_an_image():
    model = Model(lambda self, x: functional.relu(self.fc(x).view(1, 6, 4, 4)), fc=nn.Linear(4, 96))
    (site,) = diagnose(model, [torch.randn(4)]).sites
    assert (site.units, site.values) == (6, 16)


def test_a_generator_of_images():
    model = nn.Sequential(
        nn.Linear(6, 128),
        nn.Unflatten(1, (8, 4, 4)),
        planted(nn.BatchNorm2d(8), [0, 1, 2]),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 2),
    )
    (site,) = diagnose(model, [torch.randn(256, 6)]).sites
    assert (site.units, site.values, site.dead.tolist()) == (8, 256 * 16, [0, 1, 2])


def test_one_number_per_example_is_one_unit():
    model = Model(lambda self, x: functional.relu(self.fc(x).squeeze(-1)), fc=planted(nn.Linear(4, 1), [0]))
    (site,) = diagnose(model, [rows()]).sites
    assert (site.units, site.values, site.dead.tolist()) == (1, 200, [0])
    model = Model(lambda self, x: (x - 1).square().sum(-1).clamp(min=0))
    (site,) = diagnose(model, [rows()]).sites
    assert (site.units, site.values) == (1, 200)


WEIGHT = torch.ones(6, 4).index_fill(0, torch.tensor(DEAD), -1)  # kills these units if the input is above zero


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        (lambda x, w: x @ w.T, (9, 4)),
        (lambda x, w: x @ w.T, (9, 5, 4)),
        (lambda x, w: torch.matmul(x, w.mT), (9, 6, 4)),
        (functional.linear, (9, 6, 4)),
        (lambda x, w: torch.addmm(torch.zeros(6), x, w.T), (9, 4)),
        (lambda x, w: torch.bmm(x, w.T.expand(9, 4, 6)), (9, 5, 4)),
        (lambda x, w: w @ x, (9, 4, 5)),
        (lambda x, w: w.view(6, 4) @ x, (9, 4, 6)),
        (lambda x, w: w @ x, (4, 9)),
        (lambda x, w: torch.einsum("nc,dc->nd", x, w), (9, 4)),
        (lambda x, w: torch.einsum("nct,dc->ndt", x, w), (9, 4, 6)),
        (lambda x, w: torch.einsum("...c, dc -> ...d", x, w), (9, 6, 6, 4)),
        (lambda x, w: torch.einsum("nchw,dc->ndhw", x, w), (9, 4, 6, 6)),
        (lambda x, w: torch.conv1d(x, w[:, :, None]), (9, 4, 6)),
        (lambda x, w: aten.convolution(x, w[:, :, None], None, [1], [0], [1], False, [0], 1), (9, 4, 6)),
        (lambda x, w: w @ functional.relu(w.T @ (w @ x)), (9, 4, 6)),
        (lambda x, w: torch.ones(6, 6) @ (x @ w.T), (9, 6, 4)),  # neighbours in a graph
    ],
)
def test_weights_make_units_whatever_the_product(product, shape):
    model = Model(lambda self, x: functional.relu(product(x, self.weight)), weight=nn.Parameter(WEIGHT))
    (*_, site) = diagnose(model, [torch.rand(shape) + 0.1]).sites
    assert (site.units, site.dead.tolist()) == (6, DEAD)


def test_unfolded_patches_are_channels():
    model = Model(lambda self, x: functional.relu(functional.unfold(self.conv(x), 1)), conv=planted(nn.Conv2d(3, 6, 3)))
    assert found(model, images()) == {"relu": DEAD}


def test_shuffled_pixels_and_channels():
    def shuffled(y):
        return y.view(len(y), 2, 3, 6, 6).transpose(1, 2).reshape(y.shape)

    model = Model(
        lambda self, x: functional.relu(
            functional.pixel_shuffle(self.wide(functional.relu(shuffled(self.conv(x)))), 2)
        ),
        conv=planted(nn.Conv2d(3, 6, 3), [0, 1]),
        wide=planted(nn.Conv2d(6, 12, 3), [4, 5, 6, 7]),
    )
    assert found(model, images()) == {"relu": [0, 2], "relu:2": [1]}


def test_attention_gives_features():
    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return functional.relu(functional.scaled_dot_product_attention(q, k, v))

    model = Model(forward, qkv=planted(nn.Linear(4, 18), [13, 16]))
    assert found(model, torch.randn(9, 6, 4)) == {"relu": DEAD}
    model = Model(lambda self, x: functional.relu(self.attention(x, x, x)[0]), attention=nn.MultiheadAttention(6, 2))
    with torch.no_grad():
        model.attention.out_proj.bias[DEAD] = -1000
    assert found(model, torch.randn(7, 9, 6)) == {"relu": DEAD}


def test_recurrent_layers_give_features():
    model = Model(
        lambda self, x: functional.relu(self.fc(self.gru(self.conv(x).transpose(1, 2))[0])),
        conv=nn.Conv1d(3, 6, 3),
        gru=nn.GRU(6, 5, batch_first=True),
        fc=planted(nn.Linear(5, 6)),
    )
    assert found(model, torch.randn(9, 3, 8)) == {"relu": DEAD}


# Which calls are seen

FLAT = {
    "relu": [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        functional.relu,
        torch.relu,
        torch.relu_,
        lambda y: y.relu(),
        lambda y: y.relu_(),
        aten.relu,
        aten.relu.default,
        aten.relu_.default,
        lambda y: functional.relu(input=y, inplace=True),
    ],
    "relu6": [nn.ReLU6(), nn.ReLU6(inplace=True), functional.relu6, aten.relu6.default, nn.Hardtanh(0, 6)],
    "hardtanh": [
        nn.Hardtanh(0, 1),
        lambda y: functional.hardtanh(y, 0.0, 2.0),
        lambda y: functional.hardtanh_(y, min_val=0),
    ],
    "threshold": [
        nn.Threshold(0, 0),
        lambda y: functional.threshold(y, 0.0, 0.0),
        lambda y: torch.threshold_(y, 0, 0),
        nn.Threshold(0, 0, inplace=True),
        lambda y: aten.threshold.default(y, 0, 0),
    ],
    "clamp": [
        lambda y: y.clamp(0),
        lambda y: y.clamp(min=0.0),
        lambda y: torch.clamp(y, min=0, max=6),
        lambda y: y.clamp_(0),
        lambda y: aten.clamp.default(y, 0),
    ],
    "clamp_min": [lambda y: y.clamp_min(0), lambda y: torch.clamp_min_(y, 0), lambda y: aten.clamp_min.default(y, 0)],
    "clip": [lambda y: y.clip(0), lambda y: torch.clip_(y, min=0.0)],
    "leaky_relu": [nn.LeakyReLU(0.0), LeakyReLU(0)],
}
SLOPED = {
    "leaky_relu": [
        nn.LeakyReLU(),
        functional.leaky_relu,
        torch.ops.aten.leaky_relu,
        leaky_relu,
        LeakyReLU(0.1, inplace=True),
        lambda y: functional.leaky_relu_(y, 0.2),
        nn.LeakyReLU(inplace=True),
    ],
    "prelu": [nn.PReLU(), nn.PReLU(6), lambda y: functional.prelu(y, torch.ones(1)), lambda y: y.prelu(torch.ones(6))],
    "rrelu": [nn.RReLU(), nn.RReLU(inplace=True), functional.rrelu, torch.rrelu_],
    "elu": [nn.ELU(), functional.elu, nn.ELU(inplace=True), aten.elu.default],
    "celu": [nn.CELU(), torch.celu, torch.celu_],
    "selu": [nn.SELU(), torch.selu, torch.selu_],
    "gelu": [nn.GELU(), functional.gelu, nn.GELU("tanh"), aten.gelu.default],
    "silu": [nn.SiLU(), functional.silu, nn.SiLU(inplace=True), aten.silu.default],
}


@pytest.mark.parametrize(
    ("operation", "activation", "flat"),
    [
        (name, each, flat)
        for flat, table in ((True, FLAT), (False, SLOPED))
        for name, calls in table.items()
        for each in calls
    ],
)
def test_every_way_to_call_an_activation(operation, activation, flat):
    module = isinstance(activation, nn.Module)
    model = nn.Sequential(planted(nn.Linear(4, 6)), activation) if module else layer_and(activation)
    x = rows()
    with torch.no_grad():
        before = model[0](x) if module else model.fc(x)
        after = model.eval()(x)
    (site,) = diagnose(model, [x]).sites
    assert (site.name, site.operation, site.flat) == ("1" if module else operation, operation, flat)
    assert (site.dead if flat else site.one_sided).tolist() == DEAD
    assert not len(site.one_sided if flat else site.dead)
    assert site.fired.tolist() == (before > 0).sum(0).tolist()
    assert site.maximum.tolist() == before.amax(0).double().tolist()
    assert site.below.tolist() == (before < 0).any(0).tolist()
    assert np.allclose(site.mean_output, after.double().abs().mean(0).numpy(), rtol=1e-6)


def test_above_a_threshold_is_above_zero():
    x = torch.tensor([[0.5, 3.0, 2.0], [1.0, 2.5, 2.0]])
    model = nn.Threshold(2.0, -7.0)
    (site,) = diagnose(model, [x]).sites
    assert site.fired.tolist() == [0, 2, 0]
    assert (site.maximum.tolist(), site.below.tolist()) == ([-1, 1, 0], [True, False, False])
    assert site.mean_output.tolist() == [7, 2.75, 7]
    assert (site.dead.tolist(), site.always_on.tolist()) == ([0, 2], [1])


@pytest.mark.parametrize(
    "call",
    [
        lambda y: y.clamp(min=1e-6),
        lambda y: y.clamp(max=0),
        functional.hardtanh,
        lambda y: y.sigmoid().tanh(),
        lambda y: (10 * y).long().clamp(min=0),
        lambda y: torch.relu((10 * y).int()),
        functional.softplus,
    ],
)
def test_what_is_no_activation_is_no_site(call):
    with pytest.raises(
        ValueError, match=r"^Model called no activation that is known \(ReLU, Leaky ReLU, GELU and so on\)$"
    ):
        diagnose(layer_and(call), [rows()])
    assert found(layer_and(lambda y: call(functional.relu(y))), rows()) == {"relu": DEAD}


def test_weights_that_are_kept_above_zero_are_no_units():
    model = Model(
        lambda self, x: functional.relu(x @ functional.relu(self.weight)), weight=nn.Parameter(torch.randn(4, 6))
    )
    (site,) = diagnose(model, [rows()]).sites
    assert (site.units, site.values) == (6, 200)


def test_a_shared_module_is_seen_call_by_call():
    def forward(self, x):
        return self.relu(self.c(self.relu(self.b(self.relu(self.a(x))))))

    layers = {"a": planted(nn.Linear(4, 6)), "b": planted(nn.Linear(6, 5), [0]), "c": planted(nn.Linear(5, 7), [])}
    diagnosis = diagnose(Model(forward, relu=nn.ReLU(), **layers), [rows(), rows()])
    assert [(s.name, s.units, s.dead.tolist()) for s in diagnosis.sites] == [
        ("relu", 6, DEAD),
        ("relu:2", 5, [0]),
        ("relu:3", 7, []),
    ]
    assert {site.values for site in diagnosis.sites} == {400}


def test_residual_block_with_activations_in_place():
    def forward(self, x):
        return functional.relu_(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))

    block = Model(
        forward,
        conv1=nn.Conv2d(6, 6, 3, padding=1),
        bn1=planted(nn.BatchNorm2d(6)),
        relu=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(6, 6, 3, padding=1),
        bn2=planted(nn.BatchNorm2d(6), [3]),
    )
    x = images(channels=6)
    copied = x.clone()
    assert found(nn.Sequential(block, nn.Conv2d(6, 2, 1)), x) == {"0.relu": DEAD, "0.relu:2": [3]}
    assert torch.equal(x, copied)


def resnet():
    def block(channels, units, stride):
        short = nn.Identity() if stride == 1 else nn.Conv2d(channels, units, 1, stride)
        if stride > 1:
            nn.init.constant_(short.weight, 0.1)
        return Model(
            lambda self, x: self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + self.short(x)),
            conv1=nn.Conv2d(channels, units, 3, stride, 1, bias=False),
            bn1=planted(nn.BatchNorm2d(units)),
            conv2=nn.Conv2d(units, units, 3, 1, 1, bias=False),
            bn2=planted(nn.BatchNorm2d(units), []),
            relu=nn.ReLU(inplace=True),
            short=short,
        )

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        block(8, 8, 1),
        block(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def test_resnet():
    expected = {"2": [], "4.relu": DEAD, "4.relu:2": [], "5.relu": DEAD, "5.relu:2": []}
    assert found(resnet(), images(32), images(1)) == expected


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", nn.ReLU()], ids=str)
def test_transformer_encoder_in_eval_mode_and_in_training(training, batch_first, activation):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, activation=activation)
    planted(layer.linear1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that some of these take no nested tensors
        encoder = nn.TransformerEncoder(layer, 2).train(training)
    x = torch.randn(9, 7, 8) if batch_first else torch.randn(7, 9, 8)
    mask = torch.zeros(9, 7, dtype=torch.bool)
    mask[:, 5:] = True
    for model, batch, sites in [(layer.train(training), x, 1), (encoder, {"src": x, "src_key_padding_mask": mask}, 2)]:
        diagnosis = diagnose(model, [batch])
        assert len(diagnosis.sites) == sites
        for site in diagnosis.sites:
            assert (site.one_sided if activation == "gelu" else site.dead).tolist() == DEAD
            assert (site.units, site.values) == (16, 63)
        assert all(module.training is training for module in model.modules())


def test_models_that_were_traced_exported_or_compiled():
    model = nn.Sequential(planted(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    x = rows()
    expected = {"1": DEAD}
    assert found(torch.fx.symbolic_trace(model), x) == expected
    assert found(nn.DataParallel(copy.deepcopy(model)), x) == expected
    assert found(torch.compile(model, backend="eager"), x) == expected
    used = torch.compile(copy.deepcopy(model), backend="eager")
    used(x)
    assert found(used, x) == expected
    in_place = copy.deepcopy(model)
    in_place.compile(backend="eager")
    in_place(x)
    assert found(in_place, x) == expected
    assert found(nn.Sequential(used, nn.GELU()), x) == {"0.1": DEAD, "1": []}
    used(x)  # still compiled
    exported = torch.export.export(model, (x,))
    assert found(exported.module(), x) == {"relu": DEAD}


def test_scripted_models_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 6), nn.ReLU()))
        traced = torch.jit.trace(nn.ReLU(), rows())
    for model, name in [(scripted, "the model"), (nn.Sequential(nn.Identity(), traced), "1")]:
        with pytest.raises(TypeError, match=rf"^{name} is scripted \(TorchScript\)"):
            diagnose(model, [rows()])


@pytest.mark.parametrize(
    ("model", "name"), [(nn.RNN(4, 6, nonlinearity="relu"), "RNN"), (nn.RNNCell(4, 6, nonlinearity="relu"), "RNNCell")]
)
def test_fused_activations_are_named(model, name):
    with pytest.raises(ValueError, match=rf"nn\.{name} computes its ReLU inside; its units are not seen"):
        diagnose(model, [rows()])
    sites = diagnose(
        Model(
            lambda self, x: functional.relu(self.fc(self.rnn(x)[0])),
            fc=nn.Linear(6, 6),
            rnn=nn.RNN(4, 6, nonlinearity="relu"),
        ),
        [rows()],
    )
    assert sites.notes == ("nn.RNN computes its ReLU inside; its units are not seen",)


def test_what_cannot_be_counted_is_named():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with pytest.raises(ValueError, match="relu is called with functorch's tensors; its units are not seen"):
        diagnose(model, [rows()], forward=lambda model, x: torch.vmap(model)(x))
    with pytest.raises(ValueError, match="relu is called with fake tensors"):
        diagnose(nn.Sequential(nn.Linear(4, 6, device="meta"), nn.ReLU()), [rows()])
    sparse = rows().to_sparse()
    with pytest.raises(ValueError, match="relu is called with sparse tensors"):
        diagnose(nn.ReLU(), [sparse])


def test_a_number_of_calls_that_depends_on_the_data():
    def forward(self, x):
        for _ in range(int(x[0, 0])):
            x = self.relu(self.fc(x))
        return x

    model = Model(forward, fc=planted(nn.Linear(4, 4), [1]), relu=nn.ReLU())
    batches = [torch.rand(10, 4) + calls for calls in (1, 3, 2)]
    diagnosis = diagnose(model, batches)
    assert [(s.name, s.values) for s in diagnosis.sites] == [("relu", 30), ("relu:2", 20), ("relu:3", 10)]
    assert all(1 in site.dead for site in diagnosis.sites)
    with pytest.raises(ValueError, match="no activation that is known"):
        diagnose(model, [torch.rand(10, 4)])


def test_a_module_that_calls_itself():
    def forward(self, x, depth=2):
        x = functional.relu(self.fc(x))
        return self(x, depth - 1) if depth else x

    model = Model(forward, fc=planted(nn.Linear(4, 4), [1]))
    assert list(found(model, rows())) == ["relu", "relu:2", "relu:3"]


def test_parametrized_weights_and_functional_calls():
    layer = planted(nn.Linear(4, 6))
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    model = nn.Sequential(layer, nn.ReLU())
    assert found(model, rows()) == {"1": DEAD}
    values = dict(model.named_parameters())
    assert found(model, rows(), forward=lambda model, x: torch.func.functional_call(model, values, (x,))) == {"1": DEAD}


def test_checkpointed_parts_are_counted_once():
    for reentrant in (False, True):
        part = nn.Sequential(planted(nn.Linear(4, 6)), nn.ReLU())
        model = Model(lambda self, x, r=reentrant: checkpoint(self.part, x, use_reentrant=r), part=part)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no input requires a gradient
            (site,) = diagnose(model, [rows()]).sites
        assert (site.name, site.values, site.dead.tolist()) == ("part.1", 200, DEAD)


def test_activations_in_a_forward_outside_of_the_model():
    model = planted(nn.Linear(4, 6))
    assert found(model, {"any": rows()}, forward=lambda model, batch: model(batch["any"]).relu()) == {"relu": DEAD}


# What is counted

ELEMENTS = {torch.float64: 1e-15, torch.float32: 1e-6, torch.bfloat16: 1e-6, torch.float16: 1e-6}


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from(list(ELEMENTS)),
    operation=st.sampled_from(["relu", "leaky_relu", "threshold"]),
    order=st.randoms(use_true_random=False),
)
def test_counts_are_those_of_numpy(shape, data, dtype, operation, order):
    axis = data.draw(st.integers(0, len(shape)))
    batches = data.draw(st.integers(1, 3))
    threshold = 0.5 if operation == "threshold" else 0.0
    activation = Activation(operation, flat=operation != "leaky_relu", threshold=threshold)
    function = {
        "relu": functional.relu,
        "leaky_relu": functional.leaky_relu,
        "threshold": lambda x: functional.threshold(x, 0.5, -2.0),
    }[operation]
    counts, seen, made = Counts(), [], []
    for _ in range(batches):
        permutation = order.sample(range(len(shape)), len(shape))
        x = (
            torch.randn([shape[i] for i in permutation])
            .permute(np.argsort(permutation).tolist())
            .round(decimals=1)
            .to(dtype)
        )
        y = function(x)
        counts(Call("a", activation, x, () if axis == len(shape) else (Part(axis),), 1, nn.Identity()))(y)
        for tensor, into in ((x, seen), (y, made)):
            values = tensor.double().unsqueeze(-1).movedim(axis, 0)
            into.append(values.reshape(len(values), -1).numpy())
    (site,) = counts.diagnosis(batches).sites
    seen, made = np.concatenate(seen, 1), np.concatenate(made, 1)
    assert site.values == seen.shape[1]
    assert site.fired.tolist() == (seen > threshold).sum(1).tolist()
    assert site.below.tolist() == (seen < threshold).any(1).tolist()
    assert site.maximum.tolist() == (seen.max(1) - threshold).tolist()
    assert np.allclose(site.mean_output, np.abs(made).mean(1), rtol=ELEMENTS[dtype])


@pytest.mark.parametrize(
    "shape", [(254, 3), (255, 8), (256, 9), (1031, 7), (70_001, 61), (3, 5, 657, 431), (2000, 5, 7, 19), (1, 600_001)]
)
def test_counts_of_many_rows_and_odd_numbers_of_columns(shape):
    x = torch.randn(shape)
    (site,) = diagnose(nn.ReLU(), [x]).sites
    dims = [i for i in range(x.ndim) if i != 1]
    assert site.fired.tolist() == (x > 0).sum(dims).tolist()
    assert np.allclose(site.mean_output, x.relu().double().mean(dims).numpy(), rtol=1e-6)


def test_sums_of_many_values_keep_their_precision():
    x = torch.full((2_000_000, 1), 0.1)
    (site,) = diagnose(nn.ReLU(), [x] * 10).sites
    assert (site.values, site.fired.tolist()) == (20_000_000, [20_000_000])
    assert site.mean_output[0] == pytest.approx(np.float32(0.1), rel=1e-6)
    (site,) = diagnose(nn.ReLU(), [torch.full((100_000, 1), 300.0, dtype=torch.float16)]).sites
    assert site.mean_output[0] == 300  # the sum is beyond what float16 holds


def test_many_batches_are_as_one():
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), torch.randn(50, 3, 8, 8)
    (one,), (many,) = (diagnose(model, batches).sites for batches in ([x], x.split(7)))
    assert one.fired.tolist() == many.fired.tolist()
    assert (one.examples, one.values) == (many.examples, many.values) == (50, 1800)
    assert one.below.tolist() == many.below.tolist()
    assert np.allclose(one.maximum, many.maximum)
    assert np.allclose(one.mean_output, many.mean_output)


def test_rare_always_on_and_dormant_units():
    x = torch.full((1000, 4), -1.0)
    x[:5, 0] = 1.0
    x[:, 1] = 2.0
    x[:10, 2] = 1.0
    (site,) = diagnose(nn.ReLU(), [x]).sites
    assert site.rare.tolist() == [0]  # 0.5 %, where 1 % is not rare
    assert site.always_on.tolist() == [1]
    assert site.dormant.tolist() == [0, 2, 3]
    assert site.dead.tolist() == [3]


@pytest.mark.parametrize("examples", [64, 10_000])
def test_a_unit_that_fires_one_time_in_a_hundred(examples):
    x = torch.full((examples, 1), -1.0)
    x[99::100] = 1.0
    (site,) = diagnose(nn.ReLU(), x.split(50)).sites
    assert site.bound == 3 / examples
    assert site.dead.tolist() == ([0] if examples == 64 else [])
    assert site.dead.tolist() == [] or site.bound > 0.01  # the bound is right about a unit that fires 1 % of the time


def test_nan_has_its_own_row():
    x = torch.full((10, 4), -1.0)
    x[3, 1] = math.nan
    x[:, 2] = 1.0
    x[0, 3] = math.nan
    x[1:, 3] = 1.0
    diagnosis = diagnose(nn.ReLU(), [torch.full((5, 4), -1.0), x])
    (site,) = diagnosis.sites
    assert (site.nan.tolist(), site.dead.tolist()) == ([1, 3], [0])
    assert "NaN" in str(diagnosis)
    everywhere = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    everywhere[0].weight.data.fill_(math.nan)
    (site,) = diagnose(everywhere, [rows()]).sites
    assert site.nan.tolist() == list(range(6))
    assert not len(site.dead)


def test_infinities_are_values_like_others():
    x = torch.tensor([[math.inf, -math.inf, 1.0]])
    (site,) = diagnose(nn.ReLU(), [x]).sites
    assert (site.fired.tolist(), site.dead.tolist(), site.nan.tolist()) == ([1, 0, 1], [1], [])
    assert (site.maximum.tolist(), site.mean_output.tolist()) == ([math.inf, -math.inf, 1], [math.inf, 0, 1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_types(dtype):
    model = nn.Sequential(
        planted(nn.Conv1d(3, 6, 3)), nn.ReLU(), nn.Flatten(), planted(nn.Linear(36, 6)), nn.GELU()
    ).to(dtype)
    relu, gelu = diagnose(model, [torch.randn(50, 3, 8, dtype=dtype)]).sites
    assert (relu.dead.tolist(), gelu.one_sided.tolist()) == (DEAD, DEAD)


def test_autocast():
    model = nn.Sequential(planted(nn.Linear(4, 6)), nn.ReLU(), planted(nn.Linear(6, 6)), nn.GELU())
    with torch.autocast("cpu", torch.bfloat16):
        relu, gelu = diagnose(model, [rows()]).sites
    assert (relu.dead.tolist(), gelu.one_sided.tolist()) == (DEAD, DEAD)


def test_inference_mode():
    model = layer_and(functional.relu)

    def forward(model, x):
        with torch.inference_mode():
            model(x)

    assert found(model, rows(), rows(), forward=forward) == {"relu": DEAD}


@pytest.mark.parametrize(("value", "scratch"), [(1.0, []), (math.nan, [6000])])  # what one call with a NaN needs
def test_memory_does_not_grow_with_the_number_of_batches(value, scratch):
    counts = Counts()
    model = layer_and(functional.relu)
    stored, x = [], rows(1000)
    x[0, 0] = value
    with torch.no_grad(), Capture(model, counts):
        for _ in range(5):
            model(x)
            stored.append(
                sum(v.numel() for s in counts._sites.values() for v in vars(s).values() if isinstance(v, torch.Tensor))
            )
    assert stored == [4 * 6] * 5
    assert [memory.numel() for memory in counts._scratch._memory.values()] == scratch


def test_results_do_not_change_when_the_counting_goes_on():
    counts, model = Counts(), layer_and(functional.relu)
    with torch.no_grad(), Capture(model, counts):
        model(rows())
        (site,) = counts.diagnosis(200).sites
        before = site.fired.copy(), site.below.copy(), site.maximum.copy(), site.mean_output.copy()
        model(rows())
    assert all(map(np.array_equal, before, (site.fired, site.below, site.maximum, site.mean_output)))


# Batches


class Encoding(UserDict):
    """A batch as the tokenizers of Hugging Face give it."""


@pytest.mark.parametrize(
    "batch",
    [
        lambda x: x,
        lambda x: (x, torch.zeros(len(x))),
        lambda x: [x, None, "text"],
        lambda x: {"x": x},
        lambda x: {"x": x, "scale": 2.0},
        lambda x: ({"x": x}, torch.zeros(3)),
        lambda x: Encoding(x=x),
    ],
)
def test_kinds_of_batches(batch):
    model = Model(lambda self, x, scale=1.0: functional.relu(self.fc(x * scale)), fc=planted(nn.Linear(4, 6)))
    diagnosis = diagnose(model, [batch(rows(20)), batch(rows(30))])
    assert (diagnosis.examples, diagnosis.sites[0].dead.tolist()) == (50, DEAD)


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ("text", "str"),
        (None, "NoneType"),
        (np.zeros((2, 4)), "ndarray"),
        ([], "list"),
        ([3, 4], "list of int"),
        (object(), "object"),
    ],
)
def test_other_batches_need_a_forward(batch, what):
    model = layer_and(functional.relu)
    with pytest.raises(TypeError, match=rf"a batch must be a tensor, .*, got {what}$"):
        diagnose(model, [batch])
    (site,) = diagnose(model, [batch], forward=lambda model, given: model(rows(7)) if given is batch else None).sites
    assert site.examples == 7


@pytest.mark.parametrize("batches", [torch.zeros(3, 4), {"x": torch.zeros(3, 4)}, 5, "text"])
def test_what_is_no_iterable_of_batches(batches):
    with pytest.raises(
        TypeError,
        match=r"^batches must be an iterable of batches, such as a DataLoader, got one \w+: put it in a list$",
    ):
        diagnose(layer_and(functional.relu), batches)


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"^model must be a torch.nn.Module, got function$"):
        diagnose(found, [rows()])


def test_no_batches_and_no_examples():
    with pytest.raises(ValueError, match=r"^batches is empty"):
        diagnose(layer_and(functional.relu), [])
    used = iter([rows()])
    next(used)
    with pytest.raises(ValueError, match="a generator that was used up before is empty, too"):
        diagnose(layer_and(functional.relu), used)
    with pytest.raises(ValueError, match=r"^the batches hold no examples"):
        diagnose(layer_and(functional.relu), [rows(0), rows(0)])


def test_an_empty_batch_among_others():
    for model, x in [
        (layer_and(functional.relu), rows()),
        (nn.Sequential(planted(nn.Conv2d(3, 6, 3)), nn.ReLU()), images()),
    ]:
        (site,) = diagnose(model, [x[:0], x, x[:0]]).sites
        assert (site.dead.tolist(), site.examples) == (DEAD, len(x))


@pytest.mark.parametrize("workers", [0, 1])
def test_data_loader(workers):
    data = TensorDataset(rows(50), torch.zeros(50))
    # Not forked: a fork may hang because of other libraries' threads, such as JAX's.
    how = {"num_workers": workers, "multiprocessing_context": "spawn" if workers else None}
    diagnosis = diagnose(layer_and(functional.relu), DataLoader(data, batch_size=16, shuffle=True, **how))
    assert (diagnosis.examples, diagnosis.sites[0].dead.tolist()) == (50, DEAD)


def test_examples_are_counted_at_the_batch_and_not_at_the_activation():
    model = Model(lambda self, x: functional.relu(self.fc(x.reshape(-1, 4))), fc=planted(nn.Linear(4, 6)))
    for batch in (torch.randn(5, 7, 4), Encoding(x=torch.randn(5, 7, 4))):
        (site,) = diagnose(model, [batch]).sites
        assert (site.examples, site.values, site.bound) == (5, 35, 0.6)


def test_the_first_module_that_is_given_a_tensor_tells_how_many_examples_there_are():
    class OfText(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(0, 1), planted(nn.Linear(4, 6)), nn.ReLU())

        def forward(self, text):
            return self.layers(torch.randn(len(text.split()), 7, 4))

    (site,) = diagnose(OfText(), ["one two three four five"], forward=lambda model, text: model(text)).sites
    assert (site.examples, site.values, site.bound) == (5, 35, 0.6)


# Nothing is changed


class Noisy(nn.Module):
    """Draws from every generator of random numbers."""

    def forward(self, x):
        return functional.dropout(x, 0.5, training=True) + torch.randn(()) + np.random.randn() + random.random()  # noqa: NPY002


def random_states():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def test_model_and_random_states_are_as_before():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), Noisy(), nn.Conv2d(6, 6, 3), nn.ReLU6())
    model.register_buffer("floating", torch.randn(3))
    model(images()).sum().backward()
    frozen = model[1].eval()
    modes = [module.training for module in model.modules()]
    x = images()
    states = random_states()
    values = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    attributes = [dict(vars(value)) for value in (*model.parameters(), *model.buffers())]
    hooks = [{key: len(value) for key, value in vars(m).items() if "hooks" in key} for m in model.modules()]
    diagnose(model, DataLoader(TensorDataset(x), batch_size=4, shuffle=True))
    assert random_states() == states
    assert [module.training for module in model.modules()] == modes
    assert not frozen.training
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert [dict(vars(value)) for value in (*model.parameters(), *model.buffers())] == attributes
    assert [{key: len(value) for key, value in vars(m).items() if "hooks" in key} for m in model.modules()] == hooks
    assert not vars(x)
    assert torch.is_grad_enabled()


def test_tensors_are_left_without_attributes():
    seen = []
    model = layer_and(lambda y: seen.append(y) or seen.append(functional.relu_(y)) or seen[-1].T)
    x = rows()
    diagnose(model, [x], forward=lambda model, x: seen.append(model(x)))
    assert len(seen) == 3
    assert not any(vars(value) for value in (x, *seen, *model.parameters()))


def test_it_runs_in_eval_mode_without_gradients():
    modes = []
    model = Model(
        lambda self, x: modes.append((self.training, self.bn.training, torch.is_grad_enabled())) or self.bn(x).relu(),
        bn=nn.BatchNorm1d(4),
    )
    diagnose(model, [rows()])
    assert modes == [(False, False, False)]


def test_a_train_method_of_its_own_is_not_called():
    class Merging(nn.Linear):
        def train(self, mode=True):
            raise AssertionError

    model = nn.Sequential(planted(Merging(4, 6)), nn.ReLU())
    assert found(model, rows()) == {"1": DEAD}
    assert model[0].training


def test_the_same_output_while_it_is_observed():
    outputs = []
    model, x = resnet().eval(), images()
    diagnose(model, [x], forward=lambda model, x: outputs.append(model(x)))
    with torch.no_grad():
        assert torch.equal(outputs[0], model(x))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_all_is_as_before(error):
    def fails(self, x):
        self.relu(x)
        raise error

    inner = Model(fails, relu=nn.ReLU())
    model = nn.Sequential(nn.Linear(4, 6), inner, nn.ReLU())
    model[2].eval()
    x = rows()
    states = random_states()
    with pytest.raises(error):
        diagnose(model, [x])
    assert random_states() == states
    assert [module.training for module in model.modules()] == [True, True, True, True, False]
    assert not any(value for m in model.modules() for key, value in vars(m).items() if "hooks" in key)
    assert not torch.overrides._get_current_function_mode_stack()
    assert torch.is_grad_enabled()
    inner.body = lambda self, x: self.relu(x)
    assert list(found(model, rows())) == ["1.relu", "2"]


def test_an_error_in_the_batches_is_not_swallowed():
    def batches():
        yield rows()
        raise ZeroDivisionError

    model = layer_and(functional.relu)
    with pytest.raises(ZeroDivisionError):
        diagnose(model, batches())
    assert model.training
    assert not model._forward_hooks


def test_no_gpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert found(layer_and(functional.relu), rows()) == {"relu": DEAD}


def test_each_site_has_a_name_of_its_own():
    diagnosis = diagnose(resnet(), [images()])
    assert len({site.name for site in diagnosis.sites}) == len(diagnosis.sites)
    assert all(one != other for one, other in pairwise(site.name for site in diagnosis.sites))
    assert diagnosis.to_dict()
    assert str(diagnosis)
