"""Makes a living master the host's master, with its current path; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Forwards, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import NEVER
from trayagent.core.network_changes import current_path, master_network
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS, after_success
from trayagent.core.policy.reached_networks import note_reached
from trayagent.core.policy.shared_connection import as_guest
from trayagent.core.usable_routes import path_is_known


def install(context: Context, host: Host, master: Master, *, proven: bool, survivor: bool = False) -> Host:
    """Make `master` the host's master, with its current path.

    `survivor`: the master is older than the last refused login.
    """
    now = context.now
    master = as_guest(master, host, context.state.hosts)
    if host.roaming is None:
        _publish_ended(context, host)
    refused = host.retry.kind in REFUSED_KINDS
    # A master that an earlier agent left is older than the refusal. Any other master proves that a login worked.
    stays = refused and (survivor or (master.started_by_agent and not proven))
    host = replace(
        host,
        master=master,
        doubt=replace(
            host.doubt,
            probe=None,
            observed=None,
            kernel_move=None,
            wary_at=NEVER,
            left=None,
            strayed=False,
            proof_at=now if proven else NEVER,
            changed_at=NEVER if proven else now,
        ),
        lost=False,
        name_removed=host.name_removed and host.unnamed,
        problem=host.problem if stays else None,
        network=None,
        path=None,
        retry=host.retry if stays else after_success(host.retry, now),
        bare_retry=after_success(host.bare_retry, now),
        forwards=host.forwards if host.roaming is not None else _to_be_opened(host.forwards),
        agent_socket=None,
        addresses=with_peer(host, master),
    )
    # The last snapshot may lack the route look-up of this master. If so, the path is unknown until the next snapshot,
    # which follows at once.
    known = path_is_known(master, context.state.snapshot)
    path = current_path(host, context.state.snapshot) if known else None
    host = replace(host, path=path)
    if path is not None:
        absent = not path.present and bool(context.state.snapshot.interfaces)
        host = replace(
            host,
            network=master_network(host, path, context.state.snapshot),
            doubt=replace(
                host.doubt,
                gone_at=None if path.present else now,
                changed_at=now if absent else host.doubt.changed_at,
                # The network changed after the master's start, even if that start was a moment ago.
                proof_at=NEVER if absent else host.doubt.proof_at,
            ),
        )
    context.put(host)
    if refused and not stays:
        context.do(Remember(host.name))
    return note_reached(context, host) if proven else host


def move_along(context: Context, owner: Host, old: int | None, new: Master) -> None:
    """Give the owner's new master to the hosts that use its connection. `old`: the pid of the replaced one."""
    for name in context.names:
        host = context.get(name)
        if host is None or old is None or name == owner.name or host.draining is not None or host.unnamed:
            continue
        if host.master is None or host.master.pid != old or host.roaming is not None:
            continue
        install(context, host, new, proven=True)
        evidence = Evidence.of(pid=new.pid, owner=owner.name)
        context.because(name, 0, "adopt", evidence)
        context.publish("master-adopted", name, evidence, control_path=new.control_path)


def _to_be_opened(forwards: Forwards) -> Forwards:
    states = tuple(replace(f, state="opening", error=None) for f in forwards.states)
    return replace(forwards.request(), tried=0, owed=False, states=states, unknown=(), ended=forwards.unknown)


def _publish_ended(context: Context, host: Host) -> None:
    """Report the forwards that ended with the last master, because the agent does not know their targets."""
    for listen in host.forwards.unknown:
        context.publish("forward-ended", host.name, listen=listen)
        context.because(host.name, 0, "forward-ended", Evidence.of(listen=listen))


def with_peer(host: Host, master: Master) -> tuple[str, ...]:
    """Return the addresses that led to the host's first hop, newest first, at most 8. A name rarely has more.

    The peer of a master behind a ProxyCommand is not added, because it may be a proxy.
    """
    # If the jump host itself is behind a ProxyCommand, the connection leads to another port than the jump host's.
    jumped = _is_jumped(host) and host.hop is not None and host.hop.port == master.peer_port
    if master.peer is None or not (master.direct or jumped):
        return host.addresses
    return (master.peer, *(a for a in host.addresses if a != master.peer))[:8]


def _is_jumped(host: Host) -> bool:
    return host.resolved is not None and host.resolved.proxy_jump is not None
