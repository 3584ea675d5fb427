"""The recipes: each returns a Checkpoint, the next starts from it."""
