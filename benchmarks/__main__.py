"""Leaky ReLU of float32 on one thread, beside the textbook line, NumPy's copy and PyTorch."""

import platform

import numpy as np
import torch

from benchmarks.timing import interleaved, ratio
from leakyrelu import _ufuncs, leaky_relu

SLOPE = np.float32(0.01)

# Whose time, over which of ours.
RATIOS = (
    ("np.where(x >= 0, x, alpha * x)", "leaky_relu(x, out=out)"),
    ("np.copyto(out, x)", "leaky_relu(x, out=out)"),
    ("torch, out=out", "leaky_relu(x, out=out)"),
    ("np.where(x >= 0, x, alpha * x)", "leaky_relu(x)"),
    ("torch", "leaky_relu(x)"),
)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {_ufuncs.instruction_set}, Python {platform.python_version()}, ", end="")
    print(f"NumPy {np.__version__}, torch {torch.__version__}, one thread")
    for size in (1, 1000, 100_000, 1_000_000):
        seconds = measure(size)
        print(f"\n{size:,} elements")
        for ours in ("leaky_relu(x, out=out)", "leaky_relu(x)"):
            print(f"  {ours}: {np.median(seconds[ours]) * 1e6:.2f} us")
        for theirs, ours in RATIOS:
            print(f"  {theirs:32}/ {ours:24}{ratio(seconds[theirs], seconds[ours])}")


def measure(size: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).standard_normal(size, np.float32)
    out = np.empty_like(x)
    tensor, tensor_out = torch.from_numpy(x), torch.from_numpy(np.empty_like(x))
    return interleaved(
        {
            "leaky_relu(x, out=out)": lambda: leaky_relu(x, out=out),
            "leaky_relu(x)": lambda: leaky_relu(x),
            "np.where(x >= 0, x, alpha * x)": lambda: np.where(x >= 0, x, SLOPE * x),
            "np.copyto(out, x)": lambda: np.copyto(out, x),
            "torch, out=out": lambda: torch._C._nn.leaky_relu(tensor, 0.01, out=tensor_out),
            "torch": lambda: torch.nn.functional.leaky_relu(tensor, 0.01),
        }
    )


if __name__ == "__main__":
    main()
