"""Writes the path of a key in TOML notation."""

from __future__ import annotations

import re


def dotted(at: str, name: str) -> str:
    """Join a key's path and a name in TOML notation. Quote the name if it is no bare key."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", name)
    shown = name if bare else '"' + name.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return f"{at}.{shown}" if at else shown
