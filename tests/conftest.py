"""Shared by all tests."""

import os

# Tests run in several processes: the threads of OpenMP would take processors from each other, and stall.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# On a shared machine a single example may take long for no fault of its own.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# A file's tests run in one process, for what they share is costly. These take longest, so they begin first.
FIRST = ("test_page", "test_search", "test_cpp")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
