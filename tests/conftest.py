"""Shared by all tests."""

from hypothesis import settings

# On a shared machine a single example may take long for no fault of its own.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
