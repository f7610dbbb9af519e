"""Scopes of the service manager that keep masters out of reach of the agent's end."""
