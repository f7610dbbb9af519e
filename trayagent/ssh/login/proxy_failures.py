"""Classify the error messages of ProxyCommands: socat, ncat, nc, openssl, corkscrew, cloudflared, the AWS CLI.

New versions of these programs may change their messages. So the rows match words that the programs take from the system
(strerror(3), gai_strerror(3), Go's net package), and words with which a service requests a login.
"""

from __future__ import annotations

import re

from trayagent.core.facts.failure import FailureKind


def _row(kind: FailureKind, *alternatives: str) -> tuple[FailureKind, re.Pattern[str]]:
    return kind, re.compile("|".join(alternatives), re.IGNORECASE)


# One line may contain both a request for a login and an error of the network ("fetch token: connection refused"). So
# the rows of network errors come first. openssl s_client prints "errno=NUMBER". Each row has Linux's numbers before
# those of macOS.
_ROWS = (
    _row(
        "dns",
        r"not known|name resolution|no such host|could ?n[o']t resolve|unknown host",
        r"nodename nor servname|no address associated|name does not resolve",
    ),
    _row("refused", r"connection refused|\berrno=(?:111|61)\b"),
    _row("timed-out", r"timed ?out|\btimeout\b|deadline exceeded|\berrno=(?:110|60)\b"),
    _row(
        "unreachable",
        r"network is (?:unreachable|down)|no route to host|host is (?:unreachable|down)",
        r"can(?:no|')t assign requested address|could not connect to the endpoint|targetnotconnected",
        r"\berrno=(?:101|113|51|65)\b",
    ),
    _row(
        "proxy-login",
        r"expired|unauthori[sz]ed|forbidden|not authenticated|authenticat(?:e\b|ion)",
        r"\blog ?in\b|sign[ -]?in\b|credentials?\b|\bmfa\b",
        r"(?:access|permission) denied|invalid (?:\w+ )?token",
        r"(?:status|status code|http/[\d.]+|returned|error)[ :]+(?:401|403|407)\b",
    ),
)
# openssl s_client prints these remarks about certificates and continues.
_REMARKS = re.compile(r"(?:depth=|verify (?:error|return)|CONNECTED|DONE|---)")


def classify_proxy_error(text: str) -> tuple[FailureKind, str] | None:
    """Return the kind of a ProxyCommand's failure and the line that shows it, or None if no row matches.

    The last line that matches decides the kind. If several lines have that kind, return the first of them, because it
    has more detail than a summary at the end.
    """
    lines = [line for line in text.splitlines() if not _REMARKS.match(line)]
    kinds = [_kind(line) for line in lines]
    last = next((kind for kind in reversed(kinds) if kind is not None), None)
    return None if last is None else (last, lines[kinds.index(last)])


def _kind(line: str) -> FailureKind | None:
    return next((kind for kind, pattern in _ROWS if pattern.search(line)), None)
