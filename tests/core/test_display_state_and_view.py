"""The display states and the view: the documented states, and exactly the documented keys."""

from __future__ import annotations

import re
import tomllib
from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, NOTHING, VPN
from tests.stories.teller import ALWAYS, ON_USE, Story
from trayagent.core.display_state import STATE_OF, display_problem, display_state
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.attempt import Retry
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.problems import CODES, Code, Problem
from trayagent.core.facts.time_constants import LOGINS_PER_WINDOW, LOGINS_WINDOW_S, UNAUTHENTICATED_IN_ALL
from trayagent.core.view import AgentFacts, view


@pytest.fixture
def story() -> Story:
    """Return a story that has not begun."""
    return Story()


def shown(story: Story) -> dict[str, Any]:
    """Return the view as a client gets it, with each time replaced by a word."""
    facts = AgentFacts("0.1.0", 4000, "2026-01-01T08:00:00Z")
    return view(story.state, facts, {"host web": 1.0}, lambda at: f"wall {at:.0f}", story.t)


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_its_state(story: Story, code: Code) -> None:
    """Each problem code has its display state. Other problems show `waiting`, until the retry.

    In this test a route exists, so an unreachable server is only away, and the host waits, too.
    """
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    host = replace(
        story.host("web"), problem=Problem(code, "it is so"), retry=Retry(at=100.0, kind="refused")
    )
    expected = "waiting" if code == "unreachable" else STATE_OF.get(code, "waiting")
    assert display_state(host, story.state, 0.0) == expected


def test_the_states_of_a_life(story: Story) -> None:
    """A host shows connecting, connected, offline, checking, waiting, paused and idle at the right moments."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    seen = [story.shown("web")]
    story.reconnected()
    seen.append(story.shown("web"))
    story.after(60).network(NOTHING)
    seen.append(story.shown("web"))
    story.after(60).network(HOME)
    seen.append(story.shown("web"))
    story.answered("web")
    story.ended("web")
    story.fails("web", "refused")
    seen.append(story.shown("web"))
    story.post(user_events.UserPause(story.t, ("web",)))
    seen.append(story.shown("web"))
    story.post(user_events.UserResume(story.t, ("web",)))
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    seen.append(story.shown("web"))
    assert seen == ["connecting", "connected", "offline", "checking", "waiting", "paused", "idle"]


def test_an_on_use_host_whose_reconnect_failed_is_idle(story: Story) -> None:
    """An on-use host whose reconnect failed is idle, because no retry is due, and shows the error."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).ended("web")
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.fails("web", "timed-out")
    assert (story.shown("web"), story.problem("web")) == ("idle", "timed-out")


@pytest.mark.parametrize("kind", ["auth", "host-key-changed"])
def test_offline_a_host_keeps_the_problem_that_no_network_solves(story: Story, kind: FailureKind) -> None:
    """An offline host keeps a problem that only the user can resolve, instead of "unreachable"."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", kind)
    told = story.problem("web")
    story.after(60).network(NOTHING)
    assert (story.shown("web"), story.problem("web")) == ("offline", told)
    assert told != "unreachable"


def test_a_problem_of_the_admission_check_ends_with_its_cause(story: Story) -> None:
    """`needs-vpn` ends as soon as the VPN is up, before any other event."""
    story.connected("web", scene=HOME + VPN, server="10.99.0.10", local="10.8.0.6")
    story.after(60).network(CAFE)
    story.fails("web", "timed-out")
    assert (story.shown("web"), story.problem("web")) == ("needs-vpn", "vpn-down")
    story.network(HOME + VPN)
    assert story.shown("web") in {"checking", "connecting"}
    assert story.problem("web") is None


def test_a_hint_names_the_table_of_a_host_whose_name_has_dots(story: Story) -> None:
    """A hint that names a host's table quotes the name, so that the hint's table is this host's."""
    name = "s3.lab"
    story.configured(wishes={name: Wish(listed=True, connect="always", networks=("Office",))})
    story.resolved(name)
    story.network(HOME)
    problem = display_problem(story.state.hosts[name], story.state, story.t)
    assert problem is not None
    table = re.search(r"\[.*\]", problem.hint)
    assert table is not None
    assert tomllib.loads(table[0]) == {"hosts": {name: {}}}


def test_the_view_has_exactly_the_contracts_keys(story: Story) -> None:
    """Every key of the contract is always present, and `schema` is 1.

    Later additions: the reasons for a missing icon, missing messages or a rejected configuration; `held`;
    `draining`.
    """
    story.connected(scene=HOME)
    forward = ForwardState(parse("local", "8080:localhost:80"), "open", "127.0.0.1:8080")
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, (forward,)))
    whole = shown(story)
    assert list(whole) == ["schema", "agent", "network", "vpns", "hosts"]
    assert whole["schema"] == 1
    assert whole["agent"] == {
        "version": "0.1.0",
        "pid": 4000,
        "started": "2026-01-01T08:00:00Z",
        "paused": False,
        "paused_until": None,
        "tray": None,
        "no_tray": None,
        "no_notifications": None,
        "config_error": None,
        "unlisted_ssh": 0,
    }
    assert whole["network"] == {
        "online": True,
        "name": None,
        "default": {"interface": "wlan0", "address": "192.168.10.2", "gateway": "192.168.10.1"},
        "interfaces": [{"name": "wlan0", "up": True, "kind": "physical", "addresses": ["192.168.10.2/24"]}],
    }
    assert whole["hosts"] == [
        {
            "name": "web",
            "listed": True,
            "state": "connected",
            "since": "wall 1",
            "pid": 101,
            "control_path": "/cm/web",
            "local": "192.168.10.2:50000",
            "peer": "203.0.113.10:22",
            "mptcp": False,
            "interface": "wlan0",
            "forwards": [
                {
                    "kind": "local",
                    "spec": "8080:localhost:80",
                    "state": "open",
                    "listen": "127.0.0.1:8080",
                    "error": None,
                    "by_hand": False,
                }
            ],
            "unknown_listens": [],
            "ended_listens": [],
            "persist_s": None,
            "resolving": False,
            "attempt": 0,
            "failing_since": None,
            "next_retry": None,
            "problem": None,
            "held": False,
            "paused_until": None,
            "roaming": None,
            "no_roaming": None,
            "standby": None,
            "no_standby": None,
            "unanswered_ms": None,
            "recoveries": 0,
            "last_recovery_ms": None,
            "draining": [],
            "beside": [],
        }
    ]


def test_a_forward_is_open_only_while_its_connection_is_not_in_doubt(story: Story) -> None:
    """While a host is offline or checked, its forwards are shown as closed, and a failed one as failed."""
    story.connected(scene=HOME)
    forwards = (
        ForwardState(parse("local", "8080:localhost:80"), "open"),
        ForwardState(parse("remote", "9:localhost:9"), "failed", None, "held", refused=True),
    )
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, forwards))

    def states() -> tuple[str, list[str]]:
        return story.shown("web"), [f["state"] for f in shown(story)["hosts"][0]["forwards"]]

    seen = [states()]
    story.after(60).network(NOTHING)
    seen.append(states())
    story.after(5).network(HOME)
    seen.append(states())
    story.after(0.05).answered("web")
    seen.append(states())
    assert seen == [
        ("connected", ["open", "failed"]),
        ("offline", ["closed", "failed"]),
        ("checking", ["closed", "failed"]),
        ("connected", ["open", "failed"]),
    ]


def test_sessions_that_roam_wait_as_soon_as_their_path_is_gone(story: Story) -> None:
    """When the path is gone, the view shows waiting sessions at once. For a merely suspect master it does not."""
    plain = story.connected(wish=replace(ALWAYS, roam=True), scene=HOME)
    outer = replace(plain, control_path="/cm/web.outer")
    inner = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
    story.post(r.RoamingBegan(story.t, "web", inner, outer))

    def seen() -> tuple[str, bool, bool]:
        host = shown(story)["hosts"][0]
        return host["state"], host["roaming"]["attached"], host["roaming"]["away_since"] is None

    assert seen() == ("connected", True, True)
    story.after(60).network(NOTHING)
    assert seen() == ("offline", False, False)
    story.after(5).network(HOME)
    assert seen() == ("checking", True, True)
    story.after(0.05).answered("web")
    assert seen() == ("connected", True, True)


def test_a_host_that_is_to_roam_shows_why_it_does_not(story: Story) -> None:
    """The view has the server's reason, or that the user started the connection."""
    plain = story.connected(wish=replace(ALWAYS, roam=True), scene=HOME)

    def seen() -> object:
        return shown(story)["hosts"][0]["no_roaming"]

    assert seen() is None
    story.post(
        r.RoamingNotPossible(
            story.t, "web", plain.pid, "no-python", "The server has no python3", lasting=True
        )
    )
    assert seen() == "The server has no python3"
    story.ended("web")
    assert seen() is None


def test_a_waiting_host_always_has_a_hint(story: Story) -> None:
    """If ssh's failure has no hint, the hint says that the agent will try again."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "timed-out")
    host = shown(story)["hosts"][0]
    assert (host["state"], host["problem"]["hint"]) == ("waiting", "The agent tries again")


def test_a_host_that_ssh_has_not_resolved_yet_says_so(story: Story) -> None:
    """A host without any answer of `ssh -G` is connecting, and `resolving` says what it waits for."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.started()
    host = shown(story)["hosts"][0]
    assert (host["state"], host["resolving"]) == ("connecting", True)
    story.resolved("web")
    assert shown(story)["hosts"][0]["resolving"] is False


@pytest.mark.parametrize(
    ("wish", "persist", "expected"),
    [(ON_USE, "600", 600), (ON_USE, "0", None), (ON_USE, "yes", None), (ALWAYS, "600", None)],
)
def test_the_time_of_control_persist_is_shown_where_it_counts(
    story: Story, wish: Wish, persist: str, expected: int | None
) -> None:
    """The view has the time after which ControlPersist ends a connection. The agent ignores it for `always`."""
    story.connected(scene=HOME, wish=wish)
    host = story.state.hosts["web"]
    assert host.resolved is not None
    resolved = replace(host.resolved, control_persist=persist)
    story.state = replace(story.state, hosts={"web": replace(host, resolved=resolved)})
    assert shown(story)["hosts"][0]["persist_s"] == expected


def test_a_view_of_nothing_has_its_keys_too(story: Story) -> None:
    """Without a master, a network or an end of the pause, the keys are present with null."""
    story.configured(web=ALWAYS)
    story.started()
    story.post(user_events.UserPause(story.t, ()))
    whole = shown(story)
    assert whole["agent"]["paused"] is True
    assert whole["agent"]["paused_until"] is None
    assert whole["network"] == {"online": False, "name": None, "default": None, "interfaces": []}
    host = whole["hosts"][0]
    assert (host["pid"], host["local"], host["peer"], host["interface"], host["control_path"]) == (None,) * 5


def test_a_waiting_host_shows_its_next_retry(story: Story) -> None:
    """A waiting host shows the time of its next retry and its problem."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "refused")
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"], host["attempt"]) == ("waiting", "wall 1", 1)
    assert host["problem"] == {"code": "refused", "title": "it is refused", "hint": "The agent tries again"}


def test_a_waiting_host_shows_its_retry_while_other_hosts_use_all_the_logins(story: Story) -> None:
    """A host that waits while other hosts use all logins shows the end of its back-off, and after that no time."""
    others = [f"other{number}" for number in range(UNAUTHENTICATED_IN_ALL)]
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "refused")
    story.configured(wishes=dict.fromkeys(["web", *others], ALWAYS))
    for number, other in enumerate(others):
        story.resolved(other, server=f"203.0.113.{100 + number}")
    assert all(story.host(other).attempt is not None for other in others)
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"]) == ("waiting", "wall 1")
    story.after(2)  # the back-off is over, but other hosts use all logins
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"]) == ("waiting", None)


@pytest.mark.parametrize("kind", ["control-path", "unwritable", "ssh-missing"])
def test_a_local_failure_shows_its_next_retry(story: Story, kind: FailureKind) -> None:
    """No event reports the end of an obstacle on this machine. So the agent tries again, and the view says when."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", kind)
    due = story.host("web").retry.at
    assert due is not None
    assert shown(story)["hosts"][0]["next_retry"] == f"wall {due:.0f}"


def test_a_host_that_fails_shows_since_when(story: Story) -> None:
    """The first failure counts, however many follow. Each try begins a new `waiting`, so `since` is later."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.after(5)
    story.fails("web", "timed-out")
    for _ in range(3):
        story.after(60)
        story.fails("web", "refused")
    assert shown(story)["hosts"][0]["failing_since"] == "wall 5"
    story.after(60)
    story.reconnected()
    assert shown(story)["hosts"][0]["failing_since"] is None


@pytest.mark.parametrize("state", ["paused", "offline", "connected"])
def test_only_a_host_that_should_be_connected_promises_a_retry(story: Story, state: str) -> None:
    """A time may lie ahead in any state, but a host that is paused, offline or connected does not show it."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "refused")
    if state == "paused":
        story.post(user_events.UserPause(story.t, ("web",)))
    elif state == "offline":
        story.network(NOTHING)
    elif state == "connected":
        story.found("web")
        story.post(user_events.UserReconnect(story.t, ("web",)))
        story.fails("web", "refused")
    due = story.host("web").retry.at
    assert due is not None
    assert due > story.t
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"]) == (state, None)


def test_a_paused_host_shows_until_when(story: Story) -> None:
    """Of its own pause and a pause of everything, the later end counts. Without an end, no time is shown."""
    story.connected(scene=HOME)
    pauses: list[tuple[tuple[str, ...], float | None]] = [
        (("web",), 60.0),
        ((), 30.0),
        ((), 90.0),
        (("web",), None),
    ]
    ends = []
    for names, for_s in pauses:
        story.post(user_events.UserPause(story.t, names, for_s))
        ends.append(shown(story)["hosts"][0]["paused_until"])
    assert ends == [*(f"wall {story.t + s:.0f}" for s in (60, 60, 90)), None]


def test_a_host_that_logged_in_too_often_waits_and_shows_until_when(story: Story) -> None:
    """After twenty logins in five minutes, each ended after 6 s, the host waits and shows why and until when."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    for _ in range(LOGINS_PER_WINDOW):
        story.reconnected()
        story.after(6)
        story.ended("web")
    host = shown(story)["hosts"][0]
    assert (host["state"], host["problem"]["code"]) == ("waiting", "rate-limited")
    story.forget()
    due = story.host("web").login.times[0] + LOGINS_WINDOW_S
    assert host["next_retry"] == f"wall {due:.0f}"
    story.after(due - story.t - 0.1)
    assert not story.did(Dial)
    story.after(0.2)
    assert story.did(Dial)


def test_a_learned_vpn_is_shown_under_its_interface(story: Story) -> None:
    """A learned VPN is listed under its interface with its host, while it is up and when it is down."""
    story.connected("db", scene=HOME + VPN, server="10.99.0.10", local="10.8.0.6")
    vpn = shown(story)["vpns"]
    assert vpn == [
        {"name": "tun0", "state": "up", "interface": "tun0", "since": None, "hosts": ["db"], "problem": None}
    ]
    story.after(60).network(CAFE)
    assert shown(story)["vpns"][0]["state"] == "down"


def test_ipv6_ends_have_brackets(story: Story) -> None:
    """IPv6 addresses with a port are in brackets, as ssh and browsers write them."""
    story.connected(scene=HOME, peer="2001:db8::10")
    assert shown(story)["hosts"][0]["peer"] == "[2001:db8::10]:22"


def test_recoveries_are_counted_and_timed(story: Story) -> None:
    """A recovery counts from the moment that a route exists until the new master listens."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(100).network(CAFE)
    story.after(0.8).ready("web")
    story.took_over("web")
    host = shown(story)["hosts"][0]
    assert (host["recoveries"], host["last_recovery_ms"]) == (1, 800.0)
    assert inf not in host.values()
