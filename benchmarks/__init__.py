"""Compares the library with its peers, in one run: `python -m benchmarks`."""
