"""A simulation of the log with several writers and injected faults: see `docs/faults.md`."""
