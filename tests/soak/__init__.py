"""The long loops of `make soak`. See `docs/faults.md`."""
