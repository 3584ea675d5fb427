"""What a knowledge graph is."""
