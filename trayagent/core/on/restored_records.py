"""Restores what an earlier agent stored about a host; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.events import Remembered
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.begin_attempt import request_resolve
from trayagent.core.policy.reached_networks import has_public_address


def remembered(context: Context, event: Remembered) -> None:
    """Restore what an earlier agent stored about a host."""
    known = context.get(event.name)
    host = known or Host(event.name)
    if not host.wish.listed:  # a listed host gets `vpn` and `networks` from its table
        host = replace(host, wish=replace(host.wish, vpn=event.vpn, networks=event.networks))
    paused = context.now + event.paused_for_s if event.paused_for_s is not None else None
    worked = (
        context.now - event.login_worked_ago_s
        if event.login_worked_ago_s is not None
        else host.login.worked_at
    )
    refusal = event.refusal
    if refusal is not None:  # a new agent must not repeat the refused login, as accounts get locked
        due = None if refusal.retry_in_s is None else context.now + refusal.retry_in_s
        retry = replace(
            host.retry,
            at=due,
            kind=refusal.kind,
            count=1,
            failed_at=context.now,
            by_jump=refusal.by_jump,
            proven=refusal.proven,
            network=refusal.network,
            source=refusal.source,
        )
        host = replace(host, retry=retry, problem=refusal.problem)
    # Ignore a learned VPN for public addresses, which earlier versions stored.
    learns = context.state.learn_vpn and not has_public_address(event.addresses)
    context.put(
        host,
        login=replace(
            host.login,
            refused=tuple(context.now - ago_s for ago_s in event.refused_ago_s),
            refused_by_jump=tuple(context.now - ago_s for ago_s in event.refused_by_jump_ago_s),
            refusing_key=event.refusing_key,
            refused_elsewhere=tuple((context.now - ago_s, key) for ago_s, key in event.refused_elsewhere),
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
        mptcp=event.mptcp,
        # The forwards of a living master are newer than the record.
        forwards=host.forwards if host.masters else replace(host.forwards, by_hand=event.by_hand),
        lost=event.lost and not event.held,
    )
    if event.lost:
        context.because(event.name, 1, "ended", Evidence.of(agent="none", lost="yes"))
    if host.wish.bounds != (event.vpn, event.networks):
        context.do(Remember(host.name))
    if known is None and event.lost:
        request_resolve(context, host.name)  # for an unlisted host, no other event runs `ssh -G`
