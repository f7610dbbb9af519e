"""Messages on a Mac, by osascript(1). They have no buttons, and are never withdrawn or replaced.

The user finds the commands of the missing buttons in the menu. Source: AppleScript Language Guide, *display
notification*.
"""

from __future__ import annotations

import asyncio
import logging

from trayagent.desktop.macos_applescript import osascript, quoted
from trayagent.desktop.notifications.message_type import Message

log = logging.getLogger(__name__)

_SHOWN_S = 10.0


class OsascriptNotifier:
    """Shows each message once. `problem` says why the last one was not shown. Needs a running event loop."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._shown: dict[str, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, message: Message) -> None:
        """Show the message, unless the last message with this key had the same text."""
        words = (message.title, message.text)
        if self._shown.get(message.key) == words:
            return
        if not message.passing:
            self._shown[message.key] = words
        task = asyncio.get_running_loop().create_task(self._tell(message), name=f"message: {message.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def withdraw(self, key: str) -> None:
        """Forget the message, so that it is shown again if its problem returns. The message stays on the screen."""
        self._shown.pop(key, None)

    def close(self) -> None:
        """Stop. Messages on the screen stay."""
        for task in self._tasks:
            task.cancel()

    async def _tell(self, message: Message) -> None:
        sound = ' sound name "default"' if message.urgency == "critical" else ""
        script = f"display notification {quoted(message.text)} with title {quoted(message.title)}{sound}"
        self.problem = await _run(osascript([script]))
        if self.problem is not None:
            log.warning("%s", self.problem)


async def _run(words: list[str]) -> str | None:
    """Return why the program failed, or None after a success."""
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(*words, stdin=null, stdout=null, stderr=pipe)
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(_SHOWN_S):
            _, errors = await child.communicate()
    except TimeoutError:
        return f"{words[0]} did not end within {_SHOWN_S:g} s"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return f"{words[0]}: {errors.decode(errors='replace').strip()}" if child.returncode else None
