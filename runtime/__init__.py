"""Settings, wiring, the HTTP application, processes, the command line."""
