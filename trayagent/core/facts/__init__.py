"""The facts that the core decides on, the events that change them, and the actions; frozen data."""
