"""Effects on forwards, and on what they leave behind on the server."""
