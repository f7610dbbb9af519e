from __future__ import annotations

from typing import Any

import pytest

from trayagent.core.display_state import STATE_OF
from trayagent.history.outages import NEEDS_USER, Outage, Sighting, outages, sightings

BY_USER = [["user", "disconnect"]]


def event(second: int, name: str, host: str | None = "web", **more: Any) -> dict[str, Any]:
    return {"at": f"2026-01-01T08:00:{second:02d}Z", "event": name, "host": host, "reason": None} | more


def test_an_outage_lasts_from_its_first_sign_to_the_next_connection() -> None:
    """Later signs of a loss belong to the same outage, and the next connection gives the recovery time."""
    assert outages(
        [
            event(0, "connected", took_ms=300.0),
            event(10, "master-stale", reason="silent"),
            event(10, "master-killed"),
            event(11, "connect-failed"),
            event(15, "connected", took_ms=412.0),
        ]
    ) == [
        Outage("web", "2026-01-01T08:00:10Z", "2026-01-01T08:00:15Z", 5000.0, 412.0, "silent", words="silent")
    ]


@pytest.mark.parametrize(
    ("name", "details", "words"),
    [
        ("connect-failed", {"reason": "web refused"}, "web refused"),
        (
            "connect-failed",
            {"reason": "web refused", "evidence": "kind=x", "pairs": [["kind", "x"]]},
            "web refused",
        ),
        (
            "master-stale",
            {"reason": "address=gone", "pairs": [["address", "gone"]]},
            "its local address was gone",
        ),
        (
            "master-stale",
            {"reason": "probe=x", "pairs": [["probe", "x"]]},
            "the connection no longer answered",
        ),
        (
            "disconnected",
            {"reason": "pid=1", "pairs": [["suspect", "True"], ["failure", "None"]]},
            "the connection ended after a change of network",
        ),
        ("disconnected", {"reason": "pid=1", "pairs": [["failure", "timed-out"]]}, "the connection broke"),
        ("disconnected", {"reason": "pid=1", "pairs": [["failure", "None"]]}, "the connection ended"),
        ("connect-failed", {"reason": ""}, "connect-failed"),
    ],
)
def test_users_read_words_instead_of_evidence(name: str, details: dict[str, Any], words: str) -> None:
    """The reason stays as the event has it; `words` never contain evidence such as "pid=1"."""
    (found,) = outages([event(1, name, **details)])
    assert found.words == words
    assert found.reason == (details["reason"] or name)


def test_an_outage_that_goes_on_has_no_end() -> None:
    """An outage that continues has no end: its duration and recovery time are unknown, not zero."""
    (outage,) = outages([event(3, "disconnected")])
    assert (outage.ended, outage.duration_ms, outage.took_ms) == (None, None, None)
    assert outage.as_json()["reason"] == "disconnected"


def test_an_old_master_that_answers_again_ends_the_outage_without_a_recovery() -> None:
    """If the old master answers again, the outage ends without a recovery time, because no connection was made."""
    (outage,) = outages([event(1, "connect-failed"), event(4, "master-kept")])
    assert (outage.duration_ms, outage.took_ms) == (3000.0, None)


def test_a_first_connection_is_no_recovery() -> None:
    """The first connection of a host is no recovery. A connection after a loss is."""
    first = [event(1, "connect-failed", code="refused"), event(4, "connected", took_ms=3000.0)]
    again = [event(6, "master-stale"), event(7, "connected", took_ms=400.0)]
    found = outages(first + again)
    assert [(o.duration_ms, o.took_ms) for o in found] == [(3000.0, None), (1000.0, 400.0)]


@pytest.mark.parametrize(
    "asks",
    [
        *(event(2, "connect-failed", code=code) for code in sorted(NEEDS_USER)),
        event(2, "sign-in-needed"),
    ],
    ids=lambda asks: asks.get("code", asks["event"]),
)
def test_the_time_that_the_user_took_is_no_recovery_time(asks: dict[str, Any]) -> None:
    """The outage keeps its duration but has no recovery time; the next outage is timed again."""
    lost = [event(0, "connected"), event(1, "master-stale"), asks, event(30, "connected", took_ms=29000.0)]
    again = [event(40, "disconnected"), event(41, "connected", took_ms=400.0)]
    found = outages(lost + again)
    assert [(o.duration_ms, o.took_ms) for o in found] == [(29000.0, None), (1000.0, 400.0)]


def test_the_codes_that_wait_for_the_user_are_the_cores() -> None:
    """The list of codes here is the same as the core's."""
    assert {code for code, state in STATE_OF.items() if state == "needs-sign-in"} == NEEDS_USER


def test_what_the_user_wished_is_no_outage() -> None:
    """A host that the user disconnects has no outage."""
    assert outages([event(1, "disconnected", wished=True), event(9, "connected")]) == []
    assert outages([event(1, "disconnected", pairs=BY_USER), event(9, "connected")]) == []
    taken_down = event(2, "disconnected", pairs=BY_USER)
    assert outages([event(1, "connect-failed"), taken_down, event(9, "connected")]) == []


def test_a_host_that_is_given_up_while_it_is_away_was_not_there_by_that() -> None:
    """If a host is disconnected during an outage, the outage ends. That does not prove an earlier connection."""
    away = [event(1, "connect-failed"), event(2, "disconnected", pairs=BY_USER)]
    assert outages(away) == []
    assert sightings(away)["web"].connected is None
    living = [event(2, "disconnected", pairs=BY_USER, pid=101)]
    assert sightings(living)["web"].connected == living[0]["at"]
    again = [event(5, "connect-failed"), event(9, "connected", took_ms=4000.0)]
    assert [o.took_ms for o in outages(away + again)] == [None]
    assert [o.took_ms for o in outages(living + again)] == [4000.0]


def test_events_of_older_agents_have_their_evidence_as_text_only() -> None:
    """In events of older agents, the text of the reason shows that the user disconnected the host."""
    old = event(1, "disconnected", reason="user=disconnect")
    assert outages([old, event(9, "connected")]) == []
    new = event(1, "disconnected", reason="user=x", pairs=[["said", "user=x"]])
    assert len(outages([new, event(9, "connected")])) == 1


@pytest.mark.parametrize("of", ["web", None])
def test_a_pause_ends_no_outage(of: str | None) -> None:
    """An outage continues through a pause of one host or of all, until the host is connected."""
    paused = [event(1, "disconnected"), event(2, "paused", of), event(4, "resumed-by-user", of)]
    (going,) = outages(paused)
    (ended,) = outages([*paused, event(5, "connect-failed"), event(9, "connected")])
    assert (going.began, going.ended) == (ended.began, None)
    assert ended.duration_ms == 8000.0


def test_hosts_do_not_mix_and_come_in_the_order_of_their_beginnings() -> None:
    """Each host has its own outages."""
    found = outages(
        [
            event(1, "disconnected", "a"),
            event(2, "disconnected", "b"),
            event(3, "network-changed", None),
            event(4, "connected", "b"),
            event(5, "connected", "a"),
        ]
    )
    assert [(o.host, o.duration_ms) for o in found] == [("a", 4000.0), ("b", 2000.0)]


def test_a_clock_set_back_makes_no_negative_outage() -> None:
    """The wall clock may jump back; durations do not become negative."""
    (outage,) = outages([event(9, "disconnected"), event(2, "connected")])
    assert outage.duration_ms == 0.0


def test_an_outage_lasts_at_least_as_long_as_its_recovery_took() -> None:
    """An outage begins when its recovery begins. The agent reports a stale master only after the new login."""
    found = outages(
        [
            {"at": "2026-01-01T08:00:01.000Z", "event": "master-stale", "host": "web01", "reason": "gone"},
            {"at": "2026-01-01T08:00:01.020Z", "event": "connected", "host": "web01", "took_ms": 620.0},
        ]
    )
    assert [(o.began, o.duration_ms) for o in found] == [("2026-01-01T08:00:00.400Z", 620.0)]


def test_a_host_is_seen_first_at_its_first_event_and_connected_at_its_first_connection() -> None:
    """Losing a connection proves one; failing to connect or waiting for the user does not.

    A name that only a failed command of the user had is no host.
    """
    found = sightings(
        [
            event(1, "network-changed", None),
            event(1, "connecting", "typo"),
            event(2, "connect-failed", "typo", missed=False),
            event(2, "sign-in-needed", "asks"),
            event(3, "connect-failed", "late"),
            event(4, "master-stale", "old"),
            event(5, "connected", "late"),
            event(6, "connected", "old"),
        ]
    )
    at = "2026-01-01T08:00:0{}Z".format
    assert found == {
        "asks": Sighting(at(2), None),
        "late": Sighting(at(3), at(5)),
        "old": Sighting(at(4), at(4)),
    }


def test_a_failure_of_a_host_that_is_not_missed_begins_no_outage() -> None:
    """A failure of a host that should not be connected begins no outage.

    In events without that key, a failure begins one.
    """
    unmissed = event(1, "connect-failed", missed=False)
    assert outages([unmissed]) == []
    (outage,) = outages([event(0, "master-stale"), unmissed, event(4, "connected", took_ms=300.0)])
    assert outage.duration_ms == 4000.0
    assert len(outages([event(1, "connect-failed")])) == 1


def network(second: int, online: bool | None) -> dict[str, Any]:
    """Return a `network-changed` event. `online` None: an older agent recorded it."""
    return event(second, "network-changed", None, **({} if online is None else {"online": online}))


@pytest.mark.parametrize(
    ("events", "no_network_s"),
    [
        (
            [
                network(2, False),
                network(22, True),
                event(23, "master-stale"),
                event(24, "connected", took_ms=900.0),
            ],
            20,
        ),
        (
            [
                event(1, "disconnected"),
                network(2, False),
                network(10, True),
                event(12, "connected", took_ms=900.0),
            ],
            8,
        ),
        ([network(2, False), event(3, "disconnected"), event(9, "connected")], 7),
        (
            [
                network(2, False),
                network(3, False),
                network(5, True),
                event(6, "disconnected"),
                event(7, "connected"),
            ],
            3,
        ),
        ([network(2, False), network(4, True), event(30, "disconnected"), event(31, "connected")], 0),
        ([event(1, "disconnected"), event(2, "connected"), network(3, False), network(9, True)], 0),
        ([network(2, None), event(3, "disconnected"), network(5, None), event(6, "connected")], 0),
        ([network(2, False), event(3, "disconnected")], 0),
    ],
    ids=[
        "before",
        "within",
        "until the end",
        "repeated",
        "long before",
        "after",
        "an older agent",
        "both go on",
    ],
)
def test_the_time_without_a_network_is_known_for_each_outage(
    events: list[dict[str, Any]], no_network_s: float
) -> None:
    """The user sees which part of the wait the desktop needed to find a network."""
    [outage] = outages([event(0, "connected"), *events])
    assert outage.no_network_ms == no_network_s * 1000
    assert outage.as_json()["no_network_ms"] == no_network_s * 1000


def test_the_event_says_how_long_a_host_had_no_route() -> None:
    """The agent knows the routes of each host. A tunnel keeps its default route while the Wi-Fi under it is gone."""
    begins = [event(0, "connected"), event(23, "master-stale")]
    ends = event(24, "connected", took_ms=900.0, no_network_ms=20_000.0)
    [outage] = outages([*begins, ends])
    assert (outage.no_network_ms, outage.took_ms) == (20_000, 900)
    [outage] = outages([*begins, network(23, False), {**ends, "no_network_ms": 0.0}])
    assert outage.no_network_ms == 0


def test_an_outage_that_continues_says_since_when_there_is_no_network() -> None:
    """While there is no network, its length is unknown, but not its beginning."""
    going = [event(0, "connected"), network(2, False), event(3, "disconnected")]
    [outage] = outages(going)
    assert outage.no_network_since == outage.as_json()["no_network_since"] == "2026-01-01T08:00:02.000Z"
    assert outages([*going, network(9, True)])[0].no_network_since is None
    assert outages([*going, event(9, "connected")])[0].no_network_since is None


def test_the_sessions_of_a_host_that_roams_are_counted() -> None:
    """Sessions of a host that roams are counted if they move near the outage's end.

    A later move belongs to no outage.
    """
    found = outages(
        [
            event(0, "connected"),
            event(10, "master-stale"),
            event(11, "connected", took_ms=700.0),
            event(11, "moved", sessions=3, took_ms=800.0),
            event(20, "master-stale"),
            event(21, "moved", sessions=2, took_ms=800.0),
            event(21, "connected", took_ms=700.0),
            event(30, "master-stale", "db"),
            event(31, "connected", "db", took_ms=700.0),
            event(55, "moved", sessions=1, took_ms=800.0),
        ]
    )
    assert [(o.host, o.sessions_kept) for o in found] == [("web", 3), ("web", 2), ("db", None)]


def test_an_outage_names_the_way_of_its_sessions() -> None:
    """The way and the time of the move are in the outage, also if the sessions moved by port before it began.

    A host that does not roam names its standby.
    """
    found = outages(
        [
            event(0, "connected"),
            event(9, "moved", sessions=3, took_ms=60.0, by="port"),
            event(10, "master-stale"),
            event(11, "connected", took_ms=700.0),
            event(40, "master-stale"),
            event(41, "connected", took_ms=700.0),
            event(41, "moved", sessions=2, took_ms=800.0, by="channel"),
            event(50, "moved", sessions=2, took_ms=55.0, by="standby"),
            event(51, "master-stale"),
            event(52, "connected", took_ms=300.0, by="standby"),
            event(42, "connected", "db"),
            event(44, "master-stale", "db"),
            event(45, "connected", "db", took_ms=290.0, by="standby"),
        ]
    )
    assert [(o.sessions_kept, o.moved_by, o.moved_ms) for o in found] == [
        (3, "port", 60.0),
        (2, "channel", 800.0),
        (None, "standby", 290.0),
        (2, "standby", 55.0),
    ]
    assert found[0].as_json()["moved_by"] == "port"
