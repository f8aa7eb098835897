"""`fsck` of the materials room, by kind of thing."""
