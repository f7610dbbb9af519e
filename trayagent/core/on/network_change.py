"""Handles changes of the network, and wakes from sleep; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.display_state import NEEDS_USER, STATE_OF
from trayagent.core.facts.attempt import Retry
from trayagent.core.facts.events import NetworkRead, Started, Woke
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import MasterPath, PathHere
from trayagent.core.facts.network import Network, Touched
from trayagent.core.facts.state import Past
from trayagent.core.network_changes import NetworkDelta, compare, current_path, master_network, path_change
from trayagent.core.on.resolve_results import follow_answer
from trayagent.core.policy.attach_by_port import doubt_port
from trayagent.core.policy.logins.when_to_retry import (
    ONCE_KINDS,
    is_unproven,
    rearmable,
    rearmed,
    refusable_at,
)
from trayagent.core.policy.mptcp import note_tunnel
from trayagent.core.policy.reached_networks import in_tunnel, note_reached
from trayagent.core.policy.shared_connection import judging_owner
from trayagent.core.policy.wanted_connection import wanted
from trayagent.core.tunnel_underlay import carriers
from trayagent.core.usable_routes import UsableRoute, usable_route

# One move makes up to four. Each is kept until the search for ssh processes that the move starts has ended.
_PAST_KEPT = 8


def network_read(context: Context, event: NetworkRead) -> None:
    """Compare the new snapshot with the last one, and mark every master whose path changed as suspect."""
    old = context.state.snapshot
    new = replace(event.snapshot, carriers=carriers(old, event.snapshot))
    delta = compare(old, new, event.touched)
    touched = bool(delta) or bool(event.touched)
    changed_at = context.now if touched else context.state.network_at
    past = context.state.past
    if touched:
        past = (Past(context.state.network_at, old), *past)[:_PAST_KEPT]
    context.change(snapshot=new, network_at=changed_at, read_at=context.now, past=past)
    if delta:
        context.publish("network-changed", evidence=delta.evidence, online=bool(new.default_routes))
    for name in context.names:
        host = context.get(name)
        if host is None:
            continue
        host = note_tunnel(context, follow_answer(context, host), old, new)
        host = doubt_port(context, host, event.touched)
        if judging_owner(host, context.state, context.now) is not None:
            continue  # `follow_owner` takes over the owner's path
        if host.master is not None:
            _master_path(context, host, delta, event.touched)
        else:
            _rearm_where_moved(context, host)


def started(context: Context, _event: Started) -> None:
    """Begin to make decisions. On another network, ignore unproven refusals that an earlier agent stored."""
    context.change(started=True)
    for name in context.names:
        host = context.get(name)
        if host is None or not is_unproven(host.retry) or host.retry.network is None:
            continue
        route = usable_route(host, context.state.snapshot)
        if route is not None and route.network.differs(host.retry.network):
            _rearm_where_moved(context, host)


def _master_path(context: Context, host: Host, delta: NetworkDelta, touched: Touched) -> None:
    now, new = context.now, context.state.snapshot
    path = current_path(host, new)
    if path is None:
        return
    network = master_network(host, path, new)
    why = path_change(host, path, network, touched)
    if not why and delta.tunnels_gone and in_tunnel(host, context):
        # The vanished tunnel may have carried the master's tunnel, and no route shows that.
        why = Evidence.of(other_tunnel="gone")
    wary = delta.underlay_changed and in_tunnel(host, context)
    # A master's first path counts as a change only if that path is already broken.
    changed = bool(why) if host.path is not None else not _whole(path)
    # If only silence caused the doubt, the master is still on the path on which it was last alive.
    leaves = changed and (not host.suspect or host.path_unchanged)
    left = host.path_here if leaves else host.doubt.left
    strayed = left is not None and host.suspect and host.doubt.strayed
    if changed and left is not None:
        strayed = strayed or not PathHere(path, network).certainly_same(left)
    address_usable_now = host.path is not None and host.path.tentative and not path.tentative
    host = context.put(
        host,
        path=path,
        doubt=replace(
            host.doubt,
            left=left,
            strayed=strayed,
            # Repeat a probe that was sent while the address was tentative, because the kernel did not send it.
            probe=None if address_usable_now else host.doubt.probe,
            changed_at=now if changed else host.doubt.changed_at,
            wary_at=now if wary and path.present else host.doubt.wary_at,
            gone_at=None if path.present else (host.doubt.gone_at if host.doubt.gone_at is not None else now),
        ),
        # After a change, an unresolved gateway may be that of another network with the same addresses.
        network=network if changed else _better_known(host.network, network),
    )
    if not host.suspect:
        note_reached(context, host)
        return
    _rearm_where_moved(context, host)
    if changed or wary:
        context.because(
            host.name, 0, "suspect", (why or Evidence.of(underlay="changed")).plus(path=_words(host))
        )


def _better_known(old: Network | None, new: Network | None) -> Network | None:
    """Return the current network. If its gateway is not resolved yet, return the old facts of the same network."""
    if new is None or (old is not None and not new.differs(old) and old.gateway and not new.gateway):
        return old
    return new


def _whole(path: MasterPath) -> bool:
    return path.present and path.carrier and path.egress is not None


def _words(host: Host) -> str:
    path = host.path
    if path is None or not path.present:
        return "absent"
    return f"{path.egress},{path.prefix},{path.gateway or 'link'},{'up' if path.carrier else 'down'}"


def _rearm_where_moved(context: Context, host: Host) -> None:
    """Bring a retry forward when the host's route changed, because each back-off belongs to one path."""
    route = usable_route(host, context.state.snapshot)
    if route is None:
        return
    # Retry once on each new network if another machine answered, if nothing proved who answered, or if a ProxyCommand
    # failed for its own reason.
    once = host.retry.kind in ONCE_KINDS or _another_answered(host)
    unproven = is_unproven(host.retry)
    elsewhere = host.retry.stopped and (once or unproven)
    if (rearmable(host.retry, context.now) or elsewhere) and _moved(host.retry, route):
        bounded = unproven or host.retry.kind == "proxy-login"
        at = refusable_at(host, context.now) if bounded else context.now
        host = context.put(host, retry=rearmed(host.retry, at, route.network))
    if rearmable(host.bare_retry, context.now) and _moved(host.bare_retry, route):
        host = context.put(host, bare_retry=rearmed(host.bare_retry, context.now, route.network))
    if _moved(host.retry, route):
        forget_failure(context, host)


def _another_answered(host: Host) -> bool:
    """Report whether another machine may have answered in the server's place, where the host was never reached."""
    return host.retry.kind == "host-key-changed" and not host.reached.at(host.retry.network)


def forget_failure(context: Context, host: Host) -> None:
    """Clear the error of a failed manual attempt, unless only the user can fix its cause."""
    needs_user = host.problem is not None and STATE_OF.get(host.problem.code) in NEEDS_USER
    if host.master is None and host.attempt is None and not wanted(host) and not needs_user:
        context.put(host, problem=None)


def _moved(retry: Retry, route: UsableRoute) -> bool:
    return route.network != retry.network or route.source != retry.source


def woke(context: Context, event: Woke) -> None:
    """Put every master in doubt after a sleep, and bring back-offs forward."""
    now = context.now
    context.change(woke_at=now)
    context.publish("resumed", reason="wake", asleep_s=event.asleep_s)
    for name in context.names:
        host = context.get(name)
        if host is None:
            continue
        if host.master is not None:
            host = context.put(host, doubt=replace(host.doubt, wary_at=now))
        host = doubt_port(context, host, Touched(lost=True))
        route = usable_route(host, context.state.snapshot)
        network = route.network if route is not None else None
        if rearmable(host.retry, now):
            host = context.put(host, retry=rearmed(host.retry, now, network))
        if rearmable(host.bare_retry, now):
            context.put(host, bare_retry=rearmed(host.bare_retry, now, network))
