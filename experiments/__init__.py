"""Experiments with networks that are too long for the tests; what they found is in docs."""
