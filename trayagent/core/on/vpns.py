"""VPNs came, went, or want the user; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.context import Turn
from trayagent.core.facts.actions import LookAt
from trayagent.core.facts.events import ManagerSaid, SignInFailed
from trayagent.core.vpn_state import lives, shown_vpn, sign_in_due


def manager_said(turn: Turn, event: ManagerSaid) -> None:
    """The network manager speaks of VPNs and portals; what follows is seen when the VPNs are settled."""
    turn.change(manager=event.facts)


def sign_in_failed(turn: Turn, event: SignInFailed) -> None:
    """A sign-in that the user began came to nothing: its last word belongs to what the VPN is waiting for."""
    life = turn.state.vpn_lives.get(event.vpn)
    if life is not None:
        turn.change(vpn_lives={**turn.state.vpn_lives, event.vpn: replace(life, sign_in_said=event.said)})


def settle_vpns(turn: Turn) -> None:
    """Note which VPNs are up, missed, or want the user; and say so when that begins."""
    if not turn.state.vpns:
        return
    turn.change(vpn_lives=lives(turn.state, turn.now))
    asking = {v.name for v in turn.state.vpns if shown_vpn(turn.state, v.name, turn.now) == "needs-sign-in"}
    for name in sorted(asking - turn.state.sign_ins):
        turn.tell("sign-in-needed", reason=f"vpn={name}", vpn=name)
    turn.change(sign_ins=frozenset(asking))
    dues = [sign_in_due(turn.state, v.name) for v in turn.state.vpns]
    turn.do(LookAt("", min((d for d in dues if d is not None and d > turn.now), default=None)))
