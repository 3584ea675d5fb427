"""One module per verb of ``kgt``: its arguments, and what it does with them."""
