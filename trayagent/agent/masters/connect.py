"""Effects that make a new master. `take_over` then moves it to its control path."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.agent.masters.control_path_checks import ControlPaths, FailedError, fresh_for
from trayagent.agent.masters.discovery import Discovery, describe
from trayagent.agent.masters.expired_certificates import expired_meanwhile
from trayagent.agent.masters.explain_failure import explained
from trayagent.agent.masters.full_disk import failed_locally, no_room
from trayagent.agent.masters.launch_preconnected import (
    Connecting,
    MasterLauncher,
    Shelter,
    Start,
    WantsBrowserError,
)
from trayagent.agent.masters.link_cipher import link_cipher
from trayagent.agent.masters.unread_refusal import unread_refusal
from trayagent.agent.parts import Parts
from trayagent.agent.state.records import Begun
from trayagent.core.facts import actions as a
from trayagent.core.facts.events import AttemptCut, AttemptEstablished, AttemptFailed, AttemptReady
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host, LoginKind
from trayagent.core.facts.masters import Master
from trayagent.core.facts.mptcp import Outcome
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.hostname_edited import replaced_by_edit
from trayagent.core.problem_texts import large_packets_lost
from trayagent.errors import TrayagentError
from trayagent.ssh.login.background_guard import wants_browser, without_windows
from trayagent.ssh.login.classify_failure import classify, perhaps_refused, unlogged
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.login.login_kind import login_kind
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon
from trayagent.ssh.master.launch_and_wait import Launched, LaunchFailedError, read_own_log
from trayagent.ssh.master.master_command_line import PERSIST_UNSET
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.copied_connection import copy_of, mute
from trayagent.ssh.os.process import read
from trayagent.ssh.os.tcp_connection import flow_of
from trayagent.ssh.remote import run_script

log = logging.getLogger(__name__)

_JITTER = 0.2
_SSH_FAILED = 255  # ssh's exit status after an error of ssh itself, see ssh(1)
_ANSWER_S = 0.7  # a login needs 4 round trips after the key exchange, and the agent must stop within a second
_FORK_S = 2.0  # usually ssh's parent process exits 3 ms after the socket appears


@dataclass(slots=True)
class _Attempt:
    """An attempt in progress."""

    shell: Shell
    action: a.Dial
    connecting: Connecting | None = None
    connected: bool = False
    mptcp: bool = False
    answer_s: float = _ANSWER_S

    def established(
        self,
        local: str,
        peer: str,
        addresses: frozenset[str] = frozenset(),
        mptcp: Outcome | None = None,
    ) -> None:
        """Post that the TCP connection is established between these addresses."""
        self.connected = True
        self.mptcp = mptcp == "answered"
        name, attempt = self.action.name, self.action.attempt
        self.shell.post(AttemptEstablished(time.monotonic(), name, attempt, local, peer, addresses, mptcp))


class MasterConnector:
    """Starts masters. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        discovery: Discovery,
        paths: ControlPaths,
        shelter: Shelter | None,
        slow_s: Callable[[str], float],
    ) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._environment = parts.environment
        self._discovery = discovery
        self._paths = paths
        self._launcher = MasterLauncher(parts.file_paths, shelter, slow_s)
        self._launched: dict[int, Launched] = {}
        self._attempts: dict[int, _Attempt] = {}

    def dial(self, action: a.Dial, host: Host) -> None:
        """Start an attempt."""
        self._tasks.start(f"attempt {action.attempt}", self._dial(action, host))

    def redial(self, action: a.Redial) -> None:
        """Start one more connection for an attempt that is still connecting."""
        attempt = self._attempts.get(action.attempt)
        if attempt is not None and attempt.connecting is not None:
            attempt.connecting.again()

    def abort(self, action: a.Abort) -> None:
        """End an attempt."""
        attempt = self._attempts.get(action.attempt)
        if attempt is not None and action.lost:
            attempt.answer_s = 0.0
        if action.silently and attempt is not None and attempt.connecting is not None:
            attempt.connecting.mute()
        self._tasks.cancel(f"attempt {action.attempt}")

    def release_connection(self, pid: int) -> None:
        """Close the agent's copy of a master's connection, because the master is about to end."""
        launched = self._launched.get(pid)
        if launched is not None:
            launched.release_connection()

    def mute(self, master: Master, *, muted: bool) -> None:
        """Keep the kernel from sending another packet of a spare master, or let it send again.

        The agent has a copy of a connection that it made. It copies that of an earlier agent, if the system permits it.
        """
        launched = self._launched.get(master.pid)
        if launched is not None and launched.mute_connection(muted=muted):
            return
        flow = flow_of(master.pid)
        if flow is not None:
            with contextlib.suppress(OSError), copy_of(flow) as connection:
                mute(connection, muted=muted)

    def reap(self, pid: int) -> int | None:
        """Return the exit status of a master that was a child of this process, None for any other master.

        A background master is no child, but its parent was, which ended with 0 at the login.
        """
        self.release_connection(pid)
        launched = self._launched.pop(pid, None)
        status = launched.process.poll() if launched is not None else None
        return status if launched is not None and launched.process.pid == pid else None

    def keep(self, pid: int, launched: Launched) -> None:
        """Keep a master that another part started, so that `reap` finds the process."""
        self._launched[pid] = launched

    def forget(self, pid: int) -> None:
        """Forget the process of a master that ended before its take-over, and remove its logs."""
        self.reap(pid)
        master_log.remove(self._file_paths.master_log(pid))

    # Attempts.

    async def _dial(self, action: a.Dial, host: Host) -> None:
        try:
            master = await self._started(action, host)
        except TrayagentError as error:
            self._failed(action, Failure(Problem("config-error", error.title, error.hint), "config"))
        except FailedError as failed:
            self._failed(action, failed.failure, failed.host_key)
        except OSError as error:
            self._failed(action, failed_locally(error, self._file_paths.runtime_dir, host.name))
        except Exception:
            self._failed(action, bug(host))
            raise
        else:
            kind = self._login_kind(master, host)
            key = master.host_key
            self._shell.post(AttemptReady(time.monotonic(), action.name, action.attempt, master, kind, key))
            if action.interface is not None and host.roaming is not None:
                await _send_at_once(master)

    def _login_kind(self, master: Master, host: Host) -> LoginKind:
        if host.resolved is None:
            return "quiet"
        words = read_own_log(self._file_paths.master_log(master.pid))
        return login_kind(words, host.resolved, self._environment.current(), at_terminal=False)

    async def _started(self, action: a.Dial, host: Host) -> Master:
        resolved = host.resolved
        if resolved is None:
            raise FailedError(
                Failure(Problem("config-error", f"ssh -G {host.name} gave no answer"), "config")
            )
        expired = expired_meanwhile(host, time.monotonic())
        if expired is not None:
            raise FailedError(expired)
        starting = self._file_paths.attempt_log(action.attempt)
        # Without its log, a login would prove nothing. So do not even connect to the server.
        master_log.check_writable(starting)
        path = self._discovery.path_of_next(host)
        await self._paths.check(path, host)
        fresh = fresh_for(path)
        trusted = host.attempt is not None and host.attempt.trusted
        self._records.begin_attempt(fresh, Begun(host.name, path, str(starting), trusted))
        try:
            return await self._launched_master(action, host, resolved, fresh, starting)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and not trusted:
                self._note_refusal(action, host, starting)
            master_log.remove(starting)
            remove_fresh(fresh)
            self._records.end_attempt(fresh)
            raise

    def _note_refusal(self, action: a.Dial, host: Host, starting: Path) -> None:
        """Note whether a login that the agent ended may have been refused, for this agent and the next one."""
        failure, host_key = unread_refusal(starting, host.name) or (None, None)
        if failure is not None:
            self._records.refused_unseen(host.name, failure, time.time(), host_key)
        self._shell.post(AttemptCut(time.monotonic(), action.name, action.attempt, failure, host_key))

    async def _launched_master(
        self, action: a.Dial, host: Host, resolved: Resolved, fresh: str, starting: Path
    ) -> Master:
        environment = without_windows(self._environment.current())
        attempt = self._attempts[action.attempt] = _Attempt(self._shell, action)
        try:
            launched = await self._launcher.launch(
                Start(
                    host.name,
                    _kept_for_forwards(host, resolved) if action.background else resolved,
                    fresh,
                    starting,
                    action.background,
                    environment,
                    attempt,
                    host_key=_requested_key(host),
                    cipher=link_cipher(host),
                    address=action.address,
                    first=_address_to_prefer(host),
                    mptcp=action.mptcp,
                    interface=action.interface,
                )
            )
        except WantsBrowserError as wants:
            raise FailedError(wants_browser(host.name)) from wants
        except LaunchFailedError as failed:
            if failed.stall is not None and await failed.stall.passes_small():
                raise FailedError(_swallowed(host)) from failed
            proven = read_key_exchange(failed.output.own, failed.pid)
            failure = classify(
                failed.output.own,
                host=host.name,
                exit_status=failed.status,
                others=failed.output.others,
                proven=proven.after,
            )
            ended = attempt.connected and failed.status == _SSH_FAILED
            full = no_room(starting) if ended and proven.host_key is None else None
            if full is not None or (ended and not failed.output.own):
                failure = unlogged(full or failure, host.name)
            else:
                failure = perhaps_refused(failure, proven, host.name)
            raise FailedError(explained(failure, resolved, environment), proven.host_key) from failed
        except FileNotFoundError as missing:
            hint = "Install OpenSSH's client, or set TRAYAGENT_SSH"
            title = f"The program {self._file_paths.ssh} was not found"
            raise FailedError(Failure(Problem("ssh-missing", title, hint), "ssh-missing")) from missing
        finally:
            del self._attempts[action.attempt]
        return await self._described(attempt, host, launched, fresh)

    async def _described(self, attempt: _Attempt, host: Host, launched: Launched, fresh: str) -> Master:
        pid = launched.process.pid
        if attempt.action.background:
            pid = await daemon_of(launched)
        self._launched[pid] = launched
        proven = read_key_exchange(read_own_log(launched.log), launched.process.pid, logged_in=True)
        if proven.host_key is None and (full := no_room(launched.log)) is not None:
            await self._end(pid)
            raise FailedError(full)
        master_log.rename(launched.log, self._file_paths.master_log(pid))
        target = host.resolved.target if host.resolved is not None else None
        master = describe(pid, fresh, started_by_agent=True, proven=(proven.host_key, target))
        if master is None:
            raise FailedError(
                Failure(Problem("unknown", f"{host.name}: the new master ended immediately"), "died")
            )
        spare = attempt.action.interface is not None
        master = replace(master, mptcp=attempt.mptcp, spare=spare, muted=False if spare else None)
        self._records.add_master(master, host.name, [])
        return master

    async def _end(self, pid: int) -> None:
        """End a new master that has no log."""
        running = read(pid)
        if running is not None:
            await abandon(running)
        self.forget(pid)

    def _failed(self, action: a.Dial, failure: Failure, host_key: str | None = None) -> None:
        self._shell.post(
            AttemptFailed(time.monotonic(), action.name, action.attempt, failure, jitter(), host_key)
        )


async def _send_at_once(master: Master) -> None:
    """Make sshd send small packets at once, so that a spare master needs one round trip less when it is used.

    sshd sets TCP_NODELAY at the first session (session.c, do_exec), and a spare master has none.
    """
    with contextlib.suppress(TrayagentError, OSError):
        await run_script.run(master.control_path, "true")


def jitter() -> float:
    """Return a random factor for a delay, so that machines that failed together do not retry together."""
    return random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spreads load, guards nothing


def _requested_key(host: Host) -> str | None:
    """Return the host key to request first: the old connection's. None: ssh_config leads to another server now."""
    return host.master.host_key if host.master is not None and not replaced_by_edit(host) else None


def _address_to_prefer(host: Host) -> str | None:
    """Return the address to try first: where the sessions of a roaming host are, or where the old connection is."""
    if host.roaming is not None and host.roaming.address is not None:
        return host.roaming.address
    return host.master.peer if host.master is not None else None


def _kept_for_forwards(host: Host, resolved: Resolved) -> Resolved:
    """Return ssh's answer, with ControlPersist set if the host has forwards by hand and the user did not set it.

    Without ControlPersist, the new master and its forwards would end with its last session.
    """
    unset = resolved.control_persist in PERSIST_UNSET
    return replace(resolved, control_persist="yes") if host.forwards.by_hand and unset else resolved


def _swallowed(host: Host) -> Failure:
    network = host.attempt.network if host.attempt is not None else None
    return Failure(large_packets_lost(host.name, network.egress if network is not None else None), "stalled")


async def daemon_of(launched: Launched) -> int:
    """Wait until ssh's parent process has exited, and return the pid of the master in the background.

    The master is the process that the kernel shows as the listener, whatever a process claims. Raises FailedError.
    """
    until = time.monotonic() + _FORK_S
    while launched.process.poll() is None and time.monotonic() < until:  # noqa: ASYNC110  # no event reports the exit
        await asyncio.sleep(0.002)
    pid = owner_of(launched.socket_path)
    if pid is None:
        raise FailedError(Failure(Problem("unknown", "The new master ended immediately"), "died"))
    return pid


def bug(host: Host) -> Failure:
    """Return the failure to post for an attempt with an unexpected error. Without it, the host would wait forever."""
    hint = "The agent tries again; its log has details"
    return Failure(Problem("unknown", f"The agent failed while it connected {host.name}", hint), "unknown")
