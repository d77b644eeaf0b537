"""Event source mappings that run: a supervisor keeps one poller for each mapping that is enabled."""
