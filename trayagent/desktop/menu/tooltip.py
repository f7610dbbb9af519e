"""The text that the panel shows while the pointer is on the icon; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trayagent.desktop.menu import menu_texts
from trayagent.presentation import states, summary
from trayagent.presentation.host_state import state_words
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, ngettext

MOST = 5
"""The most hosts in the tooltip. More lines would cover the screen."""


def tooltip(view: Mapping[str, Any], now: datetime) -> str:
    """Return the headline, and a line for each host that should be up and is down or incomplete.

    Hosts that need the user come first.
    """
    missing = [h for h in summary.wanted_hosts(view) if h["state"] != "connected" or summary.lacks(h)]
    missing.sort(key=lambda host: not summary.host_needs_you(host))
    lines = [clean(summary.headline(view))]
    if summary.rejected(view) is not None:
        lines.append(f"{states.sign('needs-sign-in')} {_('the configuration has a mistake')}")
    lines += [_line(host, now) for host in missing[:MOST]]
    if len(missing) > MOST:
        left = len(missing) - MOST
        lines.append(ngettext("and {count} more", "and {count} more", left).format(count=left))
    return "\n".join(lines)


def _line(host: Mapping[str, Any], now: datetime) -> str:
    problem, lacking = host["problem"], summary.lacks(host)
    told = problem["title"] if problem else state_words(host, now)
    sign = states.sign("failed" if lacking else host["state"])
    return f"{sign} {menu_texts.name(host['name'])}: {menu_texts.short(lacking or told, menu_texts.LINE)}"
