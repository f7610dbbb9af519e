"""Connect the agent and its clients: newline-delimited JSON over one Unix socket of this user."""
