"""Build the command line of a new master; pure. docs/architecture.md, *How a new master is made*, lists its options."""

from __future__ import annotations

import re

from trayagent.core.facts.resolved import Jump, Resolved
from trayagent.core.facts.time_constants import ATTEMPT_DEADLINE_S
from trayagent.ssh.forward_log import LOG_EXIT, LOG_FORWARDS, LOG_USE
from trayagent.ssh.login.key_exchange_log import LOG_OPTIONS, LOG_SESSIONS, LOG_VERBOSE, preferring
from trayagent.ssh.master.preconnect import command_of, words_of

# The keep-alive of ssh, as a backstop if the user set none. It is slow enough to survive a short outage.
SERVER_ALIVE = {"ServerAliveInterval": "60", "ServerAliveCountMax": "2"}
CONNECT_TIMEOUT_S = 10
PERSIST_UNSET = {"no", "false", ""}
PERSIST_DEFAULT = "10m"
_SPLITS = frozenset(" \t'\"\\#")
# Text in a ProxyCommand that neither a shell nor ssh expands.
_PLAIN = re.compile(r"[A-Za-z0-9@_+:,./-]+")
# Without the messages of a jump host's ssh, a refused login looks like a jump host that is down, and the agent would
# repeat the login.
_LOG = ("-o", "LogLevel=INFO")
_SSH = re.compile(r"(?:exec\s+)?(?:\S*/)?ssh\s")
_THROWN_AWAY = re.compile(r"\s2>\s*/dev/null\s*$")
# One argument of ssh at the start of a text: flags, an option with a value (quoted or not), or both.
_OPTION = re.compile(
    r"\s*-(?P<flags>[46AaCfGgKkMNnqsTtVvXxYy]*)(?P<valued>[BbcDEeFIiJLlmOoPpQRSWw]\s*(?:\"[^\"]*\"|'[^']*'|\S+))?(?=\s|$)"
)
_USER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*)?")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def master_command(  # noqa: PLR0913  # each argument is a choice of the caller
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
    cipher: str | None = None,
    inner: bool = False,
) -> list[str]:
    """Return the command line that starts a master for the host on this control path.

    A background master lives as long as the user's ControlPersist says. A foreground master is the agent's child, so
    the agent knows its pid and notices its end at once. With LogLevel VERBOSE, ssh logs the end of a master. This shows
    whether `ssh -O exit` ended the master or it died.

    `log` is a file that only ssh itself writes to; `key_exchange_log` reads the host key from it. ssh requests the key
    `host_key` and the cipher `cipher` first, if the configuration allows them. `at_terminal`: the user logs in at a
    terminal. ssh prompts there, and moves to its own Unix session (`-f`) once it listens. `connection` is the path of a
    socket. There ssh, or the ssh to its jump host, gets the connection that the agent makes (see `preconnect`).
    `inner`: this is the inner master of a host that roams.
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
        "LogVerbose": f"{LOG_VERBOSE},{LOG_SESSIONS},{LOG_FORWARDS},{LOG_EXIT},{LOG_USE}",
    }
    algorithms = preferring(host_key, resolved.host_key_algorithms) if host_key is not None else None
    if algorithms is not None:
        options["HostKeyAlgorithms"] = algorithms
    if cipher in resolved.ciphers:
        options["Ciphers"] = ",".join(sorted(resolved.ciphers, key=lambda one: one != cipher))
    if resolved.connect_timeout is None:
        options["ConnectTimeout"] = str(connect_timeout_s(resolved))
    # If ServerAliveInterval is not set, `ssh -G` reports 0, or with BatchMode on Debian its default of 300.
    if inner:
        options["ServerAliveInterval"] = "0"
    elif resolved.server_alive_interval in {0, 300}:
        options.update(SERVER_ALIVE)
    if connection is not None and (inner or resolved.jump is None):
        fetch = " ".join(words_of(connection)) if inner else command_of(connection)
        options |= {"ProxyCommand": fetch, "ProxyUseFdpass": "yes"}
    elif connection is not None:
        options["ProxyCommand"] = _jump_command(resolved, connection, ssh=ssh, config=config)
    elif resolved.proxy_command is not None and _SSH.match(resolved.proxy_command):
        options["ProxyCommand"] = _audible(resolved.proxy_command)
    words = [ssh, *(["-F", config] if config is not None else []), "-M", "-N", "-E", log]
    for key, value in options.items():
        words += ["-o", f"{key}={escaped(value) if key == 'ControlPath' else value}"]
    return [*words, "--", name]


def connect_timeout_s(resolved: Resolved) -> int:
    """Return the ConnectTimeout for a new ssh in seconds.

    It includes time for the logins to all jump hosts, because the host's banner comes after them.
    """
    return CONNECT_TIMEOUT_S + resolved.hops * int(ATTEMPT_DEADLINE_S)


def may_be_handed_over(
    resolved: Resolved, connection: str, *, ssh: str = "ssh", config: str | None = None
) -> bool:
    """Report whether ssh, or the ssh to its jump host, can use a connection that the agent makes."""
    if not all(map(_PLAIN.fullmatch, words_of(connection))):
        return False
    if resolved.jump is None:
        return resolved.plain_connect
    words = (ssh, config or ssh)
    return _plain_jump(resolved) is not None and all(map(_PLAIN.fullmatch, words))


def _plain_jump(resolved: Resolved) -> Jump | None:
    """Return the jump host if there is only one and its text is plain: a name or IPv4 address, with user and port.

    Otherwise return None.
    """
    if len(resolved.jumps) != 1 or str(resolved.jumps[0]) != resolved.proxy_jump:
        return None
    jump = resolved.jumps[0]
    return jump if _HOST.fullmatch(jump.host) and _USER.fullmatch(jump.user) else None


def _jump_command(resolved: Resolved, connection: str, *, ssh: str, config: str | None) -> str:
    """Return the ProxyCommand that ssh makes of a ProxyJump (ssh.c), but with the connection that the agent makes.

    Add BatchMode, because no user is there to answer the jump host's prompts.
    """
    jump = _plain_jump(resolved)
    if jump is None:
        raise ValueError(
            f"ProxyJump {resolved.proxy_jump}"
        )  # a bug: `may_be_handed_over` was called with other values
    words = [ssh]
    words += ["-l", jump.user] if jump.user else []
    words += ["-p", str(jump.port)] if jump.port is not None else []
    words += ["-F", config] if config is not None else []
    words += ["-o", "BatchMode=yes", "-o", "ProxyUseFdpass=yes", *_LOG]
    words += ["-o", f"'ProxyCommand={' '.join(words_of(connection))}'", "-W", "'[%h]:%p'", jump.host]
    return " ".join(words)


def _audible(command: str) -> str:
    """Return a ProxyCommand that calls ssh, changed so that this ssh prints its error messages.

    These messages distinguish a refused login from a server that is down. So remove the option -q, and a redirection of
    stderr to /dev/null at the end.
    """
    ssh = _SSH.match(command)
    if ssh is None:
        return command
    start, rest = command[: ssh.end()] + " ".join(_LOG), _THROWN_AWAY.sub("", command[ssh.end() - 1 :])
    while (option := _OPTION.match(rest)) is not None and (option["flags"] or option["valued"]):
        loud = option["flags"].replace("q", "") + (option["valued"] or "")
        start, rest = start + (f" -{loud}" if loud else ""), rest[option.end() :]
    return start + rest


def escaped(path: str) -> str:
    r"""Return a path in a form that ssh reads literally: double each %, and quote a path with spaces, quotes, \ or #.

    Within quotes, \" and \\ mean the plain character (misc.c, argv_split, OpenSSH 8.7 and later).
    """
    plain = path.replace("%", "%%")
    if not _SPLITS.intersection(plain):
        return plain
    return '"' + plain.replace("\\", r"\\").replace('"', r"\"") + '"'
