"""Is an implementation right? Ask any leaky ReLU, whoever wrote it."""

from leakyrelu.check.report import Report, Result
from leakyrelu.check.runner import check, check_named, check_source

__all__ = ["Report", "Result", "check", "check_named", "check_source"]
