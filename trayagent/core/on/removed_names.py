"""Handles names that were removed from ssh_config while their master is up; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.events import HostResolved
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.begin_attempt import give_up_attempt, publish_given_up


def was_removed(host: Host, event: HostResolved) -> bool:
    """Report whether ssh_config lost the name of this host since its master was made.

    A name that ssh_config never had, such as one of `trayagent login`, was not removed. If an earlier agent made the
    master, only its target shows that ssh_config had a HostName for the name.
    """
    if event.named:
        return False
    made_for = host.master.target if host.master is not None else None
    bare = event.resolved.hostname == host.name and not event.varies
    elsewhere = bare and None not in {made_for, event.resolved.target} and made_for != event.resolved.target
    return host.name_removed or host.answer.named is True or elsewhere


def unname(context: Context, host: Host) -> None:
    """Make no more logins for a name that neither ssh_config nor the configuration has.

    Its living master stays, with its sessions, as an unnamed one. Leave a host alone that roams, because its sessions
    need logins, and one to which the user is logging in.
    """
    if host.unnamed or host.roaming is not None or host.at_prompt:
        context.put(host)
        return
    host = give_up_attempt(context, context.put(host))
    if host.master is None:
        publish_given_up(context, host, "configuration")
        for name in (host.name, *(h.name for h in context.state.draining(host.name))):
            context.forget(name)  # draining masters end on their own
        return
    host = context.put(
        host, unnamed=True, lost=False, problem=None, user=replace(host.user, reconnect=False, at_once=False)
    )
    context.because(host.name, 0, "name-removed", Evidence.of(pid=host.master.pid if host.master else None))


def restore_name(host: Host) -> Host:
    """Return the host with its name, which ssh_config has again."""
    return replace(host, unnamed=host.unnamed and not host.name_removed, name_removed=False)
