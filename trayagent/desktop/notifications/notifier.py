"""Messages over org.freedesktop.Notifications: shown, replaced, withdrawn; buttons where there are any.

Nothing waits for the server: `show` and `withdraw` say what is wanted, and a task per message brings
the screen there. A server that never answers costs one waiting call per message, one that dies is
told again when it is back.

Source: Desktop Notifications Specification 1.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trayagent.desktop.connection import BusCallError, Connection
from trayagent.desktop.notifications.message import Message
from trayagent.desktop.notifications.server import SERVER, Server

log = logging.getLogger(__name__)

# After this long a message is called late in `problem`; it is shown all the same when the server wakes.
LATE_S = 5.0


class Notifier:
    """Notifications on Linux, and a BusUser.

    `invoked(key, action)` is called for a button, `closed(key)` when the person or time took a
    message from the screen.
    """

    def __init__(
        self,
        invoked: Callable[[str, str], None],
        closed: Callable[[str], None] = lambda _: None,
        *,
        activation: Callable[[str], None] = lambda _: None,
        program: str = "trayagent",
        late_s: float = LATE_S,
    ) -> None:
        self.problem: str | None = None
        self._invoked, self._closed, self._program, self._late_s = invoked, closed, program, late_s
        self._activation = activation
        self._wanted: dict[str, Message] = {}
        self._again: set[str] = set()
        """Passing messages that are to be told though the same was told before."""
        self._told: dict[str, Message] = {}
        """What the server was told last under each key, on the screen or closed since."""
        self._ids: dict[str, int] = {}
        self._early: list[tuple[int, str | None]] = []
        self._early_tokens: dict[int, str] = {}
        """Signals about messages whose number is not known yet."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._server: Server | None = None

    def show(self, message: Message) -> None:
        """Show this under its key, in place of what was there; the same again does nothing, unless it is passing."""
        if message.passing and self._server is None and self.problem is not None:
            return  # later it would be no news
        self._wanted[message.key] = message
        if message.passing:
            self._again.add(message.key)
        self._tend(message.key)

    def withdraw(self, key: str) -> None:
        """Take what was shown under the key away; one that is not there is no error."""
        self._wanted.pop(key, None)
        self._again.discard(key)
        self._tend(key)

    async def on_bus(self, connection: Connection) -> None:
        """Tell what is wanted on a new connection. Raises BusCallError."""
        server = Server(connection, self._program)
        await server.listen(self._heard, self._token_came)
        await connection.watch_name(SERVER, lambda owner: self._owner_is(server, owner))

    def off_bus(self, reason: str) -> None:
        """Forget a connection that is gone, and the screen with it."""
        self._forget()
        self._server, self.problem = None, reason

    def close(self) -> None:
        """Stop; what is on the screen is left to the server."""
        self.off_bus("notifications were closed")

    def _owner_is(self, server: Server, owner: str | None) -> None:
        """Start again with another server. None at first is fine: asking it for something starts one."""
        first, self._server = self._server is None, server
        if owner is None and not first:
            self._forget()  # it died: told again when it is back, not started by us again and again
            self.problem = "the notification server went away"
            return
        if self._ids:
            self._forget()  # another server took over without a gap
        server.restarted()
        self.problem = None
        for key in list(self._wanted):
            self._tend(key)

    def _forget(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        for key in [k for k, m in self._wanted.items() if m.passing and k in self._told]:
            del self._wanted[key]
        self._again.intersection_update(self._wanted)
        self._told.clear()
        self._ids.clear()
        self._early.clear()

    def _tend(self, key: str) -> None:
        if self._server is None or key in self._tasks or not self._is_due(key):
            return
        work = self._bring_about(self._server, key)
        self._tasks[key] = task = asyncio.get_running_loop().create_task(work, name=f"message: {key}")
        task.add_done_callback(self._tended)

    def _is_due(self, key: str) -> bool:
        return key in self._again or self._wanted.get(key) != self._told.get(key)

    def _tended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._complain(f"{task.get_name()} failed: {error!r}")

    async def _bring_about(self, server: Server, key: str) -> None:
        """Make the screen show what is wanted under the key; a wish that fails is given up, a later one tried."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._late_s, self._complain, "the notification server does not answer")
        try:
            while self._is_due(key):
                self._again.discard(key)
                message = self._wanted.get(key)
                try:
                    await self._tell(server, key, message)
                    self.problem = None
                except BusCallError as e:
                    self._complain(f"a message was not shown: {e}")
                    if self._wanted.get(key) is message:
                        if message is not None and message.passing:
                            del self._wanted[key]  # told later, it would be no news
                        return
        finally:
            late.cancel()
            # Here and not in a callback: a wish between the last look and that would be nobody's.
            if self._tasks.get(key) is asyncio.current_task():
                del self._tasks[key]
            if not self._tasks:
                self._early.clear()
                self._early_tokens.clear()

    async def _tell(self, server: Server, key: str, message: Message | None) -> None:
        if message is None:
            await self._take_away(server, key)
            return
        number = await server.notify(message, self._ids.get(key, 0))
        self._told[key], self._ids[key] = message, number
        self._catch_up(number)

    async def _take_away(self, server: Server, key: str) -> None:
        del self._told[key]
        if (number := self._ids.pop(key, None)) is not None:
            await server.close(number)

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def _heard(self, number: int, action: str | None) -> None:
        """A button was pressed; None: the message left the screen."""
        key = next((k for k, n in self._ids.items() if n == number), None)
        if key is None:
            if self._tasks:  # perhaps of a message whose answer is a moment behind
                self._early.append((number, action))
            return
        if action is None:
            del self._ids[key]
            if self._wanted.get(key) == self._told.pop(key, None) and key not in self._again:
                del self._wanted[key]  # so that a server that starts anew does not bring it back
            self._closed(key)
        elif any(action == name for name, _ in self._told[key].actions):
            self._invoked(key, action)

    def _token_came(self, number: int, token: str) -> None:
        """Pass the token of one of our messages on; everybody hears of everybody's."""
        if number in self._ids.values():
            self._activation(token)
        elif self._tasks:  # perhaps of a message whose answer is a moment behind
            self._early_tokens[number] = token

    def _catch_up(self, number: int) -> None:
        if (token := self._early_tokens.pop(number, None)) is not None:
            self._activation(token)
        early, self._early = self._early, []
        for n, action in early:
            if n == number:
                self._heard(n, action)
            else:
                self._early.append((n, action))
