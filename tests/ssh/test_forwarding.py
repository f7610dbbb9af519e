"""Forwards through a real master: a forward is open only after the server confirmed it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Timeout
from trayagent.ssh.open_forwards import ensure
from trayagent.ssh.request_forward import to_mux

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, StartMaster

REMOTE = parse("remote", "0:127.0.0.1:9")
ANOTHER = parse("remote", "0:127.0.0.1:7")
SOON_S = 0.5
DEADLINE_S = 20.0


def test_an_unconfirmed_forward_is_requested_again(sshd: Sshd, start_master: StartMaster) -> None:
    """A requested but unconfirmed forward is requested again, although the master reports it as open."""
    path = str(start_master().path)
    asyncio.run(ensure(path, 0, [ANOTHER], []))  # now the server's last login process has started
    stopped = sshd.pids()

    async def run() -> tuple[ForwardState, ...]:
        client = await MuxClient.connect(path)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(Timeout):
                await client.open_forward(to_mux(REMOTE), timeout_s=SOON_S)
            client.close()
            told: list[tuple[ForwardState, ...]] = []
            asking = asyncio.create_task(ensure(path, 0, [REMOTE], [], progress=told.append))
            await asyncio.wait({asking}, timeout=SOON_S)
            assert not asking.done()
            assert not told
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        return await asyncio.wait_for(asking, DEADLINE_S)

    (result,) = asyncio.run(run())
    assert result.state == "open"
    assert result.listen != "localhost:0"


def test_a_confirmed_forward_is_not_canceled(start_master: StartMaster) -> None:
    """A second call does not close a confirmed forward, because its port may be in use."""
    path = str(start_master().path)
    (first,) = asyncio.run(ensure(path, 0, [REMOTE], []))
    (second,) = asyncio.run(ensure(path, 0, [REMOTE], [REMOTE]))
    assert (first.state, second) == ("open", first)
