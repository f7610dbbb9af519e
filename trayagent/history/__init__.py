"""Keep past events in SQLite, and compute outages from them."""
