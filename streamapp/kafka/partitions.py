"""Partitions by name."""

Partition = tuple[str, int]
"""Topic and number."""
