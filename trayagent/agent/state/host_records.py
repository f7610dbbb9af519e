"""What the records say of one host: how it is written, and how a later agent reads it."""

from __future__ import annotations

import time

from trayagent.agent.state import refusal_records
from trayagent.agent.state.forward_records import read_forward, written
from trayagent.agent.state.machine_ids import boot_id
from trayagent.agent.state.record_types import KeptByHand, KeptHost, KeptKilling, KeptMptcp
from trayagent.core.facts.events import Remembered
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.mptcp import Mptcp
from trayagent.core.facts.network import Network
from trayagent.core.facts.time_constants import NEVER, REFUSED_WINDOW_S


def keep(kept: KeptHost, host: Host, wall: float, boot: str) -> None:
    """Update the record of a host. `wall` is added to monotonic times to get wall-clock times."""
    until = host.user.paused_until
    kept.held = host.user.held and not host.user.until_restart
    kept.paused_until = None if until is None else ("ever" if until == float("inf") else wall + until)
    kept.reached = sorted([p.egress, p.gateway, p.name] for p in host.reached.networks)
    kept.learned_vpn = host.reached.learned_vpn
    kept.vpn = host.wish.vpn
    kept.networks = list(host.wish.networks)
    kept.addresses = list(host.addresses)
    kept.worked_at = wall + host.login.worked_at if host.login.worked_at > 0 else None
    kept.login = host.login.kind
    kept.host_key = host.login.host_key
    kept.killing = KeptKilling(boot, sorted(host.killing))
    given = [written(forward) for forward in host.forwards.by_hand]
    kept.by_hand = KeptByHand(boot, given) if given else None
    kept.mptcp = _written(host.mptcp, wall)


def _written(known: Mptcp, wall: float) -> KeptMptcp | None:
    if known == Mptcp():
        return None
    plain_on = [(wall + until, [p.egress, p.gateway, p.name]) for until, p in known.plain_on if p.known]
    works_on = [[p.egress, p.gateway, p.name] for p in known.works_on]
    seen_at, tunnel_at = (wall + at if at > NEVER else None for at in (known.seen_at, known.tunnel_at))
    return KeptMptcp(seen_at, plain_on, works_on, tunnel_at)


def networks_of(kept: KeptHost) -> frozenset[Network]:
    """Return the networks from which a host was reached."""
    return frozenset(Network(*words) for words in kept.reached)


def remembered(name: str, kept: KeptHost, now: float, *, lost: bool = False) -> Remembered:
    """Return the record of a host as an event; `now` is monotonic.

    `lost`: its master was up under an earlier agent, and died while no agent ran.
    """
    until = kept.paused_until
    wall_now = time.time()
    paused: float | None = None
    if until == "ever":
        paused = float("inf")
    elif until is not None and until > wall_now:
        paused = until - wall_now
    return Remembered(
        now,
        name,
        held=kept.held,
        paused_for_s=paused,
        reached=networks_of(kept),
        learned_vpn=kept.learned_vpn,
        vpn=kept.vpn,
        networks=tuple(kept.networks),
        addresses=tuple(kept.addresses),
        login_worked_ago_s=_worked_ago_s(kept, wall_now),
        login=kept.login,
        host_key=kept.host_key,
        refused_ago_s=refusal_records.ago_s(kept.refused, wall_now),
        refused_by_jump_ago_s=refusal_records.ago_s(kept.refused_by_jump, wall_now),
        refusing_key=kept.refusing_key,
        refused_elsewhere=refusal_records.elsewhere(kept, wall_now),
        refusal=refusal_records.refusal(kept, wall_now),
        killing=_killing(kept),
        lost=lost,
        by_hand=_by_hand(kept),
        mptcp=_mptcp(kept.mptcp, now - wall_now),
    )


def _worked_ago_s(kept: KeptHost, wall_now: float) -> float | None:
    """Return how many seconds ago a login last worked, None if none did.

    If the clock was set back since, nobody knows. Then it was before each refusal that counts, so that all count.
    """
    if kept.worked_at is None:
        return None
    return wall_now - kept.worked_at if kept.worked_at <= wall_now else REFUSED_WINDOW_S


def _mptcp(kept: KeptMptcp | None, since_wall: float) -> Mptcp:
    """Return what is known of Multipath TCP. `since_wall` is added to wall-clock times to get monotonic ones."""
    if kept is None:
        return Mptcp()
    plain_on = tuple((until + since_wall, Network(*words)) for until, words in kept.plain_on)
    works_on = tuple(Network(*words) for words in kept.works_on)
    seen_at, tunnel_at = (NEVER if at is None else at + since_wall for at in (kept.seen_at, kept.tunnel_at))
    return Mptcp(seen_at, plain_on, works_on, tunnel_at)


def _by_hand(kept: KeptHost) -> tuple[Forward, ...]:
    known = kept.by_hand
    lines = known.forwards if known is not None and known.boot == boot_id() else ()
    return tuple(forward for line in lines if (forward := read_forward(line)) is not None)


def _killing(kept: KeptHost) -> frozenset[int]:
    """Return the pids of masters that the earlier agent was about to end, in this boot."""
    known = kept.killing
    return frozenset(known.pids) if known is not None and known.boot == boot_id() else frozenset()
