"""Passes each view to `which_to_show`, shows the messages that it returns, and handles their buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trayagent.desktop.notifications import which_to_show as registry
from trayagent.desktop.notifications.findings import Finding, View
from trayagent.desktop.notifications.group_into_messages import key_of
from trayagent.desktop.notifications.message_type import Message, Notifications


class Dispatcher:
    """Shows the messages of each view through `notifications`.

    It calls `asked(action, message)` when the user presses a button: "sign-in", "login", "why" or "edit". It handles
    "snooze" itself. The Notifier has to call `invoked` and `closed`.
    """

    def __init__(
        self,
        notifications: Callable[[], Notifications],
        asked: Callable[[str, Message], None],
        *,
        notify: registry.Notify = "problems",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._notifications, self._asked, self._notify = notifications, asked, notify
        self._clock = clock
        self._memory = registry.Memory()
        self._acted_on: dict[str, str] = {}
        """The key of a message whose button the user pressed, and the host for which the button was.

        Most servers close a message when its button is pressed.
        """
        self._view: View | None = None
        self._timer: asyncio.TimerHandle | None = None

    def look(self, view: View) -> None:
        """Process the current view."""
        self._view = view
        self._step()

    def tells(self, code: str, subject: str) -> bool:
        """Report whether a message about this problem is on the screen, or will be soon."""
        quiet = self._notify == "none" or key_of(Finding(code, subject)) in self._memory.snoozed
        return (code, subject) in self._memory.since and not quiet

    def set_notify(self, notify: registry.Notify) -> None:
        """Apply a changed `[agent] notify`."""
        self._notify = notify
        self._step()

    def invoked(self, key: str, action: str) -> None:
        """Handle a pressed button."""
        message = self._memory.shown.get(key)
        if message is None:
            return
        if action == "snooze":
            self._memory = registry.snooze(self._memory, key, self._now())
            self._step()
            return
        if message.hosts and message.vpn is None:
            self._acted_on[key] = message.hosts[0]
        self._asked(action, message)

    def closed(self, key: str) -> None:
        """Handle a message that left the screen."""
        self._memory = registry.closed(self._memory, key, self._acted_on.pop(key, None))

    def close(self) -> None:
        """Stop: show nothing more."""
        self._view = None
        self._set_timer(None)

    def _now(self) -> float:
        # The loop's clock stops while the machine sleeps. So a night's sleep does not count as an outage.
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    def _step(self) -> None:
        if self._view is None:
            return
        done = registry.step(self._memory, self._view, self._now(), self._notify)
        self._memory = done.memory
        for key in done.withdraw:
            self._notifications().withdraw(key)
        for message in done.show:
            self._notifications().show(message)
        self._set_timer(done.ask_at)

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait = None if at is None else max(0.0, at - self._now())
        self._timer = None if wait is None else asyncio.get_running_loop().call_later(wait, self._step)
