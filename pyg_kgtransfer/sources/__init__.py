"""Where graphs and words come from."""
