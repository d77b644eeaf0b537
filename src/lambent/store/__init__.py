"""What survives: SQL in SQLite, packages by digest."""
