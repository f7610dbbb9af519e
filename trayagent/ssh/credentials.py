"""Whether a login could have worked at all: what the ssh-agent holds, and which key files ask for a passphrase.

In BatchMode ssh says "Permission denied" for a refused key, for a locked agent and for a
key that nobody unlocked; only a look at the keys themselves tells them apart.
"""

from __future__ import annotations

import base64
import binascii
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from trayagent.core.resolved import Resolved

_ASK_S = 1.0
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12  # draft-miller-ssh-agent, section 5
_ANSWER_MAX = 256 * 1024  # what OpenSSH's agent client takes
_MAGIC = b"openssh-key-v1\0"  # OpenSSH's PROTOCOL.key
_KEY_MAX = 64 * 1024


def agent_socket(resolved: Resolved, environment: Mapping[str, str]) -> str | None:
    """Return where the ssh-agent listens that ssh asks for this host, None for none (IdentityAgent)."""
    named = resolved.identity_agent
    if named is None or named == "SSH_AUTH_SOCK":
        return environment.get("SSH_AUTH_SOCK") or None
    if named == "none":
        return None
    return environment.get(named[1:]) if named.startswith("$") else str(Path(named).expanduser())


def agent_keys(auth_sock: str | None) -> int | None:
    """Return how many keys the ssh-agent offers; None when there is no agent to ask.

    A locked agent offers none.
    """
    if not auth_sock:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_ASK_S)
            sock.connect(auth_sock)
            sock.sendall(struct.pack(">IB", 1, _REQUEST_IDENTITIES))
            with sock.makefile("rb") as answer:
                (length,) = struct.unpack(">I", answer.read(4))
                kind, count = struct.unpack(">BI", answer.read(min(length, _ANSWER_MAX))[:5])
    except (OSError, struct.error):
        return None
    return count if kind == _IDENTITIES_ANSWER else None


def wants_passphrase(key_file: Path) -> bool:
    """Report whether a private key file is encrypted; False for one that cannot be read."""
    try:
        with key_file.open("rb") as file:
            text = file.read(_KEY_MAX)
    except OSError:
        return False
    if b"ENCRYPTED" in text[:200]:  # PEM: "Proc-Type: 4,ENCRYPTED", "BEGIN ENCRYPTED PRIVATE KEY"
        return True
    body = b"".join(line for line in text.splitlines() if not line.startswith(b"-----"))
    try:
        raw = base64.b64decode(body[:200])
    except binascii.Error:
        return False
    if not raw.startswith(_MAGIC) or len(raw) < len(_MAGIC) + 4:
        return False
    (length,) = struct.unpack_from(">I", raw, len(_MAGIC))
    return raw[len(_MAGIC) + 4 : len(_MAGIC) + 4 + length] != b"none"


def passphrase_needed(auth_sock: str | None, identity_files: Iterable[str]) -> Path | None:
    """Return the key file whose passphrase only the user can give, None when a key was there to be refused."""
    if agent_keys(auth_sock):
        return None
    there = [p for text in identity_files if (p := Path(text).expanduser()).is_file()]
    if not there or not all(map(wants_passphrase, there)):
        return None
    return there[0]
