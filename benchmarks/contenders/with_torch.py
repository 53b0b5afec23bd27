"""PyTorch on all cores, in the same memory as the others; and its copy."""

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import torch
from torch.nn import functional

from benchmarks.cells import OPERATIONS, Array, Arrays
from benchmarks.contenders import Call, Offer
from benchmarks.machine import usable_cores

torch.set_num_threads(usable_cores())

_relu_out = torch._C._nn.leaky_relu
_backward_out = torch.ops.aten.leaky_relu_backward.grad_input


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    x, grad, out = _tensor(arrays.x), _tensor(arrays.grad), _tensor(arrays.out)
    one, a = torch.tensor(1, dtype=out.dtype), torch.tensor(slope, dtype=out.dtype)
    calls: dict[str, Call] = {"derivative": lambda: torch.where(x >= 0, one, a, out=out)}
    if x.dtype.is_floating_point:
        calls |= {
            "out": lambda: _relu_out(x, slope, out=out),
            "new": lambda: functional.leaky_relu(x, slope),
            "inplace": lambda: functional.leaky_relu_(x, slope),
            "backward": lambda: _backward_out(grad, x, slope, False, grad_input=out),
        }
    else:  # PyTorch's function takes floats only
        calls |= {
            "out": lambda: functional.leaky_relu_(out.copy_(x), slope),
            "new": lambda: functional.leaky_relu_(x.to(out.dtype), slope),
        }
    yield Offer("torch", "peer", calls, as_array=_array)

    source, target = _tensor(arrays.source), _tensor(arrays.target)
    copies: dict[str, Call] = dict.fromkeys(OPERATIONS, lambda: target.copy_(source))
    yield Offer("torch copy_", "limit", copies | {"new": source.clone}, as_array=_array)


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: torch.Tensor) -> Array:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
