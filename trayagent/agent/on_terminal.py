"""What `trayagent run` says to the person at its terminal: a greeting, and then only what needs them."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from trayagent import __version__
from trayagent.presentation.text import clean


def greeting(hosts: int) -> str:
    """Return the first line; `hosts` are the listed ones."""
    many = "1 host" if hosts == 1 else f"{hosts} hosts"
    after = many if hosts else "the ssh masters that it finds"
    return (
        f"trayagent {__version__} is looking after {after} \N{MIDDLE DOT} trayagent status shows them "
        "\N{MIDDLE DOT} Ctrl-C ends it, the masters stay"
    )


class Needs:
    """Hears the agent's events, and says once for each host what it needs of the person, until it is connected."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, event: dict[str, Any]) -> None:
        """Hear one event."""
        name, what = event["host"], event["event"]
        if name is None:
            return
        if what == "connected":
            self._said.discard(name)
        stuck = what == "connect-failed" and event.get("retry_in_s") is None
        if (stuck or what == "sign-in-needed") and name not in self._said:
            self._said.add(name)
            say(f"{name} needs you: {event['reason']} (trayagent status {name})")


def say(text: str) -> None:
    """Write a line to the terminal; a server's words must not command it."""
    if sys.stderr is not None:
        encoding = sys.stderr.encoding or "utf-8"
        with contextlib.suppress(OSError):  # it was closed: there is nobody to tell
            sys.stderr.write(clean(text).encode(encoding, "replace").decode(encoding) + "\n")
            sys.stderr.flush()
