"""Which things in different graphs are the same."""
