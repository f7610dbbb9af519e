"""The facts behind the core's decisions, the events that change them, and the resulting actions; frozen data."""
