"""Compose the line that the user sees while there is no session: state, duration, and what to do; pure."""

from __future__ import annotations

from trayagent.presentation import states
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    View = dict[str, Any]

NO_AGENT = to_translate("no agent is running")
# The states in which Enter has an effect, and its description.
ENTER = {
    "idle": to_translate("Enter connects"),
    "needs-sign-in": to_translate("Enter signs in"),
    "failed": to_translate("Enter tries again"),
    "waiting": to_translate("Enter tries now"),
}


def line(host: str, view: View | None, waited_s: float, interface: str | None, *, enter: bool = True) -> str:
    """Return the line. `view` is the agent's newest view, None while no agent runs.

    `waited_s`: how long the user has waited. `interface`: the network interface over which the host was last
    connected. `enter`: whether to mention Enter.
    """
    *parts, todo = _parts(host, view, waited_s, interface)
    shown = [*parts, _(todo) if todo and (enter or todo not in ENTER.values()) else ""]
    return " · ".join(clean(part) for part in shown if part)


def _parts(host: str, view: View | None, waited_s: float, interface: str | None) -> list[str]:
    since = lasted(waited_s)
    if view is None:
        return [f"{host}: {_(NO_AGENT)}, {since}", _("start it: trayagent run")]
    seen = of(view, host)
    if seen is None:
        return [f"{host}: {states.word('idle')} {since}", ENTER["idle"]]
    state, problem = seen["state"], seen["problem"]
    text = agent_text(problem["title"]) if problem else ""
    if state == "offline" and (problem is None or problem["code"] == "unreachable"):
        text = (
            _("waiting for {interface}").format(interface=interface)
            if interface
            else _("waiting for a network")
        )
    todo = ENTER.get(state, "")
    if state == "paused":
        todo = _("continue: trayagent resume {host}").format(host=host)
    if state == "needs-sign-in" and not for_the_terminal(seen):
        todo = ""
    return [f"{host}: {states.word('connecting' if state == 'connected' else state)} {since}", text, todo]


def of(view: View, host: str) -> View | None:
    """Return the host's entry in a view that was requested for this host only, None if there is none.

    The entry has another name if `host` is a second alias of the connection.
    """
    found: list[View] = view["hosts"]
    return next((h for h in found if h["name"] == host), found[0] if found else None)


def for_the_terminal(seen: View) -> bool:
    """Report whether the host needs a login that works at this terminal. A VPN's sign-in does not."""
    return seen["state"] == "needs-sign-in" and (seen["problem"] or {}).get("code") != "vpn-needs-sign-in"


def lasted(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down."""
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60} min"


def next_tick_s(seconds: float) -> float:
    """Return for how many seconds the text of `lasted` stays correct."""
    unit = 1 if seconds < 60 else 60
    return unit - seconds % unit
