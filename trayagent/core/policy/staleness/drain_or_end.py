"""Decides whether a living master drains or ends when a new master takes its place; pure.

A draining master accepts no more clients, so it cannot be probed. It ends with its last session. The agent ends it only
if its local address is gone and a control succeeded, or if it still runs although it carries nothing
(`end_idle_draining.py`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.policy.staleness.silence_limits import patience_s, silent_since


class Fate(Struct, frozen=True):
    """What to do with the old master, or what to do before that can be decided. `at` is when to decide again."""

    do: Literal["drain", "end", "probe", "observe", "wait"]
    evidence: Evidence
    at: float | None = None


def fate_of_old(host: Host, master: Master, attempt: Attempt, now: float) -> Fate:
    """Return what to do with the host's old master when the user's new master takes its place.

    The old master drains if it answered since the user's request. It also drains if data that was sent since then is
    being acknowledged, because its answer is queued behind that data. A silent or suspended master ends.
    """
    if host.user.at_once:
        return Fate("end", Evidence.of(old="unwanted"))
    if host.doubt.gone_at is not None:
        return Fate("end", Evidence.of(old="address_gone"))
    if host.doubt.proof_at >= attempt.started_at and not host.suspect:
        return Fate("drain", Evidence.of(old="answers"))
    probe = host.doubt.probe
    if probe is None or not _probed_since_doubt(host):
        return Fate("probe", Evidence.of(old="unknown"))
    silent_at = silent_since(host, probe) + patience_s(master)
    if now < silent_at:
        return Fate("wait", Evidence.of(old="unknown"), silent_at)
    if host.doubt.observed is None or host.doubt.observed.at < silent_at:
        return Fate("observe", Evidence.of(old="silent"))
    if host.doubt.observed.stopped:
        return Fate("end", Evidence.of(old="suspended"))
    if probe.moved_at is not None:
        return Fate("drain", Evidence.of(old="acknowledges"))
    return Fate("end", Evidence.of(old="silent"))


def needs_probe(host: Host) -> bool:
    """Report whether the user's attempt must first learn whether the old master answers."""
    attempt = host.attempt
    if attempt is None or attempt.purpose != "user" or host.user.at_once or host.draining is not None:
        return False
    unknown = host.doubt.gone_at is None and not _probed_since_doubt(host)
    return unknown and (host.suspect or host.doubt.proof_at < attempt.started_at)


def _probed_since_doubt(host: Host) -> bool:
    """Report whether the unanswered probe was sent after the last doubt began."""
    probe = host.doubt.probe
    return probe is not None and probe.sent_at >= host.doubt.began_at
