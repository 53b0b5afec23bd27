"""remove_dead: the network shrinks and computes the same; what cannot go stays, with the reason."""

import copy
import json
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch.planted import Model, norm, planted, seeded
from torch import nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it
from torch.nn.utils import prune

from leakyrelu.torch import diagnose, remove_dead
from leakyrelu.torch.removal import Plan, Removal, removing

__all__ = ["seeded"]  # a fixture that each test of a module uses which has it


def data(*shape, examples=16, batches=2, dtype=None):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(examples, *shape, generator=generator).to(dtype) for _ in range(batches)]


def images(channels=3, side=8):
    return data(channels, side, side, examples=32)


def removed(model, batches, **arguments):
    """Remove dead units, and check all that must hold whatever the model is."""
    training = model.training
    model.eval()
    with torch.no_grad():
        before = [model(batch) for batch in batches]
    model.train(training)
    fresh = copy.deepcopy(model)
    size = sum(parameter.numel() for parameter in model.parameters())
    removal = remove_dead(model, batches, **arguments)
    assert model.training == training
    assert removal.parameters == (size, sum(parameter.numel() for parameter in model.parameters()))
    model.eval()
    with torch.no_grad():
        for batch, old in zip(batches, before, strict=True):
            torch.testing.assert_close(model(batch), old, rtol=1e-5, atol=1e-5 * float(old.abs().max()))
    assert removal.output_change <= 1e-5
    same_again = Removal(**{**vars(removal), "plan": Plan.from_dict(json.loads(json.dumps(removal.plan.as_dict())))})
    same_again.apply(fresh).load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(batches[0]), model(batches[0]))
    assert repr(fresh) == repr(model)
    left = {site.name: len(site.dead) for site in diagnose(model, batches).sites if len(site.dead)}
    assert left.keys() == removal.skipped.keys()
    return removal


def test_an_mlp_becomes_what_is_made_of_the_smaller_sizes():
    layers = planted(nn.Linear(4, 8), [1, 2]), nn.ReLU(), planted(nn.Linear(8, 6), [0, 5]), nn.ReLU(), nn.Linear(6, 3)
    model = nn.Sequential(*layers)
    removal = removed(model, data(4))
    assert removal.removed == {"1": (1, 2), "3": (0, 5)}
    assert not removal.skipped
    assert not removal.notes
    expected = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert repr(model) == repr(expected)
    assert removal.multiply_adds == (16 * (4 * 8 + 8 * 6 + 6 * 3), 16 * (4 * 6 + 6 * 4 + 4 * 3))


def vgg(dead=(1, 4)):
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), norm(8, list(dead)), nn.ReLU(), nn.MaxPool2d(2)),
        *(planted(nn.Conv2d(8, 6, 2), [0]), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(planted(nn.Linear(24, 10), [3, 9]), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)),
    )


def test_a_cnn_with_a_norm_and_a_flattening():
    model = vgg()
    removal = removed(model, images())
    assert (removal.removed["2"], removal.removed["5"]) == ((1, 4), (0,))
    assert {3, 9} <= set(removal.removed["9"])
    assert (model[0].out_channels, model[1].num_features, model[4].in_channels, model[8].in_features) == (6, 6, 6, 20)
    assert len(model[1].running_var) == 6


def test_a_depthwise_convolution_goes_with_its_channels():
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 1, bias=False), norm(8, [1]), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 3, groups=8, bias=False, padding=1), norm(8, [1, 4]), nn.ReLU6()),
        *(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)),
    )
    removal = removed(model, images())
    assert removal.removed == {"2": (1, 4), "5": (1, 4)}  # what only a dead unit takes goes with it
    assert (model[0].out_channels, model[3].groups, model[6].in_channels) == (6, 6, 6)


def test_units_that_are_joined_with_what_a_depthwise_convolution_makes_of_them():
    def forward(self, x):
        h = self.one(x).relu()
        return self.two(torch.cat([h, self.cheap(h).relu()], 1)).mean((2, 3))

    model = Model(
        forward,
        one=planted(nn.Conv2d(3, 6, 3), [0, 3]),
        cheap=planted(nn.Conv2d(6, 6, 3, padding=1, groups=6), [0, 3]),
        two=nn.Conv2d(12, 4, 1),
    )
    assert removed(model, images()).removed == {"relu": (0, 3), "relu:2": (0, 3)}
    assert model.cheap.bias.shape == (4,)


def test_a_u_net_with_a_concatenation():
    def forward(self, x):
        a = self.a(x).relu()
        b = self.b(a).relu()
        return self.out(torch.cat([self.up(b).relu(), a], 1))

    model = Model(
        forward,
        a=planted(nn.Conv2d(3, 8, 3, padding=1), [2, 3]),
        b=planted(nn.Conv2d(8, 8, 3, stride=2, padding=1), [1]),
        up=planted(nn.ConvTranspose2d(8, 4, 2, 2), [0]),
        out=nn.Conv2d(12, 4, 3),
    )
    removal = removed(model, images())
    assert removal.removed == {"relu": (2, 3), "relu:2": (1,), "relu:3": (0,)}
    assert (model.out.in_channels, model.up.in_channels, model.up.out_channels) == (9, 7, 3)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_feed_forward_of_a_transformer_layer(norm_first):
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    planted(model.linear1, [3, 5, 6])
    removal = removed(model, data(5, 8))
    assert list(removal.removed.values()) == [(3, 5, 6)]
    assert (model.linear1.out_features, model.linear2.in_features) == (13, 13)


def gated(self, x):
    return self.out(self.gate(x).relu() * self.up(x))


def test_both_layers_of_a_gate_shrink():
    model = Model(gated, gate=planted(nn.Linear(4, 8), [2, 3]), up=nn.Linear(4, 8, bias=False), out=nn.Linear(8, 4))
    assert removed(model, data(4)).removed == {"relu": (2, 3)}
    assert model.up.weight.shape == (6, 4)


def test_a_fused_gate_shrinks_on_both_sides():
    def forward(self, x):
        gate, up = self.both(x).chunk(2, -1)
        return self.out(gate.relu() * up)

    model = Model(forward, both=planted(nn.Linear(4, 16), [2, 3]), out=nn.Linear(8, 4))
    assert removed(model, data(4)).removed == {"relu": (2, 3)}
    assert (model.both.out_features, model.out.in_features) == (12, 6)


def test_both_halves_of_a_gated_linear_unit_shrink():
    """As in the convolutions of a Conformer."""
    model = nn.Sequential(
        *(nn.Conv1d(4, 16, 1), nn.GLU(1), nn.Conv1d(8, 8, 3, groups=8, bias=False)),
        *(planted(nn.BatchNorm1d(8), [2, 5]), nn.ReLU(), nn.Conv1d(8, 4, 1)),
    )
    removal = removed(model, data(4, 12))
    assert removal.removed == {"4": (2, 5)}
    assert (model[0].out_channels, model[2].groups, model[5].in_channels) == (12, 6, 6)


def test_squeeze_and_excitation():
    def forward(self, x):
        y = self.norm(self.conv(x)).relu()
        squeezed = self.squeeze(F.adaptive_avg_pool2d(y, 1))
        return self.out(y * self.excite(squeezed).sigmoid())

    model = Model(
        forward,
        conv=nn.Conv2d(3, 8, 3),
        norm=norm(8, [2, 3]),
        squeeze=nn.Conv2d(8, 4, 1),
        excite=nn.Conv2d(4, 8, 1),
        out=nn.Conv2d(8, 4, 3),
    )
    assert removed(model, images()).removed == {"relu": (2, 3)}
    assert (model.squeeze.in_channels, model.excite.out_channels) == (6, 6)


def test_a_layer_with_a_factor_and_a_shift_per_channel():
    def forward(self, x):
        return self.out(self.first(x).relu() * self.factor + self.shift)

    model = Model(forward, first=planted(nn.Linear(4, 8), [1, 6]), out=nn.Linear(8, 3))
    model.factor, model.shift = nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(8))
    assert removed(model, data(4)).removed == {"relu": (1, 6)}
    assert model.factor.shape == model.shift.shape == (6,)


def test_groups_lose_alike():
    model = nn.Sequential(
        planted(nn.Conv2d(4, 8, 3, groups=2), [1, 2, 5]), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.Flatten()
    )
    removal = removed(model, images(4))
    assert removal.removed == {"1": (1, 5)}
    assert removal.skipped == {"1": "each group of a grouped convolution must lose as many units as the others"}
    assert (model[0].out_channels, model[2].in_channels) == (6, 6)


def test_groups_that_only_take_the_units_lose_alike():
    model = nn.Sequential(planted(nn.Conv2d(4, 8, 3), [1, 2, 5]), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.Flatten())
    removal = removed(model, images(4))
    assert removal.removed == {"1": (1, 5)}
    assert (model[0].out_channels, model[2].in_channels) == (6, 6)


def test_transposed_convolutions():
    model = nn.Sequential(planted(nn.ConvTranspose2d(4, 8, 3), [1, 2]), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3))
    assert removed(model, images(4)).removed == {"1": (1, 2)}
    assert (model[0].out_channels, model[2].in_channels) == (6, 6)


@pytest.mark.parametrize("kind", [1, 3])
def test_convolutions_in_other_dimensions(kind):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[kind]
    model = nn.Sequential(planted(conv(2, 6, 2), [4]), nn.ReLU(), conv(6, 2, 2))
    assert removed(model, data(2, *[4] * kind)).removed == {"1": (4,)}


def test_an_activation_that_is_used_twice():
    relu = nn.ReLU()
    model = nn.Sequential(planted(nn.Linear(4, 8), [1]), relu, planted(nn.Linear(8, 8), [2, 7]), relu, nn.Linear(8, 2))
    assert removed(model, data(4)).removed == {"1": (1,), "1:2": (2, 7)}


def test_units_of_a_layer_that_runs_twice_go_if_they_are_dead_in_both_runs():
    def forward(self, x):
        for shift in (0.0, 100.0):
            x = self.back((self.cell(x) + self.only_once * shift).relu())
        return x

    model = Model(forward, cell=planted(nn.Linear(4, 8), [1, 2, 5]), back=nn.Linear(8, 4))
    model.only_once = nn.Parameter(torch.zeros(8))
    with torch.no_grad():
        model.only_once[2] = 100  # so that this unit fires in the second run
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1, 5), "relu:2": (1, 5)}
    assert removal.skipped == {
        "relu": "back.weight takes its output in columns that take other values at another call or on another batch"
    }


def test_layers_without_a_bias():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    with torch.no_grad():
        model[0].weight[[0, 2]] = 0
    assert removed(model, data(4)).removed == {"1": (0, 2)}


@pytest.mark.parametrize("bias", [True, False])
def test_the_constant_of_a_threshold_is_folded_into_a_bias(bias):
    model = nn.Sequential(planted(nn.Linear(4, 8), [1, 2]), nn.Threshold(0.0, 0.7), nn.Linear(8, 3, bias=bias))
    removal = removed(model, data(4))
    assert removal.removed == {"1": (1, 2)}
    assert removal.plan.new_biases == (() if bias else ("2.bias",))


def test_a_constant_is_folded_into_the_mean_of_a_norm():
    model = nn.Sequential(
        *(planted(nn.Conv2d(3, 8, 3), [1]), nn.ReLU(), norm(8, []), nn.Conv2d(8, 4, 1, bias=False), norm(4, []))
    )
    removal = removed(model, images())
    assert removal.removed == {"1": (1,)}
    assert not removal.plan.new_biases
    assert any("BatchNorm" in note and "2.weight" in note for note in removal.notes)


def test_a_constant_before_padding_stays():
    layers = planted(nn.Conv2d(3, 8, 3), [1]), nn.ReLU(), norm(8, []), nn.Conv2d(8, 4, 3, padding=1)
    removal = removed(nn.Sequential(*layers), images())
    assert not removal.removed
    assert removal.skipped == {
        "1": "it gives a constant other than zero, which cannot be folded into a convolution with padding"
    }


def test_a_size_in_the_code_is_named_and_other_sites_go():
    def forward(self, x):
        return self.last(self.second(self.first(x).relu()).relu().view(-1, 144))

    model = Model(
        forward,
        first=planted(nn.Conv2d(3, 8, 2), [1]),
        second=planted(nn.Conv2d(8, 4, 2), [2]),
        last=nn.Linear(144, 2),
    )
    removal = removed(model, data(3, 8, 8, examples=31))
    assert removal.removed == {"relu": (1,)}
    assert "shape '[-1, 144]' is invalid" in removal.skipped["relu:2"]


def test_one_unit_stays():
    model = nn.Sequential(planted(nn.Linear(4, 3), [0, 1, 2]), nn.ReLU(), nn.Linear(3, 2))
    removal = removed(model, data(4))
    assert len(removal.removed["1"]) == 2
    assert removal.skipped == {"1": "one unit of a layer must stay"}
    assert removal.notes[0].startswith("all units of 1 were dead, so that nothing passes there")


def test_one_unit_of_each_layer_stays_where_several_make_a_site():
    model = Model(
        lambda self, x: self.out(torch.cat([self.one(x), self.two(x)], 1).relu()),
        one=planted(nn.Linear(4, 2), [0, 1]),
        two=planted(nn.Linear(4, 5), [1]),
        out=nn.Linear(7, 3),
    )
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1, 3)}
    assert removal.skipped == {"relu": "one unit of a layer must stay"}


def residual(self, x):
    x = self.stem(x)
    return self.out((x + self.second(self.first(x).relu())).relu())


def test_units_of_a_residual_sum_stay():
    model = Model(
        residual,
        stem=nn.Linear(4, 8),
        first=planted(nn.Linear(8, 8), [1]),
        second=planted(nn.Linear(8, 8), [5]),
        out=nn.Linear(8, 2),
    )
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1,)}
    assert "the weights that make it also change" in removal.skipped["relu:2"]


def test_units_behind_a_layer_norm_stay():
    model = nn.Sequential(nn.Linear(4, 8), planted(nn.LayerNorm(8), [1]), nn.ReLU(), nn.Linear(8, 2))
    assert removed(model, data(4)).skipped == {"2": "a norm mixes it with other units before the activation"}


def test_units_that_are_an_output_stay():
    model = nn.Sequential(planted(nn.Linear(4, 8), [1]), nn.ReLU())
    assert "is an output of the model" in removed(model, data(4)).skipped["1"]


def test_tied_weights_stay():
    def forward(self, x):
        return F.linear(self.first(x).relu(), self.first.weight.t())

    model = Model(forward, first=planted(nn.Linear(4, 8), [1]))
    assert removed(model, data(4)).removed == {"relu": (1,)}  # both uses lose the same row
    model = nn.Sequential(planted(nn.Linear(4, 4), [1]), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].weight = model[2].weight
    assert not removed(model, data(4)).removed


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_optimizer_goes_on(kind):
    model = nn.Sequential(planted(nn.Linear(4, 8), [1, 2]), nn.ReLU(), nn.Linear(8, 3))
    optimizer = kind(model.parameters(), lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    (batch, _) = batches = data(4)
    for _ in range(2):
        model(batch).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    planted(model[0], [1, 2])
    whole, other = copy.deepcopy((model, optimizer))
    remove_dead(model, batches, optimizer=optimizer)
    for net, opt in ((model, optimizer), (whole, other)):
        net(batch).square().sum().backward()
        opt.step()
    stay = [0, 3, 4, 5, 6, 7]
    torch.testing.assert_close(model[0].weight, whole[0].weight[stay])
    torch.testing.assert_close(model[2].weight, whole[2].weight[:, stay])


def test_weights_that_no_call_used_are_noted():
    model = Model(
        lambda self, x: self.out(self.first(x).relu()),
        first=planted(nn.Linear(4, 8), [1]),
        out=nn.Linear(8, 2),
        auxiliary=nn.Linear(8, 2),
    )
    (note,) = removed(model, data(4)).notes
    assert note.startswith("the batches did not use auxiliary.weight in eval or train mode")


class Auxiliary(nn.Module):
    """A network with a head that only training uses."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.first, self.second = planted(nn.Linear(4, 8), [1, 2]), planted(nn.Linear(8, 6), [0, 5])
        self.out, self.head = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x):
        x = self.second(self.first(self.norm(x)).relu()).relu()
        return (self.out(x), self.head(x)) if self.training else self.out(x)


def test_units_that_only_training_uses_elsewhere_stay():
    model = Auxiliary()
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1, 2)}
    assert removal.skipped["relu:2"].startswith("without it, the model fails in train mode (")
    assert not removal.notes
    assert int(model.norm.num_batches_tracked) == 0
    model.train()(data(4)[0])


def test_a_model_that_fails_in_train_mode_is_not_tried_there():
    model = Auxiliary()
    removal = removed(model, data(4, examples=1))  # a BatchNorm fails on one example
    assert {1, 2} <= set(removal.removed["relu"])
    assert {0, 5} <= set(removal.removed["relu:2"])
    (note,) = removal.notes
    assert note.startswith("the batches did not use head.weight in eval mode (in train mode, the model fails: Expected")


def test_a_model_that_runs_in_single_precision_only():
    model = Model(
        lambda self, x: self.out(self.first(x.float()).relu()), first=planted(nn.Linear(4, 8), [1]), out=nn.Linear(8, 2)
    )
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1,)}
    assert removal.notes == ("the model does not run in double precision, so the plan was found in its own type",)


def test_everything_is_as_before_if_the_outputs_change(monkeypatch):
    model = nn.Sequential(planted(nn.Linear(4, 8), [1]), nn.ReLU(), nn.Linear(8, 2))
    before, held = copy.deepcopy(model.state_dict()), list(model.parameters())
    monkeypatch.setattr(removing, "_TOLERANCE", -1.0)
    monkeypatch.setattr(removing, "_MOST", -1.0)
    with pytest.raises(RuntimeError, match="the model is as it was before"):
        remove_dead(model, data(4))
    assert all(one is other for one, other in zip(model.parameters(), held, strict=True))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_models_that_cannot_be_changed_are_refused_first():
    model = nn.Sequential(planted(nn.Linear(4, 8), [1]), nn.ReLU(), nn.Linear(8, 2))
    with warnings.catch_warnings(action="ignore"):  # scripting is deprecated
        scripted = torch.jit.script(model)
    with pytest.raises(TypeError, match="scripted"):
        remove_dead(scripted, data(4))
    with pytest.raises(TypeError, match="compiled or replicated"):
        remove_dead(nn.DataParallel(model), data(4))
    with pytest.raises(TypeError, match="optimizer"):
        remove_dead(model, data(4), optimizer=object())
    with pytest.raises(TypeError, match="put it in a list"):
        remove_dead(model, data(4)[0])


def test_a_copy_that_shares_weights_is_refused():
    class Shared(nn.Sequential):
        def __deepcopy__(self, memo):
            return self

    model = Shared(planted(nn.Linear(4, 8), [1]), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(TypeError, match=r"shares weights with it \(0.weight"):
        remove_dead(model, data(4))
    assert model[0].weight.dtype == torch.float32


def test_a_forward_that_calls_another_model_is_named():
    inner = nn.Sequential(planted(nn.Linear(4, 8), [1]), nn.ReLU(), nn.Linear(8, 3))
    model = Model(lambda self, x: inner(x), inner=inner)
    assert "calls another object" in removed(model, data(4)).skipped["inner.1"]


def test_without_dead_units_nothing_happens():
    model = nn.Sequential(planted(nn.Linear(4, 8), []), nn.ReLU(), nn.Linear(8, 2))
    removal = removed(model, data(4))
    assert not removal.removed
    assert not removal.plan.keep
    assert "nothing removed" in str(removal)


def test_a_few_calls_of_the_model_are_enough():
    model, calls = vgg(), []
    model.register_forward_pre_hook(lambda *_: calls.append(None))
    assert len(remove_dead(model, images()).removed) == 3
    assert len(calls) <= 25


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_in_half_precision_the_outputs_may_change_by_its_rounding(kind):
    layers = [
        layer for dead in range(4) for layer in (planted(nn.Linear(64, 64), range(dead, 64, 5)), nn.LeakyReLU(0.0))
    ]
    model = nn.Sequential(*layers, nn.Linear(64, 3))
    for layer in layers[2::2]:
        layer.weight.data.mul_(0.1)
    removal = remove_dead(model.to(kind), data(64, dtype=kind))
    assert not removal.skipped
    assert sum(map(len, removal.removed.values())) >= 4 * 12
    assert removal.output_change <= 16 * torch.finfo(kind).eps


def test_outputs_may_change_by_their_rounding():
    """The outputs are small differences of large numbers, so adding in another order may change them by more than 1e-5."""
    dead, alive = range(0, 40, 2), [*range(1, 40, 2), *range(40, 64)]
    model, batches = nn.Sequential(planted(nn.Linear(4, 64), dead), nn.ReLU(), nn.Linear(64, 2)), data(4)
    with torch.no_grad():
        model[0].bias[alive] = 1e3
        model[2].bias.copy_(-1e3 * model[2].weight[:, alive].sum(1))
        exact = copy.deepcopy(model).double()(batches[0].double())
        rounding = float((model(batches[0]) - exact).abs().max() / exact.abs().max())
    removal = remove_dead(model, batches)
    assert removal.removed == {"1": tuple(dead)}
    assert rounding > 1e-5  # the order in which a processor adds decides whether the removal changes the outputs at all
    assert removal.output_change <= 5 * rounding


def test_a_model_that_computes_something_else_in_its_own_type_is_left():
    def forward(self, x):
        return self.out(self.first(x).relu()) * (self.first.out_features if x.dtype == torch.float32 else 1)

    model = Model(forward, first=planted(nn.Linear(4, 8), [1, 2]), out=nn.Linear(8, 2))
    with pytest.raises(RuntimeError, match=r"changed the output by 0\.25 of its largest value, more than 0\.1"):
        remove_dead(model, data(4))
    assert model.first.out_features == 8


def test_under_autocast_the_outputs_may_change_by_its_rounding():
    def forward(model, batch):
        with torch.autocast("cpu", torch.bfloat16):
            return model(batch)

    model = nn.Sequential(planted(nn.Linear(64, 64), range(20)), nn.ReLU(), nn.Linear(64, 3))
    removal = remove_dead(model, data(64), forward=forward)
    assert removal.removed == {"1": tuple(range(20))}
    assert removal.output_change <= 16 * torch.finfo(torch.bfloat16).eps


class Masked(nn.Linear):
    """A layer that lacks some connections, as in autoregressive networks."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("mask", (torch.rand(outputs, inputs) < 0.7).float())

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedInPlace(Masked):
    """The same, with a mask that is written into the weights, as in PixelCNN."""

    def forward(self, x):
        self.weight.data *= self.mask
        return F.linear(x, self.weight, self.bias)


class Equalized(nn.Linear):
    """A layer whose weights are scaled at each call, as in StyleGAN."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.gain = inputs**-0.5

    def forward(self, x):
        return F.linear(x, self.weight * self.gain, self.bias * 0.5)


def pruned(*layers):
    for layer in layers:
        if hasattr(layer, "weight"):
            prune.l1_unstructured(layer, "weight", 0.4)
    return nn.Sequential(*layers)


COMPUTED = {
    "masked": lambda: nn.Sequential(planted(Masked(4, 8), [1, 2]), nn.ReLU(), Masked(8, 3)),
    "scaled": lambda: nn.Sequential(planted(Equalized(4, 8), [1, 2]), nn.ReLU(), Equalized(8, 3)),
    "pruned": lambda: pruned(planted(nn.Linear(4, 8), [1, 2]), nn.ReLU(), nn.Linear(8, 3)),
    "with a constant": lambda: nn.Sequential(planted(Masked(4, 8), [1, 2]), nn.Threshold(0.0, 0.7), Masked(8, 3)),
    "scaled, with a constant": lambda: Model(
        lambda self, x: F.linear(F.threshold(self.one(x), 0.0, 0.7), self.two.weight / 2, self.two.bias),
        one=planted(nn.Linear(4, 8), [1, 2]),
        two=nn.Linear(8, 3),
    ),
    "masked in place": lambda: nn.Sequential(planted(MaskedInPlace(4, 8), [1, 2]), nn.ReLU(), MaskedInPlace(8, 3)),
    "a copy that is scaled in place, with a constant": lambda: Model(
        lambda self, x: F.linear(F.threshold(self.one(x), 0.0, 0.7), self.two.weight.clone().mul_(0.5), self.two.bias),
        one=planted(nn.Linear(4, 8), [1, 2]),
        two=nn.Linear(8, 3),
    ),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_weights_that_are_masked_or_scaled(kind):
    model = COMPUTED[kind]()
    removal = removed(model, data(4))
    assert list(removal.removed.values()) == [(1, 2)]
    assert not removal.skipped
    assert not removal.notes
    assert sum(parameter.numel() for parameter in model.parameters()) == 6 * 4 + 6 + 3 * 6 + 3


def test_groups_of_a_pruned_convolution_lose_alike():
    model = pruned(planted(nn.Conv2d(3, 8, 1), [1, 2, 5]), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2))
    removal = removed(model, images())
    assert removal.removed == {"1": (1, 5)}
    assert model[2].weight_mask.shape == (4, 3, 1, 1)
    assert (model[0].out_channels, model[2].in_channels) == (6, 6)


def test_a_mask_of_the_data_is_none_of_the_model():
    model = Model(
        lambda self, x: F.linear(self.one(x).relu(), self.two.weight * x.mean(), self.two.bias),
        one=planted(nn.Linear(4, 8), [1]),
        two=nn.Linear(8, 3),
    )
    assert "no parameter" in removed(model, data(4)).skipped["relu"]


def test_a_copy_of_a_weight_that_is_written_into_is_no_copy():
    def forward(self, x):
        weight = self.two.weight.clone()
        weight[:, 1] = 5.0
        return self.three(F.linear(self.one(x).relu(), weight, self.two.bias).relu())

    model = Model(
        forward,
        one=planted(nn.Linear(4, 8), [1]),
        two=planted(nn.Linear(8, 6), [2]),
        three=nn.Linear(6, 3),
    )
    removal = removed(model, data(4))
    assert "no parameter" in removal.skipped["relu"]
    assert "computed" in removal.skipped["relu:2"]


def test_layers_that_are_applied_to_parts_of_the_model():
    def forward(self, x):
        places = self.down(self.up(self.grid).relu())
        return self.last(x + places) + self.out(self.query(self.table.weight).relu()).sum(0)

    model = Model(
        forward,
        up=planted(nn.Linear(2, 8), [1]),
        down=nn.Linear(8, 4),
        last=nn.Linear(4, 3),
        table=nn.Embedding(16, 5),
        query=planted(nn.Linear(5, 8), [2]),
        out=nn.Linear(8, 3),
    )
    model.register_buffer("grid", torch.randn(16, 2))
    removal = removed(model, data(4))
    assert removal.removed == {"relu": (1,), "relu:2": (2,)}


def test_complex_values_are_left():
    def forward(self, x):
        return self.out(torch.view_as_real(self.first(x.to(torch.complex64))).flatten(1).relu())

    model = Model(forward, first=nn.Linear(4, 8, dtype=torch.complex64), out=nn.Linear(16, 3))
    model.first.bias.data[1] = -100 - 100j
    assert "view_as_real" in removed(model, data(4)).skipped["relu"]


def test_a_convolution_that_is_applied_to_a_parameter():
    model = Model(
        lambda self, x: self.two(self.one(self.constant).relu()).mean((2, 3)) + x,
        one=planted(nn.Conv2d(3, 8, 3), [1, 4]),
        two=nn.Conv2d(8, 4, 3),
    )
    model.constant = nn.Parameter(torch.randn(1, 3, 8, 8))
    assert removed(model, data(4)).removed == {"relu": (1, 4)}


class Drawn(nn.Module):
    """A random network: each step is a layer, a residual block, a branch that is joined, a gate or a norm."""

    def __init__(self, steps, widths, dead):
        super().__init__()
        self.steps, self.layers, width = steps, nn.ModuleList(), 4
        for step, new, units in zip(steps, widths, dead, strict=True):
            layer = planted(nn.Linear(width, new), [unit for unit in units if unit < new])
            others = {
                "residual": [nn.Linear(new, width)],
                "joined": [nn.Linear(width, 3)],
                "gate": [nn.Linear(width, new)],
                "norm": [nn.BatchNorm1d(new)],
                "scale": [nn.LayerNorm(new)],
                "layer": [],
            }[step]
            if step == "norm":
                others[0].running_mean.normal_()
            self.layers.append(nn.ModuleList([layer, *others]))
            width = {"residual": width, "joined": new + 3}.get(step, new)
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        for step, (layer, *others) in zip(self.steps, self.layers, strict=True):
            y = layer(x).relu()
            if step == "residual":
                x = x + others[0](y)
            elif step == "joined":
                x = torch.cat([y, others[0](x)], -1)
            elif step == "gate":
                x = y * others[0](x)
            else:
                x = others[0](y) if others else y
        return self.last(x)


@given(st.data())
@settings(max_examples=40)
def test_random_architectures_compute_the_same(drawn):
    kinds = st.sampled_from(["layer", "residual", "joined", "gate", "norm", "scale"])
    steps = drawn.draw(st.lists(kinds, min_size=1, max_size=4))
    widths = [drawn.draw(st.integers(1, 6)) for _ in steps]
    dead = [sorted(drawn.draw(st.sets(st.integers(0, 5), max_size=3))) for _ in steps]
    model = Drawn(steps, widths, dead)
    removal = removed(model, data(4))
    for i, (step, width, units) in enumerate(zip(steps, widths, dead, strict=True)):
        there = {unit for unit in units if unit < width}
        added_to = step != "residual" and steps[i + 1 : i + 2] == ["residual"]
        if step not in ("scale", "joined") and not added_to and len(there) < width:
            assert there <= set(removal.removed.get(f"relu:{i + 1}" if i else "relu", ()))


class DrawnImages(nn.Module):
    """A random convolutional network."""

    def __init__(self, steps, dead):
        super().__init__()
        self.steps, self.layers, width = steps, nn.ModuleList(), 4
        for step, units in zip(steps, dead, strict=True):
            new = width if step in ("depthwise", "residual") else 6
            here = [unit for unit in units if unit < new]
            if step == "conv":
                made = nn.Conv2d(width, 6, 3, padding=1, bias=False), norm(6, here)
            elif step == "depthwise":
                made = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), norm(width, here)
            elif step == "residual":
                made = nn.Conv2d(width, 5, 1), nn.Conv2d(5, width, 1), norm(width, here)
            elif step == "transposed":
                made = (planted(nn.ConvTranspose2d(width, 6, 3, padding=1), here),)
            else:
                made = (planted(nn.Conv2d(width, 6, 1, groups=2 if step == "grouped" else 1), here),)
            self.layers.append(nn.ModuleList([*made, *([norm(6, [])] if step == "norm behind" else [])]))
            width = new
        self.last = nn.Linear(width * 4, 2)

    def forward(self, x):
        for step, layers in zip(self.steps, self.layers, strict=True):
            if step == "residual":
                x = F.relu6(x + layers[2](layers[1](layers[0](x).relu())))
            elif step == "norm behind":
                x = layers[1](layers[0](x).relu_())
            elif step == "threshold":
                x = F.threshold(layers[0](x), 0.0, -0.5)
            else:
                for layer in layers:
                    x = layer(x)
                x = x.relu()
        return self.last(F.adaptive_max_pool2d(x, 2).flatten(1))


@given(st.data())
@settings(max_examples=40)
def test_random_convolutional_networks_compute_the_same(drawn):
    kinds = st.sampled_from(["conv", "depthwise", "grouped", "transposed", "norm behind", "residual", "threshold"])
    steps = drawn.draw(st.lists(kinds, min_size=1, max_size=4))
    dead = [sorted(drawn.draw(st.sets(st.integers(0, 5), max_size=4))) for _ in steps]
    removal = removed(DrawnImages(steps, dead), data(4, 5, 5))
    if set(steps) <= {"conv", "transposed"} and all(dead):
        assert set(removal.removed) == {"relu", *(f"relu:{i}" for i in range(2, len(steps) + 1))}


def test_a_config_that_says_the_sizes_is_noted():
    class Config:
        def to_dict(self):
            return {"intermediate_size": 8}

    model = nn.Sequential(planted(nn.Linear(4, 8), [1]), nn.ReLU(), nn.Linear(8, 2))
    model.config, model.save_pretrained = Config(), None
    (note,) = removed(model, data(4)).notes
    assert "the model's config still says the sizes before" in note
