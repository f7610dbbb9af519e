"""Define functions that all commands use: requests to the agent, and output without control characters."""

from __future__ import annotations

import os
import sys

from trayagent.config import runtime_directory as folders
from trayagent.ipc import blocking_client
from trayagent.presentation.text import clean
from trayagent.presentation.translation import agent_text

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from trayagent.errors import TrayagentError

ANSWER_WITHIN_S = 10.0
"""Seconds. Enough for an answer that the agent has at hand; a reconnect has no limit."""


def request(op: str, timeout_s: float | None = ANSWER_WITHIN_S, **args: Any) -> dict[str, Any]:
    """Call an operation of the agent, and return its result. Raises what ipc.blocking_client.call raises."""
    return blocking_client.call(folders.ipc_socket(os.environ), op, args, timeout_s)


def follow(op: str, **args: Any) -> Iterator[dict[str, Any]]:
    """Call an operation of the agent that streams, and yield its items."""
    return blocking_client.stream(folders.ipc_socket(os.environ), op, args)


def print_line(text: str) -> None:
    """Write one line to stdout and flush it."""
    _write(sys.stdout, text)


def complain(error: TrayagentError) -> None:
    """Write an error to stderr: what happened, and beneath it what to do."""
    _write(sys.stderr, f"trayagent: {clean(agent_text(error.title))}")
    if error.hint:
        _write(sys.stderr, f"  {clean(agent_text(error.hint))}")


def _write(stream: Any, text: str) -> None:
    if stream is not None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
