"""Whether a card computes what the CPU computes: values, gradients, and what `diagnose` and `Monitor` count.

All values are such that both give them exactly, or the tolerance is said: where a result is rounded once, one unit in
the last place of its type; where it is a sum, eight times the type's precision, relative to the sum of the absolute
values.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import leakyrelu.torch
from leakyrelu.torch import LeakyReLU, Monitor, diagnose, leaky_relu

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Check:
    """What was compared, and what is wrong with it: nothing, if it passed."""

    name: str
    fault: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault

    def __str__(self) -> str:
        return f"- {self.name}: {self.fault or 'passed'}"


class Unfused(nn.Module):
    """Bias, Leaky ReLU and gain as the published fallback has them, of native operations."""

    def __init__(self, channel: int, negative_slope: float = 0.2, scale: float = 2**0.5) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))
        self.negative_slope, self.scale = negative_slope, scale

    def forward(self, x: Tensor) -> Tensor:
        """Each channel has its own bias; channels are the second axis."""
        bias = self.bias.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)
        return functional.leaky_relu(x + bias, self.negative_slope) * self.scale


def fused_classes() -> list[Any]:
    """`FusedLeakyReLU`, where this version has it."""
    return [getattr(leakyrelu.torch, name) for name in ("FusedLeakyReLU",) if hasattr(leakyrelu.torch, name)]


def checks(device: str) -> Iterator[Check]:
    """All checks, on a device."""
    for dtype in DTYPES:
        word = str(dtype).rpartition(".")[2]
        for slope in (0.01, 0.2, 0.0, -0.5):
            for name, call in (("leaky_relu", leaky_relu), ("LeakyReLU", lambda x, slope: LeakyReLU(slope)(x))):
                fault = activation_fault(call, slope, dtype, device)
                yield Check(f"`{name}`, slope {slope}, {word}", fault)
        for each in fused_classes():
            yield Check(f"`{each.__name__}`, {word}", fused_fault(each, dtype, device))
        yield Check(f"`diagnose`, {word}", counting_fault(_diagnosed, dtype, device))
        yield Check(f"`Monitor`, {word}", counting_fault(_monitored, dtype, device))
    if not fused_classes():
        yield Check("`FusedLeakyReLU` is not in this version", "")


def inputs(dtype: torch.dtype) -> Tensor:
    """Numbers of all sizes, and zeros, infinities and NaN."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100_003, generator=generator, dtype=torch.float64) * 4
    x[:7] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-6, -1e-6])
    return x.to(dtype)


def activation_fault(call: Callable[[Tensor, float], Tensor], slope: float, dtype: torch.dtype, device: str) -> str:
    """Value and gradient: bit for bit those of the native operation there, and the CPU's up to one rounding."""
    x = inputs(dtype)
    ours = _value_and_gradient(lambda x: call(x, slope), x.to(device))
    native = _value_and_gradient(lambda x: functional.leaky_relu(x, slope), x.to(device))
    on_cpu = _value_and_gradient(lambda x: call(x, slope), x)
    for what, there, peer, here in zip(("value", "gradient"), ours, native, on_cpu, strict=True):
        if not _same_bits(there, peer):
            return f"the {what} is not that of `torch.nn.functional.leaky_relu` there"
        if fault := _distance_fault(there, here, torch.finfo(dtype).eps):
            return f"the {what} is not the CPU's: {fault}"
    return ""


def fused_fault(kind: Any, dtype: torch.dtype, device: str) -> str:
    """Value, gradient and the bias's gradient: those of the formula on the CPU in float64, up to roundings."""
    x = inputs(dtype)[7 : 7 + 4 * 6 * 5 * 5].view(4, 6, 5, 5)
    formula, ours = Unfused(6).to(torch.float64), kind(6).to(device, dtype)
    bias = torch.linspace(-1, 1, 6).to(dtype)
    for module in (formula, ours):
        with torch.no_grad():
            module.bias.copy_(bias)
    wide, there = x.to(torch.float64).requires_grad_(), x.to(device).requires_grad_()
    wanted, got = formula(wide), ours(there)
    wanted.sum().backward()
    got.sum().backward()
    eps = 8 * torch.finfo(dtype).eps
    size = 1.5 * x.numel() / 6  # of the bias's gradient, in absolute values
    for what, mine, theirs, least in (
        ("value", got, wanted, 1.0),
        ("gradient", there.grad, wide.grad, 1.0),
        ("gradient of the bias", ours.bias.grad, formula.bias.grad, size),
    ):
        if fault := _distance_fault(mine, theirs, eps, least):
            return f"the {what} is not the formula's: {fault}"
    return ""


class Exact(nn.Module):
    """Layers that every device computes exactly, because weights are powers of two, and values have few bits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(6, 6, 1, groups=6) for _ in range(2))
        self.relu, self.leaky = nn.ReLU(), nn.LeakyReLU(0.25)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.copy_(torch.tensor([1, -2, 0.5, 1, -1, 2]).view(6, 1, 1, 1))
                # The third unit never fires, the fourth always does.
                layer.bias.copy_(torch.tensor([0, 0.5, -64, 64, -0.25, 0]))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Two activations, so two sites."""
        result: Tensor = self.leaky(self.second(self.relu(self.first(x))))
        return result


def counting_fault(count: Callable[[nn.Module, Tensor], Any], dtype: torch.dtype, device: str) -> str:
    """All counts are equal; the mean of outputs is a mean of floats, and may be rounded."""
    generator = torch.Generator().manual_seed(1)
    x = (torch.randint(-16, 17, (8, 6, 9, 7), generator=generator) / 8).to(dtype)
    model = Exact().to(dtype)
    here, there = count(copy.deepcopy(model), x), count(copy.deepcopy(model).to(device), x.to(device))
    if [site.name for site in here.sites] != [site.name for site in there.sites]:
        return "there are other sites"
    for one, other in zip(here.sites, there.sites, strict=True):
        for name in ("examples", "values", "fired", "below", "maximum", "dead", "always_on"):
            if not (torch.as_tensor(getattr(one, name)) == torch.as_tensor(getattr(other, name))).all():
                return f"{one.name}: `{name}` is {getattr(other, name)}, and the CPU's is {getattr(one, name)}"
        means = torch.as_tensor(one.mean_output), torch.as_tensor(other.mean_output)
        if fault := _distance_fault(means[1], means[0], 1e-3):
            return f"{one.name}: the mean output is not the CPU's: {fault}"
    return ""


def _diagnosed(model: nn.Module, x: Tensor) -> Any:
    return diagnose(model, [x, -x])


def _monitored(model: nn.Module, x: Tensor) -> Any:
    with Monitor(model) as monitor:
        for batch in (x, -x):
            model(batch).sum().backward()
    return monitor.diagnosis()


def _value_and_gradient(call: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = call(x)
    (gradient,) = torch.autograd.grad(y, x, torch.linspace(-2, 2, x.numel()).to(x))
    return y.detach(), gradient


def _same_bits(one: Tensor, other: Tensor) -> bool:
    nan = other.isnan()
    signs = one.signbit() == other.signbit()
    return bool((one.isnan() == nan).all() and (((one == other) & signs) | nan).all())


def _distance_fault(there: Any, here: Any, relative: float, least: float = 0.0) -> str:
    """The largest distance, where one is larger than so much of the value, or of `least` if that is more."""
    got, wanted = (each.detach().to("cpu", torch.float64) for each in (there, here))
    alike = (got == wanted) | (got.isnan() & wanted.isnan())
    near = (got - wanted).abs() <= relative * wanted.abs().clamp(min=least)
    wrong = ~(alike | near)
    if not wrong.any():
        return ""
    place = int(wrong.flatten().nonzero()[0])
    example = f"{got.flatten()[place]:.9g} for {wanted.flatten()[place]:.9g}"
    return f"{int(wrong.sum())} of {wrong.numel()}, for example {example}"
