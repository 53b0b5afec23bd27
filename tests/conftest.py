"""Settings that all tests share."""

import os

# Tests run in several processes, whose OpenMP threads would take processors from each other, and stall.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Keras reads it when it is imported; tests/test_keras.py runs on the other backends, too.
os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest
from hypothesis import settings

# On a shared machine, a single example may take long for reasons that are not in the test.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# All tests of a file run in one process, as what they share is costly. These files take longest, so they start first.
FIRST = ("test_docs", "test_page", "test_search", "test_cpp")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
