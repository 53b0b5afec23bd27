"""The gain for the weights, and the probability that a network is born dead: constant before its first step."""

from collections import Counter
from math import ceil, copysign, expm1, floor, hypot, ldexp, log1p, log2, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leakyrelu._shared.arguments import one_slope, positive_integer
from leakyrelu.functions import leaky_relu

__all__ = [
    "BornDead",
    "Simulated",
    "born_dead_probability",
    "deaths",
    "gain",
    "simulate_born_dead",
    "simulated",
    "width_for_risk",
]

_WEIGHTS_AT_ONCE = 2**18  # 2 MiB of them: what a core's cache holds
_INPUTS = np.array([[1.0], [-1.0]])


class BornDead(NamedTuple):
    """What is known of the probability that a network is born dead."""

    lower: float
    """It is at least this."""
    upper: float
    """It is at most this."""
    exact: float | None
    """It is exactly this; None if that is not known."""


class Simulated(NamedTuple):
    """The fraction of the simulated networks that were born dead."""

    probability: float
    """The fraction."""
    standard_error: float
    """Its standard error, sqrt(p (1 - p) / networks). It is 0 if none or all were dead, which is no certainty."""


def gain(alpha: float = 0.0) -> float:
    """Gain that keeps the size of signals from layer to layer: weights of standard deviation gain / sqrt(fan_in).

    Parameters
    ----------
    alpha : float, default 0.0
        The slope for negative inputs; 0 is ReLU.

    Returns
    -------
    float
        ``sqrt(2 / (1 + alpha**2))``.

    Raises
    ------
    ValueError, TypeError
        `alpha` is not a finite real number.

    References
    ----------
    He, Zhang, Ren, Sun: Delving deep into rectifiers, ICCV 2015. PyTorch: ``torch.nn.init.calculate_gain``.

    Examples
    --------
    >>> from leakyrelu.theory import gain
    >>> gain(1)
    1.0
    >>> round(gain(0.01), 4)
    1.4141
    """
    return sqrt(2) / hypot(1, one_slope(alpha))


def born_dead_probability(width: int, depth: int, *, alpha: float = 0.0) -> BornDead:
    """Bounds on the probability that a network is born dead: the same output for every input.

    For one input, zero biases and independent normal weights, whatever the gain.

    Parameters
    ----------
    width : int
        Units in each hidden layer.
    depth : int
        Layers, the output layer included: there are ``depth - 1`` hidden ones.
    alpha : float, default 0.0
        The slope for negative inputs; 0 is ReLU.

    Returns
    -------
    BornDead
        `lower` and `upper` of the theorem. `exact` for depths 1 to 3 and for width 1, where the lower bound is met.
        With a slope other than 0 all three are 0: no layer turns a vector that is not zero into zero.

    Raises
    ------
    ValueError, TypeError
        `width` or `depth` is not a positive integer, or `alpha` not a finite real number.

    Notes
    -----
    Let p = 2^-width: the chance that no unit of a layer fires for a given input. `upper` is the chance that this
    happens to a given input in some hidden layer, ``1 - (1 - p)^(depth - 1)``; it holds for any number of inputs.

    For `lower`, follow the hidden vectors at x = 1 and at x = -1. They have two directions, or one, where one vector is
    zero or both fire the same single unit, or none. The smaller their angle, the likelier a unit treats them alike, so
    at 90 degrees, where two directions begin, they are likeliest to last. There, both become zero with probability
    p^2, one of them with 2p - 2p^2, and both fire the same single unit with width * p^2. One direction becomes zero
    with probability p. The theorem is the closed form of this Markov chain: with k = depth - 2, a1 = 1 - p and
    a2 = 1 - 2p - (width - 1) p^2, it is ``1 - a1^k + (1 - 2p) (1 - p) / (1 + (width - 1) p) * (a2^k - a1^k)``. What is
    computed is the chain itself, which subtracts nothing: so a risk of 1e-36 is not lost in rounding.

    References
    ----------
    Lu, Shin, Su, Karniadakis: Dying ReLU and initialization: theory and numerical examples, Communications in
    Computational Physics 28 (2020), arXiv:1903.06733.

    Examples
    --------
    >>> from leakyrelu.theory import born_dead_probability
    >>> print("at least {:.4f}, at most {:.4f}".format(*born_dead_probability(2, 10)))
    at least 0.8703, at most 0.9249
    >>> born_dead_probability(2, 3).exact
    0.15625
    >>> born_dead_probability(2, 10, alpha=0.01)
    BornDead(lower=0.0, upper=0.0, exact=0.0)
    """
    width, depth = positive_integer("width", width), positive_integer("depth", depth)
    if one_slope(alpha):
        return BornDead(0.0, 0.0, 0.0)
    p = ldexp(1, -width)
    upper = -expm1((depth - 1) * log1p(-p))
    lower = min(_chain(width, p, depth), upper)  # they may be equal, but for rounding
    return BornDead(lower, upper, lower if depth <= 3 or width == 1 else None)


def _chain(width: int, p: float, depth: int) -> float:
    """The Markov chain of `born_dead_probability`, from the first layer on: one direction if a vector is zero there."""
    if depth == 1:
        return 0.0
    two_to_one = 2 * p + (width - 2) * p * p
    step = np.array([[1 - two_to_one - p * p, two_to_one, p * p], [0, 1 - p, p], [0, 0, 1]])
    return float(([1 - 2 * p, 2 * p, 0] @ np.linalg.matrix_power(step, depth - 2))[2])


def width_for_risk(risk: float, depth: int) -> int:
    """How wide a ReLU network must be so that, by the upper bound, it is born dead with at most this probability.

    The bound holds for any number of inputs. For up to three layers and one input, fewer units are enough:
    `born_dead_probability` is exact there.

    Parameters
    ----------
    risk : float
        The probability wanted, between 0 and 1.
    depth : int
        Layers, the output layer included.

    Returns
    -------
    int
        The smallest width whose upper bound is at most `risk`. It grows as the logarithm of ``depth / risk``.

    Raises
    ------
    ValueError, TypeError
        `risk` is not a number between 0 and 1, or `depth` not a positive integer.

    Examples
    --------
    >>> from leakyrelu.theory import width_for_risk
    >>> width_for_risk(0.01, depth=10), width_for_risk(0.01, depth=1000)
    (10, 17)
    """
    depth = positive_integer("depth", depth)
    if not isinstance(risk, (float, int, np.floating)) or not 0 < risk < 1:
        raise ValueError(f"risk must be a number between 0 and 1, got {risk!r}")
    # 1 - (1 - p)^(depth - 1) <= risk needs p <= t, where t = -log(1 - risk) / (depth - 1).
    width = max(1, floor(log2(depth - 1) - log2(-log1p(-risk)))) if depth > 1 else 1
    while born_dead_probability(width, depth).upper > risk:
        width += 1
    return width


def simulate_born_dead(
    width: int,
    depth: int,
    *,
    alpha: float = 0.0,
    networks: int = 100_000,
    rng: np.random.Generator | int | None = None,
) -> Simulated:
    """Draw networks with one input, zero biases and normal weights, and count those that are born dead.

    Each is decided exactly, by two inputs: without biases the network f is positively homogeneous, so f(x) = x f(1) for
    x > 0 and f(x) = -x f(-1) for x < 0, and constant if and only if both are zero. That happens where the hidden
    vectors at 1 and at -1 are both zero in some layer (or by a coincidence of probability zero). Homogeneity also lets
    each be divided by its largest entry, layer by layer, so nothing underflows at any depth; hence the gain of the
    weights makes no difference.

    Parameters
    ----------
    width : int
        Units in each hidden layer.
    depth : int
        Layers, the output layer included: there are ``depth - 1`` hidden ones.
    alpha : float, default 0.0
        The slope for negative inputs; 0 is ReLU.
    networks : int, default 100_000
        How many. Time grows as ``networks * depth * width**2``, memory does not grow with their number.
    rng : numpy.random.Generator, int or None
        Where the weights come from, or the seed of a new generator.

    Returns
    -------
    Simulated
        The fraction of dead networks and its standard error. Where none of n was dead, the probability is below 3/n
        with 95 % confidence.

    Raises
    ------
    ValueError, TypeError
        `width`, `depth` or `networks` is not a positive integer, or `alpha` not a finite real number.

    Examples
    --------
    >>> from leakyrelu.theory import simulate_born_dead
    >>> probability, standard_error = simulate_born_dead(2, 10, networks=10_000, rng=0)
    >>> abs(probability - 0.8796) < 3 * standard_error
    True
    >>> simulate_born_dead(2, 10, alpha=0.01, networks=10_000, rng=0).probability
    0.0
    """
    width, depth, networks = (
        positive_integer("width", width),
        positive_integer("depth", depth),
        positive_integer("networks", networks),
    )
    return simulated(deaths(width, depth, one_slope(alpha), networks, np.random.default_rng(rng)).total(), networks)


def simulated(dead: int, networks: int) -> Simulated:
    """The fraction of networks that are dead, with its standard error."""
    probability = dead / networks
    return Simulated(probability, sqrt(probability * (1 - probability) / networks))


def deaths(width: int, depth: int, alpha: float, networks: int, rng: np.random.Generator) -> Counter[int]:
    """For each depth up to this one, how many networks are dead from that depth on."""
    # Other slopes would overflow or vanish. Their size decides nothing: only with slope 0 is a network dead.
    slope = copysign(min(max(abs(alpha), 1e-150), 1e150), alpha) if alpha else 0.0
    deaths: Counter[int] = Counter()
    at_once = ceil(_WEIGHTS_AT_ONCE / width**2)
    for start in range(0, networks, at_once):
        pairs = leaky_relu(_INPUTS * rng.standard_normal((min(at_once, networks - start), 1, width)), slope)
        for layer in range(2, depth):
            weights = rng.standard_normal((len(pairs), width, width))
            pairs = _next_layer(pairs, weights, slope)
            alive = pairs.any(axis=(1, 2))
            deaths[layer + 1] += len(pairs) - int(np.count_nonzero(alive))
            pairs = pairs[alive]
            if not len(pairs):
                break
    return deaths


def _next_layer(
    pairs: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], slope: float
) -> npt.NDArray[np.float64]:
    """The next vectors, of shape (networks, 2 inputs, width), each divided by its largest entry unless it is zero."""
    pairs = leaky_relu(pairs @ weights, slope)
    largest = np.abs(pairs).max(axis=2, keepdims=True)
    np.divide(pairs, largest, out=pairs, where=largest > 0)
    return pairs
