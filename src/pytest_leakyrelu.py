"""A plugin for pytest: the fixture `check_leaky_relu`.

It lies beside the package, not in it: pytest loads plugins in every run, and the package would load NumPy.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leakyrelu.check import Report

__all__ = ["check_leaky_relu"]


@pytest.fixture(scope="session")
def check_leaky_relu() -> "Callable[..., Report]":
    """Check a Leaky ReLU: ``check_leaky_relu(function, level="array")`` raises an `AssertionError` if it is not right.

    The error says what failed, and why. The arguments and the result are those of `leakyrelu.check.check`.
    """

    def check_leaky_relu(function: Callable[..., Any], **options: Any) -> "Report":
        __tracebackhide__ = True
        from leakyrelu.check import check

        report = check(function, **options)
        if not report.passed:
            cause = [f"Likely cause: {report.cause}."] if report.cause else []
            raise AssertionError("\n".join([*map(str, report.failures), report.verdict, *cause]))
        return report

    return check_leaky_relu
