"""Witnesses: the server that cosigns checkpoints of any log."""
