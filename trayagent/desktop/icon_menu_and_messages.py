"""The desktop part of the agent: shows icon, menu and messages, and carries out what the user chooses.

It is a client of the agent, like the command line. It gets the whole view (`status --json`) at each change, and uses
the same operations.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from trayagent.desktop.choose_tray_and_messages import Asked, session
from trayagent.desktop.icon.icon_theme import installed
from trayagent.desktop.menu import Failure, Menu, Options
from trayagent.desktop.menu.commands import (
    Bring,
    Command,
    EditConfiguration,
    LogIn,
    Pause,
    ShowStatus,
    ShowWhy,
    SignIn,
)
from trayagent.desktop.menu_actions import Choices
from trayagent.desktop.notifications.dispatcher import Dispatcher
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.notifications.which_to_show import Notify
from trayagent.desktop.session_bus import session_bus_addresses
from trayagent.desktop.tray.look import Protocols
from trayagent.desktop.tray.look_from_view import look_and_menu
from trayagent.errors import TrayagentError
from trayagent.presentation.translation import _, agent_text, translated_view

log = logging.getLogger(__name__)

View = Mapping[str, Any]

# Network managers report a failed sign-in a moment after the program that failed.
SETTLED_S = 0.5
FAILED = "failed "
"""The beginning of the key of a message about a choice that failed."""


class Door(Protocol):
    """The functions of the agent that `Desk` needs."""

    def watch(self, push: Callable[[View], None]) -> Callable[[], None]:
        """Call `push` with the view now and at each change. Return a function that stops the updates."""

    def sign_ins(self) -> frozenset[str]:
        """Return the VPNs to which the user can sign in from the menu."""

    def notify(self) -> Notify:
        """Return which messages the user wants."""

    def opened(self) -> None:
        """Count the sessions of draining masters again, because the user opens the menu."""

    def sign_in_failure(self, vpn: str, error: str) -> None:
        """Record the error of a failed sign-in. The view shows the error until the VPN is up."""


class DeskState(Struct, frozen=True):
    """Why the icon (`tray`) or the messages are not shown, None if they are. `protocol`: how the icon is shown."""

    tray: str | None
    notifications: str | None
    protocol: Protocols | None


class Desk:
    """The icon, the menu and the messages. Does nothing if there is no desktop."""

    def __init__(
        self,
        door: Door,
        choices: Choices,
        *,
        start_at_login: Callable[[], bool | None],
        buses: Callable[[], Sequence[str | None]] = session_bus_addresses,
    ) -> None:
        self._door = door
        self._choices = choices
        self._start_at_login = start_at_login
        self._view: View | None = None
        self._menu: Menu | None = None
        self._pause: Pause | None = None
        self._brought: tuple[str, ...] = ()
        self._failure: Failure | None = None
        """The failure of the last choice, if no message could show it."""
        self._end: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._icons_installed = installed()
        asked = Asked(
            self._activated,
            self._not_shown,
            self._invoked,
            self._closed,
            self._opened,
            choices.activated_with,
            self._click_token,
            self._show,
            self._clicked,
            choices.environment,
        )
        self._tray, self._notifier, self._bus = session(asked, buses)
        self._dispatcher = Dispatcher(lambda: self._notifier, self._asked, notify=door.notify())

    @property
    def state(self) -> DeskState:
        """Why there is no icon or no message, for `status` and `doctor`."""
        bus, tray = self._bus.problem, self._tray.problem
        return DeskState(tray and (bus or tray), bus or self._notifier.problem, self._tray.protocol)

    def start(self) -> None:
        """Start to show everything. Never raises."""
        self._bus.start()
        self._end = self._door.watch(self._seen)

    async def close(self) -> None:
        """Remove the icon, stop the messages, and leave the bus."""
        self._end()
        self._dispatcher.close()
        self._tray.close()
        self._notifier.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bus.close()

    def settings_changed(self) -> None:
        """Apply a changed configuration."""
        self._dispatcher.set_notify(self._door.notify())
        self._show()

    def nudge(self) -> None:
        """Try the session bus again: a user may have logged in."""
        self._bus.nudge()

    # Showing the view.

    def _seen(self, view: View) -> None:
        self._view = translated_view(view)
        self._dispatcher.look(self._view)
        self._show()

    def _opened(self) -> None:
        self._door.opened()
        self._show()

    def _show(self) -> None:
        if self._view is None:
            return
        options = Options(
            self._start_at_login(),
            self._pause.span if self._pause is not None else None,
            self._door.sign_ins(),
            self._tray.panel.unfolds,
            self._brought,
            self._choices.can_set_up,
            self._failure,
        )
        panel = self._tray.panel
        look, self._menu = look_and_menu(
            self._view,
            datetime.now(UTC),
            options,
            named=self._icons_installed and panel.recolours,
            click_opens_menu=not panel.activates,
            attention_icon=not panel.enlarges_attention,
        )
        self._tray.show(look)

    # The user's choices.

    def _activated(self, key: Hashable) -> None:
        command = self._menu.command(key) if self._menu is not None and isinstance(key, tuple) else None
        if command is not None:
            self._carry_out(command)

    async def _click_token(self, token: str) -> bool:
        self._choices.activated_with(token)
        return await self._choices.token_is_used()

    def _clicked(self) -> None:
        self._carry_out(ShowStatus())

    def _asked(self, action: str, message: Message) -> None:
        host = message.hosts[0] if message.hosts else None
        if action == "sign-in" and message.vpn is not None:
            self._carry_out(SignIn(message.vpn))
        elif action == "login" and host is not None:
            self._carry_out(LogIn(host))
        elif action == "why" and host is not None:
            self._carry_out(ShowWhy(host))
        elif action == "edit":
            self._carry_out(EditConfiguration())

    def _carry_out(self, command: Command) -> None:
        self._failure = None
        if isinstance(command, Bring):
            self._brought = command.hosts
            # Call this later: if the panel has just sent a token, the task that handles the token has not begun yet.
            asyncio.get_running_loop().call_soon(self._choices.opens_no_window)
            self._show()
            return
        if isinstance(command, Pause) and not command.hosts:
            self._pause = command
        self._start(self._tried(command))

    async def _tried(self, command: Command) -> None:
        try:
            await self._choices.carry_out(command)
        except TrayagentError as error:
            log.info("%s: %s", command, error)
            await self._failed(command, error)
        except (OSError, EOFError) as error:
            log.error("a choice in the menu failed", exc_info=error)
            why = getattr(error, "strerror", None) or str(error) or _("the connection was closed")
            title = _("That could not be done: {reason}.").format(reason=why)
            hint = _("For more, choose “Show log” in the menu.")
            await self._failed(command, TrayagentError(title, hint=hint))
        self._show()

    async def _failed(self, command: Command, error: TrayagentError) -> None:
        """Show the error in a new message, unless the VPN's own message already shows the failed sign-in."""
        if isinstance(command, SignIn):
            # Add the time, so that the user can distinguish the error of this try from the same error of an earlier
            # try.
            at = datetime.now().astimezone().strftime("%H:%M:%S")
            self._door.sign_in_failure(command.vpn, f"{error.title.rstrip('.')} ({at}). {error.hint}")
            await asyncio.sleep(SETTLED_S)
            if self._dispatcher.tells("vpn-needs-sign-in", command.vpn):
                return
        key = f"{FAILED}{command}"
        self._notifier.show(Message(key, agent_text(error.title), agent_text(error.hint), passing=True))

    def _not_shown(self, message: Message) -> None:
        """Show the failure of a choice in the menu instead, because a click must never be without any effect."""
        if message.key.startswith(FAILED):
            self._failure = Failure(message.title, message.text)
            self._show()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="a choice in the menu")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a choice in the menu failed", exc_info=error)

    def _invoked(self, key: str, action: str) -> None:
        self._dispatcher.invoked(key, action)

    def _closed(self, key: str) -> None:
        self._dispatcher.closed(key)
