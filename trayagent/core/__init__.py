"""The deciding part: pure functions over frozen facts; no clock, socket, file, process, thread or log."""
