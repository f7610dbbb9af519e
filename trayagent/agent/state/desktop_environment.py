"""The environment of programs with a window: the display and the session bus of the present desktop session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

_ANSWER_WITHIN_S = 1.0


DESKTOP_VARIABLES = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "DESKTOP_SESSION",
        "DISPLAY",
        "SESSION_MANAGER",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "XDG_CURRENT_DESKTOP",
        "XDG_SESSION_DESKTOP",
        "XDG_SESSION_ID",
        "XDG_SESSION_TYPE",
    }
)
"""Variables that belong to one desktop session. Their values from an earlier session name a display that is gone."""


def session() -> Mapping[str, str]:
    """Return the environment for a program with a window.

    If systemd started the agent, the agent may be older than the desktop session. So the variables of the desktop come
    from systemd's user manager, which knows the present session; this runs a subprocess. If the user started the agent
    in a session, its own environment is right.
    """
    own = dict(os.environ)
    if not _is_unit(own) and _has_display(own):
        return own
    manager = user_manager()
    if not _has_display(manager):
        return {**manager, **own}
    rest = {name: value for name, value in own.items() if name not in DESKTOP_VARIABLES}
    present = {name: manager[name] for name in DESKTOP_VARIABLES if name in manager}
    return {**manager, **rest, **present}


def _has_display(env: Mapping[str, str]) -> bool:
    return bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


def _is_unit(env: Mapping[str, str]) -> bool:
    """Report whether systemd started this process directly. Source: systemd.exec(5), SYSTEMD_EXEC_PID."""
    return env.get("SYSTEMD_EXEC_PID") == str(os.getpid())


def user_manager() -> dict[str, str]:
    """Return the environment of systemd's user manager, {} if there is none (systemctl(1))."""
    try:
        answer = subprocess.run(
            ["systemctl", "--user", "show-environment"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in answer.stdout.splitlines())
    return {key: value.strip("'\"") for key, _, value in pairs if value and not value.startswith("$")}
