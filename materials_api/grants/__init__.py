"""Grants (授权): asked for, given, shown as a code, revoked."""
