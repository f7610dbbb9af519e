"""What happened, kept in SQLite, and what can be told from it."""
