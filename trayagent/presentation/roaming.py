"""Describe the sessions of a host that roams, from its `roaming` in `status --json`; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.translation import _, ngettext

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def roaming_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield "3 sessions wait for the next connection" while sessions wait, or why the host does not roam.

    An older agent reports neither.
    """
    roaming = host.get("roaming")
    if host.get("no_roaming"):
        yield _("does not roam: {reason}").format(reason=host["no_roaming"])
    if roaming is not None and roaming.get("no_port") == "taken":
        yield _("its roam_port is taken on the server: moves use ssh")
    elif roaming is not None and roaming.get("no_port") == "unreachable":
        yield _("port {port} of its server does not answer: moves use ssh").format(port=roaming["port"])
    if roaming is None or roaming["attached"]:
        return
    sessions = roaming["sessions"]
    if sessions:
        words = ngettext(
            "{count} session waits for the next connection",
            "{count} sessions wait for the next connection",
            sessions,
        )
        yield words.format(count=sessions)
    else:
        yield _("its sessions wait for the next connection")
