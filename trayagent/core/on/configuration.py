"""Handles a changed configuration: hosts that were added, changed or removed; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.events import Configured
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host, LoginHistory, Wish
from trayagent.core.facts.time_constants import NEVER
from trayagent.core.on.forwards import without_configured
from trayagent.core.on.network_change import forget_failure
from trayagent.core.on.removed_names import unname
from trayagent.core.policy.begin_attempt import give_up_attempt, publish_given_up, request_resolve
from trayagent.core.policy.logins.when_to_retry import with_new_credentials
from trayagent.core.policy.standby import retried
from trayagent.core.policy.wanted_connection import wanted


def configured(context: Context, event: Configured) -> None:
    """Apply the configuration. A host whose configuration did not change is left alone."""
    first = not context.state.vpns and not context.state.hosts
    context.change(
        vpns=event.vpns,
        adopt=event.adopt,
        keep_while_offline_s=event.keep_while_offline_s,
        learn_vpn=event.learn_vpn,
        end_beside=event.end_beside,
        mptcp=event.mptcp,
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
                        refused=left.login.refused,
                        refused_by_jump=left.login.refused_by_jump,
                        refusing_key=left.login.refusing_key,
                        refused_elsewhere=left.login.refused_elsewhere,
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
        context.publish(
            "configuration-changed", evidence=Evidence.of(hosts=len(event.wishes), vpns=len(event.vpns))
        )


def _new_wish(context: Context, host: Host, wish: Wish) -> None:
    forwards_changed = host.wish.forwards != wish.forwards
    retry = with_new_credentials(host, context.now) if host.retry.stopped else host.retry
    start = replace(host.roaming_start, reason=None, retry_at=NEVER)
    before, host = (
        host,
        context.put(host, wish=wish, retry=retry, unnamed=False, roaming_start=start, standby=retried(host)),
    )
    if wanted(before) and not wanted(host):
        publish_given_up(context, before, "configuration")
    if forwards_changed:
        host = context.put(host, forwards=host.forwards.request())
    host = without_configured(context, host)
    if before.wish.bounds != wish.bounds:
        context.do(Remember(host.name))
    forget_failure(context, host)
    if host.resolved is None or before.unnamed:
        request_resolve(context, host.name)


def _unlisted(context: Context, host: Host) -> None:
    """Treat the master of a host that left the configuration as adopted, and close the configured forwards.

    The host's `vpn` and `networks` still apply. The user never allowed the agent to resolve its name on other networks.
    """
    if (host.master is None and host.roaming is None) or not context.state.adopt:
        give_up_attempt(context, host)
        publish_given_up(context, host, "configuration")
        for name in (host.name, *(h.name for h in context.state.draining(host.name))):
            context.forget(name)  # draining masters end on their own
        return
    left = Wish(vpn=host.wish.vpn, networks=host.wish.networks)
    host = context.put(host, wish=left, forwards=host.forwards.request())
    context.do(Remember(host.name))
    if host.name_removed:  # the last answer of `ssh -G` is about another server than the master's
        unname(context, replace(host, resolved=None, hop=None, later_hops=()))
