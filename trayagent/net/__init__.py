"""Hints that something changed, and readers of the whole network picture."""
