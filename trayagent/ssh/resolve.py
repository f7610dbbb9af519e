"""Run `ssh -G` and parse its output: what ssh would do for a name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Sequence
from typing import cast, get_args

from trayagent.core.facts.forward_spec import unparse
from trayagent.core.facts.forwards import End, Forward, ForwardKind
from trayagent.core.facts.resolved import HostKeyChecking, Resolved
from trayagent.errors import TrayagentError

Lines = dict[str, list[str]]

MAX_OUTPUT = 1024 * 1024
"""The most bytes of output that are kept. `ssh -G` prints about 5 KB, but a runaway `Match exec` may print more."""

_CHECKING = set(get_args(HostKeyChecking))
# `ssh -G` prints paths with spaces without quotes. So assume that a path begins with / or ~, or has no space.
_LISTEN = r"(?:(?P<port>\d+)|\[(?P<bind>[^\]]*)\]:(?P<bound>\d+)|(?P<path>\S.*?))"
_TARGET = r"(?:\[(?P<host>[^\]]*)\]:(?P<to>\d+)|(?P<far>[/~].*|\S*/\S*))"
_FORWARD = re.compile(rf"{_LISTEN} {_TARGET}")
_DYNAMIC = re.compile(_LISTEN)


# With these values, `ssh -G` queries no DNS. OpenSSH 9.2 and later accept "none" for the second option.
NO_LOOKUPS = ("-o", "CanonicalizeHostname=no", "-o", "CanonicalizePermittedCNAMEs=none")


async def resolve(
    name: str,
    *,
    options: Sequence[str] = (),
    ssh: str = "ssh",
    config: str | None = None,
    timeout_s: float = 2.0,
) -> Resolved:
    """Return the parsed output of `ssh -G NAME`; `config` is a file for `ssh -F`.

    ssh runs the user's `Match exec` commands, so this takes as long as they do. The command line has -N, like that of a
    master, so that `Match sessiontype` gives the same result. Raise TrayagentError: `config-error` with ssh's own
    message or for a timeout, or `ssh-missing`.
    """
    return parse(await output(name, options=options, ssh=ssh, config=config, timeout_s=timeout_s))


async def output(
    name: str,
    *,
    options: Sequence[str] = (),
    ssh: str = "ssh",
    config: str | None = None,
    timeout_s: float = 2.0,
) -> str:
    """Return what `ssh -G NAME` prints; `options` are options for ssh. Raise as `resolve` does."""
    if not name or name.startswith("-"):
        raise TrayagentError(
            f"“{name}” is not a host name", code="config-error", hint="It would be an option of ssh."
        )
    words = [ssh, *(["-F", config] if config is not None else []), "-N", *options, "-G", "--", name]
    status, answer, errors = await _run(words, name, timeout_s)
    if status != 0:
        why = errors.decode(errors="replace").strip().splitlines() or [f"ssh -G {name} failed with {status}"]
        raise TrayagentError(why[0], code="config-error", hint=f"Check it: ssh -G {name}")
    return answer.decode("utf-8", "surrogateescape")


def ssh_words(ssh: str, config: str | None, options: Sequence[str]) -> list[str]:
    """Return the command line of `ssh -G` without the name."""
    return [ssh, *(["-F", config] if config is not None else []), "-N", *options, "-G", "--"]


async def _run(words: list[str], name: str, timeout_s: float) -> tuple[int, bytes, bytes]:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=null, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        title = f"{words[0]} cannot be run: {error.strerror}"
        raise TrayagentError(title, code="ssh-missing", hint="Install OpenSSH's client.") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await asyncio.gather(_take(child.stdout), _take(child.stderr))
            status = await child.wait()
    except TimeoutError as error:
        title = f"ssh -G {name} took longer than {timeout_s:g} s"
        hint = "Is a Match exec in ssh_config slow?"
        raise TrayagentError(title, code="config-error", hint=hint) from error
    finally:
        await end_process(child)
    return status, output, errors


async def _take(stream: asyncio.StreamReader | None) -> bytes:
    """Read a stream to its end; return its first MAX_OUTPUT bytes."""
    taken = bytearray()
    while stream is not None and (data := await stream.read(65536)):
        taken += data[: MAX_OUTPUT - len(taken)]
    return bytes(taken)


async def end_process(child: asyncio.subprocess.Process) -> None:
    """Kill the child's process group, which includes a hanging `Match exec`. The child must lead that group."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def parse(text: str) -> Resolved:
    """Parse the output of `ssh -G`. Raise TrayagentError if the text is something else."""
    lines = table(text)
    if "hostname" not in lines:
        raise TrayagentError("ssh -G printed no hostname", code="config-error")
    try:
        return _resolved(lines)
    except ValueError as error:
        raise TrayagentError(f"ssh -G cannot be read: {error}", code="config-error") from error


def table(text: str) -> Lines:
    """Return the values of each option as `ssh -G` prints them. The names of options are in lower case."""
    lines: Lines = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        lines.setdefault(key.lower(), []).append(value)
    return lines


def _resolved(lines: Lines) -> Resolved:
    timeout = _value(lines, "connecttimeout")
    hostname = lines["hostname"][0]
    return Resolved(
        host=lines.get("host", [hostname])[0],
        hostname=hostname,
        user=_word(lines, "user", ""),
        port=int(_word(lines, "port", "22")),
        control_path=_value(lines, "controlpath"),
        control_master=_word(lines, "controlmaster", "no"),
        control_persist=_word(lines, "controlpersist", "no"),
        proxy_jump=_value(lines, "proxyjump"),
        proxy_command=_value(lines, "proxycommand"),
        proxy_use_fdpass=_yes(lines, "proxyusefdpass"),
        forwards=_forwards(lines),
        gateway_ports=_yes(lines, "gatewayports"),
        stream_local_bind_unlink=_yes(lines, "streamlocalbindunlink"),
        server_alive_interval=int(_word(lines, "serveraliveinterval", "0")),
        server_alive_count_max=int(_word(lines, "serveralivecountmax", "3")),
        connect_timeout=int(timeout) if timeout is not None else None,
        strict_host_key_checking=_checking(_word(lines, "stricthostkeychecking", "ask")),
        host_key_alias=_value(lines, "hostkeyalias"),
        user_known_hosts=_files(lines, "userknownhostsfile"),
        global_known_hosts=_files(lines, "globalknownhostsfile"),
        known_hosts_command=_value(lines, "knownhostscommand"),
        verify_host_key_dns=_yes(lines, "verifyhostkeydns"),
        identity_agent=lines.get("identityagent", [None])[0],
        identity_files=_all(lines, "identityfile"),
        certificate_files=_all(lines, "certificatefile"),
        identities_only=_yes(lines, "identitiesonly"),
        pkcs11_provider=_value(lines, "pkcs11provider"),
        preferred_authentications=_value(lines, "preferredauthentications"),
        pubkey_authentication=_word(lines, "pubkeyauthentication", "yes") != "no",
        password_authentication=_yes(lines, "passwordauthentication"),
        kbd_interactive_authentication=_yes(lines, "kbdinteractiveauthentication"),
        gssapi_authentication=_yes(lines, "gssapiauthentication"),
        # "yes", or a path or variable that names the ssh-agent to forward.
        forward_agent=_word(lines, "forwardagent", "no") != "no",
        address_family=_word(lines, "addressfamily", "any"),
        bind_address=_value(lines, "bindaddress"),
        bind_interface=_value(lines, "bindinterface"),
        canonicalize_hostname=_word(lines, "canonicalizehostname", "no"),
        host_key_algorithms=tuple(_word(lines, "hostkeyalgorithms", "").split(",")),
        ciphers=tuple(_word(lines, "ciphers", "").split(",")),
        tcp_keep_alive=_word(lines, "tcpkeepalive", "yes") != "no",  # since OpenSSH 10.6 also "all"
        plain_connect=_plain_connect(lines),
    )


def _plain_connect(lines: Lines) -> bool:
    """Report whether ssh would connect in the same way with a ProxyCommand.

    That is so if no option requires that ssh itself makes the connection.
    """
    return (
        not any(_value(lines, key) for key in ("proxyjump", "proxycommand", "bindaddress", "bindinterface"))
        and not _yes(lines, "checkhostip")
        and _word(lines, "canonicalizehostname", "no") == "no"
        and _word(lines, "connectionattempts", "1") == "1"
    )


def _value(lines: Lines, key: str) -> str | None:
    value = lines.get(key, [""])[0]
    return value if value not in {"", "none"} else None


def _word(lines: Lines, key: str, default: str) -> str:
    """Return a value in the spelling of ssh_config. OpenSSH 9.2 prints some flags as true and false."""
    word = lines.get(key, [default])[0]
    return {"true": "yes", "false": "no"}.get(word, word)


def _yes(lines: Lines, key: str) -> bool:
    return _word(lines, key, "no") == "yes"


def _all(lines: Lines, key: str) -> tuple[str, ...]:
    return tuple(value for value in lines.get(key, ()) if value not in {"", "none"})


def _files(lines: Lines, key: str) -> tuple[str, ...]:
    # ssh prints no quotes, so a file name with spaces looks like several files.
    return tuple(lines.get(key, [""])[0].split())


def _checking(word: str) -> HostKeyChecking:
    return cast("HostKeyChecking", word) if word in _CHECKING else "no"  # "off" means "no"


def _forwards(lines: Lines) -> tuple[Forward, ...]:
    local = [_forward("local", line) for line in lines.get("localforward", ())]
    remote = [_forward("remote", line) for line in lines.get("remoteforward", ())]
    # `ssh -G` prints a LocalForward to a Unix socket a second time, as a dynamicforward (9.2 to 10.5).
    echoes = {forward.listen for forward in local if forward.target is not None and forward.target.path}
    dynamic = [_dynamic(line) for line in lines.get("dynamicforward", ())]
    return (*local, *remote, *(forward for forward in dynamic if forward.listen not in echoes))


def _forward(kind: ForwardKind, line: str) -> Forward:
    match = _FORWARD.fullmatch(line)
    if match is None:
        raise ValueError(f"forward {line}")
    socks = match["host"] == "socks" and match["to"] == "0"
    target = End(path=match["far"]) if match["far"] else End(match["host"], int(match["to"]))
    return _made(kind, _listen(match), None if socks else target)


def _dynamic(line: str) -> Forward:
    match = _DYNAMIC.fullmatch(line)
    if match is None:
        raise ValueError(f"forward {line}")
    return _made("dynamic", _listen(match), None)


def _listen(match: re.Match[str]) -> End:
    if match["path"]:
        return End(path=match["path"])
    if match["port"]:
        return End("", int(match["port"]))
    # `ssh -G` prints `[]` for an empty bind address, which means all interfaces.
    return End(match["bind"] or "*", int(match["bound"]))


def _made(kind: ForwardKind, listen: End, target: End | None) -> Forward:
    return Forward(kind, listen, target, unparse(listen, target))
