"""Tensors of PyTorch, and a Leaky ReLU for them that keeps its output for the backward pass instead of its input.

The derivative depends on the sign of the input alone, and for slopes of zero or more the output tells that sign: y > 0
exactly where x > 0, in every type. The layer that the output feeds keeps the output anyway, so keeping the input, too,
would cost memory for nothing. The native operation records its backward pass as usual, and then the input that
it has saved is exchanged for its output.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch.compiler import is_compiling
from torch.jit import is_scripting, is_tracing  # type: ignore[attr-defined]  # though they are documented
from torch.nn import functional
from torch.overrides import handle_torch_function

from leakyrelu._backends.operands import not_real, of_one_library, slopes_of_another_library
from leakyrelu._backends.torch_private import (
    SavedTensors,
    has_own_function,
    is_traced_for_quantization,
    native_leaky_relu,
    native_prelu,
    saved_tensors,
)
from leakyrelu._shared.arguments import refuse_bool, true_or_false

__all__ = ["compute", "exchange", "leaky_relu", "slope_gradient"]


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:  # noqa: A002  # its name in PyTorch
    """Leaky ReLU, element by element: ``x`` where ``x > 0``, ``negative_slope * x`` elsewhere.

    It replaces `torch.nn.functional.leaky_relu`: values and gradients are the same to the bit, but only half as much
    memory is kept for the backward pass. As with ReLU, the result must not be changed in place before the backward
    pass; PyTorch raises an error if it was.

    Parameters
    ----------
    input : torch.Tensor
        A tensor of any real floating-point type and any shape, on any device.
    negative_slope : float, default 0.01
        The slope for negative inputs. If the slope itself is negative, the output does not tell the sign of the input,
        so the input is kept, as by PyTorch itself.
    inplace : bool, default False
        Whether to overwrite `input`.

    Returns
    -------
    torch.Tensor
        The result, with the shape, type and memory format of `input`.

    Raises
    ------
    TypeError
        `negative_slope` is a bool, or `inplace` is something else that counts as true, such as a second slope.
    RuntimeError, NotImplementedError
        PyTorch raises these: the type is not a real floating-point type; or, in the backward pass, the result was
        changed in place before.

    See Also
    --------
    leakyrelu.torch.LeakyReLU : the same as a module.
    leakyrelu.leaky_relu : for any array; there the slope is called ``alpha``.

    Notes
    -----
    The derivative at zero is the slope, as in PyTorch. For NumPy arrays this library takes 1 there.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import leaky_relu
    >>> x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    >>> y = leaky_relu(x, 0.1)
    >>> y.sum().backward()
    >>> y.tolist() == torch.nn.functional.leaky_relu(x, 0.1).tolist(), x.grad.tolist()
    (True, [0.10000000149011612, 0.10000000149011612, 1.0])
    """
    # When it is scripted, traced, compiled or exported, it is the native operation: the compiler chooses what is kept.
    if not is_scripting():
        if negative_slope.__class__ is not float:
            refuse_bool(negative_slope, "negative_slope", instead="leaky_relu(x, inplace={})")
        if not is_compiling():
            if has_own_function(input):  # a subclass, a mode, or a tracer of torch.fx
                if is_traced_for_quantization(input):  # which knows how to convert PyTorch's own function
                    return functional.leaky_relu(input, negative_slope, inplace)
                result: Tensor = handle_torch_function(
                    leaky_relu, (input,), input, negative_slope=negative_slope, inplace=inplace
                )
                return result
            if inplace:
                true_or_false("inplace", inplace)
            elif isinstance(input, Tensor) and input.requires_grad and is_grad_enabled():
                return _keeping_output(input, negative_slope)
    return functional.leaky_relu(input, negative_slope, inplace)


leaky_relu.__module__ = "leakyrelu.torch"  # where users, pickle and torch.fx find it


def _keeping_output(input: Tensor, negative_slope: float) -> Tensor:  # noqa: A002  # as above
    if is_tracing() or not negative_slope >= 0:  # type: ignore[no-untyped-call]
        return functional.leaky_relu(input, negative_slope)
    if saved_tensors is None:
        return _on_a_copy(input, negative_slope)
    if saved_tensors.forward_ad_is_on():
        return functional.leaky_relu(input, negative_slope)
    # Hooks that are set already, for checkpointing or for saving to the CPU, must see what is saved; and
    # `torch.func.grad` allows no hooks.
    if not saved_tensors.hooks_are_enabled() or saved_tensors.top_hooks(True) is not None:
        return _on_a_copy(input, negative_slope)
    output = native_leaky_relu(input, negative_slope)
    saved = saved_tensors.saved_by(output)
    if saved is not None:
        exchange(saved, output, "leaky_relu", saved_tensors)
    return output


def _on_a_copy(input: Tensor, negative_slope: float) -> Tensor:  # noqa: A002  # as above
    """The slower way, which needs no private names: PyTorch keeps the output of an operation in place, too."""
    return functional.leaky_relu_(input.clone(), negative_slope)


def exchange(saved: Any, output: Tensor, function: str, private: SavedTensors) -> None:
    """Let the output of a function be kept in place of what an operation in it has saved.

    The hooks belong to this one saved tensor, and nothing is set on the thread: an interrupt at any moment leaves
    nothing behind.
    """
    kept = _Kept(output.detach(), function, private)  # without its graph, which would hold itself and never be freed
    saved.register_hooks(lambda _: kept, _Kept.output)


class _Kept:
    """What the backward pass gets: the output, unless it was changed in the meantime."""

    __slots__ = ("_changes", "_function", "_private", "_tensor")

    def __init__(self, output: Tensor, function: str, private: SavedTensors) -> None:
        self._tensor = output
        self._function = function
        self._private = private
        self._changes = private.version_of(output)

    def output(self) -> Tensor:
        if self._private.version_of(self._tensor) != self._changes:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"the output of {self._function}, of shape {list(self._tensor.shape)}; change a copy of it instead"
            )
        return self._tensor


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions of `leakyrelu` for tensors, with PyTorch's derivative at zero: the slope."""
    try:
        tensors = of_one_library(values, Tensor, _floats, torch.as_tensor)
        if not isinstance(alpha, float | int):
            tensors = _of_one_type(tensors)
            x = tensors[-1]
            # As one slope does, slopes keep their digits beside numbers of 16 bits, unless they have no more.
            narrow = isinstance(alpha, Tensor) and alpha.dtype == x.dtype
            dtype = x.dtype if narrow else _wide(x.dtype)
            alpha = slopes_of_another_library(
                alpha, x, "PyTorch", lambda slopes: torch.as_tensor(slopes, dtype=dtype, device=x.device)
            )
        return _FUNCTIONS[function](alpha, *tensors)
    except (NotImplementedError, RuntimeError) as error:
        raise _explained(error, function, (*values, alpha)) from error.__cause__


def slope_gradient(values: tuple[Any, ...], axis: Any, keepdims: bool) -> Tensor:
    """The gradient with respect to the slope; products of numbers of 16 bits are added up as float32."""
    try:
        grad, x = _of_one_type(of_one_library(values, Tensor, _floats, torch.as_tensor))
        left, wide = ~(x >= 0), _wide(x.dtype)
        products = torch.where(left, grad, 0).to(wide) * torch.where(left, x, 0).to(wide)
        # PyTorch would take an empty tuple for all axes.
        return (products if axis == () else products.sum(axis, keepdim=keepdims)).to(x.dtype)
    except (NotImplementedError, RuntimeError) as error:
        raise _explained(error, "leaky_relu_slope_gradient", values) from error.__cause__


def _explained(error: Exception, function: str, operands: tuple[Any, ...]) -> Exception:
    """An error that says what kind of tensor PyTorch's kernels do not take; the same error for a plain tensor."""
    for each in operands:
        if isinstance(each, Tensor) and (kind := _special_kind(each)):
            return TypeError(f"{function} is not made for {kind}")
    return error


def _floats(tensor: Tensor) -> Tensor:
    """A tensor of bools or integers in PyTorch's default type; one of floats as it is."""
    if tensor.is_complex():
        raise not_real(tensor)
    is_whole = not (tensor.is_floating_point() or tensor.is_quantized)
    return tensor.to(torch.get_default_dtype()) if is_whole else tensor


def _special_kind(tensor: Tensor) -> str:
    """What PyTorch's kernels may not take about a tensor, and how to make a plain one of it; empty for a plain one."""
    if tensor.is_nested:
        return "nested tensors; write x.to_padded_tensor(0.0)"
    if tensor.is_quantized:
        return f"quantized tensors, got {tensor.dtype}; write x.dequantize()"
    if tensor.layout != torch.strided:
        return f"tensors that are not dense, got {tensor.layout}; write x.to_dense()"
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return f"numbers of 8 bits, got {tensor.dtype}; write x.float()"
    return ""


def _of_one_type(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The values in their common floating-point type; bools and integers in PyTorch's default type."""
    dtype = reduce(torch.promote_types, (value.dtype for value in values))
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    return tuple(value.to(dtype) for value in values)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of a product: float32 for types of 16 bits, the type itself for all others."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _leaky_relu(alpha: Any, x: Tensor) -> Tensor:
    if not isinstance(alpha, Tensor):
        return leaky_relu(x, alpha)
    if native_prelu is None:
        return _scaled(alpha, x, x)
    result: Tensor = native_prelu(*torch.broadcast_tensors(x.to(alpha.dtype), alpha))  # type: ignore[no-untyped-call]
    return result.to(x.dtype)


def _derivative(alpha: Any, x: Tensor) -> Tensor:
    return _backward(alpha, torch.ones_like(x), x)


def _backward(alpha: Any, grad: Tensor, x: Tensor) -> Tensor:
    if isinstance(alpha, Tensor):
        return _scaled(alpha, grad, x)
    result: Tensor = torch.ops.aten.leaky_relu_backward(grad, x, alpha, False)
    return result


def _scaled(alpha: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """The values; where the slope counts, times the slopes. Elsewhere no slope is multiplied by a value.

    The gradient of a product is a product, too: with a value that is infinite, it would be NaN where it does not count.
    """
    left = ~(x > 0)
    products = alpha * torch.where(left, values, 0).to(alpha.dtype)
    return torch.where(left, products.to(values.dtype), values)


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "leaky_relu": _leaky_relu,
    "leaky_relu_derivative": _derivative,
    "leaky_relu_backward": _backward,
}
