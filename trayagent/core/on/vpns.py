"""Handles VPNs that come up, go down, or need the user; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import SetTimer
from trayagent.core.facts.events import ManagerReported, SignInFailed
from trayagent.core.facts.evidence import Evidence
from trayagent.core.vpn_state import observed_vpns, sign_in_due, vpn_display_state


def manager_reported(context: Context, event: ManagerReported) -> None:
    """Store the network manager's report. `advance_vpns` evaluates it."""
    context.change(manager=event.facts)


def sign_in_failed(context: Context, event: SignInFailed) -> None:
    """Store why the user's sign-in failed. Status and menu show it with the VPN."""
    observed = context.state.vpn_observations.get(event.vpn)
    if observed is not None:
        context.change(
            vpn_observations={
                **context.state.vpn_observations,
                event.vpn: replace(observed, sign_in_failure=event.error),
            }
        )


def advance_vpns(context: Context) -> None:
    """Note which VPNs are up, missed, or need the user. Report each VPN that begins to need the user."""
    if not context.state.vpns:
        return
    observed = observed_vpns(context.state, context.now)
    if observed != context.state.vpn_observations:
        context.change(vpn_observations=observed)
    needing_user = {
        v.name
        for v in context.state.vpns
        if vpn_display_state(context.state, v.name, context.now) == "needs-sign-in"
    }
    for name in sorted(needing_user - context.state.sign_ins):
        context.publish("sign-in-needed", evidence=Evidence.of(vpn=name), vpn=name)
    if needing_user != context.state.sign_ins:
        context.change(sign_ins=frozenset(needing_user))
    dues = [sign_in_due(context.state, v.name) for v in context.state.vpns]
    context.do(SetTimer("", min((d for d in dues if d is not None and d > context.now), default=None)))
