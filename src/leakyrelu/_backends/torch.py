"""Leaky ReLU for PyTorch that keeps its output for the backward pass, not its input.

The derivative needs the sign of the input alone, and for slopes of zero or more the output tells it: y > 0 where x > 0,
in every type. The output is kept anyway, by the layer that it feeds; the input is kept for nothing. So the native
operation is asked for its backward pass, and where it saves its input, it is given its output to keep.
"""

from torch import Tensor, is_grad_enabled, nn
from torch._C import _is_tracing
from torch._C._autograd import _pop_saved_tensors_default_hooks as _pop_hooks
from torch._C._autograd import _push_saved_tensors_default_hooks as _push_hooks
from torch._C._autograd import _saved_tensors_hooks_is_enabled as _hooks_are_enabled  # type: ignore[attr-defined]
from torch._C._nn import leaky_relu as _native
from torch._jit_internal import is_scripting
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

try:
    from torch._C._autograd import _top_saved_tensors_default_hooks as _top_hooks
except ImportError:

    def _top_hooks(ignore_is_tracing: bool) -> object:  # type: ignore[misc]  # it is only asked for None
        """Older versions do not tell, so there may always be some."""
        return ignore_is_tracing


__all__ = ["LeakyReLU", "leaky_relu"]


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:  # noqa: A002  # PyTorch's
    """Leaky ReLU, element by element: ``x`` where ``x > 0``, ``negative_slope * x`` elsewhere.

    In place of `torch.nn.functional.leaky_relu`, with the same values and gradients to the bit, but half the memory
    kept for the backward pass. As with ReLU, the result must not be changed in place before that; PyTorch says so if it
    is.

    Parameters
    ----------
    input : Tensor
        Of any floating-point type, any shape, on any device.
    negative_slope : float, default 0.01
        The slope for negative inputs. Where it is negative, the output does not tell the sign of the input, and the
        input is kept, as by PyTorch itself.
    inplace : bool, default False
        Whether to overwrite `input`.

    Returns
    -------
    Tensor
        Of the shape, type and memory format of `input`.

    Raises
    ------
    RuntimeError, NotImplementedError
        Those of PyTorch: the type is not a real floating-point one; in the backward pass, the result was changed in
        place.

    See Also
    --------
    LeakyReLU : the same as a module.
    leakyrelu.leaky_relu : for any array; there the slope is called ``alpha``.

    Notes
    -----
    The derivative at zero is the slope, as in PyTorch, and not 1, as for NumPy arrays here.

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
    # Scripted, traced, compiled or exported, it is the native operation: what is kept is the compiler's choice.
    if not is_scripting() and not is_compiling():
        if has_torch_function_unary(input):  # a subclass, a mode, or a tracer of torch.fx
            result: Tensor = handle_torch_function(
                leaky_relu, (input,), input, negative_slope=negative_slope, inplace=inplace
            )
            return result
        if not inplace and isinstance(input, Tensor) and input.requires_grad and is_grad_enabled():
            return _keeping_output(input, negative_slope)
    return functional.leaky_relu(input, negative_slope, inplace)


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU as a module, in place of `torch.nn.LeakyReLU`, at the memory of `torch.nn.ReLU`.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope for negative inputs.
    inplace : bool, default False
        Whether to overwrite the input.

    See Also
    --------
    leaky_relu : the function, which says more.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import LeakyReLU
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), LeakyReLU(0.1), torch.nn.Linear(4, 2))
    >>> model[1], model(torch.zeros(5, 3)).shape
    (LeakyReLU(negative_slope=0.1), torch.Size([5, 2]))
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # PyTorch's
        """Apply the function; see there."""
        return leaky_relu(input, self.negative_slope, self.inplace)


def _keeping_output(input: Tensor, negative_slope: float) -> Tensor:  # noqa: A002  # as above
    if _is_tracing() or forward_ad._current_level >= 0 or not negative_slope >= 0:  # noqa: SLF001  # told nowhere else
        return functional.leaky_relu(input, negative_slope)
    # Hooks that are there already, of checkpointing or of saving to the CPU, must see what is saved; `torch.func.grad`
    # allows none. An operation in place on a copy keeps its output, too.
    if not _hooks_are_enabled() or _top_hooks(True) is not None:
        return functional.leaky_relu_(input.clone(), negative_slope)
    kept = _Kept()
    _push_hooks(lambda _: kept, _Kept.output)
    try:
        output = _native(input, negative_slope)
    finally:
        _pop_hooks()
    kept.tensor = output.detach()  # without its graph, which would keep itself alive
    kept.version = output._version  # noqa: SLF001  # PyTorch's own check of what is saved
    return output


class _Kept:
    """What the backward pass gets in place of the input: the output, unless it was changed in the meantime."""

    __slots__ = ("tensor", "version")
    tensor: Tensor
    version: int

    def output(self) -> Tensor:
        if self.tensor._version != self.version:  # noqa: SLF001  # as above
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"the output of leaky_relu, of shape {list(self.tensor.shape)}; change a copy of it instead"
            )
        return self.tensor
