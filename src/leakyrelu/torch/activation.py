"""Leaky ReLU as a layer, at the memory of ReLU."""

from torch import Tensor, nn

from leakyrelu._backends.torch import leaky_relu

__all__ = ["LeakyReLU", "leaky_relu"]


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
