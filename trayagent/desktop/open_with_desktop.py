"""Opens an address or a file with the program that the desktop has for it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from trayagent.desktop.detached_programs import start
from trayagent.errors import TrayagentError

OPENER_S = 8.0
"""A time limit in seconds. xdg-open is a script that tries one program after the other before it fails."""


async def open_with_desktop(what: str, env: Mapping[str, str], *options: str) -> None:
    """Open an address or a file with the desktop's program.

    `options` are for open(1) on a Mac, where -t opens the text editor.
    """
    opener = shutil.which("xdg-open") or shutil.which("open")
    if opener is None:
        raise TrayagentError("No program here can open that.", hint=f"Open it yourself: {what}")
    try:
        status = await start([opener, *options, what], env, OPENER_S)
    except OSError as error:
        raise TrayagentError(
            f"{opener} cannot be run: {error.strerror}.", hint=f"Open it yourself: {what}"
        ) from error
    if status:
        title = f"{Path(opener).name} could not open it (status {status})."
        raise TrayagentError(title, hint=f"Open it yourself: {what}")
