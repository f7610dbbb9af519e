"""The agent's records, and its knowledge of hosts and of the environment."""
