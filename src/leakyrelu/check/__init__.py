"""Checks whether an implementation of Leaky ReLU is right, whoever wrote it."""

from leakyrelu.check.reporting import Report, Result
from leakyrelu.check.runner import check, check_named, check_source

__all__ = ["Report", "Result", "check", "check_named", "check_source"]
