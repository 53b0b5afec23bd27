"""Small networks of plain PyTorch for `benchmarks.zoo_units`, each of which is wired in a way that people use."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo_models import Architecture


class _Functions(nn.Module):
    """A gated layer without biases, a product by `einsum`, and a fused weight that is split."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 24)
        self.gate, self.value = nn.Linear(24, 32, bias=False), nn.Linear(24, 32, bias=False)
        self.weight, self.bias = nn.Parameter(torch.randn(32, 16) / 4), nn.Parameter(torch.zeros(16))
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        x = functional.relu(self.gate(x)) * self.value(x)
        one, other = self.last.weight.chunk(2, dim=1)
        one_half, other_half = torch.relu(torch.einsum("ni,io->no", x, self.weight) + self.bias).chunk(2, dim=1)
        return one_half @ one.T + other_half @ other.T + self.last.bias


class _Residual(nn.Module):
    """Blocks after the manner of transformers, whose hidden layer is inside of a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 16)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


class _Shared(nn.Module):
    """A layer that is called twice, and two branches that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(64, 24), nn.ReLU(inplace=True), nn.Linear(24, 3))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(torch.cat([self.tower(x), self.tower(x.flip(-1))], dim=-1))
        return output


class _Recurrent(nn.Module):
    """An embedding, a GRU and a hidden layer that takes each of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(20, 12), nn.GRU(12, 24, batch_first=True)
        self.hidden, self.last = nn.Linear(24, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(self.embed(x))
        output: Tensor = self.last(self.hidden(states).relu())
        return output


class _Cell(nn.Module):
    """A recurrent cell that is called step by step, until a condition that hangs on the data holds."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.back, self.last = nn.Linear(8, 24), nn.Linear(24, 24), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.relu(self.enter(x))
        for _ in range(3):
            state = torch.relu(self.enter(x) + self.back(state))
            if state.sum() < 0:
                break
        output: Tensor = self.last(state)
        return output


class _Transformer(nn.Module):
    """PyTorch's own encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Transformer(16, 2, 2, 2, 48, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.transformer(x, x[:, :3])
        return output


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))


def _normed(norm: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 32), norm(32), nn.ReLU(), nn.Linear(32, 32), norm(32), nn.ReLU6(), nn.Linear(32, 4)
    )


def _convolutional() -> nn.Module:
    first = (nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(16), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, groups=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(128, 24), nn.Threshold(0, 0), nn.Linear(24, 4))


def _depthwise() -> nn.Module:
    first = (nn.Conv2d(3, 24, 1), nn.ReLU6(), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.ReLU6())
    return nn.Sequential(*first, nn.Conv2d(24, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 4))


def _autoencoder() -> nn.Module:
    encoder = (nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    decoder = (nn.ConvTranspose2d(32, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 3, 2, 2), nn.Sigmoid())
    return nn.Sequential(*encoder, *decoder)


def _waves() -> nn.Module:
    first = (nn.Conv1d(2, 16, 5, stride=2), nn.ReLU(), nn.Conv1d(16, 24, 3, dilation=2), nn.GroupNorm(4, 24), nn.ReLU())
    return nn.Sequential(*first, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, 3))


def _reparametrized() -> nn.Module:
    hidden = nn.utils.parametrizations.weight_norm(nn.Linear(8, 32))
    return nn.Sequential(hidden, nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(32, 4)))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 48, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def architectures() -> Iterator[Architecture]:
    rows, image, tokens = torch.randn(16, 8), torch.rand(2, 3, 16, 16), torch.randn(4, 6, 16)
    for name, build, batch in (
        ("perceptron", _perceptron, rows),
        ("perceptron with BatchNorm", partial(_normed, nn.BatchNorm1d), rows),
        ("perceptron with LayerNorm", partial(_normed, nn.LayerNorm), rows),
        ("functions", _Functions, rows),
        ("residual", _Residual, tokens),
        ("shared layer", _Shared, rows),
        ("GRU", _Recurrent, torch.randint(0, 20, (4, 6))),
        ("recurrent cell", _Cell, rows),
        ("nn.Transformer", _Transformer, tokens),
        ("nn.TransformerEncoder", _encoder, tokens),
        ("convolutional", _convolutional, image),
        ("depthwise", _depthwise, image),
        ("autoencoder", _autoencoder, image),
        ("waves", _waves, torch.randn(4, 2, 40)),
        ("reparametrized", _reparametrized, rows),
    ):
        yield Architecture(name, build, batch)
