"""Networks with bias, activation and gain in one call: published weights load, and dead units are found and cured."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from leakyrelu.torch import FusedLeakyReLU, LeakyReLU, Monitor, bias_act, diagnose, remove_dead, replace, revive


class Published(nn.Module):
    """The activation of the published networks, by its formula."""

    def __init__(self, channel, bias=True, negative_slope=0.2, scale=2**0.5):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel)) if bias else None
        self.negative_slope, self.scale = negative_slope, scale

    def forward(self, x):
        return functional.leaky_relu(x + self.bias[None, :, None, None], self.negative_slope) * self.scale


class ModulatedConv(nn.Module):
    """A convolution whose weights each style scales per input channel; then each output channel has norm one."""

    def __init__(self, channels_in, channels_out, styles):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels_out, channels_in, 3, 3))
        self.modulation = nn.Linear(styles, channels_in)
        self.scale = 1 / math.sqrt(channels_in * 9)

    def forward(self, x, style):
        batch, channels, height, width = x.shape
        weight = self.scale * self.weight * self.modulation(style)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        made = functional.conv2d(
            x.reshape(1, batch * channels, height, width), weight.flatten(0, 1), padding=1, groups=batch
        )
        return made.reshape(batch, -1, height, width)


class StyledBlock(nn.Module):
    """A block of a generator of the StyleGAN2 kind: modulated convolution, noise, activation; doubled in size."""

    def __init__(self, activation, channels_in, channels_out, styles):
        super().__init__()
        self.conv1 = ModulatedConv(channels_in, channels_out, styles)
        self.conv2 = ModulatedConv(channels_out, channels_out, styles)
        self.noise = nn.Parameter(torch.full((2,), 0.1))
        self.activate1, self.activate2 = activation(channels_out), activation(channels_out)
        self.to_rgb = nn.Conv2d(channels_out, 3, 1)

    def forward(self, x, style, noise):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        x = self.activate1(self.conv1(x, style) + self.noise[0] * noise)
        x = self.activate2(self.conv2(x, style) + self.noise[1] * noise)
        return self.to_rgb(x)


@pytest.fixture
def blocks():
    """A block with the published activation and random weights, and one with ours that has loaded these."""
    torch.manual_seed(0)
    theirs, ours = (StyledBlock(activation, 6, 8, 5) for activation in (Published, FusedLeakyReLU))
    for activation in (theirs.activate1, theirs.activate2):
        activation.bias.data.normal_()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def drawn():
    return torch.randn(4, 6, 8, 8), torch.randn(4, 5), torch.randn(4, 1, 16, 16)


def test_a_block_with_the_published_weights_gives_the_same_outputs_and_gradients(blocks):
    given = drawn()
    results = []
    for block in blocks:
        y = block(*given)
        y.square().mean().backward()
        results.append([y, *(parameter.grad for parameter in block.parameters())])
    assert len(results[0]) == 12
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)


def test_the_path_length_penalty_of_a_block_has_the_same_gradients(blocks):
    x, style, noise = drawn()
    results = []
    for block in blocks:
        style = style.detach().requires_grad_()
        y = block(x, style, noise)
        (slope,) = torch.autograd.grad(
            (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum(), style, create_graph=True
        )
        (slope.square().sum(1).sqrt() - 1).square().mean().backward()
        results.append([parameter.grad for parameter in block.parameters() if parameter.grad is not None])
    assert len(results[0]) > 6
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)


def test_a_block_trained_with_each_stays_the_same(blocks):
    optimizers = [torch.optim.Adam(block.parameters(), 0.01) for block in blocks]
    for _ in range(5):
        given = drawn()
        for block, optimizer in zip(blocks, optimizers, strict=True):
            optimizer.zero_grad()
            block(*given).square().mean().backward()
            optimizer.step()
    for theirs, ours in zip(*(block.parameters() for block in blocks), strict=True):
        assert torch.equal(theirs, ours)


# Units.


class Network(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act
        self.conv, self.out = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 2, 1)
        self.activate = FusedLeakyReLU(8)
        self.activate.bias.data[:3] = -100

    def forward(self, x):
        x = self.conv(x)
        return self.out(self.activate(x) if self.act == "module" else bias_act(x, self.activate.bias, act=self.act))


def images(n=16):
    return torch.randn(n, 3, 8, 8)


def summary(diagnosis):
    return [(site.name, site.operation, site.units, site.values) for site in diagnosis.sites]


@pytest.mark.parametrize("act", ["module", "lrelu"])
def test_the_sum_is_diagnosed_as_what_enters_a_leaky_relu_of_these_units(act):
    network, batch = Network(act), images()
    found = diagnose(network, [batch])
    name = "activate.leaky_relu" if act == "module" else "leaky_relu"
    assert summary(found) == [(name, "leaky_relu", 8, 16 * 36)]
    sums = network.conv(batch) + network.activate.bias[:, None, None]
    assert found.sites[0].fired.tolist() == (sums > 0).sum((0, 2, 3)).tolist()
    assert found.sites[0].one_sided.tolist() == [0, 1, 2]


@pytest.mark.parametrize("autocast", [False, True])
def test_a_monitor_sees_the_calls_of_training_and_the_gradients_stay_the_same(autocast):
    network, batch = Network("module"), images()
    gradients = []
    for observed in (False, True):
        network.zero_grad()
        monitor = Monitor(network)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if observed:
                with monitor:
                    y = network(batch)
            else:
                y = network(batch)
        y.float().square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert summary(monitor.diagnosis()) == [("activate.leaky_relu", "leaky_relu", 8, 16 * 36)]
    for mine, other in zip(*gradients, strict=True):
        assert torch.equal(mine, other)


def test_a_monitor_counts_in_compiled_code():
    torch._dynamo.reset()
    network = Network("module")
    monitor = Monitor(network)
    torch.compile(network, backend=monitor.backend("aot_eager"), fullgraph=True)(images()).sum().backward()
    assert summary(monitor.diagnosis()) == [("activate.leaky_relu", "leaky_relu", 8, 16 * 36)]
    torch._dynamo.reset()


def test_dead_units_before_a_relu_with_a_gain_are_revived():
    network, batches = Network("relu"), [images(), images()]
    before = network(batches[0])
    assert diagnose(network, batches).dead == 3
    revival = revive(network, batches)
    assert (revival.after.dead, revival.skipped) == (0, {})
    torch.testing.assert_close(network(batches[0]), before, rtol=1e-5, atol=1e-5)


def test_dead_units_before_a_relu_with_a_gain_are_removed():
    network, batches = Network("relu"), [images(), images()]
    before = network(batches[0])
    remove_dead(network, batches)
    assert network.conv.out_channels == len(network.activate.bias) == network.out.in_channels == 5
    assert repr(network.activate).startswith("FusedLeakyReLU(5, ")
    torch.testing.assert_close(network(batches[0]), before)


def test_one_sided_units_before_a_leaky_relu_are_left_alone():
    network, batches = Network("module"), [images()]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    assert revive(network, batches).after.dead == 0
    remove_dead(network, batches)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_what_is_not_replaced_is_listed_by_its_site():
    replacement = replace(Network("module"), {nn.LeakyReLU: LeakyReLU(0.01)}, batches=[images()])
    (reason,) = replacement.skipped.values()
    assert list(replacement.skipped) == ["activate.leaky_relu"]
    assert reason.startswith("still called at ")
