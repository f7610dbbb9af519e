"""Handlers of events, by subject; pure."""
