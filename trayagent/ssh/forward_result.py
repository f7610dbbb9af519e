"""Finds out where an open forward listens, or why it failed."""

from __future__ import annotations

import os

from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState
from trayagent.core.facts.remote_sessions import still_refused
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.errors import Refused
from trayagent.ssh.os.listeners import Listeners

_LOOPBACK = ("127.0.0.1", "::1")


def result_of(
    forward: Forward,
    answer: int | TrayagentError | None,
    listening: Listeners,
    last_words: str,
) -> ForwardState:
    """Return the state of a forward after the master's answer: a port, None or an error.

    `last_words` is what the master has logged since the request.
    """
    if isinstance(answer, TrayagentError):
        refused = isinstance(answer, Refused) and forward.kind == "remote"
        taken = isinstance(answer, Refused) and _is_taken(forward, listening)
        reason = _reason(forward, answer, last_words)
        return ForwardState(forward, "failed", error=reason, refused=refused, taken=taken)
    listen = forward.listen
    if listen.path is not None:
        return ForwardState(forward, "open", listen=listen.path)
    if forward.kind == "remote":
        return ForwardState(forward, "open", listen=_shown(listen.host or "localhost", answer or listen.port))
    missing = _missing(listen.host, listen.port, listening)
    if missing is not None:
        # ssh reports success even if it could bind only one of the two address families.
        error = f"{_shown(missing, listen.port)} is taken by another program"
        return ForwardState(forward, "failed", error=error, taken=True)
    return ForwardState(forward, "open", listen=listen_address(forward, listening))


def listen_address(forward: Forward, listening: Listeners) -> str:
    """Return the address where an open forward listens; for a remote forward, this is an address of the server."""
    listen = forward.listen
    if listen.path is not None:
        return listen.path
    default = "localhost" if forward.kind == "remote" else _default(listen.port, listening)
    return _shown(listen.host or default, listen.port)


def _is_taken(forward: Forward, listening: Listeners) -> bool:
    """Report whether the port or path of a local forward is in use on this machine."""
    if forward.kind == "remote":
        return False
    if forward.listen.path is not None:
        return os.path.lexists(forward.listen.path)
    return any(port == forward.listen.port for _, port in listening.others | listening.own)


def _default(port: int, listening: Listeners) -> str:
    """Return the loopback address of a forward without a listen address.

    That is ::1 if ssh listens only there (AddressFamily inet6), otherwise 127.0.0.1.
    """
    v4, v6 = _LOOPBACK
    return v6 if (v6, port) in listening.own and (v4, port) not in listening.own else v4


def _missing(host: str, port: int, listening: Listeners) -> str | None:
    """Return the loopback address on which a forward should listen but does not, or None.

    This can only happen to a forward without a listen address. Other forwards name an address, and ssh reports a
    failure if that address is taken.
    """
    if host not in {"", "localhost"} or {("0.0.0.0", port), ("::", port)} & listening.own:  # noqa: S104  # compared, not bound
        return None
    v4, v6 = _LOOPBACK
    if (v4, port) not in listening.own:
        # With AddressFamily inet6, ssh listens on ::1 only.
        taken = {(v4, port), ("0.0.0.0", port), ("::", port)} & listening.others  # noqa: S104  # compared, not bound
        return v4 if taken or (v6, port) not in listening.own else None
    # On a machine without IPv6, no process listens on ::1. But if another program listens there, `localhost` reaches
    # it.
    return v6 if (v6, port) not in listening.own and (v6, port) in listening.others else None


def _reason(forward: Forward, error: TrayagentError, last_words: str) -> str:
    """Return why a forward failed, in ssh's words if ssh gave a reason."""
    if forward.kind != "remote" and forward.listen.path is not None:
        return _path_in_use(forward.listen.path, last_words) or error.title
    port = str(forward.listen.port)
    for line in last_words.splitlines():
        if "bind [" in line and (f":{port}:" in line):
            return line.strip()
    if isinstance(error, Refused) and forward.kind == "remote":
        return still_refused(forward.listen.path or f"port {port}", None)
    return error.title


def _path_in_use(path: str, last_words: str) -> str | None:
    """Return why ssh cannot listen on a local path, or None if unknown. If no file is there, return ssh's own words."""
    if os.path.lexists(path):
        return f"{path} exists already, and trayagent did not create it"
    lines = [line.strip() for line in last_words.splitlines() if "unix_listener: " in line and path in line]
    return lines[-1] if lines else None


def _shown(host: str, port: int) -> str:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104  # shown, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
