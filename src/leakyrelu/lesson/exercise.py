"""The exercise: its text, what the editor begins with, and a solution."""

__all__ = ["EXERCISE", "SOLUTION", "START"]

EXERCISE = """\
Write a Python function `leaky_relu(z: float, alpha: float = 0.01) -> float | int` that returns `z` where it is zero
or more and `alpha * z` where it is negative.

| call | result |
|:---|:---|
| `leaky_relu(0)` | `0` |
| `leaky_relu(1)` | `1` |
| `leaky_relu(-1)` | `-0.01` |
| `leaky_relu(-2, alpha=0.1)` | `-0.2` |
"""

START = '''\
def leaky_relu(z: float, alpha: float = 0.01) -> float | int:
    """Return z where it is zero or more, and alpha * z where it is negative."""
    # Your code here
'''

SOLUTION = '''\
def leaky_relu(z: float, alpha: float = 0.01) -> float | int:
    """Return z where it is zero or more, and alpha * z where it is negative."""
    return z if z >= 0 else alpha * z  # >= and not >: so 0 comes back as 0, not as 0.0
'''
