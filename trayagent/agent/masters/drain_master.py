"""Effects on masters that drain: stop a living master, count what it carries, find those of an earlier agent.

Before a new master takes the control path, the agent records the old one. No socket leads to a master that stopped
listening, so the next agent finds it by the recorded pid and start time.
"""

from __future__ import annotations

import logging
import os
import time

from msgspec.structs import replace

from trayagent.agent.forwards.wanted_forwards import CLEAR_PATIENCE_S, Forwarding
from trayagent.agent.masters.discovery import describe
from trayagent.agent.parts import Parts
from trayagent.agent.state.record_types import KeptDraining
from trayagent.core.facts import actions as a
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.events import Carried, DrainingFound
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.master import stop_listening
from trayagent.ssh.mux.errors import Gone
from trayagent.ssh.new_control_path import fresh_for, remove_fresh
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.process import age_s, alive, read
from trayagent.ssh.request_forward import to_mux

log = logging.getLogger(__name__)


class MasterDrainer:
    """Lets masters drain."""

    def __init__(self, parts: Parts, forwarding: Forwarding) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._forwarding = forwarding

    def prepare(self, host: Host, old: Master) -> str | None:
        """Give the socket of a living master a second name. Return that name, None on failure.

        It leads to the master after a new master has taken the control path. The caller then calls `stop`, or `give_up`
        if the new master did not get the path.
        """
        process = read(old.pid)
        if process is None:
            return None
        try:
            if os.path.lexists(old.control_path):
                name = stop_listening.second_name(old.control_path)
            else:  # the user removed the socket; `stop` will find no file with this name, and report that
                name = fresh_for(old.control_path)
        except OSError as error:
            log.info("%s: pid %d cannot drain: %s", host.name, old.pid, error.strerror)
            return None
        made_at = time.time() - age_s(process)
        self._records.add_draining(
            old.pid,
            KeptDraining(
                host.name,
                old.start_ticks,
                self._records.boot,
                made_at,
                old.control_path,
                name,
                old.started_by_agent,
                old.host_key,
                old.target,
            ),
        )
        return name

    def give_up(self, old: Master, name: str) -> None:
        """Remove the record and the second name that `prepare` made."""
        self._records.drop_draining(old.pid)
        remove_fresh(name)

    async def stop(self, host: Host, old: Master, name: str) -> Draining | None:
        """Make the old master accept no more clients, after the new one took its path. Return what the old one carries.

        None: the old master carries nothing, or did not stop. Then the caller must end it, because a master that still
        listens could unlink the path.
        """
        forwards = [to_mux(forward) for forward in self._forwarding.opened(host, old)]
        try:
            await stop_listening.stop(
                name,
                old.pid,
                old.control_path,
                forwards,
                unlinks_path=not old.started_by_agent,
                wait_s=CLEAR_PATIENCE_S,
            )
            found = await stop_listening.carried_after_stop(old)
        except (TrayagentError, OSError) as error:
            log.info("%s: pid %d does not stop: %s", host.name, old.pid, error)
            # After `ssh -O stop` or `rm SOCKET`, no client can reach the master, so it drains already. But its forwards
            # can no longer be closed, so a master with forwards must end.
            unreachable = isinstance(error, Gone) and error.reason in {"absent", "deaf"}
            found = None
            if unreachable and old.started_by_agent and not forwards:
                found = stop_listening.carried(old)
        if found is None or not (found.sessions or found.connections):
            self.give_up(old, name)
            return None
        remove_fresh(name)
        made_at = time.monotonic() + self._records.draining()[old.pid].made_at - time.time()
        return Draining(
            host.name, made_at, found.sessions, found.connections, stays=stop_listening.stays(old)
        )

    def count(self, action: a.CountCarried) -> None:
        """Post what a draining master carries now."""
        master = action.master
        if not alive(master.pid, master.start_ticks):
            return  # the master ended, and the watch reports that
        found = stop_listening.carried(master)
        self._shell.post(
            Carried(time.monotonic(), action.name, master.pid, found.sessions, found.connections)
        )

    async def find(self) -> None:
        """Post the draining masters that an earlier agent left and that still live. Forget the others."""
        for pid, kept in self._records.draining().items():
            if kept.boot != self._records.boot or not alive(pid, kept.start) or owner_of(kept.path) == pid:
                self._records.drop_draining(pid)  # the master ended, or still has its control path
                remove_fresh(kept.second_name)
                continue
            await self._found(pid, kept)

    async def _found(self, pid: int, kept: KeptDraining) -> None:
        if owner_of(kept.second_name) == pid:  # the earlier agent ended before it stopped this master
            try:
                await stop_listening.stop(
                    kept.second_name, pid, kept.path, (), unlinks_path=not kept.started_by_agent, wait_s=0.0
                )
            except (TrayagentError, OSError) as error:
                log.info("%s: pid %d does not stop: %s", kept.host, pid, error)
        remove_fresh(kept.second_name)
        master = describe(
            pid, "", started_by_agent=kept.started_by_agent, proven=(kept.host_key, kept.target)
        )
        if master is None:
            return
        found = stop_listening.carried(master)
        made_at = time.monotonic() + kept.made_at - time.time()
        draining = Draining(
            kept.host, made_at, found.sessions, found.connections, stays=stop_listening.stays(master)
        )
        self._shell.post(DrainingFound(time.monotonic(), master, draining))


def without_socket(master: Master) -> Master:
    """Return the master without a control path, because a draining master accepts no more clients."""
    return replace(master, control_path="")
