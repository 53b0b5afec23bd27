"""Bias, activation and gain in one call, as the networks of the StyleGAN family have them, without a compiler.

The formula ``leaky_relu(input + bias, slope) * gain`` makes three tensors. Here the sum is made, and the rest happens
in its memory. For slopes of zero or more and gains of one or more, the result is positive exactly where the sum is, in
every type: so the result is all that the backward pass needs. With a gain below one, a small positive product may be
rounded to zero; then the activation's own output is kept.
"""

from math import inf
from numbers import Real
from typing import Any

import torch
from torch import Tensor, is_grad_enabled, nn
from torch.compiler import is_compiling
from torch.jit import is_scripting, is_tracing  # type: ignore[attr-defined]  # though they are documented
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function

from leakyrelu._backends.torch import exchange, leaky_relu
from leakyrelu._backends.torch_private import is_seen_by_a_mode, is_within_functorch, saved_tensors
from leakyrelu._shared.arguments import PYTHON_NUMBERS, one_slope, positive_integer, true_or_false

__all__ = ["FusedLeakyReLU", "bias_act", "fused_leaky_relu"]

_GAINS = {"linear": 1.0, "lrelu": 2**0.5, "relu": 2**0.5}  # the activations, and their gains where none is given


def fused_leaky_relu(
    input: Tensor,  # noqa: A002  # its name in the published functions
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    scale: float = 2**0.5,
) -> Tensor:
    """Add a bias per channel, apply Leaky ReLU, and multiply by a gain.

    The result is that of ``leaky_relu(input + bias[None, :, None, ...], negative_slope) * scale``. It replaces the
    functions of the same name in the implementations of StyleGAN2, which are compiled by ``nvcc`` when they are first
    used: it needs no compiler, runs on every device, and keeps one activation for the backward pass, its output. As
    with ReLU, the result must not be changed in place before the backward pass.

    Parameters
    ----------
    input : torch.Tensor, shape (N, C, ...)
        A tensor of any real floating-point type, on any device.
    bias : torch.Tensor, shape (C,), optional
        One value per channel. If its type is another one, as in mixed precision, it is added in the type of `input`,
        and its gradient is summed in its own.
    negative_slope : float, default 0.2
        The slope for negative sums.
    scale : float, default sqrt(2)
        The gain. If it is below one, or the slope is negative, one more tensor is kept for the backward pass.

    Returns
    -------
    torch.Tensor
        The result, with the shape, type and memory format of `input`.

    Raises
    ------
    TypeError
        `input` is no tensor of a floating-point type; `bias` is none; or `negative_slope` or `scale` is no number.
    ValueError
        The length of `bias` is not the number of channels.
    RuntimeError
        In the backward pass: the result was changed in place before.

    See Also
    --------
    FusedLeakyReLU : the same as a module with its bias.
    bias_act : the same with the arguments of StyleGAN2-ADA and StyleGAN3.

    Notes
    -----
    It can be differentiated any number of times, so gradient penalties work. The formula is that of `fused_act.py` in
    rosinality's stylegan2-pytorch, where the function on the CPU has the slope 0.2 whatever slope is given.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import fused_leaky_relu
    >>> fused_leaky_relu(torch.tensor([[-3.0, 1.0]]), torch.tensor([1.0, 2.0]), negative_slope=0.5, scale=2)
    tensor([[-2.,  6.]])
    """
    if not is_scripting():
        if _is_traced_by_fx(input, bias):
            result: Tensor = handle_torch_function(
                fused_leaky_relu, (input,), input, bias, negative_slope=negative_slope, scale=scale
            )
            return result
        slope, gain = _number("negative_slope", negative_slope), _number("scale", scale)
        _check("input", input, "bias", bias, 1)
        return _fused(input, bias, 1, "lrelu", slope, gain, None, "fused_leaky_relu")
    return _formula(input, bias, 1, "lrelu", negative_slope, scale, None)


class FusedLeakyReLU(nn.Module):
    """A bias per channel, Leaky ReLU and a gain, as the networks of the StyleGAN family have them.

    It replaces the modules of the same name in rosinality's stylegan2-pytorch and in BasicSR, and
    ``FusedBiasLeakyReLU`` in mmcv: the weights of a trained model can be loaded as they are. See `fused_leaky_relu` for
    what it computes and keeps.

    Parameters
    ----------
    channel : int
        The number of channels, the second axis of the input.
    bias : bool, default True
        Whether there is a bias, which begins at zero and is learned. BasicSR and mmcv have no such argument; the slope
        comes second there, so give it by name.
    negative_slope : float, default 0.2
        The slope for negative sums: a finite number.
    scale : float, default sqrt(2)
        The gain: a finite number.

    Attributes
    ----------
    bias : torch.nn.Parameter, shape (channel,), or None

    Raises
    ------
    TypeError
        `channel` is not an integer, `bias` is not a bool, or one of the others is not a number.
    ValueError
        `channel` is less than 1, or one of the others is NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import FusedLeakyReLU
    >>> layer = FusedLeakyReLU(8)
    >>> layer, layer(torch.zeros(2, 8, 4, 4)).shape, list(layer.state_dict())
    (FusedLeakyReLU(8, negative_slope=0.2, scale=1.4142), torch.Size([2, 8, 4, 4]), ['bias'])
    """

    def __init__(self, channel: int, bias: bool = True, negative_slope: float = 0.2, scale: float = 2**0.5) -> None:
        super().__init__()
        channels = positive_integer("channel", channel)
        if type(bias) in PYTHON_NUMBERS:
            raise TypeError(
                f"bias must be True or False, got {bias}; write negative_slope={bias} if you mean the slope"
            )
        has_bias = true_or_false("bias", bias)
        self.negative_slope = one_slope(negative_slope, "negative_slope")
        self.scale = one_slope(scale, "scale")
        self.bias = nn.Parameter(torch.zeros(channels)) if has_bias else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in the published modules
        """Apply `fused_leaky_relu` to `input`."""
        return fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)

    def extra_repr(self) -> str:
        """What the module is made with."""
        channel = "bias=False" if self.bias is None else len(self.bias)
        return f"{channel}, negative_slope={self.negative_slope}, scale={self.scale:.5g}"


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "cuda",  # noqa: ARG001  # taken, as the published function takes it
) -> Tensor:
    """Add a bias, apply an activation, multiply by a gain, and clamp, as StyleGAN2-ADA and StyleGAN3 do.

    It has the arguments of ``torch_utils.ops.bias_act.bias_act`` there, and replaces it for the activations
    ``"linear"``, ``"relu"`` and ``"lrelu"``. It needs no compiler, runs on every device, and keeps one activation for
    the backward pass, its output.

    Parameters
    ----------
    x : torch.Tensor
        A tensor of any real floating-point type and any shape, on any device.
    b : torch.Tensor, shape (x.shape[dim],), optional
        The bias, as for `fused_leaky_relu`.
    dim : int, default 1
        The axis of `x` that the bias belongs to, counted from 0. It does not matter without a bias.
    act : {"linear", "relu", "lrelu"}, default "linear"
        The activation.
    alpha : float, optional
        The slope of ``"lrelu"`` for negative sums; None for 0.2. It does not matter for the others.
    gain : float, optional
        The factor after the activation; None for sqrt(2), or for 1 with ``"linear"``.
    clamp : float, optional
        The results are limited to the range from ``-clamp`` to ``clamp``; None for no limit.
    impl : str, default "cuda"
        Ignored: there is one implementation.

    Returns
    -------
    torch.Tensor
        The result, with the shape, type and memory format of `x`.

    Raises
    ------
    TypeError
        `x` is no tensor of a floating-point type; `b` is none; or one of the others is no number.
    ValueError
        `act` is another activation; `clamp` is negative; `dim` is no axis of `x`; or the length of `b` is not that of
        the axis.
    RuntimeError
        In the backward pass: the result was changed in place before.

    See Also
    --------
    fused_leaky_relu : with more on what is kept for the backward pass.

    Notes
    -----
    The gradient is zero where the result is at the limit, as that of the published kernel for CUDA. With ``"linear"``
    that kernel lets the gradient pass beyond the limit; here it is zero there, as by the published formula. NaN stays
    NaN.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import bias_act
    >>> bias_act(torch.tensor([[-3.0, 1.0]]), torch.tensor([1.0, 2.0]), act="lrelu", alpha=0.5, gain=2, clamp=4)
    tensor([[-2.,  4.]])
    """
    if _is_traced_by_fx(x, b):
        result: Tensor = handle_torch_function(
            bias_act, (x,), x, b, dim=dim, act=act, alpha=alpha, gain=gain, clamp=clamp
        )
        return result
    if not isinstance(act, str) or act not in _GAINS:
        raise ValueError(
            f"act must be 'linear', 'relu' or 'lrelu', got {act!r}; for another activation, call PyTorch's own "
            "function on the sum of x and the bias"
        )
    slope = 0.2 if alpha is None else _number("alpha", alpha)
    factor = _GAINS[act] if gain is None else _number("gain", gain)
    limit = None if clamp is None else _number("clamp", clamp)
    if limit is not None and not limit >= 0:
        raise ValueError(f"clamp must be zero or more, or None for no limit, got {clamp}")
    _check("x", x, "b", b, dim)
    return _fused(x, b, dim, act, slope, factor, limit, "bias_act")


def _is_traced_by_fx(*operands: object) -> bool:
    others = [each for each in operands if not isinstance(each, Tensor)]
    return has_torch_function(others)


def _number(name: str, value: Any) -> float:
    if value.__class__ is float:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        given = value if isinstance(value, bool) else type(value).__name__
        raise TypeError(f"{name} must be a number, got {given}")
    return float(value)


def _check(name: str, x: Any, name_of_bias: str, bias: Any, dim: int) -> None:
    for each, value in ((name, x), (name_of_bias, bias)):
        if value is None and each == name_of_bias:
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"{each} must be a torch.Tensor, got {type(value).__name__}")
        if not value.is_floating_point():
            raise TypeError(
                f"{each} must be of a real floating-point type, got {value.dtype}; convert it, as {each}.float() does"
            )
    if type(dim) is not int:
        raise TypeError(f"dim must be an integer, got {type(dim).__name__}")
    if not 0 <= dim < x.ndim:
        raise ValueError(f"{name} must have the bias's axis {dim}, got a tensor of {x.ndim} dimensions")
    if is_tracing():  # type: ignore[no-untyped-call]  # it would warn that the sizes are looked at
        return
    if bias.ndim != 1 or bias.shape[0] != x.shape[dim]:
        raise ValueError(
            f"{name_of_bias} must have one value for each of the {x.shape[dim]} channels on axis {dim} of {name}, "
            f"whose shape is {list(x.shape)}; got shape {list(bias.shape)}"
        )


def _fused(
    x: Tensor, bias: Tensor | None, dim: int, act: str, slope: float, gain: float, clamp: float | None, name: str
) -> Tensor:
    # A compiler fuses the formula itself, and chooses what is kept. Transforms of `torch.func` allow no hooks. A mode
    # that sees each operation may keep its result, as that of selective checkpoints does: then it must not change.
    if (
        is_compiling()
        or is_tracing()  # type: ignore[no-untyped-call]
        or saved_tensors is None
        or saved_tensors.forward_ad_is_on()
        or not saved_tensors.hooks_are_enabled()
        or is_seen_by_a_mode()
        or is_within_functorch(x)
        or (bias is not None and is_within_functorch(bias))
    ):
        return _formula(x, bias, dim, act, slope, gain, clamp)
    y = x if bias is None else _sum(x, bias, dim)
    is_recorded = y.requires_grad and is_grad_enabled()
    # Hooks that are set already, for checkpointing or for saving to the CPU, must see what is saved. What they give
    # back may be scaled by then: only its sign matters.
    has_hooks = is_recorded and saved_tensors.top_hooks(True) is not None
    exchanges = is_recorded and not has_hooks
    saved = []
    if act == "linear":
        y = _scaled(y, gain, y is not x)
    elif 1 <= gain < inf and (slope >= 0 or act == "relu"):
        if has_hooks and y is x:
            y = x.clone()
        y = _activated(y, act, slope, y is not x)
        saved += [saved_tensors.saved_by(y)] * exchanges
        y = _scaled(y, gain, not exchanges or saved[0] is not None)
    else:
        y = leaky_relu(y, slope) if act == "lrelu" else functional.relu(y)
        y = _scaled(y, gain, False)
    if clamp is not None:
        y = functional.hardtanh(y, -clamp, clamp, y is not x and not is_recorded)  # in place it would keep a copy
        saved += [saved_tensors.saved_by(y)] * (exchanges and _tells_what_is_within(clamp, y.dtype))
    for each in filter(None, saved):
        exchange(each, y, name, saved_tensors)
    return y


def _tells_what_is_within(clamp: float, dtype: torch.dtype) -> bool:
    """Whether a result at the limit, which has the limit rounded to its type, is not taken for one within it."""
    return dtype not in (torch.float16, torch.bfloat16) or torch.tensor(clamp, dtype=dtype).item() >= clamp


def _activated(y: Tensor, act: str, slope: float, in_place: bool) -> Tensor:
    return functional.leaky_relu(y, slope, in_place) if act == "lrelu" else functional.relu(y, in_place)


def _scaled(y: Tensor, gain: float, in_place: bool) -> Tensor:
    if gain == 1:
        return y
    return y.mul_(gain) if in_place else y * gain


def _sum(x: Tensor, bias: Tensor, dim: int) -> Tensor:
    if bias.dtype == x.dtype:
        return x + _along(bias, dim, x.dim())
    made: Tensor = _MixedSum.apply(x, bias, dim)  # type: ignore[no-untyped-call]
    return made


def _along(bias: Tensor, dim: int, dimensions: int) -> Tensor:
    shape = [1] * dimensions
    shape[dim] = -1
    return bias.reshape(shape)


class _MixedSum(torch.autograd.Function):
    """The sum in the type of the input. The bias's gradient is summed in the bias's type, as a half would overflow."""

    @staticmethod
    def forward(x: Tensor, bias: Tensor, dim: int) -> Tensor:
        return x + _along(bias.to(x.dtype), dim, x.dim())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        _, bias, dim = inputs
        ctx.dtype = bias.dtype
        ctx.others = [axis for axis in range(output.dim()) if axis != dim]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        return grad, grad.sum(ctx.others, dtype=ctx.dtype) if ctx.needs_input_grad[1] else None, None


def _formula(
    x: Tensor, bias: Tensor | None, dim: int, act: str, slope: float, gain: float, clamp: float | None
) -> Tensor:
    """The same for compilers and tracers, also for TorchScript: without anything in place."""
    y = x
    if bias is not None:
        if bias.dtype != x.dtype:  # rounded to the type of the input, and the gradient is not
            bias = bias + (bias.to(x.dtype).to(bias.dtype) - bias).detach()
        y = (x + _along(bias, dim, x.dim())).to(x.dtype)
    if act == "lrelu":
        y = functional.leaky_relu(y, slope)
    elif act == "relu":
        y = functional.relu(y)
    if gain != 1:
        y = y * gain
    if clamp is not None:
        y = functional.hardtanh(y, -clamp, clamp)
    return y
