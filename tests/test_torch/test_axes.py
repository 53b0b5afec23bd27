"""Where the units are is followed from the layer to the activation: on one axis, on several or on a part of one."""

import inspect
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch.planted import Model, planted
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from leakyrelu.torch import diagnose, revive
from leakyrelu.torch.axes import RULES
from leakyrelu.torch.capture import Capture
from leakyrelu.torch.counts import by_unit
from leakyrelu.units.layout import (
    Factor,
    Part,
    agreed,
    contracted,
    guessed,
    kept,
    refined,
    reshaped,
    settled,
    spread,
)


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


# Functions of shapes and units


def whole(*axes):
    return tuple(map(Part, axes))


@pytest.mark.parametrize(
    ("units", "old", "new", "expected"),
    [
        (whole(1), (9, 16, 5, 5), (9, 16, 25), whole(1)),
        (whole(1), (9, 16, 25), (9, 16, 5, 5), whole(1)),
        (whole(2), (9, 7, 16), (63, 16), whole(1)),
        (whole(2), (9, 7, 16), (9, 7, 4, 4), whole(2, 3)),
        (whole(2, 3), (9, 7, 4, 4), (9, 7, 16), whole(2)),
        (whole(1, 3), (9, 4, 7, 4), (36, 7, 4), (Part(0, 1, 4), Part(2))),
        ((Part(0, 1, 4), Part(2)), (36, 7, 4), (9, 4, 7, 4), whole(1, 3)),
        (whole(2, 3), (7, 9, 4, 4), (7, 36, 4), (Part(1, 1, 4), Part(2))),
        (whole(1), (9, 16, 5, 5), (9, 400), (Part(1, 25, 16),)),
        ((Part(1, 25, 16),), (9, 400), (9, 16, 5, 5), whole(1)),
        (whole(1), (9, 16, 5, 5), (9, 4, 4, 5, 5), whole(1, 2)),
        (whole(2, 1), (9, 8, 2, 5, 5), (9, 16, 5, 5), whole(1)),  # channels that were shuffled
        (whole(1), (9, 1, 5), (9, 5), ()),
        (whole(1), (9, 1, 5), (9, 1, 1, 5), whole(1)),
        ((), (9, 5), (9, 1, 5), ()),
        (whole(1), (9, 16, 5), (9, 8, 10), (Part(1), Part(2, 5, 2))),
        (whole(1), (9, 12, 5), (9, 20, 3), None),  # no axis has rows of 5 values now
        (whole(1), (3, 8), (2, 12), None),
        (whole(1), (9, 96), (9, 6, 4, 4), None),  # an image
        (whole(1), (9, 96), (9, 96, 1, 1), whole(1)),
        (whole(2), (0, 7, 16), (0, 7, 4, 4), whole(2, 3)),
        (whole(2), (0, 7, 16), (0, 16), whole(1)),
    ],
)
def test_reshaped(units, old, new, expected):
    assert reshaped(units, old, new) == expected


@st.composite
def shapes(draw):
    """A shape with 144 values."""
    factors = draw(st.permutations([2, 2, 2, 2, 3, 3]))
    cuts = [0, *sorted(draw(st.lists(st.integers(0, 6), max_size=4))), 6]
    return tuple(math.prod(factors[start:stop]) for start, stop in pairwise(cuts))


@given(shapes(), shapes(), st.data())
def test_after_a_change_of_shape_each_unit_has_the_values_that_it_had(old, new, data):
    axis = data.draw(st.integers(0, len(old) - 1))
    numbers = torch.arange(old[axis]).reshape([-1 if i == axis else 1 for i in range(len(old))]).expand(old)
    units = reshaped(whole(axis), old, new)
    if units is not None:
        lengths, axes = refined(units, new)
        rows = numbers.reshape(lengths).movedim(axes, tuple(range(len(axes)))).reshape(old[axis], -1)
        assert torch.equal(rows, torch.arange(old[axis])[:, None].expand(rows.shape))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (whole(1, 3), whole(1, 3)),
        ((), ()),
        ((Part(0, 1, 4), Part(2)), (Part(0, 1, 4), Part(2))),  # heads that were merged with examples
        ((Part(1, 1, 4), Part(2)), (Part(1, 1, 4), Part(2))),
        ((Part(0, 1, 16),), (Part(0, 1, 16),)),
        ((Part(1, 25, 16),), whole(1)),  # flattened maps
        ((Part(1, 1, 16),), whole(1)),  # flattened tokens
        ((Part(1), Part(2, 1, 2), Part(3, 1, 2)), whole(1)),  # shuffled pixels
        ((Part(1), Part(3, 2, 8)), whole(1, 3)),
    ],
)
def test_settled(units, expected):
    assert settled(units) == expected


@pytest.mark.parametrize(
    ("units", "shape", "expected"),
    [
        (whole(1, 3), (9, 4, 7, 4), (4, 4)),
        ((Part(0, 1, 4), Part(2)), (36, 7, 4), (4, 4)),
        ((Part(1, 5, 2), Part(1, 1, 5)), (9, 10), (2, 5)),
        ((Part(1, 2, 3),), (9, 12), (3,)),
        ((Part(0, 1, 4), Part(2)), (0, 7, 4), (4, 4)),
    ],
)
def test_refined_gives_the_units_axes_of_their_own(units, shape, expected):
    lengths, axes = refined(units, shape)
    assert torch.zeros(shape).reshape(lengths).numel() == torch.zeros(shape).numel()
    assert tuple(lengths[axis] for axis in axes) == expected


@pytest.mark.parametrize(
    ("units", "old", "new", "expected"),
    [
        (whole(1), (9, 16, 5), (9, 16, 3), whole(1)),
        (whole(1), (9, 16, 5), (9, 8, 5), whole(1)),
        (whole(1), (9, 16, 5), (9, 16), None),
        ((Part(0, 1, 4), Part(2)), (36, 7, 4), (36, 3, 4), (Part(0, 1, 4), Part(2))),
        ((Part(0, 1, 4), Part(2)), (36, 7, 4), (30, 7, 4), whole(2)),
        ((Part(0, 1, 4),), (36, 7), (30, 7), None),
        ((Part(1, 25, 16),), (9, 400), (9, 300), whole(1)),  # some columns of flattened maps
        ((), (9, 5), (9, 3), ()),
    ],
)
def test_kept(units, old, new, expected):
    assert kept(units, old, new) == expected


@pytest.mark.parametrize(
    ("units", "old", "new", "expected"),
    [
        (whole(1), (16, 16), (9, 5, 16, 16), whole(3)),
        (whole(1), (9, 16, 1, 1), (9, 16, 5, 5), whole(1)),
        (whole(1), (9, 1, 5, 5), (9, 16, 5, 5), None),  # one gate for all channels
        (whole(1, 3), (9, 4, 1, 1), (9, 4, 7, 4), whole(1)),
        ((), (9, 1), (9, 5), ()),
    ],
)
def test_spread(units, old, new, expected):
    assert spread(units, old, new) == expected


@pytest.mark.parametrize(
    ("full", "partial", "expected"),
    [
        ([], [], None),
        ([whole(1)], [], whole(1)),
        ([whole(1), whole(1)], [whole(2)], whole(1)),
        ([whole(1, 3), whole(3)], [], whole(1, 3)),
        ([whole(3), whole(1, 3)], [], whole(1, 3)),
        ([whole(1, 3), whole(1, 2)], [], whole(1)),
        ([whole(1), whole(2)], [], None),  # channels and tokens: neither is right
        ([(), whole(1)], [], whole(1)),
        ([()], [], ()),
        ([()], [whole(1)], whole(1)),
        ([], [whole(1), whole(2)], whole(1, 2)),  # an outer sum
    ],
)
def test_agreed(full, partial, expected):
    assert agreed(full, partial) == expected


def known(shape, *axes):
    return Factor(shape, whole(*axes), "known")


def unknown(*shape):
    return Factor(shape, whole(*range(len(shape))), "unknown")


def weight(*shape):
    return Factor(shape, whole(*range(len(shape))), "weight")


@pytest.mark.parametrize(
    ("equation", "factors", "expected"),
    [
        ("bcn,bnm->bcm", [known((9, 16, 25), 1), known((9, 25, 25))], whole(1)),
        ("bcn,bnm->bcm", [known((9, 16, 25), 1), unknown(9, 25, 25)], whole(1)),
        ("bnm,bmc->bnc", [unknown(9, 25, 25), known((9, 25, 16), 2)], whole(2)),
        ("bnc,bcm->bnm", [known((9, 25, 16), 2), known((9, 16, 25), 1)], ()),  # the scores of one head
        ("bhqd,bhdk->bhqk", [known((9, 4, 7, 4), 1, 3), known((9, 4, 4, 7), 1, 2)], whole(1)),  # one unit per head
        ("bhqk,bhkd->bhqd", [known((9, 4, 7, 7), 1), known((9, 4, 7, 4), 1, 3)], whole(1, 3)),
        ("bcn,bdn->bcd", [known((9, 16, 25), 1), known((9, 16, 25), 1)], whole(1, 2)),  # pairs of channels
        ("btc,cd->btd", [known((9, 7, 16), 2), unknown(16, 5)], whole(2)),  # a fixed projection
        ("dc,bct->bdt", [unknown(5, 16), known((9, 16, 7), 1)], whole(1)),
        ("btc,tu->buc", [known((9, 7, 16), 2), unknown(7, 3)], whole(2)),
        ("ab,bc->ac", [unknown(5, 16), unknown(16, 7)], None),
        ("btc,cd->btd", [known((9, 7, 16), 2), weight(16, 5)], whole(2)),
        ("btc,chd->bhtd", [unknown(9, 7, 16), weight(16, 4, 4)], whole(1, 3)),
        ("btc,cdh->bhtd", [unknown(9, 7, 16), weight(16, 4, 4)], whole(3, 1)),  # in the order that the weight has
        ("bhtd,hde->bhte", [known((9, 4, 7, 4), 1, 3), weight(4, 4, 4)], whole(1, 3)),
        ("bthd,t->bhd", [known((9, 7, 4, 4), 2, 3), weight(7)], whole(1, 2)),
        ("btd,d->bt", [unknown(9, 7, 16), weight(16)], ()),
        ("nd,md->nm", [weight(9, 4), weight(9, 4)], whole(1)),
        ("bnc,bcm->bnm", [Factor((1, 7, 16), whole(0), "known"), unknown(9, 16, 7)], whole(2)),
    ],
)
def test_contracted(equation, factors, expected):
    terms, result = equation.split("->")
    made = tuple(torch.einsum(equation, *(torch.zeros(factor.shape) for factor in factors)).shape)
    assert contracted(tuple(factors), tuple(map(tuple, terms.split(","))), tuple(result), made) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), ()), ((9,), ()), ((16,), whole(0)), ((9, 16), whole(1)), ((9, 7, 16), whole(2)), ((9, 16, 5, 5), whole(1))],
)
def test_guessed(shape, expected):
    assert guessed(shape, 9) == expected


def test_the_rules_are_for_functions_that_exist():
    homes = torch, torch.Tensor, functional, torch.ops.aten, torch._VF
    tensor = {name.strip("_") for name in dir(torch.Tensor)}
    missing = [name for name in RULES if name not in tensor and not any(hasattr(home, name) for home in homes)]
    private = [name for name in missing if hasattr(torch.ops.aten, f"_{name}")]
    assert [name for name in missing if name not in private] == []
    assert all(len(inspect.signature(rule).parameters) == 1 for rule in RULES.values())


# By models with a planted dead channel or head


def last_site(model, x):
    site = diagnose(model, [x]).sites[-1]
    return site.units, site.dead.tolist()


CHANNELS = [1, 4]  # the dead ones of 16


def attention(model, x):
    """The attention of each position to each, and the values, as in SAGAN and in non-local networks."""
    q, k, v = (layer(x).flatten(2) for layer in (model.query, model.key, model.value))
    return torch.softmax(torch.bmm(q.permute(0, 2, 1), k), -1), v


ON_MAPS = {
    "SAGAN": lambda m, x, a, v: m.gamma * torch.bmm(v, a.permute(0, 2, 1)).view(x.shape) + x,
    "what it is added to comes first": lambda m, x, a, v: x + (v @ a.transpose(1, 2)).view_as(x),
    "not yet a map": lambda m, x, a, v: v @ a.mT,
    "not transposed": lambda m, x, a, v: torch.matmul(v, a).view(x.shape),
    "from the left": lambda m, x, a, v: (a @ v.mT).mT.reshape(x.shape),
    "einsum": lambda m, x, a, v: torch.einsum("bcn,bmn->bcm", v, a),
    "einsum without a result": lambda m, x, a, v: torch.einsum("bcn, bnm", v, a),
    "einsum with an ellipsis": lambda m, x, a, v: torch.einsum("...cn,...mn->...cm", v, a),
    "baddbmm": lambda m, x, a, v: torch.baddbmm(x.flatten(2), v, a.mT),
    "between channels": lambda m, x, a, v: torch.softmax(1e3 * torch.eye(16) + 0 * v @ v.mT, -1) @ v,
    "twice": lambda m, x, a, v: v @ a.mT @ a.mT,
    "a gate per channel": lambda m, x, a, v: v * torch.sigmoid(0 * v.mean(2, keepdim=True)),
    "a gate that is broadcast": lambda m, x, a, v: (
        m.gate(0 * v.mean(2)).sigmoid()[:, :, None, None].mul(v.view(x.shape))
    ),
    "a gate per position": lambda m, x, a, v: v * torch.sigmoid(0 * v.mean(1, keepdim=True)),
    "two values": lambda m, x, a, v: (v @ a.mT + m.value(x).flatten(2)).view(x.shape),
    "a concatenation": lambda m, x, a, v: torch.cat([x, (v @ a.mT).view(x.shape)], 1)[:, 16:],
    "the same along the maps": lambda m, x, a, v: torch.cat([torch.zeros(len(x), 16, 3), v], 2),
}


@pytest.mark.parametrize("way", ON_MAPS)
def test_attention_to_positions_keeps_the_channels(way):
    model = Model(
        lambda self, x: functional.relu(ON_MAPS[way](self, x, *attention(self, x))),
        query=nn.Conv2d(16, 4, 1),
        key=nn.Conv2d(16, 4, 1),
        value=planted(nn.Conv2d(16, 16, 1), CHANNELS),
        gate=nn.Linear(16, 16),
        gamma=nn.Parameter(torch.ones(1)),
    )
    assert last_site(model, torch.randn(20, 16, 5, 4)) == (16, CHANNELS)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(16), nn.Conv2d(16, 9, 1)], ids=str)
def test_a_layer_or_a_norm_after_the_attention_makes_new_units(layer):
    def forward(self, x):
        a, v = attention(self, x)
        return functional.relu(self.layer((v @ a.mT).view(x.shape)))

    layers = {name: nn.Conv2d(16, 16, 1) for name in ("query", "key", "value")}
    model = Model(forward, **layers, layer=planted(layer, CHANNELS))
    assert last_site(model, torch.randn(20, 16, 5, 4)) == (len(layer.bias), CHANNELS)


HEADS, SIZE = 4, 4
HEAD = [4, 5, 6, 7]  # the features of the head that is dead


def heads(y):
    return y.unflatten(-1, (HEADS, SIZE)).transpose(1, 2)


def weights(q, k):
    return torch.softmax(0 * (q @ k.mT), -1)


ON_HEADS = {
    "reshape and transpose": lambda y: y.reshape(*y.shape[:2], HEADS, SIZE).transpose(1, 2),
    "view": lambda y: y.view(*y.shape[:2], HEADS, SIZE),
    "permute": lambda y: y.view(*y.shape[:2], HEADS, SIZE).permute(2, 0, 3, 1),
    "unflatten": lambda y: y.unflatten(-1, (HEADS, SIZE)),
    "positions first": lambda y: y.unflatten(-1, (HEADS, SIZE)).transpose(2, 3),
    "from channels": lambda y: y.transpose(1, 2).reshape(len(y), HEADS, SIZE, -1),
    "with the examples": lambda y: heads(y).reshape(len(y) * HEADS, -1, SIZE),
    "with the examples, tokens first": lambda y: y.transpose(0, 1).reshape(y.shape[1], len(y) * HEADS, SIZE),
    "with the tokens": lambda y: heads(y).reshape(len(y), -1, SIZE),
    "and back": lambda y: heads(y).flatten(0, 1).view(len(y), HEADS, -1, SIZE).transpose(1, 2).flatten(2),
    "chunks and stack": lambda y: torch.stack(y.chunk(HEADS, -1), 1),
    "split and stack": lambda y: torch.stack([functional.dropout(part, 0.0) for part in y.split(SIZE, dim=-1)], -2),
    "slices and stack": lambda y: torch.stack([y[..., i : i + SIZE] for i in range(0, 16, SIZE)]),
    "activations and stack": lambda y: torch.stack([functional.relu(part) for part in y.chunk(HEADS, -1)], dim=0),
    "chunks and cat": lambda y: torch.cat(y.chunk(HEADS, -1), -1),
    "unbind and stack": lambda y: torch.stack(y.unflatten(-1, (HEADS, SIZE)).unbind(2), 1),
    "first token": lambda y: heads(y)[:, :, 0],
    "mean of tokens": lambda y: heads(y).mean(2),
    "some tokens": lambda y: heads(y)[:, :, [0, 2, 1]],
    "some tokens, by a tensor": lambda y: heads(y)[:, :, torch.tensor([0, 2, 1])],
    "overlapping windows": lambda y: y.unfold(1, 3, 1),
    "new axes": lambda y: heads(y)[:, None, ..., None],
    "repeated keys": lambda y: heads(y)[:, :, None].expand(-1, -1, 3, -1, -1).reshape(len(y), 3 * HEADS, -1, SIZE),
    "a bias per head": lambda y: heads(y) + torch.zeros(HEADS, 1, 1),
    "a mask": lambda y: torch.where(torch.ones(len(y), 1, 1, 1, dtype=torch.bool), heads(y), 0),
    "halves turned": lambda y: heads(y) + 0 * torch.cat([-heads(y)[..., 2:], heads(y)[..., :2]], -1),
    "pairs turned": lambda y: torch.stack([heads(y)[..., ::2], heads(y)[..., 1::2]], -1).flatten(-2),
    "attended to": lambda y: weights(heads(y), heads(y)) @ heads(y),
    "attended to with the examples": lambda y: torch.bmm(
        weights(heads(y).flatten(0, 1), heads(y).flatten(0, 1)), heads(y).flatten(0, 1)
    ),
    "scaled_dot_product_attention": lambda y: functional.scaled_dot_product_attention(0 * heads(y), heads(y), heads(y)),
    "einsum": lambda y: torch.einsum("bhqk,bkhd->bqhd", weights(heads(y), heads(y)), y.unflatten(-1, (HEADS, SIZE))),
    "linear attention": lambda y: (heads(y) > -1e9).float() @ (torch.ones(SIZE, y.shape[1]) @ heads(y)),
    "windows": lambda y: y.unflatten(1, (2, -1)).flatten(0, 1).unflatten(-1, (HEADS, SIZE)).transpose(1, 2),
}


@pytest.mark.parametrize("way", ON_HEADS)
@pytest.mark.parametrize("tokens", [6, 4])  # an axis may be as long as that of the heads
def test_each_feature_of_each_head_is_a_unit(way, tokens):
    model = Model(lambda self, x: functional.relu(ON_HEADS[way](self.fc(x))), fc=planted(nn.Linear(8, 16), HEAD))
    units, dead = last_site(model, torch.randn(20, tokens, 8))
    assert (units, dead) == (16, HEAD)


def test_linear_attention():
    def forward(self, x):
        q, k, v = self.qkv(x).reshape(len(x), -1, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
        q, k = functional.relu(q), functional.relu(k)
        return functional.relu(q @ (k.mT @ v))

    model = Model(forward, qkv=planted(nn.Linear(8, 48), [*HEAD, *(16 + i for i in range(4)), 32]))
    sites = diagnose(model, [torch.randn(20, 7, 8)]).sites
    assert [site.units for site in sites] == [16, 16, 16]
    assert [site.dead.tolist() for site in sites[:2]] == [HEAD, [0, 1, 2, 3]]
    assert {site.examples for site in sites} == {20}


def test_the_scores_of_a_head_are_one_unit():
    def forward(self, x):
        q, k = heads(self.query(x)), heads(self.key(x))
        return functional.relu(q @ k.mT), functional.relu(self.query(x) @ self.key(x).mT)

    model = Model(forward, query=nn.Linear(8, 16), key=nn.Linear(8, 16))
    assert [site.units for site in diagnose(model, [torch.randn(20, 7, 8)]).sites] == [HEADS, 1]


def test_heads_that_are_layers_of_their_own():
    layers = nn.ModuleList(planted(nn.Linear(8, SIZE), list(range(SIZE)) if i == 1 else []) for i in range(HEADS))
    model = Model(lambda self, x: functional.relu(torch.stack([layer(x) for layer in self.layers], 1)), layers=layers)
    assert last_site(model, torch.randn(20, 7, 8)) == (16, HEAD)
    model = Model(lambda self, x: functional.relu(torch.stack([x @ weight for weight in self.weights], 1)))
    model.weights = nn.Parameter(torch.ones(HEADS, 8, SIZE).index_fill(0, torch.tensor(1), -1))
    assert last_site(model, torch.rand(20, 7, 8)) == (16, HEAD)


@pytest.mark.parametrize("computed", [False, True])
def test_heads_that_share_a_layer_share_their_units(computed):
    shared = planted(nn.Linear(SIZE, 5), [3])
    if computed:
        parametrize.register_parametrization(shared, "weight", nn.Tanh())
    model = Model(
        lambda self, x: functional.relu(torch.stack([self.shared(part) for part in self.fc(x).chunk(HEADS, -1)], 1)),
        fc=nn.Linear(8, 16),
        shared=shared,
    )
    assert last_site(model, torch.randn(20, 7, 8)) == (5, [3])


def test_a_norm_of_the_positions_makes_them_the_units():
    model = nn.Sequential(nn.Linear(4, 5), planted(nn.BatchNorm1d(16), CHANNELS), nn.ReLU())
    assert last_site(model, torch.randn(20, 16, 4)) == (16, CHANNELS)


def test_what_is_not_known_is_decided_by_the_shape_once():
    x = torch.ones(9, 6, 5, 4).index_fill(1, torch.tensor([2]), -1)
    first, second = diagnose(Model(lambda self, x: functional.relu(functional.relu(x).mT.movedim(1, 2))), [x]).sites
    assert [first.units, second.units, first.dead.tolist(), second.dead.tolist()] == [6, 6, [2], [2]]
    fixed = torch.ones(4, 8).index_fill(1, torch.tensor([2]), -1)
    assert last_site(Model(lambda self, x: functional.relu(x @ fixed)), x.abs()) == (8, [2])


@pytest.mark.parametrize("sliced", ["before", "after"])
def test_time_steps_that_are_stacked_share_their_units(sliced):
    def forward(self, x):
        steps = self.fc(x).unbind(1) if sliced == "after" else [self.fc(step) for step in x.unbind(1)]
        return functional.relu(torch.stack(steps, 1))

    assert last_site(Model(forward, fc=planted(nn.Linear(8, 16), HEAD)), torch.randn(20, 7, 8)) == (16, HEAD)


ON_GROUPS = {  # with the units and the dead ones of them, where channels 4 to 7 of 16 are dead
    "groups": (lambda y: y.unflatten(1, (4, 4)), 16, HEAD),
    "groups as examples": (lambda y: y.reshape(-1, 4, *y.shape[2:]), 16, HEAD),
    "channels as examples": (lambda y: y.reshape(-1, 1, *y.shape[2:]), 16, HEAD),
    "while they are shuffled": (lambda y: y.unflatten(1, (4, 4)).transpose(1, 2), 16, HEAD),
    "shuffled": (lambda y: y.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2), 16, [1, 5, 9, 13]),
    "channel_shuffle": (lambda y: functional.channel_shuffle(y, 4), 16, [1, 5, 9, 13]),
    "pixel_shuffle": (lambda y: functional.pixel_shuffle(y, 2), 4, [1]),
    "pixels shuffled by hand": (
        lambda y: y.reshape(-1, 4, 2, 2, 4, 6).permute(0, 1, 4, 2, 5, 3).reshape(-1, 4, 8, 12),
        4,
        [1],
    ),
    "pixel_unshuffle": (lambda y: functional.pixel_unshuffle(y, 2), 64, list(range(16, 32))),
    "pixels unshuffled by hand": (
        lambda y: y.reshape(-1, 16, 2, 2, 3, 2).permute(0, 1, 3, 5, 2, 4).reshape(-1, 64, 2, 3),
        64,
        list(range(16, 32)),
    ),
    "flattened": (lambda y: y.flatten(1), 16 * 24, list(range(4 * 24, 8 * 24))),
    "flattened and back": (lambda y: y.flatten(1).clone().view(y.shape), 16, HEAD),
    "some channels": (lambda y: y[:, [4, 0, 1]], 3, [0]),
    "some channels, by a tensor": (lambda y: y[:, torch.tensor([0, 1, 7])], 3, [2]),
    "expanded": (lambda y: y[0, :, 0, 0].expand(2, 3, 5, 16), 16, HEAD),
    "one channel": (lambda y: y[:, 4], 1, [0]),
    "the mean of the channels": (lambda y: y.mean(1), 1, [0]),
}


@pytest.mark.parametrize("way", ON_GROUPS)
def test_groups_of_channels(way):
    follow, units, dead = ON_GROUPS[way]
    model = Model(lambda self, x: functional.relu(follow(self.conv(x))), conv=planted(nn.Conv2d(3, 16, 1), HEAD))
    assert last_site(model, torch.randn(20, 3, 4, 6)) == (units, dead)


def test_sums_of_tensors_whose_axes_differ():
    model = Model(
        lambda self, x: (
            functional.relu(self.tokens(self.fc(x).mT).mT + self.fc(x)),  # as in a Mixer: the shape decides
            functional.relu(self.fc(x[:, 0])[:, :, None] + self.other(x[:, 0])[:, None]),  # each pair is a unit
            functional.relu(self.fc(x)[:, :, None] + self.fc(x)[:, None]),  # each pair of tokens
        ),
        fc=planted(nn.Linear(8, 16), HEAD),
        other=nn.Linear(8, 5),
        tokens=nn.Linear(7, 7),
    )
    sites = diagnose(model, [torch.randn(20, 7, 8)]).sites
    assert [site.units for site in sites] == [16, 80, 16]
    assert [site.dead.tolist() for site in sites[1:]] == [list(range(20, 40)), HEAD]


def test_a_weight_per_head_makes_the_units():
    for product in (
        lambda y, w: y @ w,
        lambda y, w: torch.einsum("bhtd,hde->bhte", y, w),
        lambda y, w: torch.einsum("...td,...de->...te", y, w),
    ):
        model = Model(
            lambda self, x, product=product: functional.relu(product(heads(self.fc(x)), self.weight)),
            fc=nn.Linear(8, 16),
            weight=nn.Parameter(torch.ones(HEADS, SIZE, 5)),
        )
        with torch.no_grad():
            model.weight[1] = 0
        assert last_site(model, torch.randn(20, 7, 8)) == (20, [5, 6, 7, 8, 9])


@pytest.mark.parametrize("kind", [nn.Parameter, torch.Tensor])
def test_what_mixes_tokens_keeps_the_heads(kind):
    model = Model(lambda self, x: functional.relu(self.graph @ heads(self.fc(x))), fc=planted(nn.Linear(8, 16), HEAD))
    model.graph = kind(torch.ones(7, 7))
    assert last_site(model, torch.randn(20, 7, 8)) == (16, HEAD)


def test_batches_without_examples_and_of_several_sizes():
    model = Model(lambda self, x: functional.relu(heads(self.fc(x)).flatten(0, 1)), fc=planted(nn.Linear(8, 16), HEAD))
    (site,) = diagnose(model, [torch.randn(n, t, 8) for n, t in ((3, 7), (0, 7), (5, 2), (1, 1))]).sites
    assert (site.units, site.dead.tolist(), site.examples, site.values) == (16, HEAD, 9, 21 + 10 + 1)


def test_counting_heads_does_not_copy_what_was_split_from_features():
    y = torch.randn(20, 7, 16)
    assert by_unit(heads(y), whole(1, 3)).data_ptr() == y.data_ptr()


def test_the_features_of_heads_are_revived():
    model = Model(
        lambda self, x: self.out(functional.relu(heads(self.fc(x))).transpose(1, 2).flatten(2)),
        fc=planted(nn.Linear(8, 16), HEAD),
        out=nn.Linear(16, 2),
    )
    batch = torch.randn(20, 7, 8)
    with torch.no_grad():
        before = model(batch)
        revival = revive(model, [batch])
        assert torch.equal(model(batch), before)
    assert (revival.after.dead, revival.revived, revival.skipped) == (0, {"relu": tuple(HEAD)}, {})


# Any network of these parts. The layer's weight is zero and its bias tells the features apart, so each value at the
# activation is the number of the feature that it comes from.

FEATURES = 12


@st.composite
def ways(draw):
    """Some steps that mix no features; each takes a tensor and an axis with features, and one without."""
    steps = st.sampled_from(list(STEPS.values()))
    return draw(st.lists(st.tuples(steps, st.integers(0, 59), st.integers(0, 59)), max_size=6))


def split_axis(y, axis, number):
    sizes = [size for size in (2, 3, 4, 6) if y.shape[axis] % size == 0]
    return y.unflatten(axis, (sizes[number % len(sizes)], -1)) if sizes and y.ndim < 6 else y


def has_features(y, axis):
    return bool((y != y.narrow(axis, 0, 1)).any())


def others(y):
    """The axes without features, but for that of the examples."""
    return [axis for axis in range(1, y.ndim) if not has_features(y, axis)]


def on_other(function):
    def step(y, first, second):
        axes = others(y)
        return function(y, axes[first % len(axes)], second) if axes else y

    return step


def merged(y, first, _):
    alike = [i for i in range(1, y.ndim - 1) if has_features(y, i) == has_features(y, i + 1)]
    return y.flatten(alike[first % len(alike)], alike[first % len(alike)] + 1) if alike else y


def stacked(y, first, second):
    axis, parts = first % y.ndim, 2 + second % 2
    if not has_features(y, axis) or y.shape[axis] % parts or y.ndim > 5:
        return y
    return torch.stack(y.chunk(parts, axis), 1 + second % y.ndim)


STEPS = {
    "transpose": lambda y, i, j: y.transpose(i % y.ndim, j % y.ndim),
    "movedim": lambda y, i, j: torch.movedim(y, i % y.ndim, j % y.ndim).contiguous(),
    "split": lambda y, i, j: split_axis(y, i % y.ndim, j),
    "merge": merged,
    "stack": stacked,
    "unsqueeze": lambda y, i, _: y.unsqueeze(1 + i % y.ndim) if y.ndim < 6 else y,
    "select": on_other(lambda y, axis, j: y.select(axis, j % y.shape[axis])),
    "mean": on_other(lambda y, axis, j: y.mean(axis, keepdim=bool(j % 2))),
    "slice": on_other(lambda y, axis, _: y.narrow(axis, 0, (y.shape[axis] + 1) // 2)),
    "cat": on_other(lambda y, axis, _: torch.cat([y, y], axis) if y.numel() < 5000 else y),
    "sum": lambda y, i, j: torch.zeros(y.shape[i % y.ndim :]) + y if j % 2 else y + 0 * y,
    "gate": on_other(lambda y, axis, _: (y.mean(axis, keepdim=True) > 0) * y),
    "product": lambda y, *_: torch.ones(1, y.shape[-2]) @ y / y.shape[-2] if y.ndim - 2 in others(y) else y,
    "attention": lambda y, *_: torch.softmax(0 * (y @ y.mT), -1) @ y if y.ndim - 2 in others(y) else y,
    "einsum": lambda y, *_: torch.einsum("...ab->...ba", y) if y.ndim > 1 else y,
}


@settings(max_examples=300, deadline=None)
@given(layer=st.sampled_from([nn.Linear, nn.Conv1d, nn.Conv2d]), way=ways())
def test_the_features_are_followed_through_any_network(layer, way):
    space = {nn.Linear: (6,), nn.Conv1d: (), nn.Conv2d: (2,)}[layer]
    layer = layer(3, FEATURES) if layer is nn.Linear else layer(3, FEATURES, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.arange(1, FEATURES + 1))

    def forward(self, x):
        y = self.layer(x)
        for step, first, second in way:
            y = step(y, first, second)
        return functional.relu(y)

    calls = []
    x = torch.zeros(4, 6, 3) if isinstance(layer, nn.Linear) else torch.zeros(4, 3, 6, *space)
    with torch.no_grad(), Capture(Model(forward, layer=layer), lambda call: calls.append(call) or id) as capture:
        capture.model(x)
    (call,) = calls
    units = by_unit(call.input, call.units).round()
    assert torch.equal(units.amin((0, 2)), units.amax((0, 2)))  # no unit mixes features
    assert units.shape[1] == len(call.input.round().unique())  # no feature is on two units
