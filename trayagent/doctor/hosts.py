"""Checks the listed hosts: whether ssh can resolve them, and what the agent reports about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.errors import TrayagentError
from trayagent.presentation.beside import beside_lines
from trayagent.presentation.states import NEEDS_USER

LATE = "check-late"
# Do not report hosts in these states: no network, a network that is not allowed, or a pause by the user.
AWAY = {"offline", "paused"}
_MEANS = {
    "": "{name} is not connected.",
    "connected": "{name} is still connected.",
    "failed": "{name} is not connected until this is fixed.",
    "needs-sign-in": "{name} is not connected: it waits for you.",
    "needs-vpn": "{name} is not connected: it waits for its VPN.",
}


async def check(case: Case) -> Iterable[Finding]:
    """Report hosts that ssh cannot resolve, and hosts that do not connect."""
    found = [*_unresolved(case), *_late(case), *_agent_socket(case), *_stuck(case), *_beside(case)]
    if found or not case.config.hosts or case.unresolved:
        return found  # without an answer of ssh, "ok" would be wrong
    number = len(case.config.hosts)
    one = "`ssh -G` works for the listed host"
    return [ok(one if number == 1 else f"`ssh -G` works for all {number} listed hosts")]


def _unresolved(case: Case) -> Iterator[Finding]:
    for name, error in case.unresolved.items():
        if error.code in {"ssh-missing", LATE}:
            continue  # a missing ssh has its own check, late hosts have _late
        if isinstance(error.__cause__, TimeoutError):
            yield _slow(case, name, error)
            continue
        why = f"The agent cannot connect the host without an answer of `ssh -G {name}`."
        yield problem("config-error", f"{name}: {error.title}", why, error.hint, host=name)


def _slow(case: Case, name: str, error: TrayagentError) -> Finding:
    """Return the finding about a host for which `ssh -G` took too long for doctor, but perhaps not for the agent."""
    resolved = case.state(name) in {"connected", "checking", "connecting"}
    why = "Each ssh to the host takes as long. The agent waits up to 60 s for the first answer."
    return (advice if resolved else problem)(
        "config-error", f"{name}: {error.title}", why, error.hint, host=name
    )


def _late(case: Case) -> Iterator[Finding]:
    names = [name for name, error in case.unresolved.items() if error.code == LATE]
    if names:
        one = len(names) == 1
        title = f"ssh -G did not answer in time for {names[0]}"
        why = "Nothing else about the host was checked."
        if not one:
            title = f"ssh -G did not answer in time for {len(names)} hosts, first {names[0]}"
            why = "Nothing else about these hosts was checked."
        remedy = "Check whether a Match exec in ssh_config is slow:"
        yield advice(LATE, title, why, remedy, f"time ssh -G {names[0]}")


def _agent_socket(case: Case) -> Iterator[Finding]:
    for name, host, resolved in case.wanted():
        if host.agent_socket and not resolved.forward_agent:
            title = f"{name}: agent_socket is set, but ssh forwards no agent there"
            why = "Without ForwardAgent there is no agent socket on the server."
            lines = (f"Host {name}", "    ForwardAgent yes")
            yield advice("agent-not-forwarded", title, why, f"Add to {case.ssh_config}:", *lines, host=name)


def _stuck(case: Case) -> Iterator[Finding]:
    for host in case.view["hosts"] if case.view is not None else []:
        name, shown = host["name"], host["problem"]
        if shown is not None and host["state"] not in AWAY:
            make = problem if host["state"] in NEEDS_USER else advice
            why = _MEANS.get(host["state"], _MEANS[""]).format(name=name)
            yield make(shown["code"], f"{name}: {shown['title']}", why, shown["hint"], host=name)
        for forward in host["forwards"]:
            if forward["state"] == "failed":
                title = f"{name}: its forward -{forward['kind'][0].upper()} {forward['spec']} is not open"
                why = _error_text(forward["error"]) or "Its other forwards are not affected."
                remedy = "To see the agent's decisions and their evidence:"
                yield problem("forward-failed", title, why, remedy, f"trayagent why {name}", host=name)


def _beside(case: Case) -> Iterator[Finding]:
    """Report ssh sessions that bypassed their host's master, unless the agent ends them once they are dead."""
    if case.config.agent.beside == "end":
        return
    for host in case.view["hosts"] if case.view is not None else []:
        for line in beside_lines(host):
            why = "The agent cannot move them at a change of network. They hang then, until you end them."
            remedy = "To let the agent end those that are dead, add to the configuration:"
            lines = ("[agent]", 'beside = "end"')
            yield advice("ssh-beside", f"{host['name']}: {line}", why, remedy, *lines, host=host["name"])


def _error_text(error: object) -> str:
    """Return the text of a forward's error, which may be a problem or a plain string."""
    return str(error["title"]) if isinstance(error, dict) else str(error or "")
