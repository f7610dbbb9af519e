"""Recognizes the links that the agent puts at control paths."""

from __future__ import annotations

import os
from pathlib import Path


def is_own_link(path: str, sockets: Path) -> bool:
    """Report whether a path is a link of this user into the agent's directory of sockets."""
    try:
        mine = os.lstat(path).st_uid == os.getuid()
        return mine and Path(os.readlink(path)).parent == sockets  # noqa: PTH115  # compared as text
    except OSError:
        return False
