"""Bulk collection of back files (存量归集) from a manifest."""
