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


def unlisted_lines(agent: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many ssh sessions of unknown hosts may hang after a move. An older agent does not report this."""
    count = agent.get("unlisted_ssh", 0)
    if count:
        words = ngettext(
            "{count} ssh session has its own connection, and may hang after a change of network.",
            "{count} ssh sessions have their own connections, and may hang after a change of network.",
            count,
        )
        yield words.format(count=count)
        yield _('To let the agent end such an ssh: beside = "end" under [agent]')


def beside_hints(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield how to end the sessions that hang, and whether the agent will.

    Those whose address is gone hang. Others may, if nothing shows whether they work.
    """
    unproven = [one for one in host.get("beside", ()) if one.get("unproven") and not one["stale"]]
    if unproven:
        words = ngettext(
            "If it hangs, end it: {commands}", "If they hang, end them: {commands}", len(unproven)
        )
        yield words.format(commands=_commands(unproven))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in host.get("beside", ()):
        if one["stale"]:  # an older agent reports no reason
            ends = one.get("agent_ends", "no")
            why = one.get("why_not") or ("unproven" if ends == "cannot" else ends)
            groups.setdefault(why, []).append(one)
    for why, sessions in groups.items():
        yield _hint(why, len(sessions)).format(commands=_commands(sessions))


def _hint(why: str, count: int) -> str:
    """Return the sentence for why the agent does not end the sessions, or for when it does."""
    match why:
        case "when-proven":
            return ngettext(
                "To end it: {commands}. The agent ends it once its server answers",
                "To end them: {commands}. The agent ends them once their server answers",
                count,
            )
        case "vpn":
            return ngettext(
                "To end it: {commands}. The agent ends it once its VPN is up and its server answers",
                "To end them: {commands}. The agent ends them once their VPN is up and their server answers",
                count,
            )
        case "suspended":
            return ngettext(
                "It is suspended. Once it continues, the agent ends it",
                "They are suspended. Once they continue, the agent ends them",
                count,
            )
        case "paused":
            return ngettext(
                "To end it: {commands}. The agent leaves it alone during the pause",
                "To end them: {commands}. The agent leaves them alone during the pause",
                count,
            )
        case "never":
            return ngettext(
                'To end it: {commands}. The agent leaves it alone, because of connect = "never"',
                'To end them: {commands}. The agent leaves them alone, because of connect = "never"',
                count,
            )
        case "networks":
            return ngettext(
                "To end it: {commands}. The agent leaves it alone on this network, because of the key networks",
                "To end them: {commands}. The agent leaves them alone on this network, because of the key networks",
                count,
            )
        case "unproven":
            return ngettext(
                "To end it: {commands}. The agent cannot prove from this network that it is dead",
                "To end them: {commands}. The agent cannot prove from this network that they are dead",
                count,
            )
        case _:
            return ngettext(
                'To end it: {commands}. To let the agent do that: beside = "end" under [agent]',
                'To end them: {commands}. To let the agent do that: beside = "end" under [agent]',
                count,
            )


def _commands(sessions: list[Mapping[str, Any]]) -> str:
    """Return the commands after which a supervisor starts its ssh again. After plain `kill`, `ssh -N` exits with 0."""
    pids: dict[str, list[str]] = {}
    for one in sessions:
        pids.setdefault(one.get("signal", "HUP"), []).append(str(one["pid"]))
    return "; ".join(f"kill -{signal} {' '.join(found)}" for signal, found in pids.items())


def _name(session: Mapping[str, Any]) -> str:
    words = [clean(word) for word in (session["terminal"], session["program"]) if word]
    name = " ".join(words) or f"pid {session['pid']}"
    if session["stale"]:
        return _("{session} (its address is gone)").format(session=name)
    if session.get("unproven"):
        return _("{session} (nothing shows whether it works)").format(session=name)
    return name
