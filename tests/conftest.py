"""Shared by all tests."""

import os

# Tests run in several processes, one per processor: the threads of OpenMP would take processors from each other, and stall.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# On a shared machine a single example may take long for no fault of its own.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
