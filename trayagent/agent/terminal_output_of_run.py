"""The output of `trayagent run` at a terminal: a greeting, then only what needs the user."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from trayagent import __version__
from trayagent.presentation.text import clean


def greeting(hosts: int) -> str:
    """Return the first line. `hosts` is the number of listed hosts."""
    many = "1 host" if hosts == 1 else f"{hosts} hosts"
    after = many if hosts else "the ssh masters that it finds"
    return (
        f"trayagent {__version__} manages {after} \N{MIDDLE DOT} trayagent status shows them "
        "\N{MIDDLE DOT} Ctrl-C ends it, the masters stay"
    )


class Needs:
    """Prints which VPNs and hosts need the user. A host is printed once, and again only after it was connected.

    A VPN needs no such check, because the core reports a VPN only when it begins to need the user.
    """

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, event: dict[str, Any]) -> None:
        """Print a line if this event needs the user. docs/scripting.md describes the events."""
        name, what = event["host"], event["event"]
        if name is None:
            if what == "sign-in-needed":
                print_line(f"VPN {event['vpn']} needs you to sign in (trayagent status)")
            return
        if what == "connected":
            self._printed.discard(name)
        # A failure that is not missed belongs to a single command of the user, which printed it.
        missed = event.get("missed") is not False
        stuck = what == "connect-failed" and missed and event.get("retry_in_s") is None
        if (stuck or what == "sign-in-needed") and name not in self._printed:
            self._printed.add(name)
            print_line(f"{name} needs you: {event['reason']} (trayagent status {name})")


def print_line(text: str) -> None:
    """Write a line to the terminal, without control characters."""
    if sys.stderr is not None:
        encoding = sys.stderr.encoding or "utf-8"
        with contextlib.suppress(OSError):  # the terminal was closed
            sys.stderr.write(clean(text).encode(encoding, "replace").decode(encoding) + "\n")
            sys.stderr.flush()
