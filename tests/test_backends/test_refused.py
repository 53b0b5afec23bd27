"""What holds real numbers that NumPy does not find: each error says how to take them out, and that works."""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative


class Exchanged:
    """An array that can only be handed over by DLPack."""

    def __dlpack__(self, **keywords):
        return np.array([-2.0, 3.0]).__dlpack__(**keywords)

    def __dlpack_device__(self):
        return np.ones(1).__dlpack_device__()


SPARSE = [getattr(scipy.sparse, name) for name in ("csr_matrix", "csc_array", "coo_array", "lil_array", "dok_array")]
NOT_TAKEN = [
    *((kind(np.array([[-2.0, 0.0], [0.0, 3.0]])), "{}.toarray()") for kind in SPARSE),
    (Exchanged(), "numpy.from_dlpack({})"),
    ({"a": -2.0, "b": 3.0}, "list({}.values())"),
    ({"a": -2.0}.values(), "list({})"),
    ({-2.0, 3.0}, "list({})"),
    (b"ab", "list({})"),
    (Fraction(-1, 2), "float({})"),
    (Decimal("-0.5"), "float({})"),
    ("-0.5", "float({})"),
    (-1 + 1j, "{}.real"),
    ([-1 + 1j], "numpy.real({})"),
    (["-0.5"], "numpy.asarray({}, float)"),
    ([-1.0, None], "numpy.asarray({}, float)"),
    ([Decimal(-1), 2.0], "numpy.asarray({}, float)"),
    ([-1.0, pd.NA], "pandas.array({})"),
]


@pytest.mark.parametrize(("value", "way"), NOT_TAKEN, ids=lambda each: type(each).__name__)
def test_what_holds_numbers_elsewhere_is_refused_with_what_to_write(value, way):
    given = f"got {type(value).__name__}"
    for name, call in (
        ("x", leaky_relu),
        ("x", lambda value: leaky_relu_derivative(value, [0.5])),
        ("x", lambda value: leaky_relu_backward(1.0, value)),
        ("grad", lambda value: leaky_relu_backward(value, np.ones(2))),
        ("alpha", lambda value: leaky_relu(np.ones(2), value)),
    ):
        if name == "alpha" and isinstance(value, Fraction):
            continue  # one slope may be of any real type
        written = f"; write {way.format(name)}"
        with pytest.raises(
            TypeError, match=f"^{name} must be a real number or an array of them, {given}.*{re.escape(written)}$"
        ):
            call(value)
        namespace = {"numpy": np, "pandas": pd, name: value}
        call(eval(way.format(name), namespace))  # what the error says works


def test_generators_are_refused_with_what_to_write():
    with pytest.raises(TypeError, match=r"^x must be .*, got generator; write list\(x\)$"):
        leaky_relu(number for number in (-1.0, 2.0))
