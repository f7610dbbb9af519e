"""Messages on a Mac, by osascript(1): shown, never withdrawn or replaced, and without buttons.

What the buttons would do stands in the menu. Source: AppleScript Language Guide, *display notification*.
"""

from __future__ import annotations

import asyncio
import logging

from trayagent.desktop.macos_applescript import osascript, quoted
from trayagent.desktop.notifications.message import Message

log = logging.getLogger(__name__)

_SHOWN_S = 10.0


class OsascriptNotifier:
    """Shows each message once; `problem` says why one was not shown. To be used inside a running loop."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._shown: dict[str, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, message: Message) -> None:
        """Show this; the same words under the same key do nothing."""
        words = (message.title, message.text)
        if self._shown.get(message.key) == words:
            return
        if not message.passing:
            self._shown[message.key] = words
        task = asyncio.get_running_loop().create_task(self._tell(message), name=f"message: {message.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def withdraw(self, key: str) -> None:
        """Forget it, so that it is told again when it comes again; the screen keeps what it has."""
        self._shown.pop(key, None)

    def close(self) -> None:
        """Stop; what is on the screen stays."""
        for task in self._tasks:
            task.cancel()

    async def _tell(self, message: Message) -> None:
        sound = ' sound name "default"' if message.urgency == "critical" else ""
        script = f"display notification {quoted(message.text)} with title {quoted(message.title)}{sound}"
        self.problem = await _run(osascript([script]))
        if self.problem is not None:
            log.warning("%s", self.problem)


async def _run(words: list[str]) -> str | None:
    """Return why the program failed, None when it did not."""
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(*words, stdin=null, stdout=null, stderr=pipe)
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(_SHOWN_S):
            _, said = await child.communicate()
    except TimeoutError:
        return f"{words[0]} did not end within {_SHOWN_S:g} s"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return f"{words[0]}: {said.decode(errors='replace').strip()}" if child.returncode else None
