"""The errors of a far relay's commands, with their titles."""

from __future__ import annotations

from trayagent.errors import TrayagentError

_TITLES = {
    "no-shell": "The server runs no commands for this account",
    "no-python": "The server has no python3",
    "no-scope": "The server ends all processes at logout (KillUserProcesses), and its systemd-run --user fails",
    "no-answer": "The far relay does not start with the server's python3, which must be 3.7 or later",
    "too-many": "Too many far relays of this account run on the server",
    "unsafe-folder": "Other users can open the directory for the far relay's socket on the server",
    "not-installed": "The far relay could not be written to ~/.cache/trayagent on the server",
}


class FarError(TrayagentError):
    """The server cannot run a far relay, or the far relay refused a command. `code` is the reason.

    `machine` is the identifier of the server's machine, "" if it is unknown.
    """

    def __init__(self, code: str, text: str = "", machine: str = "") -> None:
        title = _TITLES.get(code) or f"The far relay reported {code}"
        super().__init__(f"{title}: {text}" if text else title, code=code)
        self.machine = machine
