"""Writes docs/configuration.md: fills configuration.md.in with tables, keys and defaults from the program.

Usage: python installers/manual/make_reference.py > docs/configuration.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from trayagent.config import parse_duration
from trayagent.config.key_descriptions import TABLES, Key, Table
from trayagent.config.model import EVENTS

TEMPLATE = Path(__file__).with_name("configuration.md.in")

WHEN = {
    "network-changed": "an interface, address or route changed",
    "resumed": "the laptop woke from sleep",
    "master-adopted": "the agent found a master that it did not start",
    "master-stale": "a master was proven stale; the evidence says how",
    "master-killed": "a master was ended",
    "master-kept": "a master answered a probe after a change",
    "draining": "a new master replaced a working one; the old one's sessions continue",
    "drained": "a draining master ended",
    "roaming": "from now on, the sessions of a host survive a change of network",
    "roaming-failed": "a host does not roam, or its sessions ended; the reason says why",
    "moved": "sessions continue over a new connection; the event has their number and the time it took",
    "connecting": "a new connection started",
    "connected": "a host is connected; after a loss, the event has the time that the recovery took",
    "disconnected": "a connection ended, or the host should no longer be connected; the reason says why",
    "connect-failed": "an attempt failed; the reason says why",
    "forward-open": "a forward is open",
    "forward-failed": "a forward could not be opened; the agent retries",
    "forward-found": "the agent found a forward that you gave to ssh by hand; it comes back after a change of network",
    "forward-unknown": "a master has a forward whose target the agent cannot read",
    "forward-ended": "a forward with an unknown target ended with its master",
    "vpn-changed": "a VPN went up or down, or needs you to sign in",
    "sign-in-needed": "the agent needs you",
    "paused": "a pause started",
    "resumed-by-user": "a pause ended",
    "configuration-changed": "the configuration was read again",
    "configuration-rejected": "the agent rejected the changed file and keeps the previous configuration",
}


def reference() -> str:
    """Return the page in Markdown."""
    events = "\n".join(f"| `{event.replace('-', '_')}` | {WHEN[event]} |" for event in EVENTS)
    page = TEMPLATE.read_text(encoding="utf-8").replace("@EVENTS@", events)
    page = page.replace("@DURATION@", parse_duration.FORM.replace('"', "`"))
    return page.replace("@TABLES@", "\n\n".join(_table(table) for table in TABLES))


def _table(table: Table) -> str:
    entries = "\n".join(_entry(table, key) for key in table.keys)
    return f"## [{table.title}]\n\n{table.text}\n\n{_example(table)}\n{entries}"


def _example(table: Table) -> str:
    """Return a TOML table with every key: its default, or an example if it has none."""
    title = table.title.replace("hosts.NAME", "hosts.web01").replace("vpns.NAME", "vpns.corp")
    width = max(len(key.name) for key in table.keys)
    lines = [f"{key.name:<{width}} = {table.shown(key)}{_mark(table, key)}" for key in table.keys]
    return "\n".join(["```toml", f"[{title}]", *lines, "```", ""])


def _mark(table: Table, key: Key) -> str:
    return "" if table.has_default(key) else "  # an example"


def _entry(table: Table, key: Key) -> str:
    default = f" (`{table.shown(key)}`)" if table.has_default(key) else ""
    return f"- **`{key.name}`**{default}: " + " ".join(f"{key.text} {key.more}".split()).replace(
        "](docs/", "]("
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
