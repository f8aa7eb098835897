"""Bytes and rows: object stores, encryption at rest, database, idempotency, audit."""
