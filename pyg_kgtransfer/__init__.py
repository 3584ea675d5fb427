"""Carry what was learned on some knowledge graphs over to another."""

__version__ = "0.1.0"
