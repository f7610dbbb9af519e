"""What the agent remembers, and what it knows about hosts and its environment."""
