"""Decides when a failed attempt is repeated: docs/architecture.md, *When the agent starts a login*; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.attempt import Attempt, Retry
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Network
from trayagent.core.facts.time_constants import (
    BOOTING_S,
    HOUR_S,
    LOGIN_WORKED_S,
    NEVER,
    REARM_EVERY_S,
    REARM_PER_HOUR,
    REBOOT_RETRIES_S,
    REFUSED_MAX,
    REFUSED_WINDOW_S,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    UNWRITABLE_S,
)
from trayagent.core.policy.logins.doubling_pause import doubling
from trayagent.core.policy.logins.login_needs_user import foreign_proxy

# The kinds of failures after which only the user or changed credentials bring a retry.
CREDENTIAL_KINDS: frozenset[FailureKind] = frozenset(
    {
        "auth",
        "too-many-keys",
        "key-file",
        "passphrase",
        "certificate",
        "host-key-unknown",
        "host-key-changed",
        "proxy-login",
    }
)
# The kinds of a refused login, which is never repeated blindly.
REFUSED_KINDS: frozenset[FailureKind] = frozenset({"auth", "too-many-keys", "key-file", "passphrase"})
# The kinds in which a ProxyCommand failed, perhaps at the login of a proxy: one try on each network.
ONCE_KINDS: frozenset[FailureKind] = frozenset({"proxy-command", "proxy-login"})
# The kinds of failures after which only a changed configuration brings a retry.
STOP_KINDS: frozenset[FailureKind] = frozenset({"negotiation", "config"})
# The kinds with an obstacle on this machine. No event reports the end of the obstacle, and no server sees the
# attempt.
LOCAL_KINDS: frozenset[FailureKind] = frozenset({"ssh-missing", "control-path", "unwritable"})
_PATH_INDEPENDENT_KINDS: frozenset[FailureKind] = frozenset({"booting", "auth"})
# The kinds that any device on the path can cause before a host key is proven, so they count on that path only.
_UNPROVEN_KINDS: frozenset[FailureKind] = REFUSED_KINDS | {"negotiation", "host-key-unknown", "config"}
_REFUSALS_KEPT = 8
# The kinds in which the server or its route is away: the server may be rebooting.
VANISHED_KINDS: frozenset[FailureKind] = frozenset({"refused", "unreachable", "timed-out", "died", "booting"})
# The kinds of failures that may be over after a while, or when the server accepts another host's login.
AWAY_KINDS = VANISHED_KINDS | frozenset[FailureKind](
    {"dropped", "closed", "disconnected", "dns", "host-certificate", "jump", "proxy-command", "unknown"}
)
# The kinds that no server saw, unless a connection was established before.
_UNSEEN_KINDS = LOCAL_KINDS | frozenset[FailureKind](
    {"dns", "unreachable", "timed-out", "config", "certificate"}
)


def server_saw(failure: Failure, *, established: bool) -> bool:
    """Report whether a failed attempt reached a server: the name was resolved, and the SYN was answered."""
    return established or failure.positive or failure.kind not in _UNSEEN_KINDS


def with_failure(
    host: Host, attempt: Attempt, failure: Failure, now: float, jitter: float, host_key: str | None = None
) -> Host:
    """Return the host with the back-off of its failed attempt. Bare attempts have a separate back-off.

    `host_key` is the key that the server proved.
    """
    if attempt.bare:
        due = _away(host.bare_retry, now, jitter)
        return replace(host, bare_retry=_after(host.bare_retry, attempt, failure, now, due))
    host = with_refusal(host, failure, now, host_key)
    at = _next_login(host, failure, now, jitter)
    return replace(host, retry=_after(host.retry, attempt, failure, now, at))


def may_be_refusal(failure: Failure) -> bool:
    """Report whether the failure counts as a refused login. Refused logins lock accounts, also at a proxy."""
    return failure.kind in REFUSED_KINDS or failure.kind == "proxy-login" or failure.perhaps_refused


def with_refusal(host: Host, failure: Failure, now: float, host_key: str | None) -> Host:
    """Return the host. If the failure may be a refused login, add it to the host's refused logins."""
    if not may_be_refusal(failure):
        return host
    refused = (*host.login.refused[1 - _REFUSALS_KEPT :], now)
    jump = tuple(at for at in host.login.refused_by_jump if at in refused)
    by_jump = (*jump, now) if failure.by_jump else jump
    refusing = host.login.refusing_key if host_key is None or failure.by_jump else host_key
    login = replace(host.login, refused=refused, refused_by_jump=by_jump, refusing_key=refusing)
    return replace(host, login=login)


def with_refusal_elsewhere(host: Host, now: float, host_key: str) -> Host:
    """Return the host with a refusal by a machine with another key. The refusal counts for that key's account."""
    known = host.login.refused_elsewhere[1 - _REFUSALS_KEPT :]
    return replace(host, login=replace(host.login, refused_elsewhere=(*known, (now, host_key))))


def after_success(retry: Retry, now: float) -> Retry:
    """Return the retry after a sign of life from the server: due at once. The limit on re-arming still applies."""
    return replace(retry, at=now, kind=None, count=0, checked=False, allowed=False)


def rearmable(retry: Retry, now: float) -> bool:
    """Report whether a change of the network ends the wait for the next attempt."""
    return retry.waits(now) and retry.kind not in _PATH_INDEPENDENT_KINDS


def rearmed(retry: Retry, now: float, network: Network | None) -> Retry:
    """Return the retry, due at once.

    If retries were brought forward too often on this network, make it due a little later. A flapping network must not
    make us contact a server again and again. If no server saw the failure, there is no limit.
    """
    if not retry.seen:
        return replace(retry, at=now, count=0, checked=False)
    past = tuple((t, where) for t, where in retry.rearmed if now - t < HOUR_S)
    recent = [t for t, where in past if where == network]
    if len(recent) >= REARM_PER_HOUR:
        # A failure with a back-off is retried anyway. A failure without one (another machine's key) gets a time here,
        # because otherwise it would wait for an event.
        later = min(recent[-REARM_PER_HOUR] + HOUR_S, now + RETRY_MAX_S)
        return replace(retry, at=later) if retry.stopped else retry
    at = now if not recent else max(now, recent[-1] + REARM_EVERY_S)
    if retry.at is not None and retry.at <= at:
        return retry
    return replace(retry, at=at, count=0, checked=False, rearmed=(*past, (at, network)))


def with_new_credentials(host: Host, now: float) -> Retry:
    """Return the retry of a host whose key, agent, known_hosts or configuration changed.

    The number of refused logins stays limited, however often something changes.
    """
    at = refusable_at(host, now)
    due = host.retry.at
    return replace(host.retry, at=at if due is None else min(at, due))


def is_unproven(retry: Retry) -> bool:
    """Report whether the host stopped because of an answer that is not proven to be the server's own."""
    return not retry.proven and retry.kind in _UNPROVEN_KINDS


def refusable_at(host: Host, now: float) -> float:
    """Return when the host may log in without the risk that one more refused login locks the account."""
    recent = [at for at in host.login.refused if now - at < REFUSED_WINDOW_S]
    return now if len(recent) < REFUSED_MAX else recent[-REFUSED_MAX] + REFUSED_WINDOW_S


def _next_login(host: Host, failure: Failure, now: float, jitter: float) -> float | None:
    if failure.kind in REFUSED_KINDS:
        return _after_refusal(host, now)
    if failure.kind in CREDENTIAL_KINDS | STOP_KINDS or (
        failure.kind == "proxy-command" and not _worked(host)
    ):
        return None
    if failure.kind == "unwritable" and not failure.positive:
        return now + UNWRITABLE_S
    if failure.kind in LOCAL_KINDS:
        return now + RETRY_MAX_S
    if failure.kind == "booting":
        return now + BOOTING_S * max(jitter, 1.0)
    return _away(host.retry, now, jitter)


def _worked(host: Host) -> bool:
    """Report whether the host's ProxyCommand is known to log in without the user, or only connects.

    An unknown error may be a refused login at a proxy, and a refused login is never repeated blindly.
    """
    return not foreign_proxy(host) or host.login.worked_at > NEVER


def _away(retry: Retry, now: float, jitter: float) -> float:
    """Return the time of the next try while the server is away. The pause doubles even if the kind of failure changes.

    A server that first refuses connections and then times out is still away.
    """
    return now + doubling(RETRY_FIRST_S, retry.count + 1, RETRY_MAX_S) * jitter


def _after_refusal(host: Host, now: float) -> float | None:
    count = sum(1 for at in host.login.refused if at > host.login.worked_at)
    reboots = (
        now - host.login.worked_at < LOGIN_WORKED_S
        and now - host.login.vanished_at < sum(REBOOT_RETRIES_S) * 2
    )
    if not reboots or count > len(REBOOT_RETRIES_S):
        return None
    return max(now + REBOOT_RETRIES_S[count - 1], refusable_at(host, now))


def _after(retry: Retry, attempt: Attempt, failure: Failure, now: float, at: float | None) -> Retry:
    return replace(
        retry,
        at=at,
        kind=failure.kind,
        count=retry.count + 1,
        failed_at=now,
        first_failed_at=retry.first_failed_at if retry.count else now,
        network=attempt.network,
        source=attempt.source,
        seen=server_saw(failure, established=attempt.established_at is not None),
        by_jump=failure.by_jump,
        proven=failure.positive,
        checked=retry.checked and failure.kind == retry.kind,
        allowed=False,
    )
