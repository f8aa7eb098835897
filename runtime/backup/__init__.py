"""Backups of a store: made while it is served, checked offline, restored (docs/backup.md)."""
