"""The decision log, the event bus and hooks."""
