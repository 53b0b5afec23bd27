"""Leaky ReLU as a layer that needs no more memory in training than ReLU."""

import sys
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

from leakyrelu._backends.torch import leaky_relu
from leakyrelu._shared.arguments import one_slope, refuse_bool, true_or_false

__all__ = ["LeakyReLU", "leaky_relu"]


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU as a module that needs no more memory in training than `torch.nn.ReLU`.

    It replaces `torch.nn.LeakyReLU`, of which it is a subclass: values and gradients are the same to the bit.
    Quantization by `torch.ao.quantization` and the attributions of Captum's DeepLift are the same, too.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope for negative inputs: a finite number of any real type, or a tensor that holds one. It is kept as a
        float.
    inplace : bool, default False
        Whether to overwrite the input.

    Raises
    ------
    TypeError
        `negative_slope` is not one real number that stays the same, but a bool, text, several slopes, or a parameter
        to be learned; or `inplace` is not a bool.
    ValueError
        `negative_slope` is NaN or infinite.

    See Also
    --------
    leaky_relu : the function, with more on its values, gradients and memory.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import LeakyReLU
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), LeakyReLU(0.1), torch.nn.Linear(4, 2))
    >>> model[1], model(torch.zeros(5, 3)).shape
    (LeakyReLU(negative_slope=0.1), torch.Size([5, 2]))
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        slope: Any = negative_slope
        refuse_bool(slope, "negative_slope", instead="LeakyReLU(inplace={})")
        if isinstance(slope, Tensor) and slope.requires_grad:
            raise TypeError(
                "negative_slope must be a number that stays the same, got a tensor that requires a gradient; "
                "for a slope that is learned, use torch.nn.PReLU"
            )
        super().__init__(one_slope(slope, "negative_slope"), true_or_false("inplace", inplace))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        """Apply `leaky_relu` to `input`."""
        return leaky_relu(input, self.negative_slope, self.inplace)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Call `fn` with this module, as `torch.nn.Module.apply` does."""
        # Captum walks through a model by this method before it looks up the modules' types, and it may have been
        # imported at any time until now.
        _be_treated_as_native("captum.attr._core.deep_lift", "SUPPORTED_NON_LINEAR")
        return super().apply(fn)


def _be_treated_as_native(module: str, table: str) -> None:
    """Give `LeakyReLU` the row of `torch.nn.LeakyReLU` in another library's table, if that module is loaded.

    A tool that looks up `type(module)` does not find a subclass there, and leaves it out without a word. If a metaclass
    made the two classes equal, any tool would find it. But a dictionary that tells the two apart would lose one of
    them, and `torch.compile`, whose `super` searches for equal classes, would call PyTorch's constructor without end.
    """
    rows = getattr(sys.modules.get(module), table, {})
    if nn.LeakyReLU in rows:
        rows.setdefault(LeakyReLU, rows[nn.LeakyReLU])


_be_treated_as_native("torch.ao.quantization.quantization_mappings", "DEFAULT_STATIC_QUANT_MODULE_MAPPINGS")
