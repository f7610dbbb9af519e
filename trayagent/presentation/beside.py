"""Describe the ssh sessions that run beside a host's master, with connections of their own; pure.

A session is an entry of a host's `beside` in `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.text import clean

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
    yield f"{count} ssh session{'s' * (count != 1)} beside the master: {named}"


def beside_hints(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield how to end the sessions whose address is gone. They hang, and the agent ends them only with a setting."""
    stale = [str(one["pid"]) for one in host.get("beside", ()) if one["stale"]]
    if stale:
        yield (
            f"To end {'it' if len(stale) == 1 else 'them'}: kill {' '.join(stale)}. "
            'To let the agent do that: beside = "end" under [agent]'
        )


def _name(session: Mapping[str, Any]) -> str:
    words = [clean(word) for word in (session["terminal"], session["program"]) if word]
    name = " ".join(words) or f"pid {session['pid']}"
    return f"{name} (its address is gone)" if session["stale"] else name
