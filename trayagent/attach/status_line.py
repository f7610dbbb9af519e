"""Compose the line that the user sees while there is no session: state, duration, and what to do; pure."""

from __future__ import annotations

from trayagent.presentation import states
from trayagent.presentation.text import clean

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    View = dict[str, Any]

NO_AGENT = "no agent is running"
# The states in which Enter has an effect, and its description.
ENTER = {
    "idle": "Enter connects",
    "needs-sign-in": "Enter signs in",
    "failed": "Enter tries again",
    "waiting": "Enter tries now",
}


def line(host: str, view: View | None, waited_s: float, interface: str | None, *, enter: bool = True) -> str:
    """Return the line. `view` is the agent's newest view, None while no agent runs.

    `waited_s`: how long the user has waited. `interface`: the network interface over which the host was last
    connected. `enter`: whether to mention Enter.
    """
    parts = _parts(host, view, waited_s, interface)
    return " · ".join(clean(part) for part in parts if part and (enter or part not in ENTER.values()))


def _parts(host: str, view: View | None, waited_s: float, interface: str | None) -> list[str]:
    since = lasted(waited_s)
    if view is None:
        return [f"{host}: {NO_AGENT}, {since}", "start it: trayagent run"]
    seen = of(view, host)
    if seen is None:
        return [f"{host}: {states.word('idle')} {since}", ENTER["idle"]]
    state, problem = seen["state"], seen["problem"]
    text = problem["title"] if problem else ""
    if state == "offline" and (problem is None or problem["code"] == "unreachable"):
        text = f"waiting for {interface or 'a network'}"
    todo = f"continue: trayagent resume {host}" if state == "paused" else ENTER.get(state, "")
    if state == "needs-sign-in" and not for_the_terminal(seen):
        todo = ""
    return [f"{host}: {states.word('connecting' if state == 'connected' else state)} {since}", text, todo]


def of(view: View, host: str) -> View | None:
    """Return the host's entry in the view, None if there is none."""
    found: list[View] = [h for h in view["hosts"] if h["name"] == host]
    return found[0] if found else None


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
