"""Chooses the ciphers of a host that roams. Its data is encrypted twice, by the inner and the outer master."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.os.processor import has_aes

AES = "aes128-gcm@openssh.com"
CHACHA = "chacha20-poly1305@openssh.com"
# What `ssh -G` prints if ssh_config does not set Ciphers: up to OpenSSH 9.9, and from 10.0 on.
_DEFAULTS = frozenset(
    {
        (CHACHA, "aes128-ctr", "aes192-ctr", "aes256-ctr", AES, "aes256-gcm@openssh.com"),
        (CHACHA, AES, "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"),
    }
)


def link_cipher(host: Host) -> str | None:
    """Return the cipher that an outer master requests first, None to leave that to ssh_config.

    The inner master of a host that roams already encrypts the sessions. So the outer one uses the cheapest cipher.
    """
    if not (host.wish.roam and host.wish.listed) or host.roaming_start.reason is not None:
        return None
    return AES if has_aes() else CHACHA


def session_cipher(resolved: Resolved) -> str | None:
    """Return the cipher that an inner master requests first, None to leave that to ssh_config.

    The inner master protects the sessions from end to end. So only ssh's own default order is changed, not an order
    that the user or the system chose.
    """
    return AES if has_aes() and resolved.ciphers in _DEFAULTS else None
