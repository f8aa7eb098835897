"""Bytes on their way in: streams and browser forms, and what the content really is."""
