"""The demo story, played through the HTTP API of a real server process."""
