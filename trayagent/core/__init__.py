"""Makes all decisions: pure functions over frozen facts, without clock, socket, file, process, thread or log."""
