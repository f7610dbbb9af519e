"""Translate a call of ssh into a host: its name, its forwards, and the lines that ssh_config lacks.

`ssh -G` runs twice, with the options of the command line and without. The difference is what the command line adds to
ssh_config. So this module does not have to understand options. Match, patterns and tokens work exactly as in ssh.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from trayagent.config import value_checks
from trayagent.config.untrusted_files import danger
from trayagent.core.facts import forward_spec
from trayagent.core.facts.forwards import End, Forward
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.shared_control_path import account, route
from trayagent.init.resolve_proposed import Answer, Lines, SshQueries, is_address
from trayagent.init.survey_ssh_config import SshText
from trayagent.ssh.command_line import Call

# Options that decide where the connection goes and who logs in. A call that differs in them means another host.
_WHO = ("hostname", "user", "port", "proxyjump", "proxycommand", "identityfile", "certificatefile",
        "identityagent", "identitiesonly", "pkcs11provider", "hostkeyalias", "addressfamily", "bindaddress",
        "bindinterface")  # fmt: skip
# Options that only change how the connection works. If the user still wants such options, they go into the same Host
# block.
_HOW = {
    "streamlocalbindunlink": "StreamLocalBindUnlink", "streamlocalbindmask": "StreamLocalBindMask",
    "compression": "Compression", "ciphers": "Ciphers", "macs": "MACs", "kexalgorithms": "KexAlgorithms",
    "hostkeyalgorithms": "HostKeyAlgorithms", "pubkeyacceptedalgorithms": "PubkeyAcceptedAlgorithms",
    "preferredauthentications": "PreferredAuthentications", "forwardagent": "ForwardAgent", "ipqos": "IPQoS",
    "gssapiauthentication": "GSSAPIAuthentication", "pubkeyauthentication": "PubkeyAuthentication",
    "serveraliveinterval": "ServerAliveInterval", "serveralivecountmax": "ServerAliveCountMax",
    "connecttimeout": "ConnectTimeout", "rekeylimit": "RekeyLimit",
}  # fmt: skip
_SPELLED = _HOW | {
    "hostname": "HostName", "user": "User", "port": "Port", "proxyjump": "ProxyJump", "proxycommand": "ProxyCommand",
    "identityfile": "IdentityFile", "certificatefile": "CertificateFile", "identityagent": "IdentityAgent",
    "identitiesonly": "IdentitiesOnly", "pkcs11provider": "PKCS11Provider", "hostkeyalias": "HostKeyAlias",
    "addressfamily": "AddressFamily", "bindaddress": "BindAddress", "bindinterface": "BindInterface",
}  # fmt: skip
_PATHS = frozenset(("identityfile", "certificatefile", "identityagent", "pkcs11provider"))
_TARGET_KEYS = ("hostname", "user", "port", "proxyjump", "proxycommand")
_SEVERAL = frozenset(("identityfile", "certificatefile"))
_CAN_BE_NONE = frozenset(("proxyjump", "proxycommand"))


class Meaning(Struct, frozen=True):
    """The host that a call means. `lines` are a new `Host` block for ssh_config, () if ssh knows the host already.

    `more` are lines that the host in ssh_config would need to match the call exactly. `forwards` are the call's
    forwards that ssh_config does not set. `given` are the forwards that ssh_config sets. `server` is the HostName and
    port to which the call leads, "" if unknown. `shares` identifies the master that the name uses, () if it has no
    ControlPath: names with the same value share one connection.
    """

    name: str
    forwards: tuple[Forward, ...] = ()
    given: tuple[Forward, ...] = ()
    lines: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()
    server: str = ""
    shares: tuple[object, ...] = ()


class Meanings:
    """Finds the host that a call means: a matching alias if there is one, otherwise a new name."""

    def __init__(self, queries: SshQueries, text: SshText) -> None:
        self._queries = queries
        self._text = text
        self._invented: dict[tuple[str, ...], str] = {}

    async def of(self, call: Call, folder: Path) -> Meaning:
        """Return the host that a call means. Raises TrayagentError (ssh's text) or ValueError (half a sentence)."""
        if unknown := _unknown(call):
            msg = f"only a shell can expand {unknown}"
            raise ValueError(msg)
        value_checks.host_name(call.host)
        effective = await self._queries.resolve(call.destination, _options(call, folder))
        plain = await self._queries.resolve(call.host)
        differing = _differing(effective.lines, plain.lines)
        if not differing and call.host in self._text.aliases:
            return _meaning(call.host, call, effective, plain)
        if alias := await self._alias(call, effective, plain):
            return alias
        if not differing:
            return _meaning(call.host, call, effective, plain)
        if differing == ["user"] and "@" not in call.host:
            name = f"{effective.resolved.user}@{call.host}"
            value_checks.host_name(name)
            return _meaning(name, call, effective, await self._queries.resolve(name))
        return await self._new(call, effective)

    async def _alias(self, call: Call, effective: Answer, plain: Answer) -> Meaning | None:
        """Return the host of an alias that leads to the same address with the same user, or None."""
        added = _added(effective.lines, plain.lines, _WHO)
        names = self._text.namesakes(effective.resolved.hostname, call.host)
        for name, answer in (await self._queries.all([n for n in names if n != call.host])).items():
            keys = () if "identityfile" in added else ("identityfile",)
            same = all(effective.lines.get(k) == answer.lines.get(k) for k in (*_TARGET_KEYS, *keys))
            if same and all(values <= answer.lines.get(key, frozenset()) for key, values in added.items()):
                return _meaning(name, call, effective, answer)
        return None

    async def _new(self, call: Call, effective: Answer) -> Meaning:
        """Return a new host for a call, with the lines that define the host in ssh_config."""
        who = leads_to(effective.lines)
        taken = {*self._text.aliases, *self._invented.values()}
        name = self._invented.setdefault(who, _invent(call.host, taken))
        plain = await self._queries.resolve(name)
        added = _added(effective.lines, plain.lines, (*_WHO, *_HOW))
        gone = [k for k in _CAN_BE_NONE if k in plain.lines and k not in effective.lines]
        lines = [_line(key, value) for key, values in added.items() for value in sorted(values)]
        lines += [f"{_SPELLED[key]} none" for key in gone]
        meaning = _meaning(name, call, effective, plain)
        return replace(meaning, lines=(f"Host {name}", *lines), more=(), shares=())


def _unknown(call: Call) -> str | None:
    """Return a part of the call that only a shell could expand, such as `$HOST` or `$(command)`, or None."""
    words = (call.destination, *call.carried, *(spec for _, spec in call.forwards))
    found = (re.search(r"\$\(.*\)?|`.*`?|\$\{?\w+\}?", word) for word in words)
    return next((match[0] for match in found if match is not None), None)


def _options(call: Call, folder: Path) -> tuple[str, ...]:
    """Return the options for `ssh -G` with absolute paths. Raises ValueError if others can write the file of -F."""
    words = list(call.carried)
    for at, word in enumerate(words[:-1]):
        if word in {"-i", "-F"} and not words[at + 1].startswith(("/", "~", "%")) and words[at + 1] != "none":
            words[at + 1] = str(folder / words[at + 1])
        if word == "-F" and words[at + 1] != "none":
            path = Path(words[at + 1]).expanduser()
            # The file may contain a Match exec, which ssh would run.
            if not path.is_file() or danger(path.stat()):
                msg = f"its configuration {path} is absent, or others can write it"
                raise ValueError(msg)
    return tuple(words)


def _meaning(name: str, call: Call, effective: Answer, plain: Answer) -> Meaning:
    given = plain.resolved.forwards
    open_to_all = effective.resolved.gateway_ports and not plain.resolved.gateway_ports
    wanted = [_as_written(_gated(f) if open_to_all else f, call) for f in effective.resolved.forwards]
    for forward in wanted:
        _require_writable(forward)
    more = [
        _line(key, value)
        for key, values in _added(effective.lines, plain.lines, tuple(_HOW)).items()
        for value in sorted(values)
    ]
    new = tuple(f for f in wanted if f not in given)
    return Meaning(
        name,
        new,
        given,
        more=tuple(more),
        leads_to=leads_to(plain.lines),
        server=server_of(effective.resolved),
        shares=shares(plain.resolved),
    )


def shares(resolved: Resolved) -> tuple[object, ...]:
    """Return what is the same for all names that share a connection: control path, account and route."""
    path = resolved.control_path
    return () if path is None else (path, account(resolved), route(resolved))


def server_of(resolved: Resolved) -> str:
    """Return the HostName and port of the server that gets the login."""
    return f"{resolved.hostname}:{resolved.port}"


def leads_to(lines: Lines) -> tuple[str, ...]:
    """Return the options that decide where a connection goes and who logs in."""
    return tuple(f"{key} {value}" for key in _WHO for value in sorted(lines.get(key, ())))


def _require_writable(forward: Forward) -> None:
    """Raise ValueError for a forward that the configuration cannot hold."""
    forward_spec.parse(forward.kind, forward.spec)
    if not forward.spec.isprintable():  # undecodable bytes are not printable either
        msg = f"{forward.spec!a} is not text"
        raise ValueError(msg)


def _gated(forward: Forward) -> Forward:
    """Return the forward, which listens on all addresses if `-g` applies to it."""
    if forward.kind == "remote" or forward.listen.path is not None or forward.listen.host:
        return forward
    listen = End("*", forward.listen.port)
    return Forward(forward.kind, listen, forward.target, forward_spec.unparse(listen, forward.target))


def _as_written(forward: Forward, call: Call) -> Forward:
    """Return the forward as the user wrote it, if that text means the same without a shell and ssh's tokens."""
    for kind, spec in call.forwards:
        try:
            if kind == forward.kind and forward_spec.parse(kind, spec) == forward:
                return replace(forward, spec=spec)
        except ValueError:
            continue
    return forward


def _differing(one: Lines, other: Lines) -> list[str]:
    """Return the options that make the call lead to another host. A key that only ssh_config adds does not count."""
    added = _added(one, other, _WHO)
    return [key for key in _WHO if key in added or (key not in _SEVERAL and one.get(key) != other.get(key))]


def _added(one: Lines, other: Lines, keys: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the lines that only `one` has."""
    found = {key: one.get(key, frozenset()) - other.get(key, frozenset()) for key in keys}
    return {key: values for key, values in found.items() if values}


def _line(key: str, value: str) -> str:
    """Return an option as a line of ssh_config."""
    if key == "hostname":
        value = value.replace("%", "%%")
    if key in _PATHS and re.search(r"\s", value):
        value = f'"{value}"'
    return f"{_SPELLED[key]} {value}"


def _invent(host: str, taken: Collection[str]) -> str:
    """Return a free name that is unlikely to exist in DNS: `db-tunnel` for db.example.net."""
    if is_address(host):
        stem = "tunnel-" + re.sub(r"[^0-9A-Za-z]+", "-", host).strip("-").lower()
    else:
        stem = re.sub(r"[^0-9A-Za-z-]+", "-", host.partition(".")[0]).strip("-") + "-tunnel"
    numbers = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbers if name not in taken)
