"""The exit statuses of the command line. docs/scripting.md promises them to scripts."""

from __future__ import annotations

FAILED = 1
WRONG_USAGE = 2  # of the command, or a wrong configuration
NO_AGENT = 3
ALREADY_RUNNING = 4  # another agent of this user is running
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
PIPE_CLOSED = 128 + 13  # as a shell reports SIGPIPE
