"""Chooses the ssh-agent of background logins. Never chooses an ssh-agent that is forwarded from another machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from trayagent.ssh.login.ssh_agent_sockets import Kind, kind_of

log = logging.getLogger(__name__)

_WHY: dict[Kind, str] = {
    "usable": "it answers",
    "silent": "no ssh-agent answers there",
    "forwarded": "sshd forwards it from another machine",
    "not-ours": "it is not a socket of this user",
}


class ChosenSshAgent:
    """Holds the `socket` of the ssh-agent that background logins use, None without one.

    `socket` is the SSH_AUTH_SOCK of trayagent's own environment, or else of the user manager's. If that ssh-agent no
    longer answers, trayagent uses the one of a client. It never uses a socket that is forwarded from another machine:
    that ssh-agent would prompt the user of that machine, and the socket disappears when the connection ends.
    """

    def __init__(self, of_manager: Callable[[], str | None]) -> None:
        self.socket = _first(of_manager)
        self._refused: tuple[str, Kind] | None = None

    def mark(self) -> str:
        """Return an identifier of the current ssh-agent. It differs after the ssh-agent was restarted."""
        try:
            seen = os.stat(self.socket or "")  # noqa: PTH116  # Path("") would be "."
        except OSError:
            return ""
        return f"{self.socket} {seen.st_ino} {seen.st_ctime_ns}"

    def is_news(self, client: Mapping[str, str]) -> bool:
        """Report whether a client's environment names an ssh-agent other than the present one."""
        offered = client.get("SSH_AUTH_SOCK")
        return bool(offered) and offered != self.socket

    def accept(self, client: Mapping[str, str]) -> bool:
        """Use a client's ssh-agent if the present one no longer answers and the client's does.

        Return whether the client's ssh-agent was accepted. Blocks for up to 4 s, so call this in a thread.
        """
        offered = client.get("SSH_AUTH_SOCK")
        if not offered or kind_of(self.socket) == "usable":
            return False
        kind = kind_of(offered)
        if kind == "usable":
            self.socket = offered
            return True
        if self._refused != (offered, kind):  # log the rejection once, not at each command from that shell
            self._refused = (offered, kind)
            log.info("SSH_AUTH_SOCK=%s of a client is not used: %s", offered, _WHY[kind])
        return False


def _first(of_manager: Callable[[], str | None]) -> str | None:
    own = os.environ.get("SSH_AUTH_SOCK")
    kind = kind_of(own)
    if kind == "usable":
        return own
    manager = of_manager()
    if manager != own and kind_of(manager) == "usable":
        return manager
    if own and kind == "forwarded":
        log.warning("SSH_AUTH_SOCK=%s is not used for background logins: %s", own, _WHY[kind])
        return None
    return own or (manager if kind_of(manager) != "forwarded" else None)
