"""Effects of roaming: the near relay's process, and the far relays on the servers."""
