"""Row 12: probes a living master that is not in doubt, because something suggests that it is silent; pure.

The probe costs a healthy master nothing. The master comes into doubt only if the probe gets no answer.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import SendProbe
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Probe
from trayagent.core.facts.time_constants import PROBE_ON_VIEW_S
from trayagent.core.find_jump_host import last_jump
from trayagent.core.policy.admission import admission
from trayagent.core.policy.shared_connection import owner_of_connection


def probe_again(context: Context, host: Host, *, older_s: float = PROBE_ON_VIEW_S, seen: bool = True) -> None:
    """Probe the host's master if its last proof of life is older than `older_s` and the host may be contacted.

    If not `seen`, leave out a master that would show the probe in its user's terminal.
    """
    now = context.now
    host = owner_of_connection(host, context.state.hosts) or host
    if (
        host.master is None
        or host.master.relayed
        or host.suspect
        or host.doubt.probe is not None
        or host.unnamed
        or (host.master.prints and not seen)
    ):
        return
    quiet = context.state.paused(host, now) or host.wish.connect == "never"
    if quiet or now - host.doubt.proof_at < older_s or not admission(host, context.state).open:
        return
    context.put(host, doubt=replace(host.doubt, probe=Probe(now), observed=None))
    context.do(SendProbe(host.name, host.master))


def probe_carriers(context: Context, host: Host, *, older_s: float = PROBE_ON_VIEW_S) -> None:
    """Probe the masters of the host's jump hosts, after a login through them timed out or a master died."""
    carrier = last_jump(context.state.hosts, host)
    while carrier is not None and carrier.master is not None:
        probe_again(context, carrier, older_s=older_s)
        pid = carrier.master.carrier
        carrier = context.state.host_of_pid(pid) if pid is not None else None
