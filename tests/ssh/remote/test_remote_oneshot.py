"""A short script on the server, through a real master and a real sshd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ssh.conftest import Sshd, StartMaster
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, Refused, Timeout
from trayagent.ssh.remote import run_script


def run(path: Path, script: str, timeout_s: float = 10.0) -> list[str] | None:
    """Run a script to its end."""
    return asyncio.run(run_script.run(str(path), script, timeout_s=timeout_s))


async def alive(path: Path) -> int:
    """Return the pid that the master reports."""
    async with MuxClient.connected(str(path)) as client:
        return await client.alive()


def test_a_script_returns_its_lines(start_master: StartMaster) -> None:
    """`run` returns every line, also empty lines and a last line without a newline.

    Without output it returns no lines.
    """
    path = start_master().path
    assert run(path, "echo one; echo; printf 'it'\\''s two'") == ["one", "", "it's two"]
    assert run(path, "echo lost >&2; exit 3") == []
    assert run(path, "echo a; echo") == ["a", ""]


def test_a_script_has_no_input(start_master: StartMaster) -> None:
    """A script that reads its input gets the end of file."""
    assert run(start_master().path, "read line || echo nothing") == ["nothing"]


@pytest.mark.parametrize(
    "forced", ["/bin/echo for forwards only", "/bin/false", "yes for forwards only", "internal-sftp"]
)
def test_a_forced_command_is_no_shell(sshd: Sshd, start_master: StartMaster, forced: str) -> None:
    """For a forced command `run` returns None, even if it prints endlessly, and the master survives."""
    sshd.restart(f"ForceCommand {forced}")
    master = start_master()
    assert run(master.path, "echo x") is None
    assert asyncio.run(alive(master.path)) == master.process.pid


def test_a_silent_server_costs_the_deadline_and_not_the_master(sshd: Sshd, start_master: StartMaster) -> None:
    """If the server prints nothing, `run` raises Timeout after the deadline, and the master still answers."""
    sshd.restart("ForceCommand sleep 3")
    master = start_master()
    with pytest.raises(Timeout):
        run(master.path, "echo x", timeout_s=0.5)
    assert asyncio.run(alive(master.path)) == master.process.pid


def test_a_refused_session_is_reported(sshd: Sshd, start_master: StartMaster) -> None:
    """With MaxSessions 0 the server refuses the session, and `run` raises Refused."""
    sshd.restart("MaxSessions 0")
    with pytest.raises(Refused):
        run(start_master().path, "echo x")


def test_a_connection_that_ends_gives_no_partial_output(start_master: StartMaster) -> None:
    """If the connection ends during the script, `run` raises Gone and returns no partial output."""
    master = start_master()

    async def cut() -> None:
        there = master.path.with_name("there")
        slow = f"echo half; touch {there}; while [ -e {there} ]; do sleep 0.1; done"
        script = asyncio.create_task(run_script.run(str(master.path), slow))
        while not there.exists():  # noqa: ASYNC110  # no event reports a file of another process
            await asyncio.sleep(0.01)
        master.process.kill()
        with pytest.raises(Gone):
            await script
        there.unlink()

    asyncio.run(cut())
