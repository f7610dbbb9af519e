"""A person at a terminal: logging in to a host, and staying in a session on it. Clients of the agent like any other."""
