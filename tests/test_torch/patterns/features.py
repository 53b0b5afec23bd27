"""What PyTorch offers within a forward: checkpoints, transforms, scripted functions, its own layers, graphs."""

import warnings

import torch
from torch import fx, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from test_torch.patterns.registry import Layers, pattern


@pattern
class Checkpointed(Layers):
    def stage(self, x):
        return F.relu(self.linear(x))

    def forward(self, x):
        x = checkpoint(self.stage, x, use_reentrant=False)
        return checkpoint(lambda y: F.relu(self.out(y)), x, use_reentrant=False)


@pattern
class CheckpointedFunction(Layers):
    def forward(self, x):
        return checkpoint(F.relu, self.linear(x), use_reentrant=False)


@pattern
class CheckpointedSequential(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return checkpoint_sequential(self.layers, 2, x, use_reentrant=False)


@pattern
class Vectorised(Layers):
    def forward(self, x):
        return vmap(F.relu)(self.linear(x)) + vmap(lambda row: row.relu() - 1)(x)


@pattern(derivatives=True)
class GradientInTheForward(Layers):
    def forward(self, x):
        return grad(lambda y: F.relu(self.linear(y)).sum())(x) + F.relu(x)


@pattern
class FunctionalCall(Layers):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        parameters = {name: value * 2 for name, value in self.inner.named_parameters()}
        return F.relu(functional_call(self.inner, parameters, (x,)) - 1)


@torch.jit.script_if_tracing
def traced(x):
    return F.relu(x) - 1


@pattern(may_be_listed=True)
class ScriptedIfTracing(Layers):
    def forward(self, x):
        return traced(self.linear(x))


def to_be_scripted(x):
    return torch.relu(x) - 1


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    scripted = torch.jit.script(to_be_scripted)


@pattern(may_be_listed=True, graphs=False)
class ScriptedHelper(Layers):
    def forward(self, x):
        return scripted(self.linear(x)) + F.relu(x)


@pattern
class IgnoredByScript(Layers):
    @torch.jit.ignore
    def ignored(self, x):
        return F.relu(x)

    @torch.jit.unused
    def unused(self, x):
        return torch.relu(x)

    @torch.jit.export
    def exported(self, x):
        return torch.relu(x - 1)

    def forward(self, x):
        return self.ignored(self.linear(x)) + self.unused(x) + self.exported(x)


@torch.compiler.disable
def not_compiled(x):
    return F.relu(x) - 1


@pattern
class CompilationDisabled(Layers):
    @torch.compiler.disable
    def stage(self, x):
        return F.relu(x)

    def forward(self, x):
        return self.stage(self.linear(x)) + not_compiled(x)


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return torch.relu(x) * 2

    @staticmethod
    def backward(context, gradient):
        return gradient * 3


@pattern(may_be_listed=True)
class AutogradFunction(Layers):
    def forward(self, x):
        return OwnFunction.apply(self.linear(x)) + F.relu(x)


@pattern(shape=(2, 5, 4))
def transformer_encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


@pattern(shape=(2, 5, 4))
def transformer_encoder_with_a_module():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.1, nn.ReLU(), batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@pattern(shape=(2, 5, 4))
def transformer_encoder_by_a_lambda():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, lambda x: F.relu(x), batch_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


@pattern(shape=(2, 5, 4))
class TransformerDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(4, 2, 8, 0.0, batch_first=True)

    def forward(self, x):
        return self.layer(x, F.relu(x))


@pattern(shape=(2, 5, 4))
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        x, weights = self.attention(F.relu(x), x, x.relu())
        return F.relu(x - weights.mean())


@pattern(shape=(2, 5, 4))
class OwnEncoderLayer(nn.TransformerEncoderLayer):
    def __init__(self):
        super().__init__(4, 2, 8, 0.0, batch_first=True)

    def forward(self, src):
        return F.relu(super().forward(F.relu(src)))


class GraphInput(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return F.relu(self.relu(self.linear(x)) - 1) + x.relu() + torch.relu(x)


@pattern
def graph_module():
    return fx.symbolic_trace(GraphInput())


@pattern
class GraphModuleWithin(nn.Module):
    def __init__(self):
        super().__init__()
        self.graph = fx.symbolic_trace(GraphInput())

    def forward(self, x):
        return F.relu(self.graph(x) - 1)


@pattern(graphs=False)
def exported_program():
    return torch.export.export(GraphInput(), (torch.zeros(5, 4),)).module()


@pattern(shape=(2, 4, 6, 6))
class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        identity = x
        x = self.act(self.norm(self.conv(x)))
        x = F.relu(self.conv(x) + identity, inplace=True)
        return self.last(self.pool(x.to(memory_format=torch.channels_last)))


class Mean(torch.Tensor):
    """A subclass of tensors."""


@pattern(graphs=False)
class SubclassOfTensor(Layers):
    def forward(self, x):
        return F.relu(self.linear(x).detach().as_subclass(Mean)).as_subclass(torch.Tensor) + x.as_subclass(
            Mean
        ).relu().as_subclass(torch.Tensor)


@pattern
class ParameterAsInput(Layers):
    def forward(self, x):
        return F.relu(self.linear.weight) @ x.T.relu() + self.linear.bias.relu()[:, None]


@pattern
class LazyLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.LazyLinear(4)
        self.linear(torch.zeros(1, 4))

    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class OtherTypes(Layers):
    def forward(self, x):
        return F.relu(x.double()) + F.relu(x.to(torch.bfloat16)) + F.relu(self.linear(x))


@pattern
class BarrierOfCompilation(Layers):
    def forward(self, x):
        if torch.compiler.is_compiling() or torch.jit.is_scripting() or torch.jit.is_tracing():
            return F.relu(self.linear(x))
        return F.relu(self.linear(x)) + 1
