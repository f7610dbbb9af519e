"""Handles draining masters: how they begin to drain, what they still carry, and how they end; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import CountCarried
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.events import Carried, DrainingFound, MasterEnded
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host, LoginHistory, Reached, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.on import earlier_inner
from trayagent.core.on.adopt_master import install
from trayagent.core.policy.limits_beside_master import leads_to
from trayagent.core.policy.reached_networks import network_made_on
from trayagent.core.policy.staleness.end_idle_draining import end_draining


def begin(context: Context, owner: Host, master: Master, draining: Draining, *, proven: bool) -> None:
    """Let the earlier master of a host drain. It becomes a host of its own, without a name in ssh_config.

    So the agent judges it like an unnamed master. The owner's limits on where to connect apply to it, too. For an ssh
    beside a master, `limits` finds them.
    """
    made_on, hop, wish = None, owner, Wish(vpn=owner.wish.vpn, networks=owner.wish.networks)
    if draining.beside is not None:
        made_on = network_made_on(context.state, master, draining.made_at)
        hop, wish = _leading_to(context, owner, master), Wish()
    host = Host(
        f"{owner.name} {'draining' if draining.beside is None else 'beside'} {master.pid}",
        wish,
        resolved=hop.resolved,
        hop=hop.hop,
        unnamed=True,
        addresses=hop.addresses,
        reached=Reached(
            networks=hop.reached.networks | ({made_on} if made_on is not None else frozenset()),
            interfaces=hop.reached.interfaces,
            learned_vpn=hop.reached.learned_vpn,
        ),
        login=LoginHistory(host_key=master.host_key),
    )
    idle = draining.sessions == draining.connections == 0 and draining.beside is None
    draining = replace(
        draining, owner=owner.name, counted_at=context.now, idle_at=context.now if idle else None
    )
    host = replace(host, draining=draining)
    host = install(context, host, master, proven=proven)
    context.put(host, forwards=host.forwards.rest())


def _leading_to(context: Context, owner: Host, master: Master) -> Host:
    """Return the host that leads to the server to which an ssh beside a master is connected, such as its jump host.

    The networks where that host was reached are valid for a control there, not those of the machine behind it. If the
    agent knows no such host, return a host without any.
    """
    every = (owner, *(host for host in context.state.hosts.values() if host.draining is None))
    peer = (master.peer, master.peer_port)
    return next((host for host in every if leads_to(host, peer)), Host(owner.name))


def found(context: Context, event: DrainingFound) -> None:
    """Begin to judge a draining master that an earlier agent left, or an ssh beside a host's master."""
    owner = context.get(event.draining.owner) or Host(event.draining.owner)
    if any(h.master is not None and h.master.pid == event.master.pid for h in context.state.hosts.values()):
        return
    if event.draining.beside is not None:
        begin(context, owner, event.master, event.draining, proven=False)
        return
    context.put(owner)
    begin(context, owner, event.master, event.draining, proven=False)
    context.because(owner.name, 0, "draining", Evidence.of(pid=event.master.pid) + _carries(event.draining))


def publish_begun(context: Context, name: str, master: Master, draining: Draining) -> None:
    """Report that a host's earlier master drains."""
    carries = _carries(draining)
    context.because(name, 0, "draining", Evidence.of(pid=master.pid) + carries)
    context.publish(
        "draining",
        name,
        carries,
        pid=master.pid,
        sessions=draining.sessions,
        connections=draining.connections,
    )


def carried(context: Context, event: Carried) -> None:
    """Note what a draining master carries."""
    host = context.get(event.name)
    master = host.forwarding_master if host is not None else None
    if host is None or host.draining is None or master is None or master.pid != event.pid:
        return
    idle = event.sessions == event.connections == 0
    since = host.draining.idle_at if host.draining.idle_at is not None else context.now
    context.put(
        host,
        draining=replace(
            host.draining,
            sessions=event.sessions,
            connections=event.connections,
            counted_at=context.now,
            idle_at=since if idle else None,
        ),
    )


def ended(context: Context, host: Host, event: MasterEnded) -> None:
    """Note that a draining master ended: with its last session, because of the network, or because we killed it."""
    if host.draining is None:
        return
    if host.draining.roamed:
        earlier_inner.master_ended(context, host, event)
        return
    killed = event.pid in host.killing
    failure = event.failure.kind if event.failure is not None else None
    evidence = Evidence.of(pid=event.pid, killed=killed, failure=failure)
    owner = host.draining.owner
    if host.draining.beside is not None:
        if killed:
            context.because(owner, 0, "beside-ended", evidence)
        context.forget(host.name)
        return
    context.because(owner, 0, "drained", evidence)
    context.publish("drained", owner, evidence, pid=event.pid, killed=killed)
    context.forget(host.name)


def forget_beside(context: Context, pid: int) -> None:
    """Forget an ssh that was found beside a master, because it became a master itself."""
    for name in context.names:
        host = context.get(name)
        if host is None or host.draining is None or host.draining.beside is None or host.master is None:
            continue
        if host.master.pid == pid:
            context.forget(name)


def count(context: Context, names: tuple[str, ...]) -> None:
    """Count what the draining masters of these hosts carry. Without names, count for all hosts."""
    for name in context.names:
        host = context.get(name)
        master = host.forwarding_master if host is not None else None
        if host is None or host.draining is None or master is None or host.draining.beside is not None:
            continue
        if not names or host.draining.owner in names:
            context.do(CountCarried(name, master))


def end_all(context: Context, owner: str) -> None:
    """End the draining masters of a host, because the user wants the host down."""
    for host in context.state.draining(owner):
        end_draining(context, host)


def _carries(draining: Draining) -> Evidence:
    return Evidence.of(sessions=draining.sessions, connections=draining.connections)
