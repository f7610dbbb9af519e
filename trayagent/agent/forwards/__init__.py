"""Effects on forwards, and on their remains on the server."""
