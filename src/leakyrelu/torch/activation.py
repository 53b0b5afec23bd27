"""Leaky ReLU as a layer that needs no more memory in training than ReLU."""

from torch import Tensor, nn

from leakyrelu._backends.torch import leaky_relu

__all__ = ["LeakyReLU", "leaky_relu"]


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU as a module that needs no more memory in training than `torch.nn.ReLU`.

    It replaces `torch.nn.LeakyReLU`, of which it is a subclass: values and gradients are the same to the bit.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope for negative inputs.
    inplace : bool, default False
        Whether to overwrite the input.

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

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        """Apply `leaky_relu` to `input`."""
        return leaky_relu(input, self.negative_slope, self.inplace)
