"""The network, sleep and the configuration changed; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.context import Turn
from trayagent.core.display_state import NEEDS_USER, STATE_OF
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.events import Configured, NetworkRead, Remembered, Woke
from trayagent.core.facts.hosts import Host, MasterPath, Place, Retry, Wish
from trayagent.core.facts.network import Touched
from trayagent.core.network_changes import NetworkDelta, compare, current_path, master_place, path_change
from trayagent.core.on.resolved import follow_answer
from trayagent.core.policy.attempts import ask_ssh, give_up_attempt, tell_given_up
from trayagent.core.policy.reached_networks import has_public_address, in_tunnel, note_reached
from trayagent.core.policy.retry import (
    ONCE_KINDS,
    rearmable,
    rearmed,
    refusable_at,
    said_by_anybody,
    with_new_credentials,
)
from trayagent.core.policy.wanted import wanted
from trayagent.core.routes import Way, carriers, way_for


def network_read(turn: Turn, event: NetworkRead) -> None:
    """Compare the new snapshot with the last one, and mark every master whose path changed."""
    old = turn.state.network
    new = replace(event.snapshot, carriers=carriers(old, event.snapshot))
    delta = compare(old, new, event.touched)
    touched = bool(delta) or bool(event.touched)
    turn.change(network=new, network_at=turn.now if touched else turn.state.network_at)
    if delta:
        turn.tell("network-changed", reason=delta.reason)
    for name in turn.names:
        host = turn.get(name)
        if host is None:
            continue
        host = follow_answer(turn, host)
        if host.master is not None:
            _master_path(turn, host, delta, event.touched)
        else:
            _rearm_where_moved(turn, host)


def _master_path(turn: Turn, host: Host, delta: NetworkDelta, touched: Touched) -> None:
    now, new = turn.now, turn.state.network
    path = current_path(host, new)
    if path is None:
        return
    place = master_place(host, path, new)
    why = path_change(host, path, place, touched)
    if not why and delta.tunnels_gone and in_tunnel(host, turn):
        why = "other_tunnel=gone"  # it may have carried this one, which no route tells
    wary = delta.underlay_changed and in_tunnel(host, turn)
    # A path that is seen for the first time is a change only where it is already broken.
    changed = bool(why) if host.path is not None else not _whole(path)
    settled = host.path is not None and host.path.tentative and not path.tentative
    host = turn.put(
        host,
        path=path,
        # What was asked while nothing could be sent is asked again, now that it can.
        probe=None if settled else host.probe,
        place=_better_known(host.place, place),
        changed_at=now if changed else host.changed_at,
        wary_at=now if wary and path.present else host.wary_at,
        gone_at=None if path.present else (host.gone_at if host.gone_at is not None else now),
    )
    if not host.suspect:
        note_reached(turn, host)
        return
    _rearm_where_moved(turn, host)
    if changed or wary:
        turn.because(host.name, 0, "suspect", f"{why or 'underlay=changed'} path={_words(host)}")


def _better_known(old: Place | None, new: Place | None) -> Place | None:
    """Return the place of now; the old one where it says more of the same (a gateway not yet resolved)."""
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


def _rearm_where_moved(turn: Turn, host: Host) -> None:
    """A back-off belongs to the path on which it was earned."""
    way = way_for(host, turn.state.network)
    if way is None:
        return
    # Another machine answered, nothing proved who did, or a ProxyCommand failed for a reason of its own: once more
    # at each new place.
    once = host.retry.kind in ONCE_KINDS or (host.problem is not None and host.problem.code == "not-here")
    anybody = said_by_anybody(host.retry)
    elsewhere = host.retry.at is None and (once or anybody)
    if (rearmable(host.retry, turn.now) or elsewhere) and _moved(host.retry, way):
        bounded = anybody or host.retry.kind == "proxy-login"
        at = refusable_at(host, turn.now) if bounded else turn.now
        host = turn.put(host, retry=rearmed(host.retry, at, way.place))
    if rearmable(host.knock, turn.now) and _moved(host.knock, way):
        host = turn.put(host, knock=rearmed(host.knock, turn.now, way.place))
    if _moved(host.retry, way):
        forget_failure(turn, host)


def forget_failure(turn: Turn, host: Host) -> None:
    """What the user's own attempt failed by is no news any more, unless only they can end it."""
    needs_user = host.problem is not None and STATE_OF.get(host.problem.code) in NEEDS_USER
    if host.master is None and host.attempt is None and not wanted(host) and not needs_user:
        turn.put(host, problem=None)


def _moved(retry: Retry, way: Way) -> bool:
    return way.place != retry.place or way.source != retry.source


def woke(turn: Turn, event: Woke) -> None:
    """Every master is in doubt after a sleep, and every back-off may be over."""
    now = turn.now
    turn.change(woke_at=now)
    turn.tell("resumed", reason="wake", asleep_s=event.asleep_s)
    for name in turn.names:
        host = turn.get(name)
        if host is None:
            continue
        if host.master is not None:
            host = turn.put(host, wary_at=now)
        way = way_for(host, turn.state.network)
        place = way.place if way is not None else None
        if rearmable(host.retry, now):
            host = turn.put(host, retry=rearmed(host.retry, now, place))
        if rearmable(host.knock, now):
            turn.put(host, knock=rearmed(host.knock, now, place))


def configured(turn: Turn, event: Configured) -> None:
    """Take over what the user wrote; only what changed is done again."""
    first = not turn.state.vpns and not turn.state.hosts
    turn.change(
        vpns=event.vpns,
        adopt=event.adopt,
        keep_while_offline_s=event.keep_while_offline_s,
        learn_vpn=event.learn_vpn,
    )
    for name, wish in event.wishes.items():
        host = turn.get(name)
        if host is None:
            turn.put(Host(name, wish))
            ask_ssh(turn, name)
        elif host.wish != wish:
            _new_wish(turn, host, wish)
    for name in turn.names:
        host = turn.get(name)
        if host is not None and name not in event.wishes and (host.wish.listed or not event.adopt):
            _unlisted(turn, host)
    for name in () if event.learn_vpn else turn.names:
        host = turn.get(name)
        if host is not None and host.learned_vpn is not None:
            turn.put(host, learned_vpn=None)
            turn.do(Remember(name))
    if not first:
        turn.tell("configuration-changed", reason=f"hosts={len(event.wishes)} vpns={len(event.vpns)}")


def _new_wish(turn: Turn, host: Host, wish: Wish) -> None:
    forwards_changed = host.wish.forwards != wish.forwards
    retry = with_new_credentials(host, turn.now) if host.retry.at is None else host.retry
    before, host = host, turn.put(host, wish=wish, retry=retry, stranger=False)
    if wanted(before) and not wanted(host):
        tell_given_up(turn, before, "user=configuration")
    if forwards_changed:
        host = turn.put(host, forwards_at=turn.now)
    if _bounds(before.wish) != _bounds(wish):
        turn.do(Remember(host.name))
    forget_failure(turn, host)
    if host.resolved is None:
        ask_ssh(turn, host.name)


def _bounds(wish: Wish) -> tuple[str | None, tuple[str, ...]]:
    """Return where the host may be connected: what must hold even if it leaves the configuration."""
    return wish.vpn, wish.networks


def _unlisted(turn: Turn, host: Host) -> None:
    """Treat the master of a host that left the configuration as found, and close the forwards that we opened.

    Where it may be connected still holds: nobody said that its name may be looked up anywhere.
    """
    if host.master is None or not turn.state.adopt:
        give_up_attempt(turn, host)
        tell_given_up(turn, host, "user=configuration")
        turn.forget(host.name)
        return
    left = Wish(vpn=host.wish.vpn, networks=host.wish.networks)
    turn.put(host, wish=left, forwards_at=turn.now)
    turn.do(Remember(host.name))


def remembered(turn: Turn, event: Remembered) -> None:
    """Take up what an earlier agent knew of a host."""
    known = turn.get(event.name)
    host = known or Host(event.name)
    if not host.wish.listed:  # a table says it itself
        host = replace(host, wish=replace(host.wish, vpn=event.vpn, networks=event.networks))
    paused = turn.now + event.paused_for_s if event.paused_for_s is not None else None
    worked = turn.now - event.login_worked_ago_s if event.login_worked_ago_s is not None else host.worked_at
    refusal = event.refusal
    if refusal is not None:  # a new agent is no reason to ask again: accounts get locked
        due = None if refusal.retry_in_s is None else turn.now + refusal.retry_in_s
        retry = replace(host.retry, at=due, kind=refusal.kind, count=1, failed_at=turn.now)
        host = replace(host, retry=retry, problem=refusal.problem)
    # An older agent learned a VPN for public addresses, too.
    learns = turn.state.learn_vpn and not has_public_address(event.addresses)
    turn.put(
        host,
        refused=tuple(turn.now - ago_s for ago_s in event.refused_ago_s),
        killing=host.killing | event.killing,
        held=event.held,
        paused_until=paused,
        reached=event.reached,
        learned_vpn=event.learned_vpn if learns else None,
        addresses=event.addresses,
        worked_at=worked,
        login=event.login,
        lost=event.lost and not event.held,
        host_key=event.host_key,
    )
    if event.lost:
        turn.because(event.name, 1, "ended", "agent=none lost=yes")
    if _bounds(host.wish) != (event.vpn, event.networks):
        turn.do(Remember(host.name))
    if known is None and event.lost:
        ask_ssh(turn, host.name)  # no configuration lists it: nobody else would
