"""Asks a host's spare master for an answer when the host's own connection may be lost; pure.

The spare master's connection is older than the loss, so only an answer proves that it works. For a host that roams,
the attach is the question: the sessions continue with the answer. Nothing is ended before.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import AttachRoaming, SendProbe
from trayagent.core.facts.attempt import Attempt, Purpose
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.standby import Standby
from trayagent.core.policy.staleness.silence_limits import silent_after_s


def path_is_lost(host: Host) -> bool:
    """Report whether the host's own connection can carry nothing now: no address, no carrier or no route."""
    path = host.path
    if host.master is None or path is None or not host.suspect:
        return False
    return not path.present or not path.carrier or path.egress is None


def ask(context: Context, host: Host) -> Host:
    """Ask the spare master for an answer, unless it was asked already. Return the host."""
    standby, spare = host.standby, host.standby.master
    if spare is None or standby.asked_at is not None:
        return host
    host = context.put(host, standby=replace(standby, asked_at=context.now))
    evidence = Evidence.of(standby=spare.pid, interface=standby.interface)
    context.because(host.name, 0, "standby-asked", evidence)
    roaming = host.roaming
    if roaming is None or roaming.ending or roaming.by_port_since is not None:
        context.do(SendProbe(host.name, spare))  # `move_to_port` moves sessions that are on the direct port
        return host
    context.do(AttachRoaming(host.name, spare))
    return context.put(host, roaming=replace(roaming, attaching=spare.pid))


def until_answer(context: Context, host: Host, purpose: Purpose) -> float | None:
    """Ask the spare master before a new login. Return until when the login waits for the answer, None: not at all."""
    if host.standby.master is None or purpose not in {"connect", "control"}:
        return None
    host = ask(context, host)
    spare, asked_at = host.standby.master, host.standby.asked_at
    if spare is None or asked_at is None:
        return None
    until = asked_at + silent_after_s(spare, source_differs=host.roaming is None)
    return until if context.now < until else None


def given_back(standby: Standby, attempt: Attempt) -> Standby:
    """Return the standby with its spare master, which was to become the host's master, and is not needed."""
    interface = attempt.network.egress if attempt.network is not None else ""
    return replace(
        standby,
        master=attempt.ready,
        interface=interface,
        source=attempt.source,
        network=attempt.network,
        ready_at=attempt.started_at,
    )
