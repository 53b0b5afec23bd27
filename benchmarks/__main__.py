"""Leaky ReLU of float32 on one thread, beside the textbook line, NumPy's copy and PyTorch."""

import platform

import numpy as np
import torch

from benchmarks.timing import interleaved, ratio
from leakyrelu import _ufuncs, leaky_relu


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {_ufuncs.instruction_set}, Python {platform.python_version()}, ", end="")
    print(f"NumPy {np.__version__}, torch {torch.__version__}; one thread; time over ours: median (quartiles)")
    for size in (1, 1000, 100_000, 1_000_000):
        x = np.random.default_rng(0).standard_normal(size, np.float32)
        out = np.empty_like(x)
        tensor, tensor_out = torch.from_numpy(x), torch.from_numpy(np.empty_like(x))
        slope = np.float32(0.01)
        seconds = interleaved(
            {
                "leaky_relu(x, out=out)": lambda: leaky_relu(x, out=out),  # noqa: B023  # called within the round
                "leaky_relu(x)": lambda: leaky_relu(x),  # noqa: B023
                "np.where(x >= 0, x, alpha * x)": lambda: np.where(x >= 0, x, slope * x),  # noqa: B023
                "np.copyto(out, x)": lambda: np.copyto(out, x),  # noqa: B023
                "torch, out=": lambda: torch._C._nn.leaky_relu(tensor, 0.01, out=tensor_out),  # noqa: B023
                "torch, new output": lambda: torch.nn.functional.leaky_relu(tensor, 0.01),  # noqa: B023
            }
        )
        ours, *others = seconds
        print(f"\n{size:,} elements: {ours} takes {np.median(seconds[ours]) * 1e6:.2f} us")
        for name in others:
            print(f"  {name:32}{ratio(seconds[name], seconds[ours])}")


if __name__ == "__main__":
    main()
