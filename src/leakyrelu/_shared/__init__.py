"""What several parts of the library need; it uses none of them."""
