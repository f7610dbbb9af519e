"""A tray whose icon is a separate program. This module runs the program and exchanges lines with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence

from trayagent.desktop.tray.known_panels import Panel
from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.look_lines import encoded
from trayagent.desktop.tray.update_rate import INTERVAL_S, Pace

log = logging.getLogger(__name__)


class SeparateTray:
    """Shows each look while `run` runs the program. It calls `activated` with the key of the item that the user chose.

    `called` is what `problem` calls the program.
    """

    def __init__(
        self,
        activated: Callable[[Hashable], None],
        *,
        program: Sequence[str],
        called: str,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.problem: str | None = "nothing is shown yet"
        self.panel = Panel()
        self._activated, self._program, self._called = activated, program, called
        self._pace = Pace(self._apply, interval_s)
        self._wanted: Look | None = None
        self._sent: Look | None = None
        self._numbers: dict[Hashable, int] = {}
        self._keys: list[Hashable] = []
        self._child: asyncio.subprocess.Process | None = None

    def show(self, look: Look) -> None:
        """Show this look. The same look again costs nothing."""
        self._wanted = look
        self._pace.request()

    def close(self) -> None:
        """Remove the icon, by closing the input of the program, which then ends. Returns at once."""
        self._pace.stop()
        self._wanted = None
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()

    async def run(self, environment: Mapping[str, str] | None = None) -> None:
        """Run the program until it ends, by default in the agent's environment. A cancelled task kills the program."""
        pipe = asyncio.subprocess.PIPE
        try:
            child = await asyncio.create_subprocess_exec(
                *self._program, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=environment
            )
        except OSError as error:
            self.problem = f"{self._called} could not be started: {error.strerror}"
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
                await child.communicate()  # also closes the pipes
        self.problem = f"{self._called} ended with status {status}: {said}"
        if self._wanted is not None:
            log.warning("%s", self.problem)

    def _apply(self) -> None:
        """Send the wanted look to the program. The pace limits how often."""
        self._send()

    def _send(self) -> None:
        child, look = self._child, self._wanted
        if child is None or child.stdin is None or look is None or look == self._sent:
            return
        self._sent = look
        child.stdin.write(encoded(look, self._number).encode())

    def _number(self, key: Hashable) -> int:
        """Return the number of a key. It is never reused, so that a click on an old menu cannot choose another item."""
        if key not in self._numbers:
            self._numbers[key] = len(self._keys)
            self._keys.append(key)
        return self._numbers[key]

    async def _listen(self, output: asyncio.StreamReader | None) -> None:
        while output is not None and (line := await output.readline()):
            self._heard(line.decode(errors="replace").strip())

    def _heard(self, line: str) -> None:
        """Handle a line of the program: the number of the chosen item."""
        with contextlib.suppress(ValueError, IndexError):
            self._activated(self._keys[int(line)])


async def _last_line(errors: asyncio.StreamReader | None) -> str:
    """Read to the end, because a full pipe would block the program. Return the last line."""
    last = ""
    while errors is not None and (line := await errors.readline()):
        last = line.decode(errors="replace").strip() or last
    return last
