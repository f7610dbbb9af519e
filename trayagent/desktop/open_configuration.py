"""Opens the configuration file in the user's editor."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from trayagent.desktop.open_terminal import open_terminal
from trayagent.desktop.open_with_desktop import open_with_desktop
from trayagent.desktop.window_title_and_pause import in_terminal
from trayagent.errors import TrayagentError

# Editors to try if the desktop has no program for the file. On Debian, the first two are alternatives links.
_EDITORS = ("sensible-editor", "editor", "nano", "vim", "vi")


async def open_configuration(path: Path, new_text: Callable[[], str], env: Mapping[str, str]) -> None:
    """Open the file in $VISUAL, $EDITOR or the desktop's editor. If the file does not exist, create it with `new_text`.

    Raise TrayagentError if the file cannot be created or opened.
    """
    if not path.exists():
        _create(path, new_text())
    editor = env.get("VISUAL") or env.get("EDITOR")
    if editor is None or not shutil.which(editor):
        try:
            await open_with_desktop(str(path), env, *(["-t"] if sys.platform == "darwin" else []))
            return
        except TrayagentError:
            editor = next((name for name in _EDITORS if shutil.which(name)), None)
            if editor is None:
                raise
    await open_terminal(in_terminal("trayagent: configuration", [editor, str(path)]), env)


def _create(path: Path, text: str) -> None:
    """Create the file with this text. Raises TrayagentError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        title = f"{path} cannot be created: {error.strerror}."
        raise TrayagentError(title, hint="Create its directory yourself, and try again.") from error
