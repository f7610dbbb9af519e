"""The back-off of a host."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Attempt, Host, Place, Retry
from trayagent.core.facts.problems import Problem
from trayagent.core.policy.retry import rearmed, with_failure, with_new_credentials

HOME, CAFE = Place("wlan0", "aa:01"), Place("wlan0", "cc:01")


def test_a_re_arm_that_comes_too_soon_is_late_and_not_lost() -> None:
    """At most one in 30 s at a place, six in an hour; what has no back-off of its own gets a time all the same."""
    waiting = Retry(at=1000.0, kind="timed-out")
    first = rearmed(waiting, 100.0, HOME)
    assert first.at == 100.0
    assert rearmed(replace(first, at=1000.0), 110.0, HOME).at == 130.0
    assert rearmed(replace(first, at=1000.0), 110.0, CAFE).at == 110.0
    times = tuple((float(t), HOME) for t in range(0, 360, 60))
    assert rearmed(Retry(at=450.0, rearmed=times), 400.0, HOME).at == 450.0
    assert rearmed(Retry(at=None, rearmed=times), 400.0, HOME).at == 700.0


def test_what_no_server_saw_is_re_armed_each_time() -> None:
    """Nobody was bothered by it."""
    waiting = Retry(at=1000.0, kind="dns", seen=False)
    for at in (100.0, 101.0, 102.0):
        waiting = replace(rearmed(waiting, at, HOME), at=1000.0)
    assert rearmed(waiting, 103.0, HOME).at == 103.0


def test_a_knock_that_fails_forgets_no_refusal() -> None:
    """A bare control of a host whose login was refused has a back-off of its own."""
    refused = Host("web", retry=Retry(at=None, kind="auth"), refused=(0.0,))
    failure = Failure(Problem("timed-out", "no answer"), "timed-out")
    after = with_failure(refused, Attempt(1, "control", 10.0, bare=True), failure, 20.0, 1.0)
    assert after.retry == refused.retry
    assert after.bare_retry.at == 21.0


def test_new_credentials_never_bring_a_third_refusal_in_ten_minutes() -> None:
    """The second one was at 60: not before 600, when the first is forgotten."""
    host = Host("web", retry=Retry(at=None, kind="auth"), refused=(0.0, 60.0))
    assert with_new_credentials(host, 61.0).at == 600.0
    assert with_new_credentials(replace(host, refused=(0.0,)), 61.0).at == 61.0
