"""Read from ssh's log of its key exchange which host key a server proved to have.

verify_host_key (sshconnect.c) logs the key that the server presented. ssh calls kex_input_newkeys (kex.c) only after it
verified the server's signature with that key. LogVerbose selects exactly the lines of these two functions at any
LogLevel. It adds the pid of the ssh that wrote them (log.c; from OpenSSH 10.0 also the name of the program).

No other line counts as proof. Until the key exchange ends, anyone on the route can put text into the log: the reason of
a disconnect, a list of algorithms, the names in a certificate. All of these may contain newlines.

For a host certificate, the log alone proves nothing. ssh logs the key ID and the names in the certificate before it
checks them. These can contain whole lines that look like ssh's own, even the line about NEWKEYS. Only a successful
login proves the key of a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

LOG_VERBOSE = "sshconnect.c:verify_host_key():*,kex.c:kex_input_newkeys():*"
"""The value of LogVerbose. A wider pattern would also select debug messages that the server sends."""

LOG_SESSIONS = "mux.c:mux_session_confirm():*"
"""The part of a master's LogVerbose that logs each session that a client requested."""

LOG_OPTIONS = {"LogVerbose": LOG_VERBOSE, "FingerprintHash": "sha256"}

_OWN = re.compile(
    r"debug[12]: (?P<where>sshconnect\.c:verify_host_key|kex\.c:kex_input_newkeys)\(\):\d+ "
    r"\((?:bin=.*, )?pid=(?P<pid>\d+)\): (?P<text>.*)"
)
_KEY = re.compile(
    r"Server host (?:key: (?P<type>\S+) (?P<hash>SHA256:\S+)"
    r"|certificate: (?P<type_of>\S+?)-cert-v\d+@openssh\.com (?P<hash_of>SHA256:\S+), serial .*)"
)
_CERTIFICATE = "Server host certificate"
_NEWKEYS = "SSH2_MSG_NEWKEYS received"
_PEERS_WORDS = re.compile(r"Received disconnect from |Unable to negotiate with |Bad remote protocol version ")
# The names in a certificate can forge log lines. Then ssh prints one of these messages after the forged lines.
_NOT_PROVEN = re.compile(r"^(?:Host key verification failed\.|.*: incorrect signature)$", re.MULTILINE)
_LINE_END = re.compile(r"\r?\n")


class KeyExchange(Struct, frozen=True):
    """The result of a key exchange: the proven host key ("TYPE SHA256:…") or None, and the log after the exchange.

    `after` is "" if no key exchange was completed. `certified`: the server presented a certificate, so the log proves
    nothing.
    """

    host_key: str | None = None
    after: str = ""
    certified: bool = False


def read_key_exchange(log: str, pid: int | None, *, logged_in: bool = False) -> KeyExchange:
    """Return the key exchange that a log proves.

    `pid` is the ssh that connected, None if unknown. `logged_in`: other evidence than the log shows that the login
    succeeded. Then ssh has accepted the first key in the log.
    """
    key: str | None = None
    lines = _LINE_END.split(log)
    for number, line in enumerate(lines):
        own = _OWN.fullmatch(line)
        if own is None:
            if _PEERS_WORDS.match(line):
                return KeyExchange()
            continue
        if pid is not None and int(own["pid"]) != pid:
            return KeyExchange()
        if key is None:
            if not logged_in and own["text"].startswith(_CERTIFICATE):
                return KeyExchange(certified=True)
            key = _key(own["text"])
        elif own["text"] == _NEWKEYS and own["where"].startswith("kex.c"):
            after = "\n".join(lines[number + 1 :])
            return KeyExchange() if _NOT_PROVEN.search(after) else KeyExchange(key, after)
    return KeyExchange()


def preferring(host_key: str, algorithms: Sequence[str]) -> str | None:
    """Return the value of HostKeyAlgorithms that requests this key first, or None if no algorithm fits the key.

    A server may have several keys, and ssh first requests a type that known_hosts has. After a login, known_hosts may
    have more types (UpdateHostKeys).
    """
    kind = host_key.partition(" ")[0]
    if not any(_key_type(one) == kind for one in algorithms):
        return None
    return ",".join(sorted(algorithms, key=lambda one: _key_type(one) != kind))


def _key_type(algorithm: str) -> str:
    plain = algorithm.partition("-cert-v")[0]
    return "ssh-rsa" if plain.startswith("rsa-sha2-") else plain


def _key(text: str) -> str | None:
    found = _KEY.fullmatch(text)
    if found is None:
        return None
    return f"{found['type'] or found['type_of']} {found['hash'] or found['hash_of']}"
