"""Schema changes, in order, for SQLite and PostgreSQL. `apply` is the way in."""
