"""The policy: which host may connect and when, which master is stale, and what to do next; pure."""
