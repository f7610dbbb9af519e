"""The listed hosts: that ssh knows what they mean, and what the agent says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trayagent.doctor.context import Case
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.presentation.states import NEEDS_USER

LATE = "check-late"
# Quiet on purpose: there is no network, or it is not the place.
AWAY = {"offline", "paused"}
_MEANS = {
    "connected": "is connected all the same",
    "failed": "is not connected until this is fixed",
    "needs-sign-in": "is not connected: it waits for you",
    "needs-vpn": "is not connected: it waits for its VPN",
}


async def check(case: Case) -> Iterable[Finding]:
    """Say which hosts ssh cannot make sense of, and which do not come up."""
    found = [*_unresolved(case), *_late(case), *_agent_socket(case), *_stuck(case)]
    if found or not case.config.hosts or case.unresolved:
        return found  # where ssh could not be run, it knows none of them
    number = len(case.config.hosts)
    return [ok(f"ssh knows {'the listed host' if number == 1 else f'all {number} listed hosts'}")]


def _unresolved(case: Case) -> Iterator[Finding]:
    for name, error in case.unresolved.items():
        if error.code in {"ssh-missing", LATE}:
            continue  # said once: the first where ssh is looked for
        why = f"Without an answer of `ssh -G {name}` it cannot be connected."
        yield problem("config-error", f"{name}: {error.title}", why, error.hint, host=name)


def _late(case: Case) -> Iterator[Finding]:
    names = [name for name, error in case.unresolved.items() if error.code == LATE]
    if names:
        one = len(names) == 1
        which = names[0] if one else f"{len(names)} hosts, {names[0]} the first of them"
        title = f"ssh -G did not answer in time for {which}"
        why = f"Nothing else about {'it' if one else 'them'} was checked."
        remedy = "See whether a Match exec in ssh_config is slow:"
        yield advice(LATE, title, why, remedy, f"time ssh -G {names[0]}")


def _agent_socket(case: Case) -> Iterator[Finding]:
    for name, host, resolved in case.wanted():
        if host.agent_socket and not resolved.forward_agent:
            title = f"{name}: agent_socket is set, but ssh forwards no agent there"
            why = "Without ForwardAgent there is no agent socket on the server to point to."
            lines = (f"Host {name}", "    ForwardAgent yes")
            yield advice("agent-not-forwarded", title, why, f"Add to {case.ssh_config}:", *lines, host=name)


def _stuck(case: Case) -> Iterator[Finding]:
    for host in case.view["hosts"] if case.view is not None else []:
        name, told = host["name"], host["problem"]
        if told is not None and host["state"] not in AWAY:
            make = problem if host["state"] in NEEDS_USER else advice
            why = f"{name} {_MEANS.get(host['state'], 'is not connected')}."
            yield make(told["code"], f"{name}: {told['title']}", why, told["hint"], host=name)
        for forward in host["forwards"]:
            if forward["state"] == "failed":
                title = f"{name}: its forward -{forward['kind'][0].upper()} {forward['spec']} is not open"
                why = _words_of(forward["error"]) or "Its other forwards are not affected."
                remedy = "The decisions about it, with their evidence:"
                yield problem("forward-failed", title, why, remedy, f"trayagent why {name}", host=name)


def _words_of(error: object) -> str:
    """Return a forward's error, which may be a problem or plain words."""
    return str(error["title"]) if isinstance(error, dict) else str(error or "")
