"""Relational sparse products: sums over edges without a row per edge."""
