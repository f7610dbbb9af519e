"""The base class of every error that trayagent shows to the user."""

from __future__ import annotations

from trayagent.exit_statuses import FAILED


class TrayagentError(Exception):
    """An error that the user can act on.

    `code` is a stable word for scripts, `title` says what happened in one line, `hint` says what to do next ("" if
    there is nothing to do). `exit_status` is the exit status of a command that ends with this error.
    """

    exit_status: int = FAILED

    def __init__(self, title: str, *, code: str = "unknown", hint: str = "") -> None:
        super().__init__(title)
        self.code = code
        self.title = title
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.title}\n  {self.hint}" if self.hint else self.title
