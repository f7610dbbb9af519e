"""Handles changes of the network and of the configuration, wakes from sleep, and stored facts; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.context import Context
from trayagent.core.display_state import NEEDS_USER, STATE_OF
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.attempts import Retry
from trayagent.core.facts.events import Configured, NetworkRead, Remembered, Woke
from trayagent.core.facts.hosts import Host, LoginHistory, Wish
from trayagent.core.facts.masters import MasterPath
from trayagent.core.facts.network import Network, Touched
from trayagent.core.network_changes import NetworkDelta, compare, current_path, master_network, path_change
from trayagent.core.on.resolved import follow_answer
from trayagent.core.policy.attempts import give_up_attempt, publish_given_up, request_resolve
from trayagent.core.policy.reached_networks import has_public_address, in_tunnel, note_reached
from trayagent.core.policy.retry import (
    ONCE_KINDS,
    is_unproven,
    rearmable,
    rearmed,
    refusable_at,
    with_new_credentials,
)
from trayagent.core.policy.wanted import wanted
from trayagent.core.usable_routes import UsableRoute, carriers, usable_route


def network_read(context: Context, event: NetworkRead) -> None:
    """Compare the new snapshot with the last one, and mark every master whose path changed as suspect."""
    old = context.state.snapshot
    new = replace(event.snapshot, carriers=carriers(old, event.snapshot))
    delta = compare(old, new, event.touched)
    touched = bool(delta) or bool(event.touched)
    context.change(snapshot=new, network_at=context.now if touched else context.state.network_at)
    if delta:
        context.publish("network-changed", reason=delta.reason)
    for name in context.names:
        host = context.get(name)
        if host is None:
            continue
        host = follow_answer(context, host)
        if host.master is not None:
            _master_path(context, host, delta, event.touched)
        else:
            _rearm_where_moved(context, host)


def _master_path(context: Context, host: Host, delta: NetworkDelta, touched: Touched) -> None:
    now, new = context.now, context.state.snapshot
    path = current_path(host, new)
    if path is None:
        return
    network = master_network(host, path, new)
    why = path_change(host, path, network, touched)
    if not why and delta.tunnels_gone and in_tunnel(host, context):
        why = "other_tunnel=gone"  # that tunnel may have carried this one, which no route shows
    wary = delta.underlay_changed and in_tunnel(host, context)
    # A path that was never seen before counts as a change only if it is already broken.
    changed = bool(why) if host.path is not None else not _whole(path)
    left = host.path_here if changed and not host.suspect else host.doubt.left
    settled = host.path is not None and host.path.tentative and not path.tentative
    host = context.put(
        host,
        path=path,
        doubt=replace(
            host.doubt,
            left=left,
            # A probe that was sent while the address was tentative is repeated now that the address can be used.
            probe=None if settled else host.doubt.probe,
            changed_at=now if changed else host.doubt.changed_at,
            wary_at=now if wary and path.present else host.doubt.wary_at,
            gone_at=None if path.present else (host.doubt.gone_at if host.doubt.gone_at is not None else now),
        ),
        network=_better_known(host.network, network),
    )
    if not host.suspect:
        note_reached(context, host)
        return
    _rearm_where_moved(context, host)
    if changed or wary:
        context.because(host.name, 0, "suspect", f"{why or 'underlay=changed'} path={_words(host)}")


def _better_known(old: Network | None, new: Network | None) -> Network | None:
    """Return the current network, or the old one if it says more about the same network (gateway not yet resolved)."""
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
    """Bring a retry forward when the host's route changed, because a back-off belongs to the path on which it arose."""
    route = usable_route(host, context.state.snapshot)
    if route is None:
        return
    # Retry once on each new network after these failures: another machine answered, nothing proved who answered, or a
    # ProxyCommand failed for its own reason.
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
    """Report whether another machine may have answered in the server's place: the host was not reached from there."""
    not_here = host.problem is not None and host.problem.code == "not-here"
    return not_here or (host.retry.kind == "host-key-changed" and not host.reached.networks)


def forget_failure(context: Context, host: Host) -> None:
    """Clear the error of a failed manual attempt, unless only the user can resolve it."""
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
        route = usable_route(host, context.state.snapshot)
        network = route.network if route is not None else None
        if rearmable(host.retry, now):
            host = context.put(host, retry=rearmed(host.retry, now, network))
        if rearmable(host.bare_retry, now):
            context.put(host, bare_retry=rearmed(host.bare_retry, now, network))


def configured(context: Context, event: Configured) -> None:
    """Apply the configuration. Only what changed is acted on."""
    first = not context.state.vpns and not context.state.hosts
    context.change(
        vpns=event.vpns,
        adopt=event.adopt,
        keep_while_offline_s=event.keep_while_offline_s,
        learn_vpn=event.learn_vpn,
    )
    for name, wish in event.wishes.items():
        host = context.get(name)
        if host is None:
            left = context.state.forgotten.get(name, Host(name))
            context.put(
                Host(
                    name,
                    wish,
                    login=LoginHistory(
                        refused=left.login.refused, refused_by_jump=left.login.refused_by_jump
                    ),
                )
            )
            request_resolve(context, name)
        elif host.wish != wish:
            _new_wish(context, host, wish)
    for name in context.names:
        host = context.get(name)
        if host is None or host.draining is not None:
            continue
        if name not in event.wishes and (host.wish.listed or not event.adopt):
            _unlisted(context, host)
    for name in () if event.learn_vpn else context.names:
        host = context.get(name)
        if host is not None and host.reached.learned_vpn is not None:
            context.put(host, reached=replace(host.reached, learned_vpn=None))
            context.do(Remember(name))
    if not first:
        context.publish("configuration-changed", reason=f"hosts={len(event.wishes)} vpns={len(event.vpns)}")


def _new_wish(context: Context, host: Host, wish: Wish) -> None:
    forwards_changed = host.wish.forwards != wish.forwards
    retry = with_new_credentials(host, context.now) if host.retry.stopped else host.retry
    before, host = host, context.put(host, wish=wish, retry=retry, unnamed=False)
    if wanted(before) and not wanted(host):
        publish_given_up(context, before, "user=configuration")
    if forwards_changed:
        host = context.put(host, forwards=host.forwards.request())
    if _bounds(before.wish) != _bounds(wish):
        context.do(Remember(host.name))
    forget_failure(context, host)
    if host.resolved is None:
        request_resolve(context, host.name)


def _bounds(wish: Wish) -> tuple[str | None, tuple[str, ...]]:
    """Return the limits on where the host may be connected. They hold even after it leaves the configuration."""
    return wish.vpn, wish.networks


def _unlisted(context: Context, host: Host) -> None:
    """Treat the master of a host that left the configuration as adopted, and close the forwards that we opened.

    The limits on where it may be connected still hold, because the user never allowed its name to be resolved
    elsewhere.
    """
    if host.master is None or not context.state.adopt:
        give_up_attempt(context, host)
        publish_given_up(context, host, "user=configuration")
        for name in (host.name, *(h.name for h in context.state.draining(host.name))):
            context.forget(name)  # what drains ends on its own
        return
    left = Wish(vpn=host.wish.vpn, networks=host.wish.networks)
    context.put(host, wish=left, forwards=host.forwards.request())
    context.do(Remember(host.name))


def remembered(context: Context, event: Remembered) -> None:
    """Restore what an earlier agent stored about a host."""
    known = context.get(event.name)
    host = known or Host(event.name)
    if not host.wish.listed:  # otherwise its table in the configuration says it
        host = replace(host, wish=replace(host.wish, vpn=event.vpn, networks=event.networks))
    paused = context.now + event.paused_for_s if event.paused_for_s is not None else None
    worked = (
        context.now - event.login_worked_ago_s
        if event.login_worked_ago_s is not None
        else host.login.worked_at
    )
    refusal = event.refusal
    if refusal is not None:  # a restart is no reason to log in again: accounts get locked
        due = None if refusal.retry_in_s is None else context.now + refusal.retry_in_s
        retry = replace(
            host.retry,
            at=due,
            kind=refusal.kind,
            count=1,
            failed_at=context.now,
            by_jump=refusal.by_jump,
        )
        host = replace(host, retry=retry, problem=refusal.problem)
    # Earlier versions learned a VPN for public addresses, too.
    learns = context.state.learn_vpn and not has_public_address(event.addresses)
    context.put(
        host,
        login=replace(
            host.login,
            refused=tuple(context.now - ago_s for ago_s in event.refused_ago_s),
            refused_by_jump=tuple(context.now - ago_s for ago_s in event.refused_by_jump_ago_s),
            worked_at=worked,
            kind=event.login,
            host_key=event.host_key,
        ),
        killing=host.killing | event.killing,
        user=replace(host.user, held=event.held, paused_until=paused),
        reached=replace(
            host.reached, networks=event.reached, learned_vpn=event.learned_vpn if learns else None
        ),
        addresses=event.addresses,
        lost=event.lost and not event.held,
    )
    if event.lost:
        context.because(event.name, 1, "ended", "agent=none lost=yes")
    if _bounds(host.wish) != (event.vpn, event.networks):
        context.do(Remember(host.name))
    if known is None and event.lost:
        request_resolve(context, host.name)  # no configuration lists it, so nothing else would run it
