"""Random flips and edits of a whole store, each of which `fsck` must name. See `docs/faults.md`."""
