"""Small models as people write them, for the tests of `replace`."""
