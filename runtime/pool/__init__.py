"""Units of work shared among processes of this machine, or of a Ray cluster: `scrub`, `fsck`."""
