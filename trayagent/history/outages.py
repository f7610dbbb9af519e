"""Compute outages from events: when a host was not connected, for how long, and how fast it recovered. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

BEGINS = frozenset({"disconnected", "master-stale", "connect-failed"})
ENDS = frozenset({"connected", "master-kept", "master-adopted"})
PROVES = ENDS | {"disconnected", "master-stale"}
"""Events that prove that the host was connected at least once. A host that loses a connection had one."""
NEEDS_USER = frozenset({"auth-denied", "host-key-unknown", "passphrase-needed", "vpn-needs-sign-in"})
"""Problem codes for which the agent waits for the user. Such a recovery is not timed: it depends on the user.

For these codes the core's state is needs-sign-in. They are repeated here, because importing the core would slow the
start of the command.
"""

ADJACENT = timedelta(seconds=10)
"""A time without a network belongs to an outage that begins at most this long after it.

The agent can prove a connection stale only on the next network. So an outage may begin only when the network is back.
"""

_Move = tuple[datetime, dict[str, Any]]
Away = tuple[datetime, datetime | None]
"""When the machine lost its default route, and when it got one again."""


class Outage(Struct, frozen=True):
    """A period in which a host was wanted and not connected.

    `began` and `ended` are RFC 3339; `ended` is None while the outage continues. `took_ms` is how long the recovery
    itself took. It is None if there is no meaningful time: the old connection came back, the user had to act, or this
    was the first connection to the host. `no_network_ms` is how long there was no network, during the outage or right
    before it. No agent can shorten this time. `no_network_since` is since when there is none, if the outage and that
    time continue. `sessions_kept` is how many sessions continued afterwards, None on a host that does not roam.
    `moved_by` is what they continued by, "channel", "port", "standby" or "mptcp", and `moved_ms` is how long that took;
    both are None if that is unknown. A host that does not roam may have "standby", if that became its connection.
    `reason` is the event's text for programs, and `words` are for users.
    """

    host: str
    began: str
    ended: str | None
    duration_ms: float | None
    took_ms: float | None
    reason: str
    no_network_ms: float = 0.0
    sessions_kept: int | None = None
    words: str = ""
    no_network_since: str | None = None
    moved_by: str | None = None
    moved_ms: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that `history --json` prints."""
        return {
            "host": self.host,
            "began": self.began,
            "ended": self.ended,
            "duration_ms": self.duration_ms,
            "took_ms": self.took_ms,
            "no_network_ms": self.no_network_ms,
            "no_network_since": self.no_network_since,
            "sessions_kept": self.sessions_kept,
            "moved_by": self.moved_by,
            "moved_ms": self.moved_ms,
            "reason": self.reason,
            "words": self.words,
        }


class Sighting(Struct, frozen=True):
    """When a host was first known, and when it was first connected (None: never); RFC 3339."""

    first: str
    connected: str | None


def sightings(events: Iterable[dict[str, Any]]) -> dict[str, Sighting]:
    """Return when each host was first known and first connected; `events` are oldest first.

    A name for which the user's own request failed, and nothing else happened, is perhaps a typing error, so it is no
    host.
    """
    found: dict[str, Sighting] = {}
    first: dict[str, str] = {}
    for event in events:
        host = event.get("host")
        if not host:
            continue
        began = first.setdefault(host, event["at"])
        if host not in found and not _only_requested(event):
            found[host] = Sighting(began, None)
        if host in found and found[host].connected is None and _proves(event):
            found[host] = Sighting(began, event["at"])
    return found


def _only_requested(event: dict[str, Any]) -> bool:
    """Report whether an event belongs to a single command of the user, which says nothing about the host."""
    return event.get("event") == "connecting" or event.get("missed") is False


def outages(events: Iterable[dict[str, Any]]) -> list[Outage]:
    """Return the outages of all hosts, sorted by their beginning; `events` are oldest first.

    An outage begins with its first sign and ends with a working connection. A pause does not end an outage. A
    disconnection that the user wanted (a `disconnected` with `"wished": true` or with `user` among its pairs) begins no
    outage and cancels a current one, because the user does not need the host then. A `connect-failed` with
    `"missed": false` does not begin an outage either: the old connection still works, or only a single command needed
    the host.
    """
    found: list[Outage] = []
    going: dict[str, dict[str, Any]] = {}
    connected: set[str] = set()  # hosts that were connected at least once
    needed_user: set[str] = set()  # hosts that waited for the user in their current outage
    events = list(events)
    away: list[Away] = []  # the times without a default route
    for event in events:
        host, name = event.get("host"), event.get("event")
        if name == "network-changed":
            _note_network(away, event)
        if host is None:
            continue
        if name == "disconnected" and _wished(event):
            going.pop(host, None)
        elif name in BEGINS and event.get("missed") is not False:
            if host not in going:
                needed_user.discard(host)
            going.setdefault(host, event)
        elif name in ENDS and host in going:
            timed = host in connected and host not in needed_user
            found.append(_outage(going.pop(host), event, away, timed=timed))
        if _proves(event):
            connected.add(host)
        if name == "sign-in-needed" or event.get("code") in NEEDS_USER:
            needed_user.add(host)
    found += [_outage(begin, None, away) for begin in going.values()]
    moves = _moves(events)
    found += _kernel_moves(moves, found)
    found = [_with_move(o, moves.get(o.host, [])) for o in found]
    return sorted(found, key=lambda outage: datetime.fromisoformat(outage.began))


def _kernel_moves(moves: Mapping[str, Sequence[_Move]], known: Iterable[Outage]) -> Iterator[Outage]:
    """Yield an outage for each move by the kernel (MPTCP) outside the known outages of its host."""
    ends: dict[str, list[tuple[str, str | None]]] = {}
    for outage in known:
        ends.setdefault(outage.host, []).append((outage.began, outage.ended))
    for host, events in moves.items():
        for _, event in events:
            at, others = event["at"], ends.get(host, [])
            inside = any(began <= at and (ended is None or at <= ended) for began, ended in others)
            if event.get("by") == "mptcp" and not inside:
                yield _moved_by_kernel(event)


def _moved_by_kernel(event: dict[str, Any]) -> Outage:
    """Return the short outage of a connection that the kernel moved to another network."""
    took_ms = float(event.get("took_ms") or 0.0)
    began = datetime.fromisoformat(event["at"]) - timedelta(milliseconds=took_ms)
    return Outage(
        host=event["host"],
        began=_text(began),
        ended=event["at"],
        duration_ms=took_ms,
        took_ms=took_ms,
        reason="moved",
        words=_words(event),
    )


def _moves(events: Iterable[dict[str, Any]]) -> dict[str, list[_Move]]:
    """Return the time of each `moved` event and the event, by host and oldest first. A year has thousands."""
    found: dict[str, list[_Move]] = {}
    for event in events:
        if event.get("event") == "moved" and event.get("host"):
            found.setdefault(event["host"], []).append((datetime.fromisoformat(event["at"]), event))
    return found


def _with_move(outage: Outage, moves: Sequence[_Move]) -> Outage:
    """Add to an outage how many sessions continued afterwards, by what, and after how long.

    A `moved` event of the host says so, near the outage's end. By the direct port or a standby, the sessions move
    before the old master is proven stale, so before the outage begins.
    """
    began = datetime.fromisoformat(outage.began)
    first = bisect_left(moves, began - ADJACENT, key=lambda move: move[0])
    until = datetime.fromisoformat(outage.ended) + ADJACENT if outage.ended is not None else None
    for at, event in islice(moves, first, None):
        if until is not None and at > until:
            break
        if at >= began or event.get("by") in {"port", "standby"}:
            return replace(
                outage,
                sessions_kept=int(event.get("sessions", 0)),
                moved_by=event.get("by"),
                moved_ms=event.get("took_ms"),
            )
    return outage


def _note_network(away: list[Away], event: dict[str, Any]) -> None:
    """Record the start or the end of a time without a default route. An older agent does not report `online`."""
    online, at = event.get("online"), datetime.fromisoformat(event["at"])
    going = bool(away) and away[-1][1] is None
    if online is False and not going:
        away.append((at, None))
    elif online is True and going:
        away[-1] = (away[-1][0], at)


def _no_network_ms(began: str, end: dict[str, Any] | None, away: Iterable[Away]) -> float:
    """Return how long there was no network during an outage or right before it, in milliseconds.

    The event that ends an outage says for how long the host had no usable route. An older agent does not report this,
    and an outage that continues has no such event. Then count the time without a default route, but not a time that
    continues together with the outage.
    """
    if end is not None and "no_network_ms" in end:
        return float(end["no_network_ms"])
    first = datetime.fromisoformat(began)
    ended = datetime.fromisoformat(end["at"]) if end is not None else None
    total = timedelta()
    for left, back in away:
        until = min(filter(None, (back, ended)), default=None)
        if until is not None and until >= first - ADJACENT and until > left:
            total += until - left
    return total.total_seconds() * 1000


def _proves(event: dict[str, Any]) -> bool:
    name = event.get("event")
    # If the user disconnects a host that has no master, that does not prove an earlier connection.
    given_up = name == "disconnected" and _by_user(event) and "pid" not in event
    return name in PROVES and not given_up


def _wished(event: dict[str, Any]) -> bool:
    return event.get("wished") is True or _by_user(event)


def _by_user(event: dict[str, Any]) -> bool:
    if "pairs" in event:
        return any(key == "user" for key, _ in event["pairs"])
    return str(event.get("reason") or "").startswith(
        "user="
    )  # older agents recorded the evidence as text only


def _outage(
    begin: dict[str, Any], end: dict[str, Any] | None, away: Sequence[Away], *, timed: bool = False
) -> Outage:
    began, duration_ms = begin["at"], None
    going = away[-1] if away and away[-1][1] is None else None
    if end is not None:
        lasted = datetime.fromisoformat(end["at"]) - datetime.fromisoformat(began)
        duration_ms = max(lasted.total_seconds() * 1000, 0.0)  # the wall clock may have been set back
        took_ms = end.get("took_ms") or 0.0
        if took_ms > duration_ms:  # the first event came late: proving staleness took time
            duration_ms = took_ms
            began = _text(datetime.fromisoformat(end["at"]) - timedelta(milliseconds=took_ms))
    return Outage(
        host=begin["host"],
        began=began,
        ended=end["at"] if end else None,
        duration_ms=duration_ms,
        took_ms=end.get("took_ms") if end and timed else None,
        reason=str(begin.get("reason") or begin["event"]),
        words=_words(begin),
        no_network_ms=_no_network_ms(began, end, away),
        no_network_since=_text(going[0]) if end is None and going is not None else None,
        moved_by=end.get("by") if end is not None else None,
        moved_ms=end.get("took_ms") if end is not None and end.get("by") is not None else None,
    )


def _words(begin: dict[str, Any]) -> str:
    """Return why an outage began, for users: a sentence instead of evidence such as "pid=4 suspect=True"."""
    reason = str(begin.get("reason") or "")
    pairs = dict(map(tuple, begin.get("pairs", ())))
    if reason and (
        not pairs or "evidence" in begin
    ):  # the reason is a sentence, and the evidence has its own key
        return reason
    if begin["event"] == "moved":
        return "the network changed, and the connection moved with it"
    if begin["event"] == "master-stale":
        gone = pairs.get("address") == "gone"
        return "its local address was gone" if gone else "the connection no longer answered"
    if begin["event"] == "disconnected":
        if pairs.get("failure", "None") != "None":
            return "the connection broke"
        doubtful = pairs.get("suspect") == "True"
        return "the connection ended after a change of network" if doubtful else "the connection ended"
    return str(begin["event"])


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
