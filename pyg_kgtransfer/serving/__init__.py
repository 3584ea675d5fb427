"""After training: answers by name."""
