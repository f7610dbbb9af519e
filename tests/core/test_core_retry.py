"""The back-off of a host."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.attempt import AT_ONCE, Attempt, Retry
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host, LoginHistory
from trayagent.core.facts.network import Network
from trayagent.core.facts.problems import Problem
from trayagent.core.policy.logins.when_to_retry import rearmed, with_failure, with_new_credentials

HOME, CAFE = Network("wlan0", "aa:01"), Network("wlan0", "cc:01")


def test_a_retry_is_due_waits_or_has_stopped() -> None:
    """A host that never failed is due at once. After a refusal it has stopped, which is not the same as waiting."""
    fresh, later, refused = Retry(), Retry(at=100.0), Retry(at=None)
    assert [fresh.at, later.at, refused.at] == [AT_ONCE, 100.0, None]
    assert [retry.due(99.0) for retry in (fresh, later, refused)] == [True, False, False]
    assert [retry.waits(99.0) for retry in (fresh, later, refused)] == [False, True, False]
    assert [retry.stopped for retry in (fresh, later, refused)] == [False, False, True]
    assert later.due(100.0)


def test_a_re_arm_that_comes_too_soon_is_delayed_and_not_lost() -> None:
    """Retries come forward at most once in 30 s on a network and six times an hour.

    A failure without a back-off also gets a time.
    """
    waiting = Retry(at=1000.0, kind="timed-out")
    first = rearmed(waiting, 100.0, HOME)
    assert first.at == 100.0
    assert rearmed(replace(first, at=1000.0), 110.0, HOME).at == 130.0
    assert rearmed(replace(first, at=1000.0), 110.0, CAFE).at == 110.0
    times = tuple((float(t), HOME) for t in range(0, 360, 60))
    assert rearmed(Retry(at=450.0, rearmed=times), 400.0, HOME).at == 450.0
    assert rearmed(Retry(at=None, rearmed=times), 400.0, HOME).at == 700.0


def test_a_failure_that_no_server_saw_is_re_armed_each_time() -> None:
    """A failure that no server saw is retried at each change of the network."""
    waiting = Retry(at=1000.0, kind="dns", seen=False)
    for at in (100.0, 101.0, 102.0):
        waiting = replace(rearmed(waiting, at, HOME), at=1000.0)
    assert rearmed(waiting, 103.0, HOME).at == 103.0


def test_a_bare_control_that_fails_forgets_no_refusal() -> None:
    """A failed bare control has its own back-off and does not clear a refused login."""
    refused = Host("web", retry=Retry(at=None, kind="auth"), login=LoginHistory(refused=(0.0,)))
    failure = Failure(Problem("timed-out", "no answer"), "timed-out")
    after = with_failure(refused, Attempt(1, "control", 10.0, bare=True), failure, 20.0, 1.0)
    assert after.retry == refused.retry
    assert after.bare_retry.at == 21.0


def test_new_credentials_never_bring_a_third_refusal_in_ten_minutes() -> None:
    """With refusals at 0 and 60 s, new credentials bring no login before 600 s."""
    host = Host("web", retry=Retry(at=None, kind="auth"), login=LoginHistory(refused=(0.0, 60.0)))
    assert with_new_credentials(host, 61.0).at == 600.0
    assert with_new_credentials(replace(host, login=replace(host.login, refused=(0.0,))), 61.0).at == 61.0
