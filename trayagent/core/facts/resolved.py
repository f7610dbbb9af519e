"""The result of `ssh -G NAME` for a host; pure data."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from msgspec import Struct

from trayagent.core.facts.forwards import Forward

HostKeyChecking = Literal["yes", "no", "ask", "accept-new"]


class Jump(Struct, frozen=True):
    """One hop of a ProxyJump; `user` "" and `port` None mean that ssh_config decides."""

    host: str
    user: str = ""
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{'' if self.port is None else f':{self.port}'}"


def _jump(text: str) -> Jump:
    user, _, rest = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = rest.partition(":") if rest.count(":") == 1 else (rest, "", "")
    return Jump(host, user, int(port) if port.isdecimal() else None)


class Resolved(Struct, frozen=True, dict=True):
    """One host's effective ssh configuration, as far as trayagent needs it; ssh_config(5) explains each field.

    `host` is the requested name, `hostname` the one to which ssh connects. Where ssh prints "none" the field is
    None. The exception is `identity_agent`, where "none" and unset differ. "true" and "false" are stored as "yes" and
    "no". `control_path` has its tokens expanded. Paths of keys and known hosts are as ssh prints them, mostly with
    `~`. `connect_timeout` and `server_alive_interval` are seconds; 0 disables the latter. `control_persist` is "no",
    "yes" or seconds. `plain_connect`: ssh would only resolve `hostname` and connect to it, so another program can make
    the connection for ssh. `hops` counts the machines or commands before the host, including jump hosts
    of jump hosts. `jump` is the resolved configuration of the host's only jump host. It is None if there are several,
    or if ssh connects to the jump host in a special way.
    """

    host: str
    hostname: str
    user: str = ""
    port: int = 22
    control_path: str | None = None
    control_master: str = "no"
    control_persist: str = "no"
    proxy_jump: str | None = None
    proxy_command: str | None = None
    proxy_use_fdpass: bool = False
    forwards: tuple[Forward, ...] = ()
    gateway_ports: bool = False
    stream_local_bind_unlink: bool = False
    server_alive_interval: int = 0
    server_alive_count_max: int = 3
    connect_timeout: int | None = None
    strict_host_key_checking: HostKeyChecking = "ask"
    host_key_alias: str | None = None
    user_known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    known_hosts_command: str | None = None
    verify_host_key_dns: bool = False
    identity_agent: str | None = None
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identities_only: bool = False
    pkcs11_provider: str | None = None
    preferred_authentications: str | None = None
    pubkey_authentication: bool = True
    password_authentication: bool = True
    kbd_interactive_authentication: bool = True
    gssapi_authentication: bool = False
    forward_agent: bool = False
    address_family: str = "any"
    bind_address: str | None = None
    bind_interface: str | None = None
    canonicalize_hostname: str = "no"
    host_key_algorithms: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    tcp_keep_alive: bool = True
    plain_connect: bool = False
    hops: int = 0
    jump: Resolved | None = None

    @cached_property
    def jumps(self) -> tuple[Jump, ...]:
        """The hops of `proxy_jump`, in the order in which ssh passes them.

        Each is written `[user@]host[:port]` or as an `ssh://` URI; an IPv6 address is in brackets (ssh_config(5)).
        """
        hops = self.proxy_jump.split(",") if self.proxy_jump is not None else ()
        return tuple(map(_jump, hops))

    @property
    def target(self) -> str | None:
        """Where the name leads: host name, port and HostKeyAlias. None with CanonicalizeHostname: DNS decides."""
        if self.canonicalize_hostname != "no":
            return None
        return f"{self.hostname} {self.port} {self.host_key_alias or ''}".rstrip()

    @property
    def keys(self) -> tuple[str, ...]:
        """The credentials that ssh would offer. Two logins with the same credentials count as the same login."""
        named = (*self.identity_files, "", *self.certificate_files, "", self.identity_agent or "")
        return (*named, self.pkcs11_provider or "", "only" if self.identities_only else "")
