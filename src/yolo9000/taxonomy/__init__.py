"""Names, and trees of them."""
