"""Describe forwards that the user gave to ssh by hand; pure.

A forward is an entry of a host's `forwards` in `status --json`, with `by_hand`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

BY_HAND = to_translate("by hand")


def by_hand_mark(forward: Mapping[str, Any]) -> str:
    """Return " (by hand)" for a forward that the user gave to ssh by hand. An older agent does not report this."""
    return f" ({_(BY_HAND)})" if forward.get("by_hand") else ""


def unknown_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each port that the user forwarded by hand, and whose target the agent does not know.

    An older agent does not report those that ended with the last master.
    """
    for listen in host.get("unknown_listens", ()):
        words = _(
            "You forwarded {listen} by hand. The agent cannot read its target, so this forward ends when the network "
            "changes."
        )
        yield f"{words.format(listen=clean(listen))} {_to_keep_it(host, listen)}"
    for listen in host.get("ended_listens", ()):
        words = _(
            "Your forward of {listen} ended with the old connection, because the agent could not read its target. Give "
            "it to ssh again."
        )
        yield f"{words.format(listen=clean(listen))} {_to_keep_it(host, listen)}"


def _to_keep_it(host: Mapping[str, Any], listen: str) -> str:
    name, port = clean(host["name"]), clean(listen).rpartition(":")[2]
    words = _("To keep it: trayagent keep {host} -L {port}:TARGET:PORT, or -D {port} for a SOCKS proxy")
    return words.format(host=name, port=port)
