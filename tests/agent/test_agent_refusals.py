from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from trayagent.agent.masters.explain_failure import locked
from trayagent.agent.masters.leftovers_of_dead_agent import Leftovers
from trayagent.agent.state import refusal_records
from trayagent.agent.state.host_records import remembered
from trayagent.agent.state.record_types import KeptHost, KeptRefusal
from trayagent.agent.state.records import Begun, Records
from trayagent.config.file_paths import find
from trayagent.core.facts.attempt import Retry
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host, LoginHistory
from trayagent.core.facts.network import Network
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import REFUSED_WINDOW_S

DENIED = Failure(Problem("auth-denied", "web01 refuses the login", "Log in"), "auth", positive=True)


@pytest.mark.parametrize(("key", "word"), [("/k/id", "/k/id"), ("/My Keys/id", "'/My Keys/id'")])
def test_the_command_that_unlocks_a_key_can_be_pasted(key: str, word: str) -> None:
    """The path in the command is quoted only if a shell would split it."""
    hint = locked(Path(key), "web01", positive=True).problem.hint
    assert hint == f"ssh-add {word}, then: trayagent reconnect web01. Or: trayagent login web01"


def test_a_refusal_survives_as_it_stands(tmp_path: Path) -> None:
    """The kind and problem of a refusal, its time, its host key and the next retry survive a restart."""
    now = time.monotonic()
    host = Host(
        "web01",
        retry=Retry(now + 100, "auth"),
        problem=DENIED.problem,
        login=LoginHistory(
            refused=(now - 20, now - 5),
            refusing_key="ssh-ed25519 SHA256:abc",
            refused_elsewhere=((now - 30, "ssh-ed25519 SHA256:xyz"), (now - 900, "ssh-ed25519 SHA256:old")),
        ),
    )
    Records(tmp_path / "r.json").remember(host, now)
    event = remembered("web01", Records(tmp_path / "r.json").hosts()["web01"], now)
    assert event.refusal is not None
    assert (event.refusal.proven, event.refusal.network) == (True, None)
    assert event.refused_ago_s == pytest.approx((20, 5), abs=1)
    assert event.refusing_key == "ssh-ed25519 SHA256:abc"
    ((ago_s, key),) = event.refused_elsewhere
    assert (round(ago_s), key) == (30, "ssh-ed25519 SHA256:xyz")
    assert event.refusal is not None
    assert (event.refusal.kind, event.refusal.problem) == ("auth", DENIED.problem)
    assert event.refusal.retry_in_s == pytest.approx(100, abs=1)


def test_a_clock_that_is_set_back_lets_each_refusal_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the clock is set back between two agents, no refusal counts as older than the last login that worked.

    The wait after a refusal does not grow by the hours, either.
    """
    now = time.monotonic()
    login = LoginHistory(refused=(now - 20, now - 5), worked_at=now - 60)
    host = Host("web01", retry=Retry(now + 100, "auth"), problem=DENIED.problem, login=login)
    Records(tmp_path / "r.json").remember(host, now)
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall - 7200)
    event = remembered("web01", Records(tmp_path / "r.json").hosts()["web01"], now)
    assert event.login_worked_ago_s is not None
    assert len(event.refused_ago_s) == 2
    assert all(ago_s < event.login_worked_ago_s for ago_s in event.refused_ago_s)
    assert event.refusal is not None
    assert event.refusal.retry_in_s is not None
    assert event.refusal.retry_in_s <= REFUSED_WINDOW_S


def test_a_refusal_by_a_jump_host_survives_as_such(tmp_path: Path) -> None:
    """The next agent counts a jump host's refusal, even if the earlier agent ended before it read the refusal."""
    now = time.monotonic()
    retry = Retry(None, "auth", by_jump=True)
    host = Host(
        "web01",
        retry=retry,
        problem=DENIED.problem,
        login=LoginHistory(refused=(now - 20, now - 5), refused_by_jump=(now - 5,)),
    )
    records = Records(tmp_path / "r.json")
    records.remember(host, now)
    records.refused_unseen("db", replace(DENIED, by_jump=True), time.time() - 5)
    for name in ("web01", "db"):
        event = remembered(name, Records(tmp_path / "r.json").hosts()[name], now)
        assert event.refused_by_jump_ago_s == event.refused_ago_s[-1:]
        assert event.refusal is not None
        assert event.refusal.by_jump


def test_an_unproven_refusal_survives_with_its_network(tmp_path: Path) -> None:
    """The next agent knows that a refusal is unproven, and on which network it came."""
    now = time.monotonic()
    cafe = Network("wlan0", "cc:01", "café")
    retry = Retry(None, "auth", by_jump=True, proven=False, network=cafe, source="10.20.0.7")
    Records(tmp_path / "r.json").remember(Host("web01", retry=retry, problem=DENIED.problem), now)
    refusal = remembered("web01", Records(tmp_path / "r.json").hosts()["web01"], now).refusal
    assert refusal is not None
    assert (refusal.proven, refusal.network, refusal.source) == (False, cafe, "10.20.0.7")


KEY_EXCHANGE = (
    "debug1: sshconnect.c:verify_host_key():1477 (pid=9): Server host key: ssh-ed25519 SHA256:abc\n"
    "debug1: kex.c:kex_input_newkeys():612 (pid=9): SSH2_MSG_NEWKEYS received\n"
)


@pytest.mark.parametrize(
    ("text", "trusted", "counted"),
    [
        (KEY_EXCHANGE, False, 1),
        (KEY_EXCHANGE, True, 0),
        (KEY_EXCHANGE + 'Authenticated to web01 ([203.0.113.10]:22) using "publickey".\n', False, 0),
        ("", False, 0),
    ],
)
def test_a_login_counts_as_refused_if_its_agent_died_after_the_key_exchange(
    tmp_path: Path, text: str, trusted: bool, counted: int
) -> None:
    """Such a login may have been refused, unless the same login had just succeeded. It does not stop the host."""
    records, log = Records(tmp_path / "r.json"), tmp_path / "attempt-1.log"
    log.write_text(text)
    records.begin_attempt(str(tmp_path / "cm.n"), Begun("web01", str(tmp_path / "cm"), str(log), trusted))
    asyncio.run(
        Leftovers(find(env={"TRAYAGENT_RUNTIME_DIR": str(tmp_path)}), Records(tmp_path / "r.json")).clear()
    )
    kept = Records(tmp_path / "r.json").hosts().get("web01", KeptHost())
    assert (len(kept.refused), kept.refusal) == (counted, None)


def test_a_refusal_that_its_agent_did_not_live_to_see_counts(tmp_path: Path) -> None:
    """The next agent reads the logs of earlier attempts before it starts any login, so an unread refusal counts."""
    records, log = Records(tmp_path / "r.json"), tmp_path / "attempt-1.log"
    log.write_text(KEY_EXCHANGE + "me@203.0.113.10: Permission denied (publickey).\n")
    records.begin_attempt(str(tmp_path / "cm.n"), Begun("web01", str(tmp_path / "cm"), str(log)))
    file_paths = find(env={"TRAYAGENT_RUNTIME_DIR": str(tmp_path)})
    asyncio.run(Leftovers(file_paths, records).clear())
    event = remembered("web01", Records(tmp_path / "r.json").hosts()["web01"], time.monotonic())
    assert len(event.refused_ago_s) == 1
    assert event.refusing_key == "ssh-ed25519 SHA256:abc"
    assert event.refusal is not None
    assert event.refusal.retry_in_s is None


def test_only_a_change_makes_a_refusal_outdated(tmp_path: Path) -> None:
    """Another ssh-agent or a newer file makes a refusal outdated; a missing file does not."""
    key = tmp_path / "key"
    known = KeptHost()
    refusal_records.add(known, DENIED, time.time() - 60, "sock 1 1")
    assert not refusal_records.outdated(known, "sock 1 1", [key])
    assert refusal_records.outdated(known, "sock 2 2", [])
    key.touch()
    assert refusal_records.outdated(known, "sock 1 1", [key])
    assert not refusal_records.outdated(KeptHost(), "", [key])


def test_an_unknown_code_blocks_no_host() -> None:
    """A record with an unknown code, from another version, does not block the host."""
    assert refusal_records.refusal(KeptHost(refusal=KeptRefusal("auth", "?")), time.time()) is None


def test_a_locked_key_is_tried_again() -> None:
    """The next agent tries a locked key again, because no server refused it.

    The attempt still counts for ten minutes.
    """
    found = KeptHost()
    refusal_records.add(found, Failure(Problem("passphrase-needed", "locked"), "passphrase"), 1.0, "")
    assert (found.refused, found.refusal) == ([1.0], None)
