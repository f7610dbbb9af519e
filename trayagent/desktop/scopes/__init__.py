"""Moves masters into scopes of the service manager, so that they outlive the agent."""
