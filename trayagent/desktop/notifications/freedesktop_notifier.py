"""Messages over org.freedesktop.Notifications: shown, replaced and withdrawn, with buttons if the server has them.

The agent never waits for the notification server. `show` and `withdraw` record what the screen should show, and a task
for each message updates the screen. If a server never answers, one call waits for each message. If a server dies, the
agent sends the messages again when the server is back.

Source: Desktop Notifications Specification 1.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trayagent.desktop.bus_connection import BusCallError, Connection
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.notifications.notification_server import DEFAULT, SERVER, Server

log = logging.getLogger(__name__)

# If the server does not answer within this time, `problem` says so. The message still appears when the server answers.
LATE_S = 5.0


class Notifier:
    """The Notifications of Linux, and a BusUser.

    It calls `invoked(key, action)` when the user presses a button, and `closed(key)` after the user or a timeout
    removed a message from the screen. It calls `not_shown` with a passing message that the user does not see, or not
    soon.
    """

    def __init__(
        self,
        invoked: Callable[[str, str], None],
        closed: Callable[[str], None] = lambda _: None,
        *,
        activation: Callable[[str], object] = lambda _: None,
        not_shown: Callable[[Message], None] = lambda _: None,
        program: str = "trayagent",
        late_s: float = LATE_S,
    ) -> None:
        self.problem: str | None = None
        self._invoked, self._closed, self._program, self._late_s = invoked, closed, program, late_s
        self._activation, self._not_shown = activation, not_shown
        self._wanted: dict[str, Message] = {}
        self._again: set[str] = set()
        """Keys of passing messages to show, even if the same message was shown before."""
        self._sent: dict[str, Message] = {}
        """The last message that the server got under each key. It is on the screen, or the user closed it."""
        self._ids: dict[str, int] = {}
        self._early: list[tuple[int, str | None]] = []
        self._early_tokens: dict[int, str] = {}
        """Signals about messages whose number is not known yet."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._server: Server | None = None

    def show(self, message: Message) -> None:
        """Show the message. It replaces an earlier message of the same key.

        If the same message was shown before, do nothing, unless the message is passing.
        """
        if message.passing and self._server is None and self.problem is not None:
            self._not_shown(message)
            return  # a passing message would be outdated later
        self._wanted[message.key] = message
        if message.passing:
            self._again.add(message.key)
        self._update(message.key)

    def withdraw(self, key: str) -> None:
        """Remove the message of this key from the screen, if it is there."""
        self._wanted.pop(key, None)
        self._again.discard(key)
        self._update(key)

    async def on_bus(self, connection: Connection) -> None:
        """Show all wanted messages on a new connection. Raises BusCallError."""
        server = Server(connection, self._program)
        await server.listen(self._heard, self._token_came)
        await connection.watch_name(SERVER, lambda owner: self._owner_is(server, owner))

    def off_bus(self, reason: str) -> None:
        """Forget a connection that is gone, and which messages the server showed."""
        self._forget()
        self._server, self.problem = None, reason

    def close(self) -> None:
        """Stop. The server decides about messages on the screen."""
        self.off_bus("notifications were closed")

    def _owner_is(self, server: Server, owner: str | None) -> None:
        """Send all messages to a new server. If the name has no owner at first, the first request starts a server."""
        first, self._server = self._server is None, server
        if owner is None and not first:
            self._forget()  # wait for a new server: a request would start the old one again, perhaps repeatedly
            self.problem = "the notification server went away"
            return
        if self._ids:
            self._forget()  # another server replaced the old one without a gap
        server.restarted()
        self.problem = None
        for key in list(self._wanted):
            self._update(key)

    def _forget(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        for message in [m for m in self._wanted.values() if m.passing]:
            if message.key in self._sent:
                del self._wanted[message.key]
            else:
                self._not_shown(message)
        self._again.intersection_update(self._wanted)
        self._sent.clear()
        self._ids.clear()
        self._early.clear()

    def _update(self, key: str) -> None:
        if self._server is None or key in self._tasks or not self._is_due(key):
            return
        work = self._bring_up_to_date(self._server, key)
        self._tasks[key] = task = asyncio.get_running_loop().create_task(work, name=f"message: {key}")
        task.add_done_callback(self._update_ended)

    def _is_due(self, key: str) -> bool:
        return key in self._again or self._wanted.get(key) != self._sent.get(key)

    def _update_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(f"{task.get_name()} failed: {error!r}")

    async def _bring_up_to_date(self, server: Server, key: str) -> None:
        """Update the screen until it shows the wanted message of the key.

        If a request fails, wait for the next change.
        """
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._late_s, self._is_late, key)
        try:
            while self._is_due(key):
                self._again.discard(key)
                message = self._wanted.get(key)
                try:
                    await self._send(server, key, message)
                    self.problem = None
                except BusCallError as e:
                    self._report(f"a message was not shown: {e}")
                    if self._wanted.get(key) is message:
                        if message is not None and message.passing:
                            del self._wanted[key]  # a passing message would be outdated later
                            self._not_shown(message)
                        return
        finally:
            late.cancel()
            # Forget the task here, not in a callback. Otherwise a request between the last check and the callback would
            # be lost.
            if self._tasks.get(key) is asyncio.current_task():
                del self._tasks[key]
            if not self._tasks:
                self._early.clear()
                self._early_tokens.clear()

    async def _send(self, server: Server, key: str, message: Message | None) -> None:
        if message is None:
            await self._remove(server, key)
            return
        number = await server.notify(message, self._ids.get(key, 0))
        self._sent[key], self._ids[key] = message, number
        self._catch_up(number)

    async def _remove(self, server: Server, key: str) -> None:
        del self._sent[key]
        if (number := self._ids.pop(key, None)) is not None:
            await server.close(number)

    def _is_late(self, key: str) -> None:
        self._report("the notification server does not answer")
        if (message := self._wanted.get(key)) is not None and message.passing:
            self._not_shown(message)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def _heard(self, number: int, action: str | None) -> None:
        """Handle a pressed button (`action`), or a message that left the screen (None)."""
        key = next((k for k, n in self._ids.items() if n == number), None)
        if key is None:
            if self._tasks:  # perhaps about a message whose number has not arrived yet
                self._early.append((number, action))
            return
        if action is None:
            del self._ids[key]
            if self._wanted.get(key) == self._sent.pop(key, None) and key not in self._again:
                del self._wanted[key]  # otherwise a restarted server would show the message again
            self._closed(key)
        elif (chosen := _chosen(self._sent[key], action)) is not None:
            self._invoked(key, chosen)

    def _token_came(self, number: int, token: str) -> None:
        """Pass on a token if it belongs to one of our messages. The bus sends this signal to all clients."""
        if number in self._ids.values():
            self._activation(token)
        elif self._tasks:  # perhaps about a message whose number has not arrived yet
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


def _chosen(message: Message, action: str) -> str | None:
    """Return the message's action for the action that the server reports, or None if it is unknown."""
    if action == DEFAULT:
        return message.default
    return action if any(action == name for name, _ in message.actions) else None
