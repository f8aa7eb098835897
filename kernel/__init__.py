"""What every room shares: clock, ids, principals, coded errors, canonical JSON. No I/O."""
