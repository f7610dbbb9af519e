"""When the agent may log in: limits for each server and account, waits and retries; pure."""
