"""Lets the user log in to a host from the desktop: in a terminal, or else in windows of an askpass program.

Both run `trayagent login`. The agent does not see what the user types. Source: ssh(1), SSH_ASKPASS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping

from trayagent.desktop.open_terminal import open_terminal
from trayagent.desktop.window_title_and_pause import AFTER_FAILURE, in_terminal
from trayagent.errors import TrayagentError
from trayagent.own_module import own_module
from trayagent.presentation.translation import _

# Where distributions install the askpass program of ssh. On Debian, the first path is an alternatives link.
_ASKERS = (
    "/usr/bin/ssh-askpass",
    "/usr/libexec/openssh/ssh-askpass",
    "/usr/lib/ssh/ssh-askpass",
    "ksshaskpass",
    "lxqt-openssh-askpass",
)
_GIVEN_UP = 130


async def log_in(host: str, env: Mapping[str, str]) -> None:
    """Open a terminal that logs in. Without a terminal, let ssh ask in windows, and wait until it ends.

    Raises TrayagentError.
    """
    words = own_module("trayagent", "login", "--", host)
    try:
        await open_terminal(in_terminal(_("{host}: log in").format(host=host), words, AFTER_FAILURE), env)
    except TrayagentError as no_terminal:
        asker = askpass(env)
        if asker is None:
            hint = f"{no_terminal.hint} Or log in at a console: trayagent login {host}"
            raise TrayagentError(no_terminal.title, code=no_terminal.code, hint=hint) from no_terminal
        await _by_windows(host, words, {**env, "SSH_ASKPASS": asker, "SSH_ASKPASS_REQUIRE": "force"})


def askpass(env: Mapping[str, str]) -> str | None:
    """Return the askpass program, or None if there is no such program or no display."""
    if not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")):
        return None
    chosen = env.get("SSH_ASKPASS")
    candidates = ([chosen] if chosen else []) + list(_ASKERS)
    return next(filter(None, (shutil.which(name, path=env.get("PATH")) for name in candidates)), None)


async def _by_windows(host: str, words: list[str], env: Mapping[str, str]) -> None:
    null = asyncio.subprocess.DEVNULL
    # Use a file, not a pipe: a ProxyCommand may keep a pipe open for as long as the connection lives.
    with tempfile.TemporaryFile() as output:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=null, stdout=null, stderr=output, env=dict(env), start_new_session=True
        )
        try:
            status = await child.wait()
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    if status not in {0, _GIVEN_UP}:
        errors = [line.strip().removeprefix("trayagent: ") for line in lines[-2:]]
        title, hint = (
            (errors[0], errors[1]) if len(errors) == 2 else (f"{host}: the login failed", "".join(errors))
        )
        raise TrayagentError(title, code="login-failed", hint=hint)
