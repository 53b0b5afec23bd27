"""Checks whether an implementation of Leaky ReLU is right, whoever wrote it."""

from leakyrelu.check.grading import Grade, Grades, grade
from leakyrelu.check.reporting import Report, Result
from leakyrelu.check.runner import Cancellation, check, check_named, check_source

__all__ = ["Cancellation", "Grade", "Grades", "Report", "Result", "check", "check_named", "check_source", "grade"]
