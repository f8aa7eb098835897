"""A simulated power loss: what was not fsynced may be gone. See `docs/faults.md`."""
