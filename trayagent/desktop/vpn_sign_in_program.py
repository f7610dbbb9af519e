"""Starts the program that signs the user in to a VPN. It may ask questions, so it runs in a terminal if possible."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from trayagent.desktop.record_exit import last_line
from trayagent.errors import TrayagentError
from trayagent.own_module import own_module

OpenTerminal = Callable[[Sequence[str]], Awaitable[object]]
"""A function that runs words in a new terminal window, and returns once the window is open. Raises TrayagentError."""

PATIENCE_S = 900.0
"""How long to wait for the report. The user may need minutes, for example to fetch a hardware token.

If the window was killed together with its command, no report comes.
"""
_POLL_S = 0.2


async def sign_in(vpn: str, words: Sequence[str], terminal: OpenTerminal | None) -> None:
    """Run the command and wait until it ends. If it fails, raise TrayagentError with the last line of its output."""
    status, last = await (_without_terminal(words) if terminal is None else _at_terminal(words, terminal))
    if status:
        ending = f": {last}" if last else f", with status {status}"
        hint = f"Try it in a terminal: {shlex.join(words)}"
        raise TrayagentError(f"Signing in to {vpn} failed{ending}", code="sign-in-failed", hint=hint)


async def _at_terminal(words: Sequence[str], terminal: OpenTerminal) -> tuple[int, str]:
    with tempfile.TemporaryDirectory(prefix="trayagent-") as folder:
        report = Path(folder) / "report"
        await terminal(own_module("trayagent.desktop.record_exit", str(report), *words))
        until = time.monotonic() + PATIENCE_S
        while not report.exists():  # poll, because a terminal does not report when its command ends
            if time.monotonic() > until:
                return 1, "it gave no result for 15 minutes"
            await asyncio.sleep(_POLL_S)
        result = json.loads(report.read_text())
        return int(result["status"]), str(result["last"])


async def _without_terminal(words: Sequence[str]) -> tuple[int, str]:
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return 127, f"{words[0]}: {error.strerror}"
    output, _ = await child.communicate()
    return child.returncode or 0, last_line(output)
