"""The tray on a Mac: starts `macos_icon` and talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Sequence

from trayagent.desktop.tray.known_panels import Panel
from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.macos_icon import encoded
from trayagent.desktop.tray.update_rate import INTERVAL_S, Pace
from trayagent.own_module import own_module

log = logging.getLogger(__name__)

PROGRAM = tuple(own_module("trayagent.desktop.tray.macos_icon"))
RETRY_S = 60.0
"""A program that ended unexpectedly is started again with the next look, but not more often than this."""
_END_S = 2.0


class MenuBarTray:
    """A TrayBackend. `activated` is called with the key of the item that the user chose."""

    def __init__(
        self,
        activated: Callable[[Hashable], None],
        *,
        program: Sequence[str] = PROGRAM,
        interval_s: float = INTERVAL_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self.problem: str | None = "nothing is shown yet"
        self.panel = Panel()
        self._activated, self._program, self._retry_s = activated, program, retry_s
        self._pace = Pace(self._apply, interval_s)
        self._wanted: Look | None = None
        self._sent: Look | None = None
        self._numbers: dict[Hashable, int] = {}
        self._keys: list[Hashable] = []
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._started_at = float("-inf")

    def show(self, look: Look) -> None:
        """Show this from now on. The same look again costs nothing."""
        self._wanted = look
        self._pace.request()

    def close(self) -> None:
        """Remove the icon. Returns at once, see `ended`."""
        self._pace.stop()
        self._wanted = None
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()  # the program ends at the end of its input

    async def ended(self) -> None:
        """Wait until the icon's program has ended after `close`. Kill it if it does not end in time."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_END_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _apply(self) -> None:
        if self._wanted is None:
            return
        if self._task is None or self._task.done():
            now = asyncio.get_running_loop().time()
            if now - self._started_at >= self._retry_s:
                self._started_at = now
                self._task = asyncio.get_running_loop().create_task(self._keep(), name="menu bar")
            return
        self._send()

    def _send(self) -> None:
        child, look = self._child, self._wanted
        if child is None or child.stdin is None or look is None or look == self._sent:
            return
        self._sent = look
        child.stdin.write(encoded(look, self._number).encode())

    def _number(self, key: Hashable) -> int:
        """Return the number of a key. A number is never reused, so a click on an old menu hits no other item."""
        if key not in self._numbers:
            self._numbers[key] = len(self._keys)
            self._keys.append(key)
        return self._numbers[key]

    async def _keep(self) -> None:
        """Run the program until it ends."""
        pipe = asyncio.subprocess.PIPE
        try:
            child = await asyncio.create_subprocess_exec(
                *self._program, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            self.problem = f"the menu bar's program could not be started: {error.strerror}"
            return
        self._child, self._sent, self.problem = child, None, None
        try:
            self._send()
            said, _ = await asyncio.gather(_last_line(child.stderr), self._listen(child.stdout))
            status = await child.wait()
        finally:
            self._child = None
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        self.problem = f"the menu bar's program ended with status {status}: {said}"
        if self._wanted is not None:
            log.warning("%s", self.problem)

    async def _listen(self, output: asyncio.StreamReader | None) -> None:
        while output is not None and (line := await output.readline()):
            with contextlib.suppress(ValueError, IndexError):
                self._activated(self._keys[int(line)])


async def _last_line(errors: asyncio.StreamReader | None) -> str:
    """Read to the end, because a full pipe would stop the program. Return the last line."""
    last = ""
    while errors is not None and (line := await errors.readline()):
        last = line.decode(errors="replace").strip() or last
    return last
