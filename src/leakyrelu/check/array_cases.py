"""The calls of the levels ``array``, ``ieee`` and ``derivative``, which need NumPy."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from leakyrelu.check.cases import Case

__all__ = ["arrays", "derivative", "ieee"]


def arrays() -> Iterator[Case]:
    """Arrays of all shapes, types and orders in memory."""

    def ask(name: str, text: str, x: Any, why: str, alpha: float | None = None, layout: str = "") -> Case:
        return Case("array", name, text, x, why, alpha, layout=layout, optional=isinstance(x, list))

    five = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    each = "each element by itself; an array gives an array of its shape"
    yield ask("an array", "np.array([-2., -1., 0., 1., 2.])", five, each)
    yield ask("an array and a slope", "np.array([-2., -1., 0., 1., 2.])", five, each, 0.1)
    grid = np.linspace(-3, 3, 12).reshape(3, 4)
    yield ask("two dimensions", "np.linspace(-3, 3, 12).reshape(3, 4)", grid, each)
    images = np.linspace(-3, 3, 96).reshape(2, 1, 6, 8)
    yield ask("four dimensions", "np.linspace(-3, 3, 96).reshape(2, 1, 6, 8)", images, each)
    yield ask("no dimension", "np.array(-2.0)", np.array(-2.0), "an array of no dimension holds one number")
    yield ask("an empty array", "np.array([])", np.array([]), "nothing in, nothing out")
    yield ask("an empty array of two dimensions", "np.ones((0, 3))", np.ones((0, 3)), "its shape is kept")
    kept = "a float type is kept: not wider, not narrower"
    for kind in (np.float32, np.float16):
        text = f"np.array([-2, -1, 0, 1, 2], np.{kind.__name__})"
        yield ask(kind.__name__, text, five.astype(kind), kept, 0.25)
    single = np.float32(-2)
    yield ask("a float32 scalar", "np.float32(-2)", single, kept)
    wide = "integers give float64: the products are not integers, and float16 would lose digits"
    yield ask("integers", "np.array([-200, -1, 0, 3])", np.array([-200, -1, 0, 3]), wide)
    yield ask("int8", "np.array([-128, -1, 127], np.int8)", np.array([-128, -1, 127], np.int8), wide)
    yield ask("a list", "[-2, 0, 3]", [-2, 0, 3], "a list stands for an array")
    yield ask(
        "every second element",
        "np.linspace(-3, 3, 7).repeat(2)[::2]",
        np.linspace(-3, 3, 7),
        "a view is an array, too",
        0.1,
        "every second",
    )
    yield ask(
        "backwards", "np.linspace(3, -3, 7)[::-1]", np.linspace(-3, 3, 7), "a view is an array, too", 0.1, "backwards"
    )
    yield ask(
        "columns first",
        "np.asfortranarray(np.linspace(-3, 3, 12).reshape(3, 4))",
        grid,
        "the order in memory changes no value",
        0.1,
        "columns",
    )
    untouched = "what was given stays as it was"
    yield ask("a read-only array", "a read-only np.array([-2., -1., 0., 1., 2.])", five, untouched, 0.1, "read-only")


def ieee() -> Iterator[Case]:
    """NaN, infinities, the sign of zeros, overflow and rounding."""
    nan, inf = np.nan, np.inf

    def ask(name: str, text: str, x: Any, why: str, alpha: float | None = None, **more: Any) -> Case:
        return Case("ieee", name, text, x, why, alpha, **({"rule": "exact"} | more))

    yield ask("NaN", "float('nan')", nan, "NaN stays NaN: what is unknown stays unknown")
    yield ask("NaN in an array", "np.array([np.nan, -1., 1.])", np.array([nan, -1.0, 1.0]), "NaN stays NaN")
    signs = "a zero keeps its sign"
    zeros = np.array([0.0, -0.0])
    yield ask("signed zeros", "np.array([0., -0.])", zeros, signs)
    infinities = np.array([inf, -inf])
    yield ask("infinities", "np.array([np.inf, -np.inf])", infinities, "infinity is multiplied like any number")
    three = np.array([-2.0, -1.0, 0.5, 3.0])
    text = "np.array([-2., -1., 0.5, 3.])"
    yield ask("slope 0", text, three, "with a slope of 0 it is the ReLU; 0 * -2 is -0.0", 0.0)
    yield ask("slope 0 at infinity", "np.array([np.inf])", np.array([inf]), "above zero the slope does not matter", 0.0)
    yield ask(
        "slope 0 at minus infinity", "np.array([-np.inf])", np.array([-inf]), "0 * -inf is NaN", 0.0, may_warn=True
    )
    yield ask("slope 1", text, three, "with a slope of 1 nothing changes", 1.0)
    yield ask("slope 2", text, three, "a slope above 1 is a slope: max(x, alpha * x) is another function", 2.0)
    yield ask("slope -0.5", text, three, "a negative slope is a slope", -0.5)
    yield ask("slope -0.5 at zeros", "np.array([0., -0.])", zeros, f"{signs}: it is not below zero", -0.5)
    tiny = np.array([-5e-324, 5e-324, -1e-310, -2.3e-308])
    yield ask("subnormals", "np.array([-5e-324, 5e-324, -1e-310, -2.3e-308])", tiny, "not flushed to zero", 0.5)
    tiny = np.array([-1e-40, 1e-40, -1e-45], np.float32)
    yield ask(
        "subnormals of float32", "np.array([-1e-40, 1e-40, -1e-45], np.float32)", tiny, "not flushed to zero", 0.5
    )
    single = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    yield ask("float32 rounded", "1,000 random float32", single, "the product with alpha as float32, rounded once")
    yield from (ask(*half) for half in _halves())
    large = np.array([-60000, 60000], np.float16)
    yield ask(
        "overflow of float16", "np.array([-60000, 60000], np.float16)", large, "too large: -inf", 2.0, may_warn=True
    )
    large = np.array([-1e308, 1e308])
    yield ask("overflow", "np.array([-1e308, 1e308])", large, "too large: -inf", 10.0, may_warn=True)
    quiet = "nothing overflows here: the product is needed below zero only"
    yield ask(
        "no warning without a reason", "np.array([1e308, np.inf, -1.])", np.array([1e308, inf, -1.0]), quiet, 10.0
    )


def _halves() -> Iterator[tuple[str, str, Any, str, float]]:
    """Cases with all negative numbers of the 16-bit types."""
    once = "the exact product with alpha as float32, rounded once; alpha in 16 bits has only {} digits"
    half = np.arange(0x8001, 0xFC00, dtype=np.uint16)
    for slope in (0.01, 0.3):
        why = once.format("three")
        yield f"float16 rounded once, {slope:g}", "all negative float16", half.view(np.float16), why, slope
    if find_spec("ml_dtypes") is None:
        return
    bfloat16: Any = import_module("ml_dtypes").bfloat16

    half = np.arange(0x8001, 0xFF80, dtype=np.uint16)
    for slope in (0.01, 0.3):
        why = once.format("two")
        yield f"bfloat16 rounded once, {slope:g}", "all negative bfloat16", half.view(bfloat16), why, slope


def derivative() -> Iterator[Case]:
    """The derivative, beside the function or by a framework."""

    def ask(name: str, text: str, x: Any, why: str, alpha: float | None = None, **more: Any) -> Case:
        return Case("derivative", name, text, x, why, alpha, of="derivative", **more)

    rule = "1 above zero, alpha below"
    yield ask("the derivative at 3", "3.0", 3.0, rule)
    yield ask("the derivative at -3", "-3.0", -3.0, f"{rule}, and alpha is 0.01 where none is given")
    yield ask("the derivative with a slope", "-3.0", -3.0, rule, 0.2)
    four = np.array([-2.0, -0.5, 0.5, 2.0])
    text = "np.array([-2., -0.5, 0.5, 2.])"
    yield ask("the derivative of an array", text, four, f"{rule}, each element by itself")
    single = four.astype(np.float32)
    text = "np.array([-2, -0.5, 0.5, 2], np.float32)"
    yield ask("the derivative in float32", text, single, "the type is kept", 0.25)
    text = "np.array([-2., -0.5, 0.5, 2.])"
    for slope in (0.0, 2.0, -0.5):
        yield ask(f"the derivative with slope {slope:g}", text, four, rule, slope)
    tiny = np.array([-5e-324, 5e-324])
    why = "the sign of x decides: the sign of alpha * x is lost where it underflows"
    yield ask("the derivative at the smallest numbers", "np.array([-5e-324, 5e-324])", tiny, why)
    far = np.array([-np.inf, np.inf])
    yield ask("the derivative at infinity", "np.array([-np.inf, np.inf])", far, rule)
    convention = "there is no derivative at zero, and conventions differ: 1 here and in JAX, alpha in PyTorch"
    yield ask("the derivative at zero", "0.0", 0.0, convention, 0.25, rule="reported")
    yield ask("the derivative at minus zero", "-0.0", -0.0, "as at zero", 0.25, rule="reported")
    unknown = "conventions differ: alpha here, NaN in some libraries"
    yield ask("the derivative at NaN", "float('nan')", np.nan, unknown, 0.25, rule="reported")
