"""Makes a host roam: starts an inner master through a plain one, and exchanges their control paths."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from msgspec.structs import replace

from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.connect import bug
from trayagent.agent.masters.control_path_checks import FailedError, fresh_for
from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.parts import Parts
from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.attach_to_outer import OuterAttacher
from trayagent.agent.roaming.end_connection import ConnectionEnder
from trayagent.agent.roaming.far_relay_commands import FarAnswer
from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.agent.roaming.far_relay_is_gone import note_view
from trayagent.agent.roaming.inner_master import InnerLoginError, InnerMasters, InnerStart
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_connection import NearRelayConnection, NearRelayListener
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.roaming.restore_control_path import record_master
from trayagent.agent.roaming.terminal import Terminal
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.agent.state.records import Begun
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.roaming_events import (
    RoamingBegan,
    RoamingNotPossible,
)
from trayagent.errors import TrayagentError
from trayagent.roaming.near_client import new_token
from trayagent.ssh.master.end_master import end
from trayagent.ssh.master.master_command_line import may_be_handed_over
from trayagent.ssh.master.stop_listening import second_name
from trayagent.ssh.mux.errors import MuxError, Refused
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.swap_files import exchange

log = logging.getLogger(__name__)

_MAX_PATH, _MAX_PORT = 4096, 65_535
# With these codes of the far relay, the next start would fail, too.
_LASTING = frozenset({"no-shell", "no-python", "no-scope", "no-answer", "unsafe-folder", "not-installed"})


class NotPossibleError(Exception):
    """Roaming cannot begin. `said` is the reason, for the user. `lasting`: the next start would fail, too."""

    def __init__(self, code: str, said: str, *, lasting: bool = False) -> None:
        super().__init__(said)
        self.code, self.said, self.lasting = code, said, lasting


class RoamingStarter:
    """Makes hosts roam. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        forwarding: Forwarding,
        inner_masters: InnerMasters,
        near_relay: NearRelayProcess,
        lost: LostConnections,
        locks: PathLocks,
        attacher: OuterAttacher,
        ender: ConnectionEnder,
    ) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._file_paths = parts.file_paths
        self._forwarding = forwarding
        self._inner_masters = inner_masters
        self._near_relay = near_relay
        self._lost = lost
        self._locks = locks
        self._attacher = attacher
        self._ender = ender

    async def begin(
        self, action: a.BeginRoaming, host: Host, listener: NearRelayListener, terminal: Terminal | None
    ) -> None:
        """Start an inner master through a plain one, if `terminal` is given there.

        `listener` gets the events of the near relay.
        """
        now, master = time.monotonic, action.master
        self._lost.beginning[master.pid] = asyncio.current_task()
        try:
            await self._began(host, master, listener, terminal)
        except asyncio.CancelledError:
            if master.pid not in self._lost.unwanted:
                raise
            said = "Its connection was ended meanwhile"
            self._shell.post(RoamingNotPossible(now(), host.name, master.pid, "disconnected", said))
        except NotPossibleError as failed:
            log.info("%s does not roam: %s", host.name, failed.said)
            self._shell.post(
                RoamingNotPossible(now(), host.name, master.pid, failed.code, failed.said, failed.lasting)
            )
        except Exception:
            said = bug(host).problem.title
            self._shell.post(RoamingNotPossible(now(), host.name, master.pid, "unknown", said))
            raise
        finally:
            del self._lost.beginning[master.pid]
            self._lost.exchanging.discard(master.pid)
            self._lost.unwanted.discard(master.pid)

    async def _began(
        self, host: Host, master: Master, listener: NearRelayListener, terminal: Terminal | None
    ) -> None:
        resolved = self._checked(host)
        with _reasons():
            await self._lost.end_all(host.name, master)
            near = await self._near_relay.start(listener)
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
                await self._connected(near, kept, host, resolved, master, terminal)
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
        # The inner ssh connects to the near relay, whatever ssh_config says about the route to the server.
        plain = replace(resolved, jump=None, plain_connect=True)
        if not may_be_handed_over(plain, str(at)):
            said = f"The path of Python or of {at.parent} has characters that ssh would change"
            raise NotPossibleError("path", said, lasting=True)
        return resolved

    async def _connected(  # each argument is a part of the connection
        self,
        near: NearRelayConnection,
        kept: KeptRoaming,
        host: Host,
        resolved: Resolved,
        master: Master,
        terminal: Terminal | None,
    ) -> None:
        token_id = kept.token[:16]
        connection: socket.socket | None = None
        try:
            ports = host.wish.roam_port if master.direct and near.greeting.ports else None
            served = await _to_the_end(
                far.serve(master.control_path, kept.token, kept.roam_for_s, socket.gethostname(), ports)
            )
            if ports is not None:
                port = served.words.get("port")
                kept.far_port = port if isinstance(port, int) and 0 < port <= _MAX_PORT else 0
            kept.machine, kept.far_boot = served.machine, served.boot
            kept.far_path = str(served.words.get("path", ""))[:_MAX_PATH]
            note_view(kept, served)
            self._records.set_roaming(kept)
            if terminal is not None and not kept.far_port:  # each change of network would need a login
                raise NotPossibleError(
                    "no-port", "Its login needs you, and its roam_port is taken on the server"
                )
            connection = await near.start(kept.token, kept.roam_for_s, host.name)
            answer = await self._attacher.attached(near, kept, master)
            if answer["ok"] is not True:
                code = str(answer["error"])
                raise NotPossibleError(code, f"The far relay cannot be reached: {code}")
            inner = await self._inner(kept, host, resolved, master, connection, terminal)
            self._lost.exchanging.add(master.pid)
            await self._exchanged(kept, host, inner, master)
        except BaseException:
            if self._is_in_place(kept):
                raise
            self._ender.ending.add(token_id)
            if connection is not None:
                connection.close()
                await self._near_relay.end(token_id)
            with contextlib.suppress(TrayagentError, OSError):
                await self._lost.end(kept, master)
            raise

    async def _inner(  # each argument is a part of the connection
        self,
        kept: KeptRoaming,
        host: Host,
        resolved: Resolved,
        outer: Master,
        connection: socket.socket,
        terminal: Terminal | None,
    ) -> Master:
        """Start and record the inner master, and return it once it listens on a fresh path."""
        try:
            fresh = fresh_for(outer.control_path)
        except FailedError as failed:
            raise NotPossibleError("control-path", failed.failure.problem.title) from failed
        log_file = self._inner_masters.new_log()
        self._records.begin_attempt(fresh, Begun(host.name, outer.control_path, str(log_file)))
        try:
            inner = await self._inner_masters.start(
                InnerStart(host, resolved, outer, fresh, log_file, connection, terminal)
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

        The inner master's fresh path cannot be the hidden path, because an ssh that ends unlinks the path on which it
        began to listen.
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
            record_master(self._records, host.name, outer)
            with contextlib.suppress(TrayagentError, OSError):
                await self._forwarding.close_all(host, outer)
            await self._shell.decided(RoamingBegan(time.monotonic(), host.name, inner, outer, kept.far_port))

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
        """Report whether the inner master has the control path. Then it must not be ended: the user may use it."""
        return bool(kept.outer_path) and kept.inner is not None and owner_of(kept.path) == kept.inner


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn each expected error into a NotPossibleError."""
    try:
        yield
    except InnerLoginError as failed:
        raise NotPossibleError(failed.code, failed.title, lasting=failed.lasting) from failed
    except FarError as failed:
        raise NotPossibleError(failed.code, failed.title, lasting=failed.code in _LASTING) from failed
    except Refused as failed:
        said = "The server allows no more sessions on one connection (MaxSessions)"
        raise NotPossibleError("no-session", said) from failed
    except MuxError as failed:  # the master ended or is silent
        raise NotPossibleError("no-channel", failed.title) from failed
    except TrayagentError as failed:
        raise NotPossibleError(failed.code, failed.title) from failed
    except OSError as failed:
        raise NotPossibleError("system", str(failed)) from failed


async def _to_the_end(start: Coroutine[Any, Any, FarAnswer]) -> FarAnswer:
    """Return the answer of a command that starts a far relay.

    If this task is cancelled, wait for the answer, because only a relay that has started can be ended.
    """
    task = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
