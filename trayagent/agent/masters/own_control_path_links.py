"""Recognizes the links that the agent puts at control paths."""

from __future__ import annotations

import os
from pathlib import Path

from trayagent.ssh.new_control_path import default_in


def is_own_link(path: str, sockets: Path) -> bool:
    """Report whether a path is a symbolic link of this user that points into `sockets`, the agent's directory."""
    return _into(path, sockets) is not None


def linked_socket(path: str, sockets: Path) -> str | None:
    """Return the socket to which the agent's link at `path` leads, or None if there is no such link."""
    inside = _into(path, sockets)
    if inside is None:
        return None
    try:
        return os.readlink(inside)  # noqa: PTH115  # Path would change the text
    except OSError:
        return inside


def second_link(runtime_dir: Path, host: str) -> Path:
    """Return the link through which a host's control path leads to a socket outside the agent's directory."""
    return Path(f"{default_in(runtime_dir, host)}.link")


def leads_to(link: Path, path: str) -> bool:
    """Report whether this is a link to exactly this path."""
    try:
        return os.readlink(link) == path  # noqa: PTH115  # Path would change the text
    except OSError:
        return False


def _into(path: str, sockets: Path) -> str | None:
    try:
        mine = os.lstat(path).st_uid == os.getuid()
        inside = os.readlink(path)  # noqa: PTH115  # Path would change the text
    except OSError:
        return None
    return inside if mine and Path(inside).parent == sockets else None
