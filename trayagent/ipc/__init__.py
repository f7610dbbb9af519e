"""How the agent's clients talk with it: newline-delimited JSON over one Unix socket of this user."""
