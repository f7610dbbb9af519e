"""Check whether the user's known_hosts files have a host key. Source: sshd(8), *SSH_KNOWN_HOSTS FILE FORMAT*."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from trayagent.core.facts.resolved import Resolved

DEFAULT_PORT = 22
_HASHED = "|1|"
_MAX_BYTES = 4 * 1024 * 1024


def is_trusted(host_key: str, names: Iterable[str], files: Iterable[Path]) -> bool:
    """Report whether the files have a host key ("TYPE SHA256:…") for a server with these names.

    If the files have none of the names, any entry with that key counts, because the user may have listed the server
    under a name that the agent does not know. A revoked key is never trusted. Certificate authorities are ignored.
    """
    named: set[str] = set()
    known: set[str] = set()
    wanted = tuple(names)
    for marker, hosts, key in _entries(files):
        if marker == "@revoked" and key == host_key:
            return False
        if marker:
            continue
        known.add(key)
        if any(_matches(hosts, name) for name in wanted):
            named.add(key)
    return host_key in (named or known)


def known_keys(resolved: Resolved) -> frozenset[str]:
    """Return the host keys ("TYPE SHA256:…") that a host's known_hosts files have for that host."""
    name = resolved.host_key_alias or resolved.hostname
    if resolved.port != DEFAULT_PORT and resolved.host_key_alias is None:
        name = f"[{name}]:{resolved.port}"
    files = (Path(file).expanduser() for file in (*resolved.user_known_hosts, *resolved.global_known_hosts))
    return frozenset(key for marker, hosts, key in _entries(files) if not marker and _matches(hosts, name))


def _entries(files: Iterable[Path]) -> Iterator[tuple[str, str, str]]:
    """Yield the marker, the hosts and the key of each line that can be parsed."""
    for file in files:
        try:
            with file.open("rb") as opened:
                text = opened.read(_MAX_BYTES).decode(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            words = line.split()
            marker = words.pop(0) if words and words[0].startswith("@") else ""
            if len(words) < 3 or words[0].startswith("#"):  # hosts, type, key
                continue
            try:
                digest = hashlib.sha256(base64.b64decode(words[2], validate=True)).digest()
            except binascii.Error:
                continue
            yield marker, words[0], f"{words[1]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _matches(hosts: str, name: str) -> bool:
    if hosts.startswith(_HASHED):
        salt, _, digest = hosts.removeprefix(_HASHED).partition("|")
        try:
            expected = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
            return hmac.compare_digest(expected, base64.b64decode(digest))
        except binascii.Error:
            return False
    patterns = hosts.split(",")
    if any(_fits(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_fits(name, pattern) for pattern in patterns)


def _fits(name: str, pattern: str) -> bool:
    """Report whether a name matches as in ssh. Only * and ? are wildcards; the brackets of [name]:port are literal."""
    return fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))
