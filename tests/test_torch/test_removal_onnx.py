"""A model without its dead units is exported to ONNX with its smaller weights, and computes there what it did before."""

import onnx
import onnxruntime
import pytest
import torch
from test_torch.planted import norm, planted, seeded
from torch import nn
from torch.nn import functional as F  # noqa: N812  # as everybody calls it

from leakyrelu.torch import remove_dead

__all__ = ["seeded"]  # a fixture that each test of a module uses which has it

pytestmark = [
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),  # torch's own
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),  # TorchScript's, its own
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"),
]

EXPORTED = 4  # examples in the batch that the export sees


def mlp():
    first, second = planted(nn.Linear(4, 12), [1, 2, 7]), planted(nn.Linear(12, 8), [0, 5])
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(8, 3))


def depthwise():
    """A block of a MobileNet, whose depthwise convolution shrinks with its channels, and a hidden layer."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 1, bias=False), norm(8, [1, 6]), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False), norm(8, [1, 4]), nn.ReLU6()),
        *(nn.Conv2d(8, 6, 1, bias=False), norm(6), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(planted(nn.Linear(24, 10), [3, 9]), nn.ReLU(), nn.Linear(10, 5)),
    )


def threshold():
    """Below its threshold, a unit gives 3, which is folded into the bias of the last layer."""
    return nn.Sequential(planted(nn.Linear(4, 8), [1, 2]), nn.Threshold(0.1, 3.0), nn.Linear(8, 3))


def new_bias():
    """The same, where the last layer has no bias and gets one."""
    return nn.Sequential(planted(nn.Linear(4, 8), [1, 2]), nn.Threshold(0.1, 3.0), nn.Linear(8, 3, bias=False))


def norm_behind():
    """A BatchNorm makes a constant of the zeros of dead units, which the last convolution takes."""
    first = planted(nn.Conv2d(3, 8, 3), [2, 5])
    return nn.Sequential(first, nn.ReLU(), norm(8), nn.Conv2d(8, 4, 3, bias=False), nn.Flatten())


def encoder():
    """The feed-forward layer of a transformer."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    planted(layer.linear1, [3, 5, 6])
    return layer


class Gated(nn.Module):
    """A gate, both of whose layers shrink."""

    def __init__(self):
        super().__init__()
        self.gate = planted(nn.Linear(4, 8), [2, 3])
        self.up, self.out = nn.Linear(4, 8, bias=False), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(F.relu(self.gate(x)) * self.up(x))


ROWS, IMAGES, TOKENS = (4,), (3, 8, 8), (5, 8)
MODELS = {  # the shape of an example, and those of all weights that have rows and columns, once the dead units are gone
    mlp: (ROWS, [(9, 4), (6, 9), (3, 6)]),
    depthwise: (IMAGES, [(5, 3, 1, 1), (5, 1, 3, 3), (6, 5, 1, 1), (8, 24), (5, 8)]),
    threshold: (ROWS, [(6, 4), (3, 6)]),
    new_bias: (ROWS, [(6, 4), (3, 6)]),
    norm_behind: (IMAGES, [(6, 3, 3, 3), (4, 6, 3, 3)]),
    encoder: (TOKENS, [(24, 8), (8, 8), (13, 8), (8, 13)]),
    Gated: (ROWS, [(6, 4), (6, 4), (4, 6)]),
}
NOT_SCRIPTED = {threshold, new_bias, encoder}  # PyTorch's older export cannot write what is in them


def computes_the_same(model, before, shapes, path, *, dynamo):
    """Export the model, and hold its weights and outputs in onnxruntime against those that there should be."""
    example = before[0][0][:EXPORTED]
    sizes = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(model.eval(), (example,), path, dynamo=dynamo, input_names=["x"], verbose=False, **sizes)
    weights = [sorted(weight.dims) for weight in onnx.load(path).graph.initializer if len(weight.dims) > 1]
    assert sorted(weights) == sorted(map(sorted, shapes))  # an export may transpose them
    session = onnxruntime.InferenceSession(path)
    for x, y in before:
        (given,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(given), y)


def without_dead(model, shape):
    """Remove the dead units; returns the removal, and batches of several sizes with the outputs before it."""
    batches = [torch.randn(size, *shape) for size in (64, 1, 7)]
    with torch.no_grad():
        before = [(batch, model.eval()(batch)) for batch in batches]
    removal = remove_dead(model, batches)
    assert removal.removed
    assert not removal.skipped
    return removal, before


@pytest.mark.parametrize(
    ("build", "dynamo"),
    [(build, dynamo) for build in MODELS for dynamo in [True, False] if dynamo or build not in NOT_SCRIPTED],
)
def test_the_smaller_model_gives_in_onnxruntime_what_the_model_gave(build, dynamo, tmp_path):
    shape, shapes = MODELS[build]
    model = build()
    _, before = without_dead(model, shape)
    assert [tuple(weight.shape) for weight in model.parameters() if weight.dim() > 1] == shapes
    computes_the_same(model, before, shapes, tmp_path / "model.onnx", dynamo=dynamo)


@pytest.mark.parametrize("build", [depthwise, new_bias, norm_behind])
def test_so_does_a_new_model_that_is_shrunk_alike_and_loads_its_weights(build, tmp_path):
    shape, shapes = MODELS[build]
    model = build()
    removal, before = without_dead(model, shape)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    fresh = removal.apply(build())
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt"))
    computes_the_same(fresh, before, shapes, tmp_path / "model.onnx", dynamo=True)
