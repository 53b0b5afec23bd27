"""Is an implementation right? Ask any leaky ReLU, whoever wrote it."""

from leakyrelu.check.runner import check, check_named, check_source
from leakyrelu.check.verdict import Report, Result

__all__ = ["Report", "Result", "check", "check_named", "check_source"]
