"""How to use it, as code that runs and says in its comments what it prints."""

__all__ = ["EXAMPLES"]

EXAMPLES = {
    "NumPy": """\
import numpy as np
from leakyrelu import leaky_relu, leaky_relu_backward

z = np.array([[-2.0, 3.0], [0.5, -1.0]])
print(leaky_relu(z, 0.1).tolist())  # [[-0.2, 3.0], [0.5, -0.1]]

gradient = np.ones_like(z)  # of the loss, by what leaky_relu returned
print(leaky_relu_backward(gradient, z, 0.1).tolist())  # [[0.1, 1.0], [1.0, 0.1]]

leaky_relu(z, 0.1, out=z)  # in place, no new memory
""",
    "PyTorch": """\
# pip install 'leakyrelu[torch]'
import torch
from leakyrelu.torch import LeakyReLU, diagnose
from leakyrelu.theory import gain

model = torch.nn.Sequential(torch.nn.Linear(64, 32), LeakyReLU(0.1), torch.nn.Linear(32, 10))
torch.nn.init.normal_(model[0].weight, std=gain(0.1) / 64**0.5)  # He initialisation for this slope

images = torch.randn(500, 64)
print(model(images).shape)  # torch.Size([500, 10])
print(diagnose(model, [images]).dead)  # 0
""",
    "JAX": """\
# pip install jax
import jax
import jax.numpy as jnp

z = jnp.array([-2.0, 3.0])
print(jax.nn.leaky_relu(z, negative_slope=0.1))  # [-0.2  3. ]
print(jax.grad(lambda z: jax.nn.leaky_relu(z, 0.1).sum())(z))  # [0.1 1. ]
""",
    "Tuning the slope": """\
# pip install 'leakyrelu[tune]'
from leakyrelu.tuning import tune


def accuracy(alpha, seed):  # train with both, and return a score, higher is better
    return 80 - 10 * abs(alpha - 0.2) + (7 * seed % 3) * alpha


tuning = tune(accuracy, trials=8, seeds=8)
print(tuning.conclusions[2])  # ReLU (0) is worse than 0.01 by 0.109 ± 0.007 points.
""",
}
