"""Effects of roaming: begin it on a host, carry its link over a new outer master, and end it.

Theory of operation. A plain master becomes the first outer one. Through it the agent starts a far relay, attaches the
near relay to it, and starts an inner master on a fresh path. Then both exchange their control paths: the user's ssh
finds the inner master, and a hidden path leads to the outer one. Each later outer master takes the hidden path.

A connection is recorded before its far relay starts, and forgotten when the far relay has ended. In between, the
record is what lets the next agent find the inner master, or end a far relay that nobody can attach to any more.
docs/roaming.md describes the relays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.connect import bug
from trayagent.agent.masters.control_path_checks import FailedError, fresh_for
from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.masters.discovery import Discovery, describe
from trayagent.agent.parts import Parts
from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.far_relay_commands import FarError
from trayagent.agent.roaming.inner_master import InnerLoginError, InnerMasters, InnerStart
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_connection import NearRelayConnection, NearRelayError
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.agent.state.records import Begun
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.roaming_events import (
    MasterMoved,
    RoamingAttached,
    RoamingAttachFailed,
    RoamingAway,
    RoamingBegan,
    RoamingEnded,
    RoamingFound,
    RoamingNotPossible,
    RoamingStalled,
)
from trayagent.core.facts.state import State
from trayagent.errors import TrayagentError
from trayagent.roaming.near_client import new_token
from trayagent.ssh.master.end_master import end
from trayagent.ssh.master.master_command_line import may_be_handed_over
from trayagent.ssh.master.stop_listening import second_name
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.carried import carried_by
from trayagent.ssh.os.control_sockets import accepts, owner_of
from trayagent.ssh.os.swap_files import exchange, rename_new

log = logging.getLogger(__name__)

ATTACH_S = 65.0  # the near relay gives up after 60 s
_MAX_PATH = 4096
_EXIT_S = 1.0  # an inner master whose connection was closed ends within milliseconds
_POLL_S = 0.005
_JUST_LOST_S = 5.0
_KEPT_S = 86_400.0  # a far relay without its near relay ends after `roam_for`; the agent remembers it this much longer
# The far relay's codes after which the next start would fail in the same way.
_LASTING = frozenset({"no-shell", "no-python", "no-answer", "unsafe-folder", "not-installed"})

# The near relay's codes for a channel whose command ended, or printed an error, before a far relay answered.
_NO_PROGRAM = frozenset({"closed", "no-marker"})


class NotPossibleError(Exception):
    """Roaming cannot begin. `said` explains the reason to the user. `lasting`: the next start would fail, too."""

    def __init__(self, code: str, said: str, *, lasting: bool = False) -> None:
        super().__init__(said)
        self.code, self.said, self.lasting = code, said, lasting


class RoamingHosts:
    """Begins, continues and ends roaming. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        discovery: Discovery,
        forwarding: Forwarding,
        inner_masters: InnerMasters,
        near_relay: NearRelayProcess,
        lost: LostConnections,
        locks: PathLocks,
    ) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._file_paths = parts.file_paths
        self._discovery = discovery
        self._forwarding = forwarding
        self._inner_masters = inner_masters
        self._near_relay = near_relay
        self._lost = lost
        self._locks = locks
        self._carriers: set[int] = set()  # outer masters whose predecessors' sessions were ended
        self._ending: set[str] = set()  # IDs of connections that this agent ends

    # Actions.

    def begin(self, action: a.BeginRoaming, host: Host) -> None:
        """Start an inner master through a plain one."""
        self._tasks.start(f"begin roaming {action.master.pid}", self._begin(action, host))

    def attach(self, action: a.AttachRoaming, host: Host) -> None:
        """Carry the link over a new outer master."""
        self._tasks.start(f"attach {action.master.pid}", self._attach(action, host))

    def end(self, action: a.EndRoaming) -> None:
        """End a connection, and with it its inner master."""
        self._tasks.start(f"end roaming {action.pid}", self._end(action))

    def move_back(self, action: a.RestorePath, host: Host) -> None:
        """Move a master that was an outer one to the user's control path."""
        self._tasks.start(f"move back {action.master.pid}", self._move_back(action, host))

    def follow(self, state: State) -> None:
        """Note which inner masters ended while their link was away, so that no relay reported it."""
        inner = {host.roaming.inner.pid for host in state.hosts.values() if host.roaming is not None}
        for kept in self._records.roaming().values():
            if kept.inner not in {None, *inner} and not self._lost.has_inner(kept):
                self._lost.mark(kept)

        self._end_lost_sessions(state)

    def _end_lost_sessions(self, state: State) -> None:
        """Through each outer master that carries a link now, end what earlier ones left on the server."""
        linked = {h.master.pid: h for h in state.hosts.values() if h.roaming and h.master and h.linked}
        self._carriers &= linked.keys()
        for pid, host in linked.items():
            if pid not in self._carriers and host.master is not None and not host.suspect:
                self._carriers.add(pid)
                self._forwarding.end_lost_sessions(host, host.master)

    # The agent's start and end.

    async def find(self) -> None:
        """Follow the inner masters of an earlier agent, and end those that cannot go on. Never raises."""
        living: set[Any] = set()
        self._lost.forget_old()
        try:
            near = await self._near_relay.find(self)
            living = {one["id"] for one in await near.sessions()} if near is not None else set()
        except NearRelayError as error:
            log.warning("%s", error.title)
        for kept in self._records.roaming().values():
            if not self._follow(kept, living):
                await self._clear(kept)

    async def close(self) -> None:
        """Leave the near relay. It goes on if it carries connections, and ends otherwise."""
        await self._near_relay.close()

    def _follow(self, kept: KeptRoaming, living: set[Any]) -> bool:
        """Post an inner master that goes on; report whether it does."""
        near = self._near_relay.connection
        if near is None or kept.near != near.greeting.instance or kept.token[:16] not in living:
            return False
        if kept.inner is None or not self._lost.has_inner(kept) or owner_of(kept.path) != kept.inner:
            return False
        proven = self._records.proven(kept.inner, kept.start)
        inner = describe(kept.inner, kept.path, ours=True, proven=proven)
        if inner is None:
            return False
        self._shell.post(RoamingFound(time.monotonic(), kept.host, inner, kept.outer_path))
        return True

    async def _clear(self, kept: KeptRoaming) -> None:
        """End what is left on this machine of a connection that cannot go on. Its far relay is ended later."""
        self._lost.mark(kept)
        await self._end_here(kept)
        if kept.outer_path:
            self._put_back(kept)

    def _put_back(self, kept: KeptRoaming) -> None:
        """Move an outer master whose inner one is gone back to the user's control path, if that is free."""
        pid = owner_of(kept.outer_path)
        if pid is not None and owner_of(kept.path) != pid and _move(kept.outer_path, kept.path):
            master = describe(pid, kept.path, ours=True)
            if master is not None and self._records.is_ours(pid, master.start_ticks):
                self._remember(kept.host, master)
        elif pid is None or owner_of(kept.path) == pid:
            remove_fresh(kept.outer_path)

    # The near relay.

    def relay_reported(self, event: dict[str, Any]) -> None:
        """Take an event of the near relay."""
        token_id = str(event.get("id"))
        kept = self._records.roaming().get(token_id)
        if kept is None or token_id in self._ending:
            return
        now, why = time.monotonic(), str(event.get("why", ""))
        if event["event"] == "away" and kept.inner is not None:
            self._shell.post(RoamingAway(now, kept.host, why))
        elif event["event"] == "stalled":
            self._shell.post(RoamingStalled(now, kept.host))
        elif event["event"] == "ended":
            if why in {"closed", "unused"}:  # both ends know; the watch on the inner master reports its end
                self._records.drop_roaming(token_id)
                return
            self._end_lost(kept, why)

    def relay_lost(self) -> None:
        """Note that the near relay ended, and with it each connection that it carried."""
        near, self._near_relay.connection = self._near_relay.connection, None
        if near is None:
            return
        self._near_relay.running()  # collects its exit status
        instance = near.greeting.instance
        recently = time.time() - _JUST_LOST_S  # the watch on the inner masters may be faster
        lost = [
            kept
            for kept in self._records.roaming().values()
            if kept.near == instance and (kept.lost_at is None or kept.lost_at > recently)
        ]
        if lost:
            hosts = ", ".join(sorted({kept.host for kept in lost}))
            log.warning("the near relay ended, and with it the sessions of %s", hosts)
        for kept in lost:
            self._end_lost(kept, "near-relay-lost")

    def _end_lost(self, kept: KeptRoaming, why: str) -> None:
        """End the inner master of a connection that the near relay no longer has."""
        self._lost.mark(kept)
        if kept.inner is not None:
            self._tasks.start(f"end roaming {kept.inner}", self._end_inner(kept, kept.inner, why))

    # Begin.

    async def _begin(self, action: a.BeginRoaming, host: Host) -> None:
        now, master = time.monotonic, action.master
        try:
            await self._began(host, master)
        except NotPossibleError as failed:
            log.info("%s does not roam: %s", host.name, failed.said)
            self._shell.post(
                RoamingNotPossible(now(), host.name, master.pid, failed.code, failed.said, failed.lasting)
            )
        except Exception:
            said = bug(host).problem.title
            self._shell.post(RoamingNotPossible(now(), host.name, master.pid, "unknown", said))
            raise

    async def _began(self, host: Host, master: Master) -> None:
        resolved = self._checked(host)
        with _reasons():
            await self._lost.end_all(host.name, master)
            near = await self._near_relay.start(self)
            kept = KeptRoaming(
                host.name,
                new_token(),
                near.greeting.instance,
                self._records.boot,
                master.control_path,
                address=master.peer or "",
                port=master.peer_port,
                roam_for_s=host.wish.roam_for_s,
            )
            self._records.set_roaming(kept)
            try:
                await self._connected(near, kept, host, resolved, master)
            except BaseException:
                if not self._is_in_place(kept):
                    self._lost.mark(kept)
                raise

    def _checked(self, host: Host) -> Resolved:
        resolved = host.resolved
        if resolved is None:
            raise NotPossibleError("config", f"ssh -G {host.name} gave no answer")
        if resolved.canonicalize_hostname != "no":
            said = "CanonicalizeHostname is set for it, which ssh ignores behind a relay"
            raise NotPossibleError("canonicalize-hostname", said, lasting=True)
        at = self._file_paths.runtime_dir / "connection"
        plain = replace(resolved, jump=None, plain_connect=True)  # the route to the server does not matter
        if not may_be_handed_over(plain, str(at)):
            said = f"The path of Python or of {at.parent} has characters that ssh would change"
            raise NotPossibleError("path", said, lasting=True)
        return resolved

    async def _connected(
        self, near: NearRelayConnection, kept: KeptRoaming, host: Host, resolved: Resolved, master: Master
    ) -> None:
        token_id = kept.token[:16]
        connection: socket.socket | None = None
        try:
            served = await far.serve(master.control_path, kept.token, kept.roam_for_s, socket.gethostname())
            kept.machine, kept.far_boot = served.machine, served.boot
            kept.far_path = str(served.words.get("path", ""))[:_MAX_PATH]
            self._records.set_roaming(kept)
            connection = await near.start(kept.token, kept.roam_for_s, host.name)
            answer = await self._attached(near, kept, master)
            if answer["ok"] is not True:
                code = str(answer["error"])
                raise NotPossibleError(code, f"The far relay cannot be reached: {code}")
            inner = await self._inner(kept, host, resolved, master, connection)
            await self._exchanged(kept, host, inner, master)
        except BaseException:
            if self._is_in_place(kept):
                raise
            self._ending.add(token_id)
            if connection is not None:
                connection.close()
                await self._near_relay.end(token_id)
            with contextlib.suppress(TrayagentError, OSError):
                await self._lost.end(kept, master)
            raise

    async def _inner(
        self, kept: KeptRoaming, host: Host, resolved: Resolved, outer: Master, connection: socket.socket
    ) -> Master:
        """Return the inner master, which listens on a fresh path and is recorded."""
        try:
            fresh = fresh_for(outer.control_path)
        except FailedError as failed:
            raise NotPossibleError("control-path", failed.failure.problem.title) from failed
        log_file = self._inner_masters.new_log()
        self._records.begin_attempt(fresh, Begun(host.name, outer.control_path, str(log_file)))
        try:
            inner = await self._inner_masters.start(
                InnerStart(host, resolved, outer, fresh, log_file, connection)
            )
        except BaseException:
            remove_fresh(fresh)
            self._records.end_attempt(fresh)
            raise
        kept.inner, kept.start = inner.pid, inner.start_ticks
        self._records.set_roaming(kept)
        self._records.add_master(inner, host.name, [])
        return inner

    async def _exchanged(self, kept: KeptRoaming, host: Host, inner: Master, outer: Master) -> None:
        """Give the user's control path to the inner master, and a hidden one to the outer master.

        The hidden path must not be the one on which the inner master began to listen: ssh unlinks that at its end.
        """
        fresh, path = inner.control_path, outer.control_path
        async with self._locks.of(host.name):
            try:
                self._check_outer(host, outer)
                kept.outer_path = second_name(path)
                self._records.set_roaming(kept)
                if not exchange(fresh, path):
                    said = "The file system cannot exchange two names"
                    raise NotPossibleError("no-exchange", said, lasting=True)
                if owner_of(fresh, likely=outer.pid) != outer.pid:
                    exchange(fresh, path)
                    raise NotPossibleError("replaced", "Another master took the control path meanwhile")
            except BaseException:
                await self._give_up(kept, inner)
                raise
            remove_fresh(fresh)
            self._records.end_attempt(fresh)
            inner, outer = replace(inner, control_path=path), replace(outer, control_path=kept.outer_path)
            self._records.add_master(inner, host.name, [])
            self._remember(host.name, outer)
            with contextlib.suppress(TrayagentError, OSError):
                await self._forwarding.close_all(host, outer)
            await self._shell.decided(RoamingBegan(time.monotonic(), host.name, inner, outer))

    def _check_outer(self, host: Host, outer: Master) -> None:
        """Raise NotPossibleError if the host has another master by now."""
        current = self._shell.state.hosts.get(host.name)
        master = current.master if current is not None else None
        if master is None or master.pid != outer.pid or owner_of(outer.control_path) != outer.pid:
            raise NotPossibleError("replaced", "Another master took the control path meanwhile")

    async def _give_up(self, kept: KeptRoaming, inner: Master) -> None:
        """End an inner master that does not get the control path."""
        await end(inner)
        self._inner_masters.forget(inner)
        self._records.drop_master(inner.pid)
        self._records.end_attempt(inner.control_path)
        remove_fresh(inner.control_path)
        if kept.outer_path:
            remove_fresh(kept.outer_path)

    @staticmethod
    def _is_in_place(kept: KeptRoaming) -> bool:
        """Report whether the user's ssh may already use the inner master. From then on nothing here ends it."""
        return bool(kept.outer_path) and kept.inner is not None and owner_of(kept.path) == kept.inner

    def _remember(self, name: str, master: Master) -> None:
        forwards = self._records.opened(master.pid, master.start_ticks)
        self._records.add_master(master, name, forwards)

    # Attach.

    async def _attach(self, action: a.AttachRoaming, host: Host) -> None:
        now, name, outer = time.monotonic, host.name, action.master
        pid = host.roaming.inner.pid if host.roaming is not None else 0
        kept, near = self._of_inner(pid), self._near_relay.connection
        if kept is None or near is None:
            self._shell.post(RoamingEnded(now(), name, pid, "near-relay-lost"))
            return
        try:
            answer = await self._attached(near, kept, outer)
            if answer.get("error") in _NO_PROGRAM and await self._is_installed_again(name, outer):
                answer = await self._attached(near, kept, outer)
        except (TrayagentError, OSError) as error:
            said = error.title if isinstance(error, TrayagentError) else str(error)
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, "no-channel", said))
            return
        rebooted = answer.get("machine") == kept.machine and answer.get("boot") != kept.far_boot
        if answer["ok"] is True and not rebooted:
            self._shell.post(RoamingAttached(now(), name, outer.pid, carried_by(pid).sessions))
        elif rebooted:
            await self._dead(kept, outer, "server-rebooted")
            self._records.drop_roaming(kept.token[:16])
        elif answer.get("error") == "unknown" and answer.get("machine") == kept.machine:
            await self._dead(kept, outer, "far-relay-lost")
            self._lost.mark(kept)  # it may run without its socket, and hold remote forwards
        else:
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, str(answer.get("error"))))

    async def _attached(self, near: NearRelayConnection, kept: KeptRoaming, outer: Master) -> dict[str, Any]:
        """Return the near relay's answer to an attach over a channel of this outer master.

        A link straight to the far relay's socket comes first, because it starts no process on the server. If it fails,
        the far relay's own command gives the reason.
        """
        token_id, refused = kept.token[:16], False
        if kept.far_path:
            try:
                local = self._file_paths.runtime_dir / f"connection-link-{outer.pid}"
                async with far.direct_link(outer.control_path, kept.far_path, local) as link:
                    answer = await near.attach(token_id, [link.fileno()], within_s=ATTACH_S)
                if answer["ok"] is True:
                    return answer
                log.info("%s: no direct link: %s", kept.host, answer.get("error"))
                refused = answer.get("machine") is None
            except (TrayagentError, OSError) as error:
                log.info("%s: no direct link: %s", kept.host, error)
        channel = await far.open_channel(self._present_path(kept.host, outer), token_id)
        try:
            answer = await near.attach(token_id, channel.fds, within_s=ATTACH_S)
        finally:
            channel.close()
        if answer["ok"] is True and refused:
            kept.far_path = ""  # sshd allows no such forward, so the next attach saves that round trip
            self._records.set_roaming(kept)
        return answer

    async def _is_installed_again(self, name: str, outer: Master) -> bool:
        """Install the far relay's program if it was deleted; report whether an attach through this master may follow.

        Meanwhile the agent may have begun to attach through another outer master. A second attach would replace it.
        """
        try:
            if not await far.install_if_missing(self._present_path(name, outer)):
                return False
        except (TrayagentError, OSError) as error:
            log.info("%s: the far relay's program was not installed again: %s", name, error)
            return False
        log.info("%s: the far relay's program was missing on the server, and is installed again", name)
        host = self._shell.state.hosts.get(name)
        return host is not None and host.roaming is not None and host.roaming.attaching == outer.pid

    def _present_path(self, name: str, outer: Master) -> str:
        """Return the control path of an outer master, which a take-over may have moved."""
        host = self._shell.state.hosts.get(name)
        master = host.master if host is not None else None
        return master.control_path if master is not None and master.pid == outer.pid else outer.control_path

    async def _dead(self, kept: KeptRoaming, outer: Master, why: str) -> None:
        """End a connection here whose far relay is gone: the same machine said so."""
        # The watch on the inner master reports only that it died.
        self._shell.post(RoamingAttachFailed(time.monotonic(), kept.host, outer.pid, why))
        log.info("%s: the inner master %s ends: %s", kept.host, kept.inner, why)
        await self._end_here(kept, why)

    def _of_inner(self, pid: int) -> KeptRoaming | None:
        return next((kept for kept in self._records.roaming().values() if kept.inner == pid), None)

    # End.

    async def _end(self, action: a.EndRoaming) -> None:
        kept = self._of_inner(action.pid)
        if kept is None:
            self._shell.post(RoamingEnded(time.monotonic(), action.name, action.pid, by_request=True))
            return
        await self._end_here(kept, "requested")
        self._lost.mark(kept)  # without a link, the far relay does not know

    async def _end_here(self, kept: KeptRoaming, why: str = "") -> None:
        """End a connection on this machine, and its far relay if there is a link."""
        self._ending.add(kept.token[:16])
        await self._near_relay.end(kept.token[:16])
        if kept.inner is not None:
            await self._end_inner(kept, kept.inner, why)

    async def _end_inner(self, kept: KeptRoaming, pid: int, why: str) -> None:
        """Return when an inner master has ended. It ends by itself once its connection is closed.

        The watch on masters reports its end. If it ended before, report that here.
        """
        if not self._lost.has_inner(kept):
            self._shell.post(RoamingEnded(time.monotonic(), kept.host, pid, why))
            return
        until = time.monotonic() + _EXIT_S
        while self._lost.has_inner(kept) and time.monotonic() < until:  # noqa: ASYNC110  # the watch has the event
            await asyncio.sleep(_POLL_S)
        inner = describe(pid, kept.path, ours=True) if self._lost.has_inner(kept) else None
        if inner is not None:
            await end(inner, politely=False)

    # The way back.

    async def _move_back(self, action: a.RestorePath, host: Host) -> None:
        async with self._locks.of(host.name):
            master = action.master
            path, there = _user_path(self._discovery, host), master.control_path
            if (
                await self._discovery.holder(path) is None
                and owner_of(there) == master.pid
                and _move(there, path)
            ):
                there = path
            self._remember(host.name, replace(master, control_path=there))
            self._shell.post(MasterMoved(time.monotonic(), host.name, master.pid, there))


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn each expected error into a NotPossibleError."""
    try:
        yield
    except InnerLoginError as failed:
        raise NotPossibleError(failed.code, failed.title, lasting=failed.lasting) from failed
    except FarError as failed:
        raise NotPossibleError(failed.code, failed.title, lasting=failed.code in _LASTING) from failed
    except TrayagentError as failed:
        raise NotPossibleError(failed.code, failed.title) from failed
    except OSError as failed:
        raise NotPossibleError("system", str(failed)) from failed


def _user_path(discovery: Discovery, host: Host) -> str:
    """Return the user's control path of a host that may still have a hidden one."""
    return discovery.control_path(replace(host, roaming=None, outer_path=None))


def _move(source: str, target: str) -> bool:
    """Rename a socket to a path that is free, or has a dead socket; report whether it is there now."""
    with contextlib.suppress(OSError):
        try:
            renamed = rename_new(source, target)
        except FileExistsError:
            if accepts(target):
                return False
            Path(target).unlink()
            renamed = rename_new(source, target)
        if not renamed and not os.path.lexists(target):
            Path(source).rename(target)
        return not os.path.lexists(source)
    return False
