"""What can be wrong with a configuration or with the folders that the agent lives in."""

from __future__ import annotations

from trayagent.errors import TrayagentError


class ConfigError(TrayagentError):
    """The configuration cannot be used; names the file and, where there is one, the dotted key."""

    exit_status = 2

    def __init__(self, file: str, what: str, *, key: str = "", hint: str = "") -> None:
        title = f"{file}: {key}: {what}" if key else f"{file}: {what}"
        super().__init__(title, code="config-error", hint=hint)
        self.file = file
        self.key = key


class UnsafeFolder(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """A private folder cannot be had: it is another user's, open to others, or no folder."""

    def __init__(self, title: str, *, hint: str = "") -> None:
        super().__init__(title, code="unsafe-folder", hint=hint)


class WrongKey(ValueError):  # noqa: N818  # it names what happened, and is shown to people
    """One key is wrong; the loader, which knows the file, turns it into a ConfigError."""

    def __init__(self, key: str, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.key = key
        self.what = what
        self.hint = hint
