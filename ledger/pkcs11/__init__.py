"""Signing keys that stay in a PKCS#11 token (OASIS PKCS#11 3.x, RFC 7512)."""
