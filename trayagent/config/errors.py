"""Define the errors of the configuration and of the agent's directories."""

from __future__ import annotations

from trayagent.errors import TrayagentError
from trayagent.exit_statuses import WRONG_USAGE


class ConfigError(TrayagentError):
    """The configuration cannot be used. The error names the file, and the dotted key if a key is wrong."""

    exit_status = WRONG_USAGE

    def __init__(self, file: str, what: str, *, key: str = "", hint: str = "") -> None:
        title = f"{file}: {key}: {what}" if key else f"{file}: {what}"
        super().__init__(title, code="config-error", hint=hint)
        self.file = file
        self.key = key


class UnsafeFolder(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """A private directory is impossible: another user owns it, it is open to others, or it is no directory."""

    def __init__(self, title: str, *, hint: str = "") -> None:
        super().__init__(title, code="unsafe-folder", hint=hint)


class WrongKey(ValueError):  # noqa: N818  # the name says what happened; users see the text
    """One key is wrong. The loader turns this error into a ConfigError, which also names the file."""

    def __init__(self, key: str, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.key = key
        self.what = what
        self.hint = hint
