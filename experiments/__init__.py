"""Experiments with networks that take too long for the tests; their results are in docs."""
