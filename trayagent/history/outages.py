"""From events to outages: when a host was away, for how long, and how quickly it was back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

BEGINS = frozenset({"disconnected", "master-stale", "connect-failed"})
ENDS = frozenset({"connected", "master-kept", "master-adopted"})
PROVES = ENDS | {"disconnected", "master-stale"}
"""Who loses a connection had one."""
ASKS = frozenset({"auth-denied", "host-key-unknown", "passphrase-needed", "vpn-needs-sign-in"})
"""Codes that wait for a person: how long one took says nothing of a recovery.

Those that the core shows as needs-sign-in; importing it would slow the start of the command.
"""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a host was wanted and not there.

    `began` and `ended` are RFC 3339; `ended` None: it goes on. `took_ms` is how long the
    recovery itself took, None where none was timed: the old connection came back, a person was
    waited for, or it was the first connection to this host.
    """

    host: str
    began: str
    ended: str | None
    duration_ms: float | None
    took_ms: float | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that `history --json` shows."""
        return {
            "host": self.host,
            "began": self.began,
            "ended": self.ended,
            "duration_ms": self.duration_ms,
            "took_ms": self.took_ms,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Sighting:
    """Since when a host is known, and since when there was a connection to it (None: never); RFC 3339."""

    first: str
    connected: str | None


def sightings(events: Iterable[dict[str, Any]]) -> dict[str, Sighting]:
    """Return when each host was seen first; `events` are oldest first."""
    found: dict[str, Sighting] = {}
    for event in events:
        host = event.get("host")
        if not host:
            continue
        known = found.setdefault(host, Sighting(event["at"], None))
        if known.connected is None and _proves(event):
            found[host] = Sighting(known.first, event["at"])
    return found


def outages(events: Iterable[dict[str, Any]]) -> list[Outage]:
    """Return the outages of all hosts in the order of their beginning; `events` are oldest first.

    An outage begins with the first sign of it, and ends with a connection that carries; a pause
    ends none. What the user wished (a `disconnected` with `"wished": true` or a reason that begins
    with `user=`) neither begins one nor lets one go on: nobody misses the host then. A `connect-failed`
    with `"missed": false` begins none: the old connection lives, or the host is wanted by one word only.
    """
    found: list[Outage] = []
    going: dict[str, dict[str, Any]] = {}
    connected: set[str] = set()  # once, at least
    asked: set[str] = set()  # those whose outage waited for a person
    for event in events:
        host, name = event.get("host"), event.get("event")
        if host is None:
            continue
        if name == "disconnected" and _wished(event):
            going.pop(host, None)
        elif name in BEGINS and event.get("missed") is not False:
            if host not in going:
                asked.discard(host)
            going.setdefault(host, event)
        elif name in ENDS and host in going:
            timed = host in connected and host not in asked
            found.append(_outage(going.pop(host), event, timed=timed))
        if _proves(event):
            connected.add(host)
        if name == "sign-in-needed" or event.get("code") in ASKS:
            asked.add(host)
    found += [_outage(begin, None) for begin in going.values()]
    return sorted(found, key=lambda outage: datetime.fromisoformat(outage.began))


def _proves(event: dict[str, Any]) -> bool:
    name = event.get("event")
    # Whoever takes down what is away already ends a wish, and no connection.
    given_up = name == "disconnected" and _by_user(event) and "pid" not in event
    return name in PROVES and not given_up


def _wished(event: dict[str, Any]) -> bool:
    return event.get("wished") is True or _by_user(event)


def _by_user(event: dict[str, Any]) -> bool:
    return str(event.get("reason") or "").startswith("user=")


def _outage(begin: dict[str, Any], end: dict[str, Any] | None, *, timed: bool = False) -> Outage:
    began, duration_ms = begin["at"], None
    if end is not None:
        lasted = datetime.fromisoformat(end["at"]) - datetime.fromisoformat(began)
        duration_ms = max(lasted.total_seconds() * 1000, 0.0)  # the wall clock may be set back
        took_ms = end.get("took_ms") or 0.0
        if took_ms > duration_ms:  # the first sign came late: nothing is called stale before it is proven
            duration_ms = took_ms
            began = _text(datetime.fromisoformat(end["at"]) - timedelta(milliseconds=took_ms))
    return Outage(
        host=begin["host"],
        began=began,
        ended=end["at"] if end else None,
        duration_ms=duration_ms,
        took_ms=end.get("took_ms") if end and timed else None,
        reason=str(begin.get("reason") or begin["event"]),
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
