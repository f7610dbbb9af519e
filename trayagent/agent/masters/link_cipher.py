"""Chooses the cipher of a master that is to carry the sessions of a host that roams."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.ssh.os.processor import has_aes


def link_cipher(host: Host) -> str | None:
    """Return the cipher to request first, None to leave that to ssh_config.

    The sessions of a host that roams are encrypted by the inner master already. So the outer one, which carries them
    a second time, takes the cipher that costs least.
    """
    if not (host.wish.roam and host.wish.listed) or host.roaming_start.reason is not None:
        return None
    return "aes128-gcm@openssh.com" if has_aes() else "chacha20-poly1305@openssh.com"
