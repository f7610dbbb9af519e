"""Copies text to the clipboard with the first program that works."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping

from trayagent.errors import TrayagentError

# Programs that copy their input to the clipboard. The first one that exists and works is used.
_CLIPBOARDS = (
    ["wl-copy"],
    ["xclip", "-selection", "clipboard"],
    ["xsel", "--clipboard", "--input"],
    ["pbcopy"],
)
_CLIPBOARD_S = 2.0


async def copy(text: str, env: Mapping[str, str]) -> None:
    """Copy a text to the clipboard. Raise TrayagentError if no program can."""
    null = asyncio.subprocess.DEVNULL
    for words in _CLIPBOARDS:
        if shutil.which(words[0]) is None:
            continue
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=null,
            stderr=null,
            env=dict(env),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_CLIPBOARD_S):
                await child.communicate(text.encode())
        except TimeoutError:
            child.kill()
            continue
        if child.returncode == 0:
            return
    raise TrayagentError("No clipboard program works here.", hint=f"Copy it yourself: {text}")
