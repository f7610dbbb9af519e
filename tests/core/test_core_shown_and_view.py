"""What a person and a script see: the states of the contract, and exactly its keys."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from tests.stories.scenes import CAFE, HOME, NOTHING, VPN
from tests.stories.teller import ALWAYS, ON_USE, Story
from trayagent.core.display_state import shown_state
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Retry
from trayagent.core.facts.problems import CODES, Code, Problem
from trayagent.core.facts.time_constants import LOGINS_PER_WINDOW, LOGINS_WINDOW_S, UNAUTHENTICATED_IN_ALL
from trayagent.core.view import AgentFacts, view

STATES: dict[Code, str] = {
    "passphrase-needed": "needs-sign-in",
    "auth-denied": "needs-sign-in",
    "host-key-unknown": "needs-sign-in",
    "vpn-needs-sign-in": "needs-sign-in",
    "too-many-auth-failures": "failed",
    "host-key-changed": "failed",
    "no-common-algorithm": "failed",
    "config-error": "failed",
    "ssh-missing": "failed",
    "control-path-too-long": "failed",
    "control-path-taken": "failed",
    "vpn-down": "needs-vpn",
    "captive-portal": "offline",
    "network-not-allowed": "offline",
    "not-here": "offline",
}


@pytest.fixture
def story() -> Story:
    """Return a story that has not begun."""
    return Story()


def shown(story: Story) -> dict[str, Any]:
    """Return the view as a client gets it, the wall clock being seconds in words."""
    facts = AgentFacts("0.1.0", 4000, "2026-01-01T08:00:00Z")
    return view(story.state, facts, {"host web": 1.0}, lambda at: f"wall {at:.0f}", story.t)


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_its_state(story: Story, code: Code) -> None:
    """The table of the policy; every other code waits for a retry."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    host = replace(
        story.host("web"), problem=Problem(code, "it is so"), retry=Retry(at=100.0, kind="refused")
    )
    assert shown_state(host, story.state, 0.0) == STATES.get(code, "waiting")


def test_the_states_of_a_life(story: Story) -> None:
    """Connecting, connected, offline, checking, waiting, paused, idle: each where a person expects it."""
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
    story.post(e.UserPause(story.t, ("web",)))
    seen.append(story.shown("web"))
    story.post(e.UserResume(story.t, ("web",)))
    story.post(e.UserDisconnect(story.t, ("web",)))
    seen.append(story.shown("web"))
    assert seen == ["connecting", "connected", "offline", "checking", "waiting", "paused", "idle"]


def test_an_on_use_host_whose_reconnect_failed_is_idle(story: Story) -> None:
    """Nothing is due for what is not wanted, `waiting` would promise a retry; but why it failed is told."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).ended("web")
    story.post(e.UserReconnect(story.t, ("web",)))
    story.fails("web", "timed-out")
    assert (story.shown("web"), story.problem("web")) == ("idle", "timed-out")


@pytest.mark.parametrize("kind", ["auth", "host-key-changed"])
def test_offline_a_host_keeps_the_problem_that_no_network_solves(story: Story, kind: FailureKind) -> None:
    """It is not "connected as soon as one does": only the user can go on."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", kind)
    told = story.problem("web")
    story.after(60).network(NOTHING)
    assert (story.shown("web"), story.problem("web")) == ("offline", told)
    assert told != "unreachable"


def test_a_gates_problem_ends_with_its_cause(story: Story) -> None:
    """`needs-vpn` is gone the moment that the VPN is up, before anything else has happened."""
    story.connected("web", scene=HOME + VPN, server="10.99.0.10", local="10.8.0.6")
    story.after(60).network(CAFE)
    story.fails("web", "timed-out")
    assert (story.shown("web"), story.problem("web")) == ("needs-vpn", "vpn-down")
    story.network(HOME + VPN)
    assert story.shown("web") in {"checking", "connecting"}
    assert story.problem("web") is None


def test_the_view_has_exactly_the_contracts_keys(story: Story) -> None:
    """No key is ever absent; `schema` is 1. Added: why no icon, no message, no new configuration; `held`."""
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
        "no_tray": None,
        "no_notifications": None,
        "config_error": None,
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
            "interface": "wlan0",
            "forwards": [
                {
                    "kind": "local",
                    "spec": "8080:localhost:80",
                    "state": "open",
                    "listen": "127.0.0.1:8080",
                    "error": None,
                }
            ],
            "attempt": 0,
            "next_retry": None,
            "problem": None,
            "held": False,
            "recoveries": 0,
            "last_recovery_ms": None,
        }
    ]


def test_a_view_of_nothing_has_its_keys_too(story: Story) -> None:
    """A host that was never up, no network, a pause without end: nulls, no holes."""
    story.configured(web=ALWAYS)
    story.started()
    story.post(e.UserPause(story.t, ()))
    whole = shown(story)
    assert whole["agent"]["paused"] is True
    assert whole["agent"]["paused_until"] is None
    assert whole["network"] == {"online": False, "name": None, "default": None, "interfaces": []}
    host = whole["hosts"][0]
    assert (host["pid"], host["local"], host["peer"], host["interface"], host["control_path"]) == (None,) * 5


def test_a_retry_that_is_due_says_when(story: Story) -> None:
    """`waiting` has its time and its problem; other states have none."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "refused")
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"], host["attempt"]) == ("waiting", "wall 1", 1)
    assert host["problem"] == {"code": "refused", "title": "it is refused", "hint": ""}


def test_a_retry_says_when_also_while_other_hosts_take_all_the_logins(story: Story) -> None:
    """Whether one of them will be through by then is not known, and the back-off ends no sooner."""
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
    story.after(2)  # its turn has come, but not its place
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"]) == ("waiting", None)


@pytest.mark.parametrize("state", ["paused", "failed", "offline", "connected"])
def test_only_waiting_promises_a_retry(story: Story, state: str) -> None:
    """A time may lie ahead in any state; it is no promise where something else must happen first."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "control-path" if state == "failed" else "refused")
    if state == "paused":
        story.post(e.UserPause(story.t, ("web",)))
    elif state == "offline":
        story.network(NOTHING)
    elif state == "connected":
        story.found("web")
        story.post(e.UserReconnect(story.t, ("web",)))
        story.fails("web", "refused")
    due = story.host("web").retry.at
    assert due is not None
    assert due > story.t
    host = shown(story)["hosts"][0]
    assert (host["state"], host["next_retry"]) == (state, None)


def test_a_host_that_logged_in_too_often_waits_and_says_until_when(story: Story) -> None:
    """Its connections end right after each login: twenty in five minutes, then `waiting`, with reason and time."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    for _ in range(LOGINS_PER_WINDOW):
        story.reconnected()
        story.after(1)
        story.ended("web")
    host = shown(story)["hosts"][0]
    assert (host["state"], host["problem"]["code"]) == ("waiting", "rate-limited")
    story.forget()
    due = story.host("web").logins[0] + LOGINS_WINDOW_S
    assert host["next_retry"] == f"wall {due:.0f}"
    story.after(due - story.t - 0.1)
    assert not story.did(Dial)
    story.after(0.2)
    assert story.did(Dial)


def test_a_learned_vpn_is_shown_under_its_interface(story: Story) -> None:
    """No table describes it; it is up, and later down, and serves its host."""
    story.connected("db", scene=HOME + VPN, server="10.99.0.10", local="10.8.0.6")
    vpn = shown(story)["vpns"]
    assert vpn == [
        {"name": "tun0", "state": "up", "interface": "tun0", "since": None, "hosts": ["db"], "problem": None}
    ]
    story.after(60).network(CAFE)
    assert shown(story)["vpns"][0]["state"] == "down"


def test_ipv6_ends_have_brackets(story: Story) -> None:
    """As ssh and every browser write them."""
    story.connected(scene=HOME, peer="2001:db8::10")
    assert shown(story)["hosts"][0]["peer"] == "[2001:db8::10]:22"


def test_recoveries_are_counted_and_timed(story: Story) -> None:
    """From the moment that there was a way again to the moment that the new master listened."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(100).network(CAFE)
    story.after(0.8).ready("web")
    story.took_over("web")
    host = shown(story)["hosts"][0]
    assert (host["recoveries"], host["last_recovery_ms"]) == (1, 800.0)
    assert inf not in host.values()
