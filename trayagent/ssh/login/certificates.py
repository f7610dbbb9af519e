"""Read when the user's certificates expire. Source: OpenSSH's PROTOCOL.certkeys.

ssh offers a certificate even if it has expired. The server then refuses the login without giving a reason.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.read_keys import read_key_file

# The number of fields of each type's public key. These fields are between the nonce and the serial number.
_KEY_FIELDS = {
    "ssh-rsa-cert-v01@openssh.com": 2,
    "ssh-dss-cert-v01@openssh.com": 4,
    "ecdsa-sha2-nistp256-cert-v01@openssh.com": 2,
    "ecdsa-sha2-nistp384-cert-v01@openssh.com": 2,
    "ecdsa-sha2-nistp521-cert-v01@openssh.com": 2,
    "ssh-ed25519-cert-v01@openssh.com": 1,
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": 3,
    "sk-ssh-ed25519-cert-v01@openssh.com": 2,
}


class Certificate(Struct, frozen=True):
    """A certificate's file, and the end of its validity in seconds since 1970."""

    path: Path
    valid_before: int


def expired_certificate(resolved: Resolved, now: float) -> Certificate | None:
    """Return the certificate that expired last, if ssh_config names certificates for the host and all have expired.

    `now` is in seconds since 1970.
    """
    found = _read(Path(text).expanduser() for text in resolved.certificate_files)
    return _last_expired(found, now)


def any_expired_certificate(resolved: Resolved, now: float) -> Certificate | None:
    """Return the same as `expired_certificate`, but also check the certificates beside the key files.

    ssh uses those by default.
    """
    keys = [Path(text).expanduser() for text in resolved.identity_files]
    beside = (path.with_name(f"{path.name}-cert.pub") for path in keys)
    found = _read((*(Path(text).expanduser() for text in resolved.certificate_files), *beside))
    return _last_expired(found, now)


def valid_before(line: bytes) -> int | None:
    """Return when a certificate expires, in seconds since 1970, or None if `line` is no certificate.

    `line` is the text of a certificate's file.
    """
    words = line.split(None, 2)
    fields = _KEY_FIELDS.get(words[0].decode(errors="replace")) if len(words) >= 2 else None
    if fields is None:
        return None
    try:
        data = base64.b64decode(words[1])
        at = 0
        for _ in range(2 + fields):  # the type, the nonce, the public key
            at = _skip(data, at)
        at += 12  # the serial number and the kind
        for _ in range(2):  # the key ID, the principals
            at = _skip(data, at)
        (end,) = struct.unpack_from(">8xQ", data, at)
    except (binascii.Error, struct.error):
        return None
    return int(end)


def _read(paths: Iterable[Path]) -> list[Certificate]:
    found = ((path, valid_before(read_key_file(path))) for path in paths)
    return [Certificate(path, end) for path, end in found if end is not None]


def _last_expired(found: list[Certificate], now: float) -> Certificate | None:
    last = max(found, key=lambda one: one.valid_before, default=None)
    return last if last is not None and last.valid_before <= now else None


def _skip(data: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">I", data, at)
    return at + 4 + int(length)
