"""All decisions of the agent: pure functions over frozen facts, without clock, socket, file, process, thread or log."""
