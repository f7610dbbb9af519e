"""Handles the inner masters that lost the user's control path, and drain with their outer master; pure.

The user removed the control socket, or ran `ssh -O stop`. Then another ssh became the master there. The earlier inner
master is a host of its own, as each draining master is. Its link moves to the outer masters of its owner
(`core/policy/carry_earlier_inner.py`).
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import CountCarried, Kill
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.events import MasterEnded
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming import Roaming, RoamingStart
from trayagent.core.facts.roaming_events import RoamingAttached, RoamingAttachFailed, RoamingFound
from trayagent.core.facts.time_constants import RETRY_FIRST_S, RETRY_MAX_S
from trayagent.core.on.adopt_master import install
from trayagent.core.policy.carry_earlier_inner import holder_of_outer, note_need
from trayagent.core.policy.logins.doubling_pause import doubling
from trayagent.core.policy.probe_again import probe_again


def begin(context: Context, owner: Host, roaming: Roaming) -> Host:
    """Let the inner master of a host drain with its outer master. Return the host, which now has no master."""
    _drains(context, owner, roaming, owner.master, made_at=roaming.began_at)
    evidence = Evidence.of(pid=roaming.inner.pid, control_path="taken")
    context.because(owner.name, 0, "draining", evidence)
    return context.put(
        owner, master=None, path=None, roaming=None, roaming_start=RoamingStart(), outer_path=None
    )


def found(context: Context, owner: Host, event: RoamingFound) -> None:
    """Let an inner master drain that lost the control path, and that an earlier agent left."""
    context.put(owner)
    roaming = Roaming(
        event.inner,
        carrier=event.outer.pid if event.outer is not None else None,
        address=event.address,
        port=event.port,
    )
    own = event.outer
    if own is not None and context.state.host_of_pid(own.pid) is not None:
        own = None  # it carries several earlier inner masters, and ends with the last one
    _drains(context, owner, roaming, own, made_at=context.now)
    context.because(owner.name, 0, "draining", Evidence.of(pid=event.inner.pid))


def _drains(context: Context, owner: Host, roaming: Roaming, outer: Master | None, *, made_at: float) -> None:
    inner = replace(roaming.inner, control_path="")  # no client can reach it any more
    host = Host(
        f"{owner.name} draining {inner.pid}",
        Wish(vpn=owner.wish.vpn, networks=owner.wish.networks),
        resolved=owner.resolved,
        hop=owner.hop,
        unnamed=True,
        addresses=owner.addresses,
        reached=owner.reached,
        roaming=replace(roaming, inner=inner, attaching=None, retry_at=context.now),
        # It stays: what made it lose its path did not make it stop at its last session.
        draining=Draining(owner.name, made_at, counted_at=context.now, stays=True, roamed=True),
    )
    context.put(install(context, host, outer, proven=True) if outer is not None else host)
    context.do(CountCarried(host.name, inner))


def attached(context: Context, host: Host, roaming: Roaming, event: RoamingAttached) -> None:
    """Note which master carries the link, and end the earlier outer master, which carries nothing any more."""
    roaming = replace(roaming, carrier=event.pid, attaching=None, away_since=None, failed=0, elsewhere=None)
    host = context.put(host, roaming=roaming)
    context.because(host.name, 0, "attached", Evidence.of(outer=event.pid, sessions=event.sessions))
    if host.master is not None and host.master.pid != event.pid:
        _end_outer(context, host, host.master)


def attach_failed(context: Context, host: Host, roaming: Roaming, event: RoamingAttachFailed) -> None:
    """Attach again after a pause. On another machine, wait for the next outer master."""
    failed = roaming.failed + 1
    elsewhere = event.pid if event.code == "other-machine" else roaming.elsewhere
    at = context.now + doubling(RETRY_FIRST_S, failed, RETRY_MAX_S)
    context.put(
        host, roaming=replace(roaming, attaching=None, failed=failed, retry_at=at, elsewhere=elsewhere)
    )
    context.because(host.name, 0, "attach-failed", Evidence.of(outer=event.pid, code=event.code))


def stalled(context: Context, host: Host) -> None:
    """Doubt the master that carries the link, because data of the sessions was not acknowledged."""
    roaming, draining = host.roaming, host.draining
    if roaming is None or draining is None or roaming.carrier is None:
        return
    owner = context.with_master(draining.owner, roaming.carrier)
    if owner is not None:
        probe_again(context, owner, older_s=0.0)
    elif (holder := holder_of_outer(context, host, draining)) is not None:
        context.put(holder, doubt=replace(holder.doubt, silent_at=context.now))


def master_ended(context: Context, host: Host, event: MasterEnded) -> None:
    """Note that the inner master or the outer one ended."""
    if host.roaming is not None and host.roaming.inner.pid == event.pid:
        ended(context, host, event.pid, event.failure.kind if event.failure is not None else "")
        return
    if host.master is None or host.master.pid != event.pid:
        return
    if host.roaming is None:
        context.forget(host.name)
        return
    carrier = None if host.roaming.carrier == event.pid else host.roaming.carrier
    context.put(
        host,
        master=None,
        path=None,
        killing=host.killing - {event.pid},
        roaming=replace(host.roaming, carrier=carrier),
    )


def ended(context: Context, host: Host, pid: int, why: str) -> None:
    """Note that the inner master ended, and end the outer master. The owner's forwards may need its ports."""
    roaming, draining = host.roaming, host.draining
    if roaming is None or draining is None:
        return
    evidence = Evidence.of(pid=pid, killed=roaming.ending, failure=why or None)
    context.because(draining.owner, 0, "drained", evidence)
    host = context.put(host, roaming=None)
    if host.master is not None:
        _end_outer(context, host, host.master)
    else:
        context.forget(host.name)
    note_need(context, draining.owner)
    owner = context.get(draining.owner)
    if owner is not None and owner.master is not None:
        context.put(owner, forwards=owner.forwards.request())


def _end_outer(context: Context, host: Host, outer: Master) -> None:
    """End the outer master of an earlier inner one. If it carries another one, leave it to that."""
    host, left = leave_outer(context, host)
    if not left:
        if outer.pid not in host.killing:
            context.put(host, killing=host.killing | {outer.pid})
            context.do(Kill(host.name, outer))
    elif host.roaming is None:
        context.forget(host.name)


def leave_outer(context: Context, host: Host) -> tuple[Host, bool]:
    """Leave a host's outer master to an earlier inner master that it carries. Return the host and whether there is one.

    That one becomes the outer master's only user, so it decides when the outer master ends.
    """
    outer = host.master
    heir = _carried(context, host, outer) if outer is not None else None
    if heir is None or outer is None:
        return host, False
    context.put(heir, master=outer, path=host.path, network=host.network, doubt=host.doubt)
    return context.put(host, master=None, path=None), True


def _carried(context: Context, host: Host, outer: Master) -> Host | None:
    """Return another earlier inner master of the same owner that this outer master carries, None if there is none."""
    owner = host.draining.owner if host.draining is not None else host.name
    others = (other for other in context.state.draining(owner) if other.name != host.name)
    return next((other for other in others if _is_on(other, outer)), None)


def _is_on(host: Host, outer: Master) -> bool:
    """Report whether this outer master carries the link, or is about to and no other one does."""
    roaming = host.roaming
    if roaming is None:
        return False
    return roaming.carrier == outer.pid or (host.master is None and roaming.attaching == outer.pid)
