"""Convert a forward of the core to the fields of the mux protocol."""

from __future__ import annotations

from trayagent.core.facts.forwards import End, Forward
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward

_SOCKS = ("socks", 0)


def to_mux(forward: Forward) -> MuxForward:
    """Return the forward in the fields of OPEN_FWD and CLOSE_FWD."""
    target = _SOCKS if forward.target is None else _fields(forward.target)
    return MuxForward(forward.kind, *_fields(forward.listen), *target)


def _fields(end: End) -> tuple[str, int]:
    return (end.host, end.port) if end.path is None else (end.path, UNIX_PATH)
