"""Describe the ssh sessions that run beside a host's master, with connections of their own; pure.

A session is an entry of a host's `beside` in `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, ngettext

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

_MOST = 4  # sessions named in the line


def beside_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line such as "2 ssh sessions beside the master: pts/3 git, pts/5". An older agent reports no sessions."""
    sessions = host.get("beside", ())
    if not sessions:
        return
    count = len(sessions)
    named = ", ".join(_name(one) for one in sessions[:_MOST]) + (", …" if count > _MOST else "")
    words = ngettext(
        "{count} ssh session beside the master: {names}",
        "{count} ssh sessions beside the master: {names}",
        count,
    )
    yield words.format(count=count, names=named)


def beside_hints(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield how to end the sessions whose address is gone. They hang, and the agent ends them only with a setting."""
    stale = [str(one["pid"]) for one in host.get("beside", ()) if one["stale"]]
    if stale:
        words = ngettext(
            'To end it: kill {pids}. To let the agent do that: beside = "end" under [agent]',
            'To end them: kill {pids}. To let the agent do that: beside = "end" under [agent]',
            len(stale),
        )
        yield words.format(pids=" ".join(stale))


def _name(session: Mapping[str, Any]) -> str:
    words = [clean(word) for word in (session["terminal"], session["program"]) if word]
    name = " ".join(words) or f"pid {session['pid']}"
    return _("{session} (its address is gone)").format(session=name) if session["stale"] else name
