"""Kills real servers under load, and asks the clients what they lost. See `docs/faults.md`."""
