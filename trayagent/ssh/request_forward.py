"""Requests and cancels one forward of a master."""

from __future__ import annotations

from trayagent.core.facts.forwards import End, Forward
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward

_SOCKS = ("socks", 0)  # the target of a dynamic forward


async def request(control_path: str, forward: Forward) -> int | TrayagentError | None:
    """Request a forward. Return the port that the server chose, None if it chose no port, or the error."""
    try:
        async with MuxClient.connected(control_path) as client:
            return await client.open_forward(to_mux(forward))
    except TrayagentError as error:
        return error


async def cancel(control_path: str, forward: Forward) -> None:
    """Close a forward or cancel its request. Do nothing if there is no such forward."""
    try:
        async with MuxClient.connected(control_path) as client:
            await client.close_forward(to_mux(forward))
    except TrayagentError:
        pass  # the forward was not open, or the master is gone: in both cases the forward is closed now


def to_mux(forward: Forward) -> MuxForward:
    """Return the forward as the fields of the mux protocol's OPEN_FWD and CLOSE_FWD."""
    target = _SOCKS if forward.target is None else _fields(forward.target)
    return MuxForward(forward.kind, *_fields(forward.listen), *target)


def _fields(end: End) -> tuple[str, int]:
    return (end.host, end.port) if end.path is None else (end.path, UNIX_PATH)
