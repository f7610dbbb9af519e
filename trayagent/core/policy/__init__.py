"""The policy: who may connect and when, which master is stale, what to do next; pure."""
