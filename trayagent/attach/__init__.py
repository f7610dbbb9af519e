"""Interactive commands at a terminal, clients of the agent: log in to a host, and stay attached to a session."""
