"""The command line of a new master; pure. docs/architecture.md, *How a new master is made*, lists what is forced."""

from __future__ import annotations

import re

from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.time_constants import ATTEMPT_DEADLINE_S
from trayagent.ssh.login.key_exchange import LOG_OPTIONS, preferring
from trayagent.ssh.master.preconnect import words_of

# Only where the user set none: ssh's own keep-alive as the backstop, slow enough to let a hole pass.
SERVER_ALIVE = {"ServerAliveInterval": "60", "ServerAliveCountMax": "2"}
CONNECT_TIMEOUT_S = 10
PERSIST_UNSET = {"no", "false", ""}
PERSIST_DEFAULT = "10m"
_SPLITS = frozenset(" \t'\"\\#")
# What neither a shell nor ssh's tokens change in the words of a ProxyCommand.
_PLAIN = re.compile(r"[A-Za-z0-9@_+:,./-]+")
_JUMP = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>\d+))?"
)


def master_command(  # noqa: PLR0913  # each is a choice of the caller
    name: str,
    resolved: Resolved,
    control_path: str,
    *,
    background: bool,
    ssh: str = "ssh",
    config: str | None = None,
    log: str,
    at_terminal: bool = False,
    connection: str | None = None,
    host_key: str | None = None,
) -> list[str]:
    """Return the words that start a master for the host on this control path.

    In the background it lives as long as the user's ControlPersist says; in the foreground
    it is our child, with an exact pid, and its end is seen at once. VERBOSE logs the end, which
    tells `ssh -O exit` from a death.

    `log` is the file that ssh itself, and nobody else, writes to: `key_exchange` reads the host key there.
    `host_key` is the one that the server is asked for first. `at_terminal`: a person logs in to this master. It
    asks them there, and goes to a session of its own (`-f`) once it listens. `connection` is where it, or the ssh
    to its jump host, gets the connection that we make for it, see `own_connection`.
    """
    persist = resolved.control_persist
    options = {
        "ControlPath": control_path,
        "ControlPersist": (PERSIST_DEFAULT if persist in PERSIST_UNSET else persist) if background else "no",
        "ForkAfterAuthentication": "yes" if at_terminal else "no",
        "ClearAllForwardings": "yes",
        "BatchMode": "no" if at_terminal else "yes",
        "PermitLocalCommand": "no",
        "Tunnel": "no",
        "LogLevel": "VERBOSE",
        **LOG_OPTIONS,
    }
    algorithms = preferring(host_key, resolved.host_key_algorithms) if host_key is not None else None
    if algorithms is not None:
        options["HostKeyAlgorithms"] = algorithms
    if resolved.connect_timeout is None:
        options["ConnectTimeout"] = str(connect_timeout_s(resolved))
    # BatchMode makes Debian's ssh report 300 of its own; 0 is upstream's "unset".
    if resolved.server_alive_interval in {0, 300}:
        options.update(SERVER_ALIVE)
    if connection is not None and resolved.jump is None:
        options |= {"ProxyCommand": " ".join(words_of(connection)), "ProxyUseFdpass": "yes"}
    elif connection is not None:
        options["ProxyCommand"] = _jump_command(resolved, connection, ssh=ssh, config=config)
    words = [ssh, *(["-F", config] if config is not None else []), "-M", "-N", "-E", log]
    for key, value in options.items():
        words += ["-o", f"{key}={escaped(value) if key == 'ControlPath' else value}"]
    return [*words, "--", name]


def connect_timeout_s(resolved: Resolved) -> int:
    """Return the ConnectTimeout of a new ssh: the banner of a host comes after the logins to all hops before it."""
    return CONNECT_TIMEOUT_S + resolved.hops * int(ATTEMPT_DEADLINE_S)


def may_be_handed_over(
    resolved: Resolved, connection: str, *, ssh: str = "ssh", config: str | None = None
) -> bool:
    """Return whether a connection that we make can take the place of that of ssh, or of its jump host's ssh."""
    if not all(map(_PLAIN.fullmatch, words_of(connection))):
        return False
    if resolved.jump is None:
        return resolved.plain_connect
    words = (ssh, config or ssh)
    return _JUMP.fullmatch(resolved.proxy_jump or "") is not None and all(map(_PLAIN.fullmatch, words))


def _jump_command(resolved: Resolved, connection: str, *, ssh: str, config: str | None) -> str:
    """Return the ProxyCommand that ssh makes of a ProxyJump (ssh.c), with the connection that we make.

    Nobody is there to answer the jump host's questions either: BatchMode.
    """
    jump = _JUMP.fullmatch(resolved.proxy_jump or "")
    if jump is None:
        raise ValueError(
            f"ProxyJump {resolved.proxy_jump}"
        )  # `may_be_handed_over` said yes to something else
    words = [ssh]
    words += ["-l", jump["user"]] if jump["user"] else []
    words += ["-p", jump["port"]] if jump["port"] else []
    words += ["-F", config] if config is not None else []
    words += ["-o", "BatchMode=yes", "-o", "ProxyUseFdpass=yes"]
    words += ["-o", f"'ProxyCommand={' '.join(words_of(connection))}'", "-W", "'[%h]:%p'", jump["host"]]
    return " ".join(words)


def escaped(path: str) -> str:
    r"""Return a path so that ssh takes it literally: % begins a token; quotes keep spaces, ' and # in one word.

    Within quotes \" and \\ stand for themselves (misc.c, argv_split, OpenSSH 8.7 and later).
    """
    plain = path.replace("%", "%%")
    if not _SPLITS.intersection(plain):
        return plain
    return '"' + plain.replace("\\", r"\\").replace('"', r"\"") + '"'
