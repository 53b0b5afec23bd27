"""What typical mistakes give, as formulas: wrong numbers that came back tell which of them was made.

To add a mistake, add a row to one of the tables, or a family whose number is read off the answers. `explaining` names a
mistake only if it gives what came back, and would not have changed an answer that was right.
"""

from math import erf, pi, sqrt

from leakyrelu.check.arithmetic import (
    ceil,
    clip,
    divide,
    exp,
    expm1,
    floor,
    floor_divide,
    in_single,
    isnan,
    logaddexp,
    maximum,
    minimum,
    nearest,
    power,
    remainder,
    round_to,
    tanh,
    trunc,
    where,
)
from leakyrelu.check.families import (
    Mistake,
    below_zero,
    fixed_slope,
    for_the_whole,
    input_made_integer,
    made_integer,
    other_default,
    other_threshold,
    positive_made_integer,
    product_made_integer,
    quotients,
    rounded_input,
    rounded_product,
    rounded_slope,
    rounded_to,
    significant,
    slope_instead_of_0,
    slope_made_integer,
)

__all__ = ["DERIVATIVE_MISTAKES", "MISTAKES", "NUMBER_MISTAKES", "WHOLE_ARRAY_MISTAKES"]

# These are computed in float64, and rounded once to the type of the array.
MISTAKES: tuple[Mistake, ...] = (
    *map(other_default, (0.01, 0.1, 0.2, 0.3, 0.001, 0.02, 0.05, 0.25, 0.5, 0.0, 1.0, -0.01)),
    *map(fixed_slope, (0.01, 0.1)),
    (
        "it returns alpha for every number: is the number the first parameter, and alpha the second?",
        lambda x, a, given: a + 0 * x,
    ),
    ("it returns alpha for negative numbers: multiply it by z", lambda x, a, given: where(x >= 0, x, a)),
    ("it returns alpha for negative numbers: multiply it by z", lambda x, a, given: where(x > 0, x, a)),
    *below_zero("it returns -alpha for negative numbers: multiply alpha by z", lambda x, a: -a),
    ("the sign is turned: alpha * z is negative where z is", lambda x, a, given: where(x >= 0, x, -a * x)),
    ("it returns alpha * z for all numbers: above zero return z itself", lambda x, a, given: a * x),
    (
        "the two sides are swapped, or min(z, alpha * z) is taken: return z above zero, alpha * z below",
        lambda x, a, given: where(x > 0, a * x, x),
    ),
    ("it is the ReLU, max(0, z): below zero return alpha * z", lambda x, a, given: where(x > 0, x, 0 * x)),
    ("it returns the absolute value: below zero return alpha * z", lambda x, a, given: abs(x)),
    ("it returns z unchanged: below zero return alpha * z", lambda x, a, given: x),
    ("it returns -z: return z above zero, alpha * z below", lambda x, a, given: -x),
    ("it returns 1 above zero: that is the derivative; return z there", lambda x, a, given: where(x > 0, 1, a * x)),
    ("it returns 1 above zero: that is the derivative; return z there", lambda x, a, given: where(x >= 0, 1, a * x)),
    (
        "it returns the derivative, 1 or alpha: return the value, z or alpha * z",
        lambda x, a, given: where(x > 0, 1, a),
    ),
    ("it returns 0 for every number: return z above zero, alpha * z below", lambda x, a, given: 0 * x),
    (
        "above zero alpha * z is added to z: write max(0, z) + alpha * min(0, z), or choose with if and else",
        lambda x, a, given: maximum(0, x) + a * x,
    ),
    (
        "above zero alpha * z is subtracted from z: return z there",
        lambda x, a, given: where(x > 0, x, 0) - a * x,
    ),
    ("it returns alpha + z for all numbers: above zero return z, below zero alpha * z", lambda x, a, given: x + a),
    ("it returns z - alpha for all numbers: above zero return z, below zero alpha * z", lambda x, a, given: x - a),
    (
        "it returns z + alpha * z for all numbers: above zero return z, below zero alpha * z",
        lambda x, a, given: x + a * x,
    ),
    (
        "it returns z - alpha * z for all numbers: above zero return z, below zero alpha * z",
        lambda x, a, given: x - a * x,
    ),
    (
        "it is max(0, alpha * z): below zero that is 0, and above zero it must be z",
        lambda x, a, given: where(x > 0, a * x, 0),
    ),
    ("it returns 0 above zero, as min(0, alpha * z) does: return z there", lambda x, a, given: where(x > 0, 0, a * x)),
    (
        "above zero z is multiplied by 1 - alpha: return z itself there",
        lambda x, a, given: where(x > 0, (1 - a) * x, a * x),
    ),
    ("alpha is added: below zero return alpha * z, above zero z", lambda x, a, given: maximum(x, 0) + a),
    ("below zero the result is z + alpha * z: return alpha * z", lambda x, a, given: where(x > 0, x, x + a * x)),
    ("below zero the result is z - alpha * z: return alpha * z", lambda x, a, given: where(x > 0, x, x - a * x)),
    ("it is max(alpha, z): below zero return alpha * z", lambda x, a, given: maximum(x, a)),
    ("it is max(-alpha, z): below zero return alpha * z", lambda x, a, given: maximum(x, -a)),
    (
        "it is max(z, alpha * z), which is right for slopes from 0 to 1 only: compare z with 0",
        lambda x, a, given: maximum(x, a * x),
    ),
    (
        "it is Python's max(z, alpha * z), which loses NaN and is right for slopes up to 1 only: compare z with 0",
        lambda x, a, given: where(a * x > x, a * x, x),
    ),
    (
        "it is Python's max(alpha * z, z), which loses NaN and is right for slopes up to 1 only: compare z with 0",
        lambda x, a, given: where(x > a * x, x, a * x),
    ),
    (
        "it adds products with masks, and 0 * inf is NaN: choose with where(x >= 0, x, alpha * x)",
        lambda x, a, given: x * (x > 0) + a * x * (x <= 0),
    ),
    (
        "it adds products with masks, and 0 * inf is NaN: choose with where(x >= 0, x, alpha * x)",
        lambda x, a, given: x * (x >= 0) + a * x * (x < 0),
    ),
    (
        "it adds max(0, x) and alpha * min(0, x), which loses the sign of zeros: use where(x >= 0, x, alpha * x)",
        lambda x, a, given: maximum(0, x) + a * minimum(0, x),
    ),
    (
        "NaN is replaced by 0: let it stay NaN",
        lambda x, a, given: where(isnan(x), 0, where(x >= 0, x, a * x)),
    ),
    *map(other_threshold, (1.0, 0.999, 0.5, 0.1, -0.1, -0.5, -0.501, -1.0, -1.001)),
    ("z is compared with alpha: compare it with 0", lambda x, a, given: where(x > a, x, a * x)),
    *(made_integer(cut) for cut in (trunc, floor, nearest, ceil)),
    *(product_made_integer(cut) for cut in (trunc, floor, nearest, ceil)),
    *(positive_made_integer(cut) for cut in (trunc, floor, nearest, ceil)),
    *(input_made_integer(cut) for cut in (trunc, floor, nearest, ceil)),
    *(slope_made_integer(cut) for cut in (trunc, ceil)),
    *map(rounded_to, range(1, 16)),
    *map(rounded_product, range(1, 16)),
    *map(rounded_input, range(1, 16)),
    *map(rounded_slope, range(1, 9)),
    slope_instead_of_0(0.01),
    ("it divides by alpha: multiply by it", lambda x, a, given: where(x >= 0, x, divide(x, a))),
    ("it divides alpha by z: multiply them", lambda x, a, given: where(x >= 0, x, divide(a, x))),
    (
        "it is the remainder of a division, alpha % z: * multiplies",
        lambda x, a, given: where(x >= 0, x, remainder(a, x)),
    ),
    (
        "it is the remainder of a division, z % alpha: * multiplies",
        lambda x, a, given: where(x >= 0, x, remainder(x, a)),
    ),
    (
        "it divides alpha by z and cuts, alpha // z: * multiplies",
        lambda x, a, given: where(x >= 0, x, floor_divide(a, x)),
    ),
    (
        "it divides by alpha and cuts, z // alpha: * multiplies",
        lambda x, a, given: where(x >= 0, x, floor_divide(x, a)),
    ),
    *below_zero("it adds alpha: multiply by it", lambda x, a: x + a),
    *below_zero("it subtracts alpha: multiply by it", lambda x, a: x - a),
    *below_zero("below zero alpha is added to alpha * z: drop it", lambda x, a: a * x + a),
    *below_zero("below zero alpha is subtracted from alpha * z: drop it", lambda x, a: a * x - a),
    ("alpha is applied twice: multiply once", lambda x, a, given: where(x >= 0, x, a * a * x)),
    ("z is squared: ** is a power, * multiplies", lambda x, a, given: where(x >= 0, x, a * x * x)),
    ("alpha * z is squared: ** is a power, * multiplies", lambda x, a, given: where(x >= 0, x, a * x * (a * x))),
    ("z is squared above zero: return z itself there", lambda x, a, given: where(x > 0, x * x, a * x)),
    *below_zero("alpha is raised to the power of z: ** is a power, * multiplies", lambda x, a: power(a, x)),
    ("it returns z * z for all numbers: above zero return z, below zero alpha * z", lambda x, a, given: x * x),
    (
        "both products are of max(0, z): write min in the second, max(0, z) + alpha * min(0, z)",
        lambda x, a, given: maximum(0, x) + a * maximum(0, x),
    ),
    (
        "it is the mean of max(0, z) and alpha * z: return z above zero, alpha * z below",
        lambda x, a, given: (maximum(0, x) + a * x) / 2,
    ),
    (
        "it is the ELU, alpha * (exp(z) - 1): below zero return alpha * z",
        lambda x, a, given: where(x >= 0, x, a * expm1(x)),
    ),
    (
        "it is the ELU, alpha * (exp(z) - 1): below zero return alpha * z",
        lambda x, a, given: where(x >= 0, x, a * (exp(x) - 1)),
    ),
    ("it holds z between -1 and 1: return z or alpha * z", lambda x, a, given: clip(x, -1, 1)),
    ("it returns alpha ** z, a power: return z or alpha * z", lambda x, a, given: power(a, x)),
    ("it is the hyperbolic tangent: return z or alpha * z", lambda x, a, given: tanh(x)),
    ("it is the sigmoid: return z or alpha * z", lambda x, a, given: 1 / (1 + exp(-x))),
    ("it is the softplus: return z or alpha * z", lambda x, a, given: logaddexp(0, x)),
    ("it is the SiLU: return z or alpha * z", lambda x, a, given: x / (1 + exp(-x))),
    (
        "it is the SELU: return z or alpha * z",
        lambda x, a, given: 1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * expm1(x)),
    ),
    (
        "it is the SELU: return z or alpha * z",
        lambda x, a, given: 1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * (exp(x) - 1)),
    ),
    ("it is the Mish: return z or alpha * z", lambda x, a, given: x * tanh(logaddexp(0, x))),
    ("it is the hard swish: return z or alpha * z", lambda x, a, given: x * clip(x + 3, 0, 6) / 6),
    *below_zero("it is the CELU: below zero return alpha * z", lambda x, a: a * expm1(divide(x, a))),
    *below_zero("it is the CELU: below zero return alpha * z", lambda x, a: a * (exp(divide(x, a)) - 1)),
    ("it is the softsign: return z or alpha * z", lambda x, a, given: x / (1 + abs(x))),
    ("it returns the sign, 1 or -1: return z or alpha * z", lambda x, a, given: where(x > 0, 1, where(x < 0, -1, 0))),
    ("it returns the sign, 1 or -1: return z or alpha * z", lambda x, a, given: where(x > 0, 1, -1)),
    ("it returns the sign, 1 or -1: return z or alpha * z", lambda x, a, given: where(x >= 0, 1, -1)),
    ("it returns 0 or 1: return z or alpha * z", lambda x, a, given: where(x > 0, 1, 0)),
    ("alpha is held between 0 and 1: take it as it is", lambda x, a, given: where(x >= 0, x, clip(a, 0, 1) * x)),
    ("the absolute value of alpha is taken: take alpha as it is", lambda x, a, given: where(x >= 0, x, abs(a) * x)),
    (
        "with a negative slope zeros change their sign: compare with x >= 0, not x > 0",
        lambda x, a, given: where(x > 0, x, a * x),
    ),
)

# These are for single numbers alone: in arrays, other formulas tell them by the type.
NUMBER_MISTAKES: tuple[Mistake, ...] = (
    (
        "it multiplies in float32, which has seven digits: keep float64",
        lambda x, a, given: where(x >= 0, x, in_single(in_single(a) * in_single(x))),
    ),
    (
        "it works in float32, which has seven digits: keep float64",
        lambda x, a, given: where(x >= 0, in_single(x), in_single(in_single(a) * in_single(x))),
    ),
    (
        "alpha is taken as float32, which has seven digits: take it as float64",
        lambda x, a, given: where(x >= 0, x, in_single(a) * x),
    ),
    *map(significant, range(1, 16)),
    ("it is the GELU: return z or alpha * z", lambda x, a, given: 0.5 * x * (1 + erf(x / sqrt(2)))),
    (
        "it is the GELU: return z or alpha * z",
        lambda x, a, given: 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * power(x, 3)))),
    ),
    *(
        (
            "it is the SELU: return z or alpha * z",
            lambda x, a, given, s=s, t=t, c=c: s * where(x > 0, x, t * (expm1(x) if c else exp(x) - 1)),
        )
        for c in (True, False)
        for s, t in ((1.05, 1.67), (1.051, 1.673), (1.0507, 1.6733), (1.0507, 1.67326))
    ),
)

# These are for arrays alone, and make no difference to a number.
WHOLE_ARRAY_MISTAKES: tuple[Mistake, ...] = (
    for_the_whole(lambda x: x.sum() > 0),
    for_the_whole(lambda x: x.sum() >= 0),
    for_the_whole(lambda x: (x > 0).all()),
    for_the_whole(lambda x: (x >= 0).all()),
    for_the_whole(lambda x: (x > 0).any()),
    for_the_whole(lambda x: (x.reshape(-1)[:1] > 0).any()),
    for_the_whole(lambda x: (x.reshape(-1)[-1:] > 0).any()),
)

DERIVATIVE_MISTAKES: tuple[Mistake, ...] = (
    *(
        (
            f"its default slope is {slope:g}; it must be {{default:g}}",
            lambda x, a, given, slope=slope: where(x > 0, 1, a if given else slope),
        )
        for slope in (0.01, 0.1, 0.2, 0.3, 0.001)
    ),
    ("it is 0 below zero, as the ReLU's: return alpha there", lambda x, a, given: where(x > 0, 1, 0 * a)),
    ("it returns the value: return 1 above zero, alpha below", lambda x, a, given: where(x > 0, x, a * x)),
    (
        "it returns alpha * z below zero: the derivative of alpha * z is alpha",
        lambda x, a, given: where(x > 0, 1, a * x),
    ),
    ("it returns z above zero: the derivative of z is 1", lambda x, a, given: where(x > 0, x, a)),
    (
        "it is 0 at zero: choose a side, 1 with z >= 0",
        lambda x, a, given: where(x > 0, 1, where(x < 0, a, 0 * a)),
    ),
    (
        "it is a mean of both sides at zero: choose a side, 1 with z >= 0",
        lambda x, a, given: where(x > 0, 1, where(x < 0, a, (1 + a) / 2)),
    ),
    ("it is 1 everywhere: return alpha below zero", lambda x, a, given: where(x > 0, 1, 1)),
    ("it is alpha everywhere: return 1 above zero", lambda x, a, given: where(x > 0, a, a)),
    ("the two sides are swapped: 1 above zero, alpha below", lambda x, a, given: where(x > 0, a, 1)),
    ("the sign is turned: below zero it is alpha", lambda x, a, given: where(x > 0, 1, -a)),
    ("it is -1 below zero, as the absolute value's: return alpha there", lambda x, a, given: where(x > 0, 1, -1)),
    ("alpha is ignored, it is always 0.01: return alpha below zero", lambda x, a, given: where(x > 0, 1, 0.01)),
    ("it is -alpha above zero, 1 below: return 1 above zero, alpha below", lambda x, a, given: where(x > 0, -a, 1)),
    ("it multiplies by alpha twice below zero: return alpha", lambda x, a, given: where(x > 0, 1, a * a)),
    ("it divides by alpha below zero: return alpha", lambda x, a, given: where(x > 0, 1, divide(1, a))),
    ("it returns 1 - alpha below zero: return alpha", lambda x, a, given: where(x > 0, 1, 1 - a)),
    ("alpha is cut to an integer: drop int(), round() and //", lambda x, a, given: where(x > 0, 1, trunc(a))),
    *(
        (
            "alpha is rounded: drop round(), and return it as it is",
            lambda x, a, given, n=n: where(x > 0, 1, round_to(a, n)),
        )
        for n in (1, 2, 3, 4)
    ),
    ("z is compared with alpha: compare it with 0", lambda x, a, given: where(x > a, 1, a)),
    ("z is compared with 1: compare it with 0", lambda x, a, given: where(x > 1, 1, a)),
    ("a slope of 0 is replaced by 0.01: 0 is a slope", lambda x, a, given: where(x > 0, 1, a or 0.01)),
    (
        "it divides the value by z, and zero has no quotient: return 1 or alpha",
        lambda x, a, given: divide(where(x > 0, x, a * x), x),
    ),
    *(mistake for step in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8) for mistake in quotients(step)),
    ("it is 0 above zero: return 1 there", lambda x, a, given: where(x > 0, 0, a)),
    ("it is 1 + alpha above zero: return 1 there", lambda x, a, given: where(x > 0, 1 + a, a)),
    (
        "it uses the sign of alpha * x, which a negative slope turns and an underflow loses: use the sign of x",
        lambda x, a, given: where(where(x >= 0, x, a * x) >= 0, 1, a),
    ),
    (
        "it uses the sign of alpha * x, which a negative slope turns: use the sign of x",
        lambda x, a, given: where(where(x >= 0, x, a * x) > 0, 1, a),
    ),
    ("it is the ELU's, alpha * exp(x): below zero it is alpha", lambda x, a, given: where(x > 0, 1, a * exp(x))),
    (
        "it is the sigmoid's: it is 1 above zero, alpha below",
        lambda x, a, given: exp(-abs(x)) / (1 + exp(-abs(x))) ** 2,
    ),
)
