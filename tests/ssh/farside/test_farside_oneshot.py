"""A short script on the far side, through a real master and a real sshd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ssh.conftest import Sshd, StartMaster
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, Refused, Timeout
from trayagent.ssh.remote import oneshot


def run(path: Path, script: str, timeout_s: float = 10.0) -> list[str] | None:
    """Run a script to its end."""
    return asyncio.run(oneshot.run(str(path), script, timeout_s=timeout_s))


async def alive(path: Path) -> int:
    """Ask the master for its pid."""
    client = await MuxClient.connect(str(path))
    try:
        return await client.alive()
    finally:
        client.close()


def test_its_lines_come_back(start_master: StartMaster) -> None:
    """Every line, empty ones and a last one without its end too; no output is no line."""
    path = start_master().path
    assert run(path, "echo one; echo; printf 'it'\\''s two'") == ["one", "", "it's two"]
    assert run(path, "echo lost >&2; exit 3") == []
    assert run(path, "echo a; echo") == ["a", ""]


def test_it_has_no_input(start_master: StartMaster) -> None:
    """A script that reads gets the end of a file, not somebody's bytes."""
    assert run(start_master().path, "read line || echo nothing") == ["nothing"]


@pytest.mark.parametrize(
    "forced", ["/bin/echo for forwards only", "/bin/false", "yes for forwards only", "internal-sftp"]
)
def test_a_forced_command_is_no_shell(sshd: Sshd, start_master: StartMaster, forced: str) -> None:
    """None, whether it ends or prints without end; the master is as it was."""
    sshd.restart(f"ForceCommand {forced}")
    master = start_master()
    assert run(master.path, "echo x") is None
    assert asyncio.run(alive(master.path)) == master.process.pid


def test_a_far_side_that_says_nothing_costs_its_deadline_and_not_the_master(
    sshd: Sshd, start_master: StartMaster
) -> None:
    """Timeout after the deadline; the master answers, and runs the next session."""
    sshd.restart("ForceCommand sleep 3")
    master = start_master()
    with pytest.raises(Timeout):
        run(master.path, "echo x", timeout_s=0.5)
    assert asyncio.run(alive(master.path)) == master.process.pid


def test_no_room_for_a_session_is_said(sshd: Sshd, start_master: StartMaster) -> None:
    """MaxSessions 0 refuses every session: an answer, not a silence."""
    sshd.restart("MaxSessions 0")
    with pytest.raises(Refused):
        run(start_master().path, "echo x")


def test_a_connection_that_ends_meanwhile_is_no_whole_answer(start_master: StartMaster) -> None:
    """Half of the output is not returned as if it were all."""
    master = start_master()

    async def cut() -> None:
        there = master.path.with_name("there")
        slow = f"echo half; touch {there}; while [ -e {there} ]; do sleep 0.1; done"
        script = asyncio.create_task(oneshot.run(str(master.path), slow))
        while not there.exists():  # noqa: ASYNC110  # a file of another process has no event here
            await asyncio.sleep(0.01)
        master.process.kill()
        with pytest.raises(Gone):
            await script
        there.unlink()

    asyncio.run(cut())
