"""Making a master's forwards those that are wanted, each with a result of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from trayagent.core.forwards import Forward
from trayagent.core.hosts import ForwardState
from trayagent.core.reaping import still_refused
from trayagent.errors import TrayagentError
from trayagent.ssh.forward_wire import to_mux
from trayagent.ssh.launch import said
from trayagent.ssh.listeners import Listeners, tcp_listeners
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Refused

_LOOPBACK = ("127.0.0.1", "::1")


async def ensure(
    control_path: str,
    pid: int,
    wanted: Sequence[Forward],
    opened: Collection[Forward],
    *,
    log: Path | None = None,
    cleared: Callable[[], Awaitable[None]] | None = None,
) -> tuple[ForwardState, ...]:
    """Close what is open and not wanted, open what is wanted; a second call changes nothing.

    Each forward has a control connection of its own, so that remote ones take one round trip
    together (the master answers one connection's requests one after the other). `log` is the
    master's stderr file, where ssh puts the reason of a failed listener. `cleared` is waited for before
    a certain port or path of the server is asked for.
    """
    await asyncio.gather(*(_close(control_path, f) for f in opened if f not in wanted))
    told = len(said(log)) if log is not None else 0
    answers = await asyncio.gather(*(_open(control_path, f, cleared) for f in wanted))
    listening = tcp_listeners(pid) if any(f.kind != "remote" for f in wanted) else Listeners()
    last_words = said(log)[told:] if log is not None else ""
    return tuple(
        _checked(forward, answer, listening, last_words)
        for forward, answer in zip(wanted, answers, strict=True)
    )


async def _open(
    control_path: str, forward: Forward, cleared: Callable[[], Awaitable[None]] | None
) -> int | TrayagentError | None:
    if cleared is not None and forward.kind == "remote" and (forward.listen.port or forward.listen.path):
        await cleared()
    try:
        client = await MuxClient.connect(control_path)
        try:
            return await client.open_forward(to_mux(forward))
        finally:
            client.close()
    except TrayagentError as error:
        return error


async def _close(control_path: str, forward: Forward) -> None:
    try:
        client = await MuxClient.connect(control_path)
        try:
            await client.close_forward(to_mux(forward))
        finally:
            client.close()
    except TrayagentError:
        pass  # not open after all, or the master is gone: what was wanted


def _checked(
    forward: Forward,
    answer: int | TrayagentError | None,
    listening: Listeners,
    last_words: str,
) -> ForwardState:
    if isinstance(answer, TrayagentError):
        refused = isinstance(answer, Refused) and forward.kind == "remote"
        return ForwardState(forward, "failed", error=_reason(forward, answer, last_words), refused=refused)
    listen = forward.listen
    if listen.path is not None:
        return ForwardState(forward, "open", listen=listen.path)
    if forward.kind == "remote":
        return ForwardState(forward, "open", listen=_shown(listen.host or "localhost", answer or listen.port))
    missing = _missing(listen.host, listen.port, listening)
    if missing is not None:
        # ssh reports success when one family of two could be bound.
        return ForwardState(
            forward, "failed", error=f"{_shown(missing, listen.port)} is taken by another program"
        )
    return ForwardState(forward, "open", listen=_shown(listen.host or _LOOPBACK[0], listen.port))


def _missing(host: str, port: int, listening: Listeners) -> str | None:
    """Return the loopback address that a default forward should listen on and does not, or None.

    Elsewhere the listener's own address is what was asked for, and ssh fails when it is taken.
    """
    if host not in {"", "localhost"} or {("0.0.0.0", port), ("::", port)} & listening.own:  # noqa: S104  # seen, not bound
        return None
    v4, v6 = _LOOPBACK
    if (v4, port) not in listening.own:
        return v4
    # Without IPv6 nobody listens on ::1; where somebody else does, `localhost` would be theirs.
    return v6 if (v6, port) not in listening.own and (v6, port) in listening.others else None


def _reason(forward: Forward, error: TrayagentError, last_words: str) -> str:
    """Return why a forward failed, in ssh's words where it had some."""
    port = str(forward.listen.port)
    for line in last_words.splitlines():
        if "bind [" in line and (f":{port}:" in line):
            return line.strip()
    if isinstance(error, Refused) and forward.kind == "remote":
        return still_refused(forward.listen.path or f"port {port}", None)
    return error.title


def _shown(host: str, port: int) -> str:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104  # shown, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
