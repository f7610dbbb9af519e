"""The desktop's access to the agent: calls the handler of client requests directly, not through the socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trayagent.agent.network_watch import NetworkWatch
from trayagent.agent.parts import Parts
from trayagent.agent.request_handler import AgentHandler, ServedAgent
from trayagent.agent.state.desktop_environment import session
from trayagent.core.facts.events import SignInFailed
from trayagent.core.facts.user_events import UserViewedStatus
from trayagent.core.vpn_state import vpn_display_state
from trayagent.dotted_key import dotted
from trayagent.errors import TrayagentError

if TYPE_CHECKING:
    from trayagent.desktop.icon_menu_and_messages import Desk

Notify = Any  # the type is in `desktop`, which is not imported here to save memory with `--no-tray`


class DeskDoor:
    """The operations of the agent that the desktop uses."""

    def __init__(self, handler: AgentHandler, parts: Parts, network: NetworkWatch) -> None:
        self._handler = handler
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._network = network

    def watch(self, push: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Push the view now and at each change; return a function that stops this."""
        return self._handler.watch([], push)

    def notify(self) -> Notify:
        """Return which notifications the user wants."""
        return self._configuration.config.agent.notify

    def sign_ins(self) -> frozenset[str]:
        """Return the VPNs that the user can sign in to from the desktop."""
        vpns = self._configuration.config.vpns
        return frozenset(n for n, vpn in vpns.items() if vpn.sign_in or vpn.networkmanager)

    def sign_in_words(self, vpn: str) -> tuple[str, ...] | None:
        """Return the sign-in command of a VPN from the configuration, None if NetworkManager does the sign-in."""
        described = self._configuration.config.vpns.get(vpn)
        return described.sign_in if described is not None else None

    async def activate(self, vpn: str) -> None:
        """Make NetworkManager bring the VPN up.

        The desktop's own secret agent then asks the user. Raises TrayagentError.
        """
        from trayagent.net.vpn.networkmanager import NetworkManager

        described = self._configuration.config.vpns.get(vpn)
        manager = next((s for s in self._network.sources if isinstance(s, NetworkManager)), None)
        if described is None or described.networkmanager is None or manager is None:
            table = dotted("vpns", vpn)
            hint = f"Set sign_in or networkmanager in [{table}]"
            raise TrayagentError(f"No sign-in is configured for {vpn}.", hint=hint)
        restart = vpn_display_state(self._shell.state, vpn, time.monotonic()) == "needs-sign-in"
        await manager.activate(described.networkmanager, restart=restart)

    def opened(self) -> None:
        """Count the sessions of draining masters again, because the user opens the menu."""
        hosts = self._shell.state.hosts.values()
        names = tuple(dict.fromkeys(h.draining.owner for h in hosts if h.draining is not None))
        if names:
            self._shell.post(UserViewedStatus(time.monotonic(), names))

    def sign_in_failure(self, vpn: str, error: str) -> None:
        """Post why a sign-in failed. The core keeps the reason until the VPN is up."""
        self._shell.post(SignInFailed(time.monotonic(), vpn, error))


def make_desk(agent: ServedAgent, handler: AgentHandler, parts: Parts, network: NetworkWatch) -> Desk:
    """Return the desk with its parts connected.

    The desktop's libraries are imported here because `--no-tray` does not need them.
    """
    from trayagent.config.file_paths import unusual
    from trayagent.desktop.autostart import disable, enable, enabled, own_command
    from trayagent.desktop.icon_menu_and_messages import Desk
    from trayagent.desktop.menu_actions import Choices, Files

    door = DeskDoor(handler, parts, network)

    async def request(op: str, args: dict[str, Any]) -> dict[str, Any]:
        return await handler.request(op, args, {})

    def start_at_login(on: bool) -> None:
        if on:
            enable(own_command(unusual(parts.configuration.path)))
        else:
            disable()

    def new_configuration() -> str:
        from trayagent.config.commented_example import commented_example

        return commented_example()

    choices = Choices(
        request,
        quit_=agent.stop,
        files=Files(parts.configuration.path, parts.file_paths.log_file, new_configuration),
        sign_in_words=door.sign_in_words,
        activate=door.activate,
        start_at_login=start_at_login,
        environment=session,
    )
    return Desk(door, choices, start_at_login=enabled, buses=parts.environment.buses)
