"""Our own sessions on a server: only those whose connection is proven dead may be ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trayagent.core.facts.remote_sessions import (
    KeptSession,
    Machine,
    Reaped,
    RemoteSession,
    still_refused,
)
from trayagent.core.policy.may_end_remote_session import may_end

HERE = Machine("laptop", "boot-2")
WAY = ("192.168.10.2", 40000, "203.0.113.10", 22)
DEAD = KeptSession(RemoteSession(77, "far-boot/[4]/123"), 4242, 99, True, HERE, WAY)


def test_a_session_whose_master_is_gone_may_be_ended() -> None:
    """A session without its master process and TCP connection is proven dead, even if the server refused no port."""
    assert may_end(DEAD, HERE, runs=False, established=(), refused=False)
    assert may_end(DEAD, HERE, runs=False, established=(), refused=True)


@given(refused=st.booleans(), ours=st.booleans(), way=st.sampled_from([WAY, None]))
def test_a_session_whose_master_lives_is_never_ended(
    refused: bool, ours: bool, way: tuple[str, int, str, int] | None
) -> None:
    """A session whose master lives is never ended, whatever else is known."""
    kept = replace(DEAD, ours=ours, connection=way)
    assert not may_end(kept, HERE, runs=True, established=(), refused=refused)


def test_a_connection_that_went_to_another_process_is_alive() -> None:
    """A session whose connection still exists is alive, even if its master's pid is gone (ControlPersist forks)."""
    assert not may_end(DEAD, HERE, runs=False, established={WAY}, refused=True)
    other = (*WAY[:1], 40001, *WAY[2:])
    assert may_end(DEAD, HERE, runs=False, established={other}, refused=True)


def test_without_a_known_connection_only_our_own_master_is_proof() -> None:
    """If the connection is unknown (a proxy), only the end of our own master is a proof.

    The user's master may have forked.
    """
    unknown = replace(DEAD, connection=None)
    assert may_end(unknown, HERE, runs=False, established=(), refused=True)
    assert not may_end(replace(unknown, ours=False), HERE, runs=False, established=(), refused=True)


def test_a_session_of_an_earlier_boot_is_ended_only_when_the_server_holds_something() -> None:
    """After a reboot, a session is ended only if it holds a port, because it may belong to a copy of this machine."""
    before = replace(DEAD, machine=Machine("laptop", "boot-1"))
    assert may_end(before, HERE, runs=False, established=(), refused=True)
    assert not may_end(before, HERE, runs=False, established=(), refused=False)


@pytest.mark.parametrize(
    ("kept", "here"),
    [
        (Machine("other", "boot-2"), HERE),
        (Machine("other", "boot-1"), HERE),
        (Machine("laptop", ""), HERE),
        (Machine("", "boot-1"), Machine("", "boot-2")),
        (Machine("laptop", "boot-1"), Machine("laptop", "")),
    ],
    ids=["other machine", "other machine and boot", "unknown boot then", "no machine id", "unknown boot now"],
)
def test_a_session_that_another_machine_may_own_is_left_alone(kept: Machine, here: Machine) -> None:
    """A session that another machine may own is left alone, because the state directory may be on a shared disk."""
    assert not may_end(replace(DEAD, machine=kept), here, runs=False, established=(), refused=True)


def test_a_server_is_named_by_its_boot_and_its_namespace_of_pids() -> None:
    """A server is identified by its boot and pid namespace. The start time belongs to the process."""
    assert DEAD.session.server == "far-boot/[4]"


def test_each_message_names_the_port_and_what_to_do() -> None:
    """Each reason has its own message, which names the port and explains what to do or wait for."""
    said = {still_refused("port 22221", Reaped(unavailable=why)) for why in ("off", "no-shell", "no-answer")}
    said |= {still_refused("port 22221", None), still_refused("port 22221", Reaped(ended=1))}
    assert len(said) == 5
    assert all("port 22221" in words for words in said)
    assert any("reap = true" in words for words in said)
    assert any("ClientAliveInterval" in words for words in said)
