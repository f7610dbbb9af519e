"""When a failed attempt is made again: policy.md, *Connect*; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.backoff import doubling
from trayagent.core.failure import Failure, FailureKind
from trayagent.core.hosts import Attempt, Host, Retry
from trayagent.core.timing import (
    BOOTING_S,
    HOUR_S,
    LOGIN_WORKED_S,
    REARM_EVERY_S,
    REARM_PER_HOUR,
    REBOOT_RETRIES_S,
    REFUSED_MAX,
    REFUSED_WINDOW_S,
    RETRY_FIRST_S,
    RETRY_MAX_S,
)

# Only the user, or a change of what they log in with, can go on after these.
CREDENTIAL_KINDS: frozenset[FailureKind] = frozenset(
    {"auth", "too-many-keys", "key-file", "passphrase", "host-key-unknown", "host-key-changed"}
)
# A login that was refused: never repeated blindly.
REFUSED_KINDS: frozenset[FailureKind] = frozenset({"auth", "too-many-keys", "key-file", "passphrase"})
# Only a changed configuration, program or known_hosts can go on after these.
STOP_KINDS: frozenset[FailureKind] = frozenset({"negotiation", "config", "ssh-missing", "control-path"})
# The server itself, or the way to it, is away: it may be rebooting.
VANISHED_KINDS: frozenset[FailureKind] = frozenset({"refused", "unreachable", "timed-out", "died", "booting"})


def after_failure(host: Host, attempt: Attempt, failure: Failure, now: float, jitter: float) -> Retry:
    """Return the retry of a host whose attempt failed."""
    count = host.retry.count + 1 if host.retry.kind == failure.kind else 1
    at: float | None
    if failure.kind in REFUSED_KINDS:
        at = _after_refusal(host, now, count)
    elif failure.kind in CREDENTIAL_KINDS | STOP_KINDS:
        at = None
    elif failure.kind == "booting":
        at = now + BOOTING_S * max(jitter, 1.0)
    else:
        # Doubling whatever the reason: a server that goes from refusing to timing out is still away.
        count = host.retry.count + 1
        at = now + doubling(RETRY_FIRST_S, count, RETRY_MAX_S) * jitter
    return replace(
        host.retry,
        at=at,
        kind=failure.kind,
        count=count,
        failed_at=now,
        place=attempt.place,
        source=attempt.source,
    )


def rearmed(retry: Retry, now: float) -> Retry | None:
    """Return the retry made due at once, or None where that was done too often (a flapping network)."""
    recent = tuple(t for t in retry.rearmed if now - t < HOUR_S)
    if (recent and now - recent[-1] < REARM_EVERY_S) or len(recent) >= REARM_PER_HOUR:
        return None
    return replace(retry, at=now, count=0, rearmed=(*recent, now))


def with_new_credentials(host: Host, now: float) -> Retry:
    """Return the retry of a host whose key, agent or known_hosts changed; refused logins stay bounded."""
    recent = [t for t in host.refused if now - t < REFUSED_WINDOW_S]
    at = now if len(recent) < REFUSED_MAX else recent[-REFUSED_MAX] + REFUSED_WINDOW_S
    return replace(host.retry, at=at)


def _after_refusal(host: Host, now: float, count: int) -> float | None:
    reboots = now - host.worked_at < LOGIN_WORKED_S and now - host.vanished_at < sum(REBOOT_RETRIES_S) * 2
    if reboots and count <= len(REBOOT_RETRIES_S):
        return now + REBOOT_RETRIES_S[count - 1]
    return None
