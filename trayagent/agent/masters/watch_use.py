"""Notices that a host is used, and that the data which its user sends gets no acknowledgement.

A connection may be lost without any event of the kernel, such as when a router forgets it. The first use shows that, so
the agent leaves a host alone while no program uses it. The kernel reports the first data of a quiet session or
forwarded connection (`client_input`), and ssh logs each new session and forwarded connection. From then on the agent
checks the connections of all used hosts every LOOK_S seconds, until they are quiet again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from pathlib import Path

from trayagent.agent.masters.keep_sentinels import sessions_of
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import MasterUsed
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import STALLED_RETRANSMISSIONS
from trayagent.netlink.errors import NetlinkError
from trayagent.ssh.forward_log import NEW_CLIENT, NEW_CONNECTION
from trayagent.ssh.os.client_input import ClientInput, own_inodes, retransmissions
from trayagent.ssh.os.tcp_connection import Flow, flow_of

log = logging.getLogger(__name__)

LOOK_S = 5.0
LOOK_SOON_S = 3.0  # while data is being sent again
FIRST_LOOK_S = 4.0  # by then, data that was sent at the first use has been sent often enough
QUIET_S = 120.0
ARM_AFTER_S = 2.0  # a new connection first gets the agent's own sessions and forwards
_LAST_BYTES = 4096
_ARMING_S = 0.01  # then other events are handled


class MasterUse:
    """Watches the masters of all hosts that do not roam. A roaming host's near relay reports stalled data itself."""

    def __init__(self, parts: Parts) -> None:
        self._shell = parts.shell
        self._file_paths = parts.file_paths
        self._input: ClientInput | None = None
        self._hosts: dict[int, str] = {}
        self._flows: dict[int, Flow] = {}  # of the watched masters
        self._log_sizes: dict[int, int] = {}
        self._used_at: dict[int, float] = {}  # of the masters that are in use
        self._new: deque[int] = deque()
        self._arming: asyncio.Handle | None = None
        self._looking: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch, where the kernel can report reads."""
        try:
            self._input = ClientInput(self._used)
        except OSError as error:
            log.info("the agent cannot notice the use of a host: %s", error)
            return
        asyncio.get_running_loop().add_reader(self._input.fileno(), self._input.read)

    def follow(self, state: State) -> None:
        """Watch the masters of this state, except those that carry other masters, whose keep-alive looks like use."""
        if self._input is None:
            return
        hosts = [h for h in state.hosts.values() if h.master is not None and h.draining is None]
        carriers = {h.master.carrier for h in hosts if h.master is not None}
        living = {
            h.master.pid: h.name
            for h in hosts
            if h.master is not None and h.roaming is None and not h.unnamed and h.master.pid not in carriers
        }
        for pid in self._hosts.keys() - living.keys():
            self._forget(pid)
        self._new.extend(living.keys() - self._hosts.keys())
        self._hosts = living
        if self._new and self._arming is None:
            self._arming = asyncio.get_running_loop().call_later(ARM_AFTER_S, self._arm_next)

    def close(self) -> None:
        """Stop watching."""
        for handle in (self._arming, self._looking):
            if handle is not None:
                handle.cancel()
        if self._input is not None:
            asyncio.get_running_loop().remove_reader(self._input.fileno())
            self._input.close()
            self._input = None

    def log_changed(self, pid: int, path: Path) -> None:
        """React to new lines in a master's log: a new session, or a new connection to a forward."""
        if pid not in self._flows:
            return
        before = self._log_sizes.get(pid, 0)
        new = b""
        with contextlib.suppress(OSError), path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LAST_BYTES, before if before <= size else 0))
            new = file.read()
            self._log_sizes[pid] = size
        # The agent's own requests are clients, too.
        if NEW_CONNECTION in new or (NEW_CLIENT in new and sessions_of(pid)):
            self._used(pid)

    def _forget(self, pid: int) -> None:
        if self._input is not None:
            self._input.disarm(pid)
        for kept in (self._flows, self._log_sizes, self._used_at):
            kept.pop(pid, None)

    def _arm_next(self) -> None:
        """Begin to watch a few new masters, then handle other events before the next ones."""
        self._arming = None
        ours, until = own_inodes(), time.monotonic() + _ARMING_S
        while self._new and time.monotonic() < until:
            pid = self._new.popleft()
            if pid in self._hosts:
                self._begin(pid, ours)
        if self._new:
            self._arming = asyncio.get_running_loop().call_soon(self._arm_next)

    def _begin(self, pid: int, ours: frozenset[int]) -> None:
        with contextlib.suppress(NetlinkError):
            flow = flow_of(pid)
            if flow is not None:
                self._flows[pid] = flow
                with contextlib.suppress(OSError):
                    self._log_sizes[pid] = self._file_paths.master_log(pid).stat().st_size
                self._arm(pid, ours)

    def _arm(self, pid: int, ours: frozenset[int]) -> None:
        if self._input is not None and pid in self._flows:
            self._input.arm(pid, self._flows[pid], ours)

    def _used(self, pid: int) -> None:
        """Note that a master is used now. At the first use, the core may probe it."""
        if pid not in self._flows:
            return
        now = time.monotonic()
        first = pid not in self._used_at
        self._used_at[pid] = now
        if first:
            self._shell.post(MasterUsed(now, self._hosts[pid], pid))
        if self._looking is None:
            self._look_after(FIRST_LOOK_S)

    def _look_after(self, seconds: float) -> None:
        self._looking = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Look at the connections of all used hosts, and report those whose data gets no acknowledgement."""
        self._looking = None
        now = time.monotonic()
        inodes = {pid: {f.inode for f in (flow, *flow.others)} for pid, flow in self._flows.items()}
        try:
            found = retransmissions({inode for pid in self._used_at for inode in inodes.get(pid, ())})
        except NetlinkError:
            found = {}
        ours = own_inodes()
        soon = False
        for pid, used_at in [*self._used_at.items()]:
            again = max((found.get(inode, 0) for inode in inodes.get(pid, ())), default=0)
            soon |= again > 0
            if again >= STALLED_RETRANSMISSIONS:
                self._shell.post(MasterUsed(now, self._hosts[pid], pid, stalled=True))
            elif now - used_at > QUIET_S:
                del self._used_at[pid]
            self._arm(pid, ours)
        if self._used_at:
            self._look_after(LOOK_SOON_S if soon else LOOK_S)
