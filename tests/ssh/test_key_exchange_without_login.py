"""A bare control that ends at the server's banner, with the real ssh and a server that sends only a few words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

import pytest

from trayagent.ssh.master.key_exchange_without_login import Answer, Server, bare_command, exchange_keys

DEADLINE_S = 20.0


async def controlled(words: bytes, log: Path) -> tuple[Answer, bytes]:
    """Return the answer of a control at a server that says these words, and what ssh sent to the server."""
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        if not words.startswith(b"SSH-"):
            writer.write_eof()
        with contextlib.suppress(ConnectionError):
            received.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        command = bare_command(
            Server("127.0.0.1", port, None, ()),
            log,
            connect_timeout_s=round(DEADLINE_S),
            ssh=shutil.which("ssh") or "ssh",
            config=os.devnull,
            banner=True,
        )
        answer = await exchange_keys(
            command, log, os.environ, deadline_s=DEADLINE_S, established=lambda: None, banner=True
        )
        return answer, await received


@pytest.mark.parametrize(
    ("words", "answered"), [(b"SSH-2.0-server\r\n", True), (b"HTTP/1.1 400 Bad Request\r\n\r\n", False)]
)
def test_a_control_ends_at_the_banner(words: bytes, answered: bool, tmp_path: Path) -> None:
    """Ssh ends at the banner of an SSH server, and proves no key. Another server gives no answer."""
    log = tmp_path / "log"
    answer, received = asyncio.run(controlled(words, log))
    assert (answer.answered, answer.host_key, answer.certified) == (answered, None, False)
    assert received.startswith(b"SSH-2.0-")
    assert not log.exists()
