"""Handles the kernel's reports about a master's connection: acknowledgements, suspended processes, moves; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.events import Observed
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import KernelMove, Observation, Probe
from trayagent.core.on.adopt_master import with_peer
from trayagent.core.usable_routes import path_is_known, path_of


def observed(context: Context, event: Observed) -> None:
    """Store the kernel's report. Acknowledgements are no proof of life, since any device on the path can send them."""
    host = context.with_master(event.name, event.pid)
    if host is None:
        return
    probe = host.doubt.probe
    if host.doubt.gone_at is None and probe is not None and event.probed_at != probe.sent_at:
        return  # the report is about an earlier probe
    due = context.now + event.retransmit_in_s if event.retransmit_in_s is not None else None
    continued = host.doubt.observed is not None and host.doubt.observed.stopped and not event.stopped
    heard_at = context.now - event.heard_s if event.heard_s is not None else None
    seen = Observation(
        context.now, due, event.rtt_s, event.adrift, event.stopped, event.unused, heard_at, event.unsent
    )
    host = context.put(host, doubt=replace(host.doubt, observed=seen))
    if host.doubt.gone_at is not None:
        if event.now is not None:
            _moved(context, host, event)
        return
    probe = host.doubt.probe
    if probe is None or not (host.suspect or host.by_user):
        return
    if continued:
        # While a process was suspended, its silence proved nothing, and the probe may be lost. Probe again.
        context.put(host, doubt=replace(host.doubt, probe=None))
        return
    if event.acked and probe.sent_at < host.doubt.began_at:
        # The probe may have been acknowledged before the doubt began. Then no data is in flight that could prove life,
        # so probe again.
        context.put(host, doubt=replace(host.doubt, probe=None))
        return
    context.put(host, doubt=replace(host.doubt, probe=_noted(probe, event, context.now)))


def _noted(probe: Probe, event: Observed, now: float) -> Probe:
    """Return the probe with what the kernel reported of it."""
    if event.acked > probe.acked:
        probe = replace(probe, acked=event.acked, moved_at=now)
    if event.ahead == 0 and probe.drained_at is None:
        probe = replace(probe, drained_at=now)
    if event.unsent and not event.stopped:  # a suspended process sends nothing, either
        probe = replace(probe, unsent_at=now)
    return probe


def _moved(context: Context, host: Host, event: Observed) -> None:
    """Store the master's new address and path, after the kernel moved its connection to another address (MPTCP).

    If datagrams or another program may carry the master, store that its address is unknown.
    """
    path, master, move = None, event.now, host.doubt.kernel_move
    if master is None:
        return
    if path_is_known(master, context.state.snapshot):
        path = path_of(master, context.state.snapshot)
        if not path.present:
            return
    new = {"datagrams": "yes"} if master.datagrams else {"local": master.local}
    if not master.datagrams and not master.other_locals:
        master = replace(master, joins=master.joins + 1)
        since = move.since if move is not None else host.doubt.gone_at
        move = KernelMove(context.now if since is None else since, event.sessions)
    evidence = Evidence.of(**new, was=host.master.local if host.master else None)
    context.put(
        host,
        master=master,
        path=path,
        network=None,
        doubt=replace(
            host.doubt,
            gone_at=None,
            left=None,
            strayed=False,
            changed_at=context.now,
            probe=None,
            observed=None,
            kernel_move=move,
        ),
        addresses=with_peer(host, master),
    )
    context.because(host.name, 4, "moved", evidence)
