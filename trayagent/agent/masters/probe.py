"""Effects on a living master: the probe, and the kernel's view of its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace

from trayagent.agent.masters.acknowledged_bytes import (
    Acknowledged,
    Connection,
    connections_of,
    next_retransmission_s,
)
from trayagent.agent.masters.ends_of_connection import may_survive, without_ends
from trayagent.agent.masters.keep_sentinels import SentinelKeeper, sessions_of
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import Observed, ProbeAnswered
from trayagent.core.facts.hosts import Doubt
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.errors import TrayagentError
from trayagent.netlink.errors import NetlinkError
from trayagent.ssh.command_line import has_session
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.os.carried import carried_by
from trayagent.ssh.os.process import read
from trayagent.ssh.os.suspended import carried_by_stopped
from trayagent.ssh.os.tcp_connection import Flow, TcpFacts, flow_of

# TCP gives up after 15 minutes at the earliest. Until then a late answer still proves that the connection works.
_LATE_ANSWER_S = 3600.0
CHECK_AFTER_S = 0.05
"""Start the local check this long after the probe, because the probe may block the master (`ControlMaster ask`)."""
BLOCKED_AFTER_S = 0.1
"""A master that is not blocked answers a local check within a millisecond, on a busy machine within this time."""


class MasterProber:
    """Sends probes to masters. The answers are posted as events."""

    def __init__(self, parts: Parts, sentinels: SentinelKeeper) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._sentinels = sentinels
        self._acknowledged: dict[int, Acknowledged] = {}
        self._reported: dict[str, tuple[Doubt, int, float | None]] = {}
        self._blocked: set[int] = set()  # the masters whose own process does not answer

    def send(self, name: str, master: Master, *, large: bool = False, second: bool = False) -> None:
        """Probe a master: send a line to the sentinel, or request a forward that the server refuses.

        `large`: the line fills an MTU in both directions; a forward cannot do that. `second`: the first probe was not
        answered. If it went to the sentinel, request a forward now.
        """
        self._check_locally(name, master)
        if second:
            if self._sentinels.get(master.pid) is not None:
                self._probe_by_forward(name, master)
            return
        self._acknowledged[master.pid] = Acknowledged.at_probe(connections_of(flow_of(master.pid)))
        sentinel = self._sentinels.get(master.pid)
        if sentinel is not None and sentinel.send_line(large=large):
            return
        self._probe_by_forward(name, master)

    def _probe_by_forward(self, name: str, master: Master) -> None:
        # A late answer counts, so usually one pending probe is enough. But the first probe may have reached the server
        # before the doubt began. Its answer would prove nothing, so allow a second one. Allow no more, because each
        # unanswered probe occupies three descriptors of the master.
        for task in _tasks_of(master.pid):
            if not self._tasks.running(task):
                self._tasks.start(task, self._forward_probe(name, master))
                return

    def observe(self, name: str, master: Master, probed_at: float | None) -> None:
        """Post what the kernel knows of the connection: bytes acknowledged since the probe, present addresses.

        `probed_at`: when that probe was sent. Post nothing if the core has not yet processed the last report about the
        same probe, because a second report would be the same.
        """
        host = self._shell.state.hosts.get(name)
        if host is not None:
            doubt, pid, at = self._reported.get(name, (None, 0, None))
            if doubt is host.doubt and (pid, at) == (master.pid, probed_at):
                return
        flow = flow_of(master.pid)
        found = connections_of(flow)
        elsewhere = self._elsewhere(master, flow)
        acknowledged = self._acknowledged.setdefault(master.pid, Acknowledged())
        unsent = acknowledged.unsent(found)
        acked, ahead = acknowledged.since_probe(found)
        if unsent:
            # This wakes ssh up, so that it sends what it keeps.
            self._check_locally(name, master)
        self._shell.post(
            Observed(
                time.monotonic(),
                name,
                master.pid,
                acked=acked,
                retransmit_in_s=next_retransmission_s(found),
                ahead=ahead,
                rtt_s=max((facts.rtt_s for _, facts in found), default=None),
                now=elsewhere,
                adrift=flow is None and master.local is not None,
                stopped=carried_by_stopped(master.pid, flow) or master.pid in self._blocked,
                probed_at=probed_at,
                heard_s=_heard_s(flow, found),
                unused=host is not None and (host.path_unchanged or host.returned) and not in_use(master),
                sessions=sessions_of(master.pid) if elsewhere is not None else 0,
                unsent=unsent,
            )
        )
        if host is not None:
            self._reported[name] = (host.doubt, master.pid, probed_at)

    def _check_locally(self, name: str, master: Master) -> None:
        """Check whether the master's own process answers. This runs beside each probe of its connection.

        A master has one thread. While it writes to a held terminal (Ctrl-S), resolves a name, or waits for an answer to
        `ControlMaster ask`, it reads no answer of the server. Then silence does not show that the connection is stale.
        """
        task = _local_check_of(master.pid)
        if not self._tasks.running(task):
            self._tasks.start(task, self._local_check(name, master))

    async def _local_check(self, name: str, master: Master) -> None:
        await asyncio.sleep(CHECK_AFTER_S)
        late = asyncio.get_running_loop().call_later(BLOCKED_AFTER_S, self._block, name, master)
        try:
            async with MuxClient.connected(master.control_path, timeout_s=_LATE_ANSWER_S) as client:
                await client.alive(timeout_s=_LATE_ANSWER_S)
        except TrayagentError:
            pass  # without a control path, the local process cannot be checked
        finally:
            late.cancel()
        if master.pid in self._blocked:
            self._blocked.discard(master.pid)
            self._report(name, master)

    def _block(self, name: str, master: Master) -> None:
        self._blocked.add(master.pid)
        self._report(name, master)

    def _report(self, name: str, master: Master) -> None:
        host = self._shell.state.hosts.get(name)
        if host is not None and host.master is not None and host.master.pid == master.pid:
            self._reported.pop(name, None)
            self.observe(name, host.master, host.probed_at)

    def follow(self, state: State) -> None:
        """Forget the masters that are gone, and end their probes."""
        hosts = [h for h in state.hosts.values() if h.draining is None]
        living = {m.pid for h in hosts for m in (h.master, h.spare) if m is not None}
        self._blocked &= living
        self._reported = {name: one for name, one in self._reported.items() if name in state.hosts}
        for pid in [*self._acknowledged]:
            if pid not in living:
                del self._acknowledged[pid]
                for task in (*_tasks_of(pid), _local_check_of(pid)):
                    self._tasks.cancel(task)

    def _elsewhere(self, master: Master, flow: Flow | None) -> Master | None:
        """Return the master with another local address, if that is now its connection's address; else None.

        There are three cases. The transport has several connections, and the address of another one is present. The
        kernel moved the connection (MPTCP), perhaps to an address that is not in the snapshot yet. Or
        datagrams or another program may carry the master. Then its address is unknown.
        """
        if master.local is None:
            return None
        if not master.direct and may_survive(master.pid, master.carrier):
            return without_ends(master, flow)
        if flow is None or (master.direct and flow.others):
            return None
        flows = (flow, *flow.others)
        present = self._shell.state.snapshot.has_address
        found = next((one for one in flows if present(one.local_ip.partition("%")[0])), None)
        if found is None and flow.local_ip not in master.other_locals:
            found = flow
        if found is None or found.local_ip == master.local:
            return None
        return replace(
            master,
            local=found.local_ip,
            local_port=found.local_port,
            peer=found.peer_ip,
            peer_port=found.peer_port,
            other_locals=frozenset(one.local_ip for one in flows if one is not found),
        )

    async def _forward_probe(self, name: str, master: Master) -> None:
        try:
            # A suspended master sends its HELLO only when it continues. So wait as long as for an answer.
            async with MuxClient.connected(master.control_path, timeout_s=_LATE_ANSWER_S) as client:
                await client.round_trip(timeout_s=_LATE_ANSWER_S)
        except TrayagentError:
            return
        self._shell.post(ProbeAnswered(time.monotonic(), name, master.pid))


def _heard_s(flow: Flow | None, found: Sequence[tuple[Connection, TcpFacts]]) -> float | None:
    """Return how long ago data came from the server, None if another program's connection carries the master."""
    if flow is None or flow.via != "direct":
        return None
    return min((facts.last_data_recv_s for _, facts in found), default=None)


def in_use(master: Master) -> bool:
    """Report whether programs have sessions or forwarded connections on a master, or the kernel cannot tell.

    A master that the user started may have a session of its own.
    """
    try:
        carried = carried_by(master.pid)
    except NetlinkError:
        return True
    process = None if master.started_by_agent else read(master.pid)
    own = process is not None and has_session(process.argv)
    return own or carried.sessions + carried.connections > 0


def _local_check_of(pid: int) -> str:
    return f"local check {pid}"


def _tasks_of(pid: int) -> tuple[str, str]:
    return f"probe {pid}", f"second probe {pid}"
