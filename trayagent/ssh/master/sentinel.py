"""The sentinel: an idle session on a master that echoes each line, the cheapest proof of life.

A probe needs one round trip, writes no line to the server's log, and works where forwarding is forbidden. A master that
should end by the user's ControlPersist gets no sentinel, because an open session would keep it alive.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections import deque
from collections.abc import Callable

from trayagent.core.facts.remote_sessions import RemoteSession
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, Timeout
from trayagent.ssh.remote.own_sessions import MARK, parse_session
from trayagent.ssh.remote.pipes import chunks
from trayagent.ssh.remote.quote_script import command_line

COMMAND = command_line(f'{MARK}echo "TRAY $PPID $(mark $PPID)"; exec cat')
MARKER = b"TRAY "
_NOISE_MAX = 64 * 1024  # a login that prints more bytes has no usable shell
MARKER_DEADLINE_S = 10.0
# The line fills two packets of a usual MTU, even after compression. It is shorter than the largest atomic write to a
# pipe (4096 bytes).
_LARGE_LINE = base64.b64encode(os.urandom(2700)) + b"\n"
_EXIT_S = 2.0  # the exit status comes soon after the end of the output


class Sentinel:
    """A running sentinel; it calls `answered` for an echo, and `ended` once when its channel closes.

    After `send_line` sent a large line, echoes of earlier small lines do not count as an answer. Other output does not
    count either: a program that a start file of the shell began may write at any time. If it writes more than 64 KiB,
    the sentinel ends after it called `flooded`, because reading all of it costs processor time.

    `session` is the server's process for the master's connection, None if unknown.
    """

    def __init__(
        self, client: MuxClient, stdin_fd: int, stdout_fd: int, session: RemoteSession | None
    ) -> None:
        self._client = client
        self._stdin_fd = stdin_fd
        self._stdout_fd = stdout_fd
        self.session = session
        self._sent: deque[bool] = deque()  # for each line without an echo: whether it was large
        self._unfinished = b""  # the beginning of the line that is being read
        self._foreign_bytes = 0
        self.answered: Callable[[], None] = lambda: None
        self.flooded: Callable[[], None] = lambda: None
        self.ended: Callable[[], None] = lambda: None
        asyncio.get_running_loop().add_reader(stdout_fd, self._readable)

    @classmethod
    async def start(cls, control_path: str, *, timeout_s: float = MARKER_DEADLINE_S) -> Sentinel | None:
        """Start a sentinel on this master. Return None if the server runs no shell (a forced command).

        Raise a TrayagentError if no answer came in time, which shows nothing about the server.
        """
        with contextlib.ExitStack() as undo:
            client = await MuxClient.connect(control_path)
            undo.callback(client.close)
            near_in, far_in, near_out, far_out = *reversed(os.pipe()), *os.pipe()
            undo.callback(os.close, near_in)
            undo.callback(os.close, near_out)
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                await client.new_session(COMMAND, fds=(far_in, far_out, null), timeout_s=timeout_s)
            finally:  # the master has copies; the output never ends while this process holds one open
                for fd in (far_in, far_out, null):
                    os.close(fd)
            try:
                async with asyncio.timeout(timeout_s):
                    words = await _marker(near_out)
            except TimeoutError as error:
                raise Timeout("the server's shell did not answer in time") from error
            if words is None and await client.wait_exit(timeout_s=_EXIT_S) is None:
                raise Gone("the connection ended before the server's shell answered")
            if words is None:
                return None
            os.set_blocking(near_in, False)
            undo.pop_all()
        return cls(client, near_in, near_out, parse_session(words))

    def send_line(self, *, large: bool = False) -> bool:
        """Send one line; return False if the channel is gone or full, which counts as silence.

        `large` sends a line that fills packets in both directions, because some networks pass only small ones.
        """
        line = _LARGE_LINE if large else b"\n"
        try:
            sent = os.write(self._stdin_fd, line) == len(line)
        except OSError:
            return False
        if sent:
            self._sent.append(large)
        return sent

    def close(self) -> None:
        """End the session of the sentinel."""
        if self._stdout_fd < 0:
            return
        asyncio.get_running_loop().remove_reader(self._stdout_fd)
        for fd in (self._stdin_fd, self._stdout_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._stdin_fd = self._stdout_fd = -1
        self._client.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._stdout_fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._read(data)
            return
        self.close()
        self.ended()

    def _read(self, data: bytes) -> None:
        """Count the echoes among the lines, and end the sentinel if there is too much else."""
        *lines, unfinished = (self._unfinished + data).split(b"\n")
        self._unfinished = unfinished[: len(_LARGE_LINE)]
        foreign = [line for line in lines if line and line != _LARGE_LINE[:-1]]
        echoes = len(lines) - len(foreign)
        self._foreign_bytes += len(data) if foreign else max(echoes - len(self._sent), 0)
        self._foreign_bytes += len(unfinished) - len(self._unfinished)
        if self._foreign_bytes > _NOISE_MAX:
            self.close()
            self.flooded()
            self.ended()
        else:
            self._echoed(echoes)

    def _echoed(self, lines: int) -> None:
        answers = [self._sent.popleft() for _ in range(min(lines, len(self._sent)))]
        if answers and (any(answers) or not any(self._sent)):
            self.answered()


async def _marker(fd: int) -> str | None:
    """Return the words of the marker line, which follows the login's own output.

    Return None if the output ends without the marker or is too long.
    """
    seen = b""
    async for data in chunks(fd):
        seen += data
        for line in seen.split(b"\n")[:-1]:
            _, found, words = line.partition(MARKER)
            if found and words.split() and words.split()[0].isdigit():
                return words.decode(errors="replace").strip()
        if len(seen) > _NOISE_MAX:
            return None
    return None
