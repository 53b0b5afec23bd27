"""What the functions must give, written so plainly that nobody can doubt it; and how two arrays are compared."""

import numpy as np


def leaky_relu(x, alpha):
    with np.errstate(all="ignore"):
        return np.where(x >= 0, x, alpha * x)


def leaky_relu_derivative(x, alpha):
    with np.errstate(all="ignore"):
        return np.where(x >= 0, np.ones_like(x), alpha * np.ones_like(x))


def leaky_relu_backward(grad, x, alpha):
    with np.errstate(all="ignore"):
        return np.where(x >= 0, grad, alpha * grad)


def leaky_relu_slope_gradient(grad, x, axis=None, keepdims=False):
    with np.errstate(all="ignore"):
        return np.sum(np.where(x >= 0, 0, grad * x), axis=axis, keepdims=keepdims)


def assert_same(actual, expected):
    """Assert the same type, shape and values; the sign of a zero counts, and a NaN equals a NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(actual[~nan], expected[~nan])
    np.testing.assert_array_equal(np.signbit(actual[~nan]), np.signbit(expected[~nan]))


def bits(array):
    """Return the bytes of an array. Those of a longdouble come without the padding, which nothing sets."""
    if array.dtype == np.longdouble and np.finfo(np.longdouble).nmant == 63:
        return np.ascontiguousarray(array).ravel().view(np.uint8).reshape(-1, array.itemsize)[:, :10].tobytes()
    return array.tobytes()


def round_to(values, exact):
    """Round each exact number (in float64) to the nearest finite value of a 16-bit type, ties to the even one.

    `values` are the type's numbers from zero upward, in ascending order and in float64. A number that is nearer to the
    next step beyond the largest value than to that value becomes infinite.
    """
    beyond = 2 * values[-1] - values[-2]
    steps = np.append(values, beyond)
    magnitude = np.abs(exact)
    upper = np.clip(np.searchsorted(steps, magnitude), 1, len(steps) - 1)
    lower = upper - 1
    middle = (steps[lower] + steps[upper]) / 2  # exact: one bit more than the type has
    nearest = np.where((magnitude > middle) | ((magnitude == middle) & (upper % 2 == 0)), upper, lower)
    rounded = np.where(nearest == len(values), np.inf, steps[nearest])
    return np.copysign(np.where(np.isnan(exact), np.nan, rounded), exact)
