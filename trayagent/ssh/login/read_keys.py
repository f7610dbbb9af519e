"""Read the keys for a login: what the ssh-agent holds, and which key files need a passphrase.

In BatchMode ssh prints "Permission denied" for a refused key, for a locked ssh-agent and for a key that is
not unlocked. Only the keys themselves show which case it is.
"""

from __future__ import annotations

import base64
import binascii
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from trayagent.core.facts.resolved import Resolved

_QUERY_WITHIN_S = 1.0
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12  # draft-miller-ssh-agent, section 5
_ANSWER_MAX = 256 * 1024  # the most that OpenSSH's agent client accepts
_MAGIC = b"openssh-key-v1\0"  # OpenSSH's PROTOCOL.key
_KEY_MAX = 64 * 1024
NO_FILE = Path(os.devnull)
"""In ssh_config, /dev/null means "no file". Do not watch it: a login with UserKnownHostsFile /dev/null writes to it."""


def key_files(resolved: Resolved) -> tuple[Path, ...]:
    """Return the paths of all files for a host's login, even if they do not exist: keys, public keys, certificates.

    Source: ssh_config(5), IdentityFile and CertificateFile.
    """
    found: dict[Path, None] = {}
    for text in resolved.identity_files:
        path = Path(text).expanduser()
        if path != NO_FILE:
            beside = (path.with_name(f"{path.name}.pub"), path.with_name(f"{path.name}-cert.pub"))
            found |= dict.fromkeys((path, *beside))
    found |= dict.fromkeys(Path(text).expanduser() for text in resolved.certificate_files)
    return tuple(found)


def existing(identity_files: Iterable[str]) -> tuple[Path, ...]:
    """Return the paths of the existing files among these values of IdentityFile."""
    return tuple(path for text in identity_files if (path := Path(text).expanduser()).is_file())


def read_key_file(path: Path) -> bytes:
    """Return at most 64 KiB of a key file, b"" if the file cannot be read. No key or certificate is longer."""
    try:
        if not path.is_file():  # reading a named pipe would block forever
            return b""
        with path.open("rb") as file:
            return file.read(_KEY_MAX)
    except OSError:
        return b""


def agent_socket(resolved: Resolved, environment: Mapping[str, str]) -> str | None:
    """Return the socket of the ssh-agent that ssh uses for this host (IdentityAgent), or None without one."""
    named = resolved.identity_agent
    if named is None or named == "SSH_AUTH_SOCK":
        return environment.get("SSH_AUTH_SOCK") or None
    if named == "none":
        return None
    return environment.get(named[1:]) if named.startswith("$") else str(Path(named).expanduser())


def identities(auth_sock: str | None) -> tuple[bytes, ...] | None:
    """Return the public keys that the ssh-agent offers, in the format of RFC 4253, or None without an ssh-agent.

    A locked ssh-agent offers no keys. The protocol does not show which keys need a confirmation.
    """
    if not auth_sock:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_QUERY_WITHIN_S)
            sock.connect(auth_sock)
            sock.sendall(struct.pack(">IB", 1, _REQUEST_IDENTITIES))
            with sock.makefile("rb") as answer:
                (length,) = struct.unpack(">I", answer.read(4))
                output = answer.read(min(length, _ANSWER_MAX))
        kind, count = struct.unpack_from(">BI", output)
        if kind != _IDENTITIES_ANSWER:
            return None
        keys, at = [], 5
        for _ in range(count):
            key, at = _string(output, at)
            _, at = _string(output, at)  # skip the key's comment
            keys.append(key)
    except (OSError, struct.error):
        return None
    return tuple(keys)


def agent_keys(auth_sock: str | None) -> int | None:
    """Return how many keys the ssh-agent offers, or None without an ssh-agent."""
    keys = identities(auth_sock)
    return len(keys) if keys is not None else None


def wants_passphrase(key_file: Path) -> bool:
    """Report whether a private key file is encrypted; False if it cannot be read."""
    text = read_key_file(key_file)
    if b"ENCRYPTED" in text[:200]:  # PEM: "Proc-Type: 4,ENCRYPTED", "BEGIN ENCRYPTED PRIVATE KEY"
        return True
    raw = _openssh_key(text)
    try:
        return raw is not None and _string(raw, len(_MAGIC))[0] != b"none"
    except struct.error:
        return False


def is_private(key_file: Path) -> bool:
    """Report whether a file holds a private key."""
    return b"PRIVATE KEY-----" in read_key_file(key_file)[:200]


def public_key(key_file: Path) -> bytes | None:
    """Return the public key of an IdentityFile in the format of RFC 4253, or None if no file has the public key.

    The key is in the file with the suffix `.pub`, in the file itself, or unencrypted in an OpenSSH private key.
    """
    for path in (key_file.with_name(key_file.name + ".pub"), key_file):
        words = read_key_file(path).split(None, 2)
        if len(words) >= 2 and (found := _decoded(words[1])) is not None and words[0] in found[:64]:
            return found
    raw = _openssh_key(read_key_file(key_file))
    if raw is None:
        return None
    try:
        at = len(_MAGIC)
        for _ in range(3):  # skip the cipher, the key derivation and the options of the derivation
            _, at = _string(raw, at)
        return _string(raw, at + 4)[0]
    except struct.error:
        return None


def kind_of(key: bytes) -> str:
    """Return the type of a public key, such as "ssh-ed25519", or "" if the key cannot be read."""
    try:
        return _string(key, 0)[0].decode(errors="replace")
    except struct.error:
        return ""


def passphrase_needed(auth_sock: str | None, identity_files: Iterable[str]) -> Path | None:
    """Return a key file that only the user's passphrase can unlock.

    Return None if there is no key file, or if a key is usable without a passphrase.
    """
    if agent_keys(auth_sock):
        return None
    there = existing(identity_files)
    if not there or not all(map(wants_passphrase, there)):
        return None
    return there[0]


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a string of the ssh protocol and the offset of its end (RFC 4251, section 5).

    Raise struct.error if the data ends too early.
    """
    (length,) = struct.unpack_from(">I", data, at)
    end = at + 4 + length
    if end > len(data):
        msg = "a truncated string"
        raise struct.error(msg)
    return data[at + 4 : end], end


def _openssh_key(text: bytes) -> bytes | None:
    raw = _decoded(b"".join(line for line in text.splitlines() if not line.startswith(b"-----")))
    return raw if raw is not None and raw.startswith(_MAGIC) else None


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return None
