"""Determine which remote session the user wants, from the configuration and the command line."""

from __future__ import annotations

import secrets

from trayagent.attach import remote_command as far_command
from trayagent.config import load_file, value_checks
from trayagent.dotted_key import dotted
from trayagent.errors import TrayagentError
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_NAME = "main"
CONTROL_MODE = frozenset({"-C", "-CC"})  # options of tmux(1)


class Session:
    """A session on a host. The constructor raises TrayagentError for an impossible session, and ConfigError.

    `note`: what the user should know before the session begins. `stays`: the session outlives a connection, so ssh
    may be ended when nothing gets through. `is_protocol`: the user's terminal program speaks tmux's control
    protocol (`tmux -CC`). If the host's session is a plain shell, a `name` selects tmux.
    """

    def __init__(self, host: str, name: str | None, config_file: Path) -> None:
        try:
            value_checks.host_name(host)
        except ValueError as error:
            hint = "Use the name that you give to ssh."
            raise TrayagentError(f"This is not a host: {error}.", code="config-error", hint=hint) from error
        if name is not None:
            far_command.check_name(name)
        described = load_file.load(config_file).hosts.get(host)
        kind: str | tuple[str, ...] = described.session if described is not None else "shell"
        if kind == "shell" and name is not None:
            kind = "tmux"
        if isinstance(kind, tuple) and name is not None:
            what = f"The session of {host} is the command {' '.join(kind)}: it takes no name."
            table = dotted("hosts", host)
            hint = f'Leave {name} out, or set [{table}] session to "tmux" or "screen".'
            raise TrayagentError(what, code="session-name", hint=hint)
        self.host = host
        self._kind = kind
        self._name = name or DEFAULT_NAME
        self._token = f"trayagent-{secrets.token_hex(8)}"
        self.stays = kind != "shell"
        self.is_protocol = isinstance(kind, tuple) and not CONTROL_MODE.isdisjoint(kind) and "tmux" in kind[0]
        self.note = "" if self.stays else (
            _("a plain shell, which starts again after a change of network. For one that stays, in tmux: {command}")
            .format(command=f"trayagent attach {host} {DEFAULT_NAME}")
        )  # fmt: skip

    def command(self, *, again: bool) -> str | None:
        """Return the remote command, None for a login shell. `again`: an earlier connection was lost."""
        if self._kind == "shell":
            return None
        if isinstance(self._kind, str):
            return far_command.multiplexer(self._kind, self._name, self._token, again=again)
        return far_command.words(self._kind, self._token, again=again)
