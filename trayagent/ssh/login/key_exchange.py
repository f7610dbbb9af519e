"""Read from ssh's log of its key exchange which host key a server proved to have.

verify_host_key (sshconnect.c) logs the key that the server presented. ssh calls kex_input_newkeys (kex.c) only after
it verified the server's signature with that key. LogVerbose selects exactly these lines at any LogLevel. It adds the
pid of the ssh that wrote them (log.c; from OpenSSH 10.0 also the name of the program).

No other line may count. Until then anyone on the route can put text into the log: in a disconnect, in the offers of
algorithms, in the names of a certificate. All of these may contain newlines.

A host certificate proves nothing by the log alone. ssh logs its key ID and names before it checks anything, and these
can contain whole lines in ssh's own form, NEWKEYS included. Only a successful login proves the key of a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOG_VERBOSE = "sshconnect.c:verify_host_key():*,kex.c:kex_input_newkeys():*"
"""The value of LogVerbose; a wider pattern would also print debug messages of the server."""

LOG_SESSIONS = "mux.c:mux_session_confirm():*"
"""For the LogVerbose of a master: one line for each session that a client requested."""

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
# If the names in a certificate forged lines of the log, ssh prints this message after them.
_NOT_PROVEN = re.compile(r"^(?:Host key verification failed\.|.*: incorrect signature)$", re.MULTILINE)
_LINE_END = re.compile(r"\r?\n")


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """The proven host key as "TYPE SHA256:…" or None, and ssh's log after the key exchange, "" without one.

    `certified`: the server presented a certificate, so the log proves nothing.
    """

    host_key: str | None = None
    after: str = ""
    certified: bool = False


def read_key_exchange(log: str, pid: int | None, *, logged_in: bool = False) -> KeyExchange:
    """Return the key exchange that a log proves.

    `pid` is the ssh that connected, None if unknown. `logged_in`: something other than the log shows that the login
    succeeded, so the key exchange was completed with the first key in the log.
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

    A server may have several keys, and ssh first requests a type that known_hosts has. After a login, known_hosts
    may have one more (UpdateHostKeys).
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
