"""Watch the network for changes, and read its current state."""
