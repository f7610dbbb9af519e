"""Events for clients, the history and hooks."""
