"""revive on networks that are made at random: outputs stay, each unit is alive or listed, and no other weight changes."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from leakyrelu.torch import diagnose, revive

KINDS = ("plain", "batch norm", "layer norm", "residual", "gated", "sliced", "twice", "concatenated", "no bias")


class Block(nn.Module):
    """A hidden layer with dead units in it, of one of several kinds."""

    def __init__(self, kind: str, width: int, hidden: int, dead: list[int]) -> None:
        super().__init__()
        self.kind, self.dead = kind, dead
        self.enter = nn.Linear(width, 2 * hidden if kind == "sliced" else hidden, bias=kind != "no bias")
        self.norm = {"batch norm": nn.BatchNorm1d, "layer norm": nn.LayerNorm}.get(kind, lambda n: nn.Identity())(
            hidden
        )
        self.gate = nn.Linear(width, hidden)
        self.leave = nn.Linear(hidden + width if kind == "concatenated" else hidden, width)
        with torch.no_grad():
            if kind == "no bias":
                self.enter.weight[dead] = -self.enter.weight[dead].abs() - 0.1
            else:
                shift = self.norm.bias if hasattr(self.norm, "bias") else self.enter.bias
                shift.fill_(0.5)
                shift[dead] = -1000

    def hidden(self, x):
        made = self.enter(x.abs() + 0.1 if self.kind == "no bias" else x)
        if self.kind == "sliced":
            return functional.relu(made[:, : made.shape[1] // 2]) * torch.sigmoid(made[:, made.shape[1] // 2 :])
        return functional.relu(self.norm(made))

    def forward(self, x):
        hidden = self.hidden(x)
        if self.kind == "gated":
            hidden = hidden * self.gate(x)
        if self.kind == "concatenated":
            hidden = torch.cat([x, hidden], 1)
        made = self.leave(hidden)
        if self.kind == "twice":
            made = made + self.leave(self.hidden(-x))
        return x + made if self.kind == "residual" else made


@st.composite
def networks(draw):
    width = draw(st.integers(2, 6))
    blocks = []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)):
        hidden = draw(st.integers(3, 9))
        dead = draw(st.lists(st.integers(0, hidden - 1), min_size=1, max_size=hidden - 1, unique=True))
        blocks.append(Block(kind, width, hidden, dead))
    return nn.Sequential(*blocks, nn.Linear(width, 3)), width


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(0, 5))
def test_units_of_random_networks(made, seed):
    model, width = made
    model.eval()
    batches = [torch.randn(40, width, generator=torch.Generator().manual_seed(seed + i)) for i in range(2)]
    with torch.no_grad():
        outputs = [model(batch) for batch in batches]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []
    handle = model.register_forward_pre_hook(lambda module, args: calls.append(1))
    revival = revive(model, batches)
    handle.remove()
    assert len(calls) <= 20
    with torch.no_grad():
        for batch, output in zip(batches, outputs, strict=True):
            torch.testing.assert_close(model(batch), output, rtol=0, atol=1e-5 * float(output.abs().max()))
    left = {site.name: site.dead.tolist() for site in diagnose(model, batches).sites if len(site.dead)}
    assert left.keys() == revival.skipped.keys()
    dead = {(site.name, unit) for site in revival.before.sites for unit in site.dead.tolist()}
    alive = {(name, unit) for name, units in revival.revived.items() for unit in units}
    still = {(name, unit) for name, units in left.items() for unit in units}
    assert alive == dead - still
    for i, block in enumerate(model[:-1]):
        others = sorted({unit for unit in range(len(before[f"{i}.enter.weight"])) if unit not in block.dead})
        naturally = {unit for name, unit in dead if name.startswith(f"{i}.")}
        others = [unit for unit in others if unit not in naturally]
        assert torch.equal(block.enter.weight[others], before[f"{i}.enter.weight"][others])
        assert torch.equal(block.leave.bias, before[f"{i}.leave.bias"])
        assert torch.equal(block.gate.weight, before[f"{i}.gate.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_revived_alone(kind):
    torch.manual_seed(0)
    model = nn.Sequential(Block(kind, 4, 8, [1, 5]), nn.Linear(4, 3)).eval()
    revival = revive(model, [torch.randn(60, 4), torch.randn(60, 4)])
    assert revival.skipped == {}
    assert all({1, 5} <= set(units) for units in revival.revived.values())
    assert revival.output_change == 0
