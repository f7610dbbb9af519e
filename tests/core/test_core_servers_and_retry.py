"""Counts against a server, and the back-off of a host."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.failure import Failure
from trayagent.core.hosts import Attempt, Host, Retry
from trayagent.core.problems import Problem
from trayagent.core.retry import rearmed, with_failure, with_new_credentials
from trayagent.core.servers import Servers, dropped, ended, forgiven, free_at, may_abort, started

WEB = "web:22"


def running(*attempts: int, key: str = WEB) -> Servers:
    """Return servers with these attempts under way."""
    servers: Servers = {}
    for attempt in attempts:
        servers = started(servers, key, attempt)
    return servers


def test_six_unauthenticated_connections_are_enough() -> None:
    """MaxStartups begins to drop at ten, and others connect too."""
    assert free_at(running(1, 2, 3, 4, 5), WEB, 0.0) == 0.0
    assert free_at(running(1, 2, 3, 4, 5, 6), WEB, 0.0) is None


def test_sixteen_in_all() -> None:
    """Key exchanges cost a core."""
    servers = running(1)
    for n in range(2, 17):
        servers = started(servers, f"other{n}", n)
    assert free_at(servers, "yet another", 0.0) is None


def test_failures_count_for_a_minute_and_successes_not() -> None:
    """Thirty hosts on one machine may come up in seconds, as long as they do."""
    servers = running(*range(6))
    for n in range(6):
        servers = ended(servers, n, 1.0, success=True)
    assert free_at(servers, WEB, 1.0) == 1.0
    for n in range(6):
        servers = ended(started(servers, WEB, n), n, 2.0, success=False)
    assert free_at(servers, WEB, 2.0) == 62.0


def test_the_users_word_ends_a_pause_and_forgets_no_failure() -> None:
    """Who asks for one host does not ask for the others on that server."""
    servers = dropped({}, WEB, 0.0, 1.0)
    assert free_at(servers, WEB, 1.0) == 20.0
    assert free_at(forgiven(servers, WEB), WEB, 1.0) == 1.0
    for n in range(6):
        servers = ended(started(servers, WEB, n), n, 2.0, success=False)
    assert free_at(forgiven(servers, WEB), WEB, 3.0) == 62.0


def test_running_attempts_may_yet_fail() -> None:
    """They count until they are through, so that seven never fail within a minute."""
    servers = running(1, 2, 3)
    for n in (4, 5, 6):
        servers = ended(started(servers, WEB, n), n, float(n), success=False)
    assert free_at(servers, WEB, 10.0) == 64.0


def test_five_handshakes_may_be_cut_in_thirty_seconds() -> None:
    """OpenSSH 9.8 punishes them."""
    servers = running(*range(5))
    for n in range(5):
        assert may_abort(servers, WEB, 0.0)
        servers = ended(servers, n, 0.0, success=False, aborted=True)
    assert not may_abort(servers, WEB, 29.0)
    assert may_abort(servers, WEB, 30.0)


def test_a_drop_doubles_once_for_all_that_were_on_their_way() -> None:
    """20 s, 40 s … ten minutes, and from the beginning after a success."""
    servers: Servers = dropped(dropped({}, WEB, 0.0, 1.0), WEB, 0.1, 1.0)
    assert free_at(servers, WEB, 0.0) == 20.0
    servers = dropped(servers, WEB, 20.0, 1.0)
    assert free_at(servers, WEB, 20.0) == 60.0
    for at in range(1000, 11_000, 1000):
        servers = dropped(servers, WEB, float(at), 1.0)
    assert free_at(servers, WEB, 10_000.0) == 10_600.0
    servers = ended(started(servers, WEB, 9), 9, 20_000.0, success=True)
    assert free_at(dropped(servers, WEB, 20_000.0, 1.0), WEB, 20_000.0) == 20_020.0


def test_a_re_arm_that_comes_too_soon_is_late_and_not_lost() -> None:
    """At most one in 30 s, six in an hour; what has no back-off of its own gets a time all the same."""
    waiting = Retry(at=1000.0, kind="timed-out")
    first = rearmed(waiting, 100.0)
    assert first.at == 100.0
    assert rearmed(replace(first, at=1000.0), 110.0).at == 130.0
    times = tuple(float(t) for t in range(0, 360, 60))
    assert rearmed(Retry(at=450.0, rearmed=times), 400.0).at == 450.0
    assert rearmed(Retry(at=None, rearmed=times), 400.0).at == 700.0


def test_a_knock_that_fails_forgets_no_refusal() -> None:
    """A bare control of a host whose login was refused has a back-off of its own."""
    refused = Host("web", retry=Retry(at=None, kind="auth"), refused=(0.0,))
    failure = Failure(Problem("timed-out", "no answer"), "timed-out")
    after = with_failure(refused, Attempt(1, "control", 10.0, bare=True), failure, 20.0, 1.0)
    assert after.retry == refused.retry
    assert after.knock.at == 21.0


def test_new_credentials_never_bring_a_third_refusal_in_ten_minutes() -> None:
    """The second one was at 60: not before 600, when the first is forgotten."""
    host = Host("web", retry=Retry(at=None, kind="auth"), refused=(0.0, 60.0))
    assert with_new_credentials(host, 61.0).at == 600.0
    assert with_new_credentials(replace(host, refused=(0.0,)), 61.0).at == 61.0
