"""Start a new master and wait until it listens or fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.login.large_packets_lost import Stall, stall_of
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon
from trayagent.ssh.master.master_logs import SshOutput
from trayagent.ssh.master.spawn import prepared, spawn
from trayagent.ssh.os.new_file import NewFile
from trayagent.ssh.os.process import PidWatch, read
from trayagent.ssh.os.tcp_connection import QUERY_INTERVAL_S

# The kernel reports the new socket and the end of ssh. Everything else is checked this often.
_CHECK_S = 0.1
_POLL_S = (
    0.004  # without such reports (macOS, no inotify watch left); a handshake takes a hundred times as long
)


class Mute(Protocol):
    """Keeps the kernel from sending packets of a connection, or lets it send."""

    def __call__(self, *, muted: bool) -> bool:
        """Return False if there is no copy of the connection."""


def _no_copy(*, muted: bool) -> bool:
    del muted
    return False


class Launched(Struct, frozen=True):
    """A new master that listens on `socket_path`.

    `process` is the agent's child: the master itself, or the parent of a background master, which has ended.
    `release_connection` closes the agent's copy of the connection. Call it when the master ends. `mute_connection`
    keeps the kernel from sending packets of a connection that is bound to an interface, or lets it send again. It
    returns False if the agent has no copy of the connection.
    """

    process: subprocess.Popen[bytes]
    socket_path: str
    log: Path
    release_connection: Callable[[], None] = lambda: None
    mute_connection: Mute = _no_copy


class LaunchFailedError(Exception):
    """ssh (`pid`) ended or reached its deadline before it listened. `status` is None if the agent ended it.

    `stall` is set if the network had swallowed large packets at the deadline.
    """

    def __init__(
        self,
        output: SshOutput,
        pid: int,
        status: int | None,
        stall: Stall | None = None,
    ) -> None:
        super().__init__(output.own)
        self.output = output
        self.pid = pid
        self.status = status
        self.stall = stall

    def with_reason(self, reason: str) -> LaunchFailedError:
        """Return the same failure with the reason that the agent sent to ssh, because ssh may not have printed it."""
        output = replace(self.output, others=f"{reason}\n{self.output.others}")
        if not reason:
            return self
        return type(self)(output, self.pid, self.status, self.stall)


async def launch(  # noqa: PLR0913  # each argument is a choice of the caller
    words: Sequence[str],
    socket_path: str,
    log: Path,
    *,
    deadline_s: float,
    environment: Mapping[str, str],
    established: Callable[[int], bool] | None = None,
    hopeless: Callable[[int], bool] = lambda _pid: False,
    longer_s: Callable[[int], float] = lambda _pid: 0.0,
    prepare: Callable[[int], Awaitable[object]] | None = None,
    waits: bool = False,
    answer_s: Callable[[], float] = lambda: 0.0,
) -> Launched:
    """Start ssh and return once its control socket exists, which means that the login succeeded.

    `words` is a command line with which ssh writes its own log to the file `log`. What other programs write to the
    stderr of ssh goes to a file beside `log` (see `master_logs`). Both files stay when the agent ends.

    Run `prepare(pid)` first; with `waits`, the process becomes ssh only after that. Call `established(pid)` until it
    returns true. End ssh early if `hopeless(pid)` is true. At the deadline, `longer_s(pid)` may add seconds, once. If
    the task is cancelled, send SIGTERM to the child, then SIGKILL. If the server may be about to answer a login, wait
    `answer_s()` seconds for that answer first. Raise LaunchFailedError.
    """
    process = spawn(words, log, environment, waits=waits)
    deadline, extended = time.monotonic() + deadline_s, False
    query_at = 0.0
    news = _News(socket_path, process.pid)
    try:
        await prepared(process, prepare)
        while True:
            if os.path.exists(socket_path):  # noqa: PTH110  # a str is cheaper, and many logins may wait here
                return Launched(process, socket_path, log)
            status = process.poll()
            if status is not None:
                raise LaunchFailedError(master_log.read(log), process.pid, status)
            now = time.monotonic()
            if now > deadline and not extended:
                deadline, extended = deadline + longer_s(process.pid), True
            if now > deadline:
                raise LaunchFailedError(master_log.read(log), process.pid, None, stall_of(process.pid))
            master_log.shorten(log)
            if hopeless(process.pid):
                raise LaunchFailedError(master_log.read(log), process.pid, None)
            if established is not None and now >= query_at:
                query_at = now + QUERY_INTERVAL_S
                if established(process.pid):
                    established = None
            soon_s = _CHECK_S if established is None else QUERY_INTERVAL_S
            await news.wait(max(0.0, min(soon_s, deadline - now)))
    except BaseException as error:
        await _answered(
            process, socket_path, log, answer_s() if isinstance(error, asyncio.CancelledError) else 0.0
        )
        await _end(process)
        raise
    finally:
        news.close()


class _News:
    """Waits until a file appears or a process ends, if this system reports both, else for _POLL_S."""

    def __init__(self, path: str, pid: int) -> None:
        self._happened = asyncio.Event()
        self._watches: list[NewFile | PidWatch] = []
        try:
            self._watches.append(NewFile(path, self._happened.set))
            self._watches.append(PidWatch(pid, self._happened.set))
        except OSError:
            self.close()

    async def wait(self, seconds: float) -> None:
        """Wait for news, at most this long."""
        if not self._watches:
            await asyncio.sleep(min(seconds, _POLL_S))
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._happened.set)
        try:
            await self._happened.wait()
        finally:
            timer.cancel()
            self._happened.clear()

    def close(self) -> None:
        """Stop watching."""
        for watch in self._watches:
            watch.close()
        self._watches.clear()


def read_own_log(log: Path) -> str:
    """Return the end of a master's own log, "" without a log."""
    return master_log.read(log).own


async def _answered(process: subprocess.Popen[bytes], socket_path: str, log: Path, within_s: float) -> None:
    """Wait until ssh has the answer to its login, or has ended. Return at once if it cannot have sent a login yet."""
    if within_s <= 0 or read_key_exchange(read_own_log(log), None).host_key is None:
        return
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        if os.path.exists(socket_path):  # noqa: PTH110  # a str is cheaper
            return
        await asyncio.sleep(_POLL_S)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """End an abandoned attempt, and leave no zombie."""
    running = read(process.pid)
    if running is not None:
        await asyncio.shield(abandon(running))
    process.poll()
    if process.stdin is not None:  # the process was still waiting for a line from this pipe
        process.stdin.close()
