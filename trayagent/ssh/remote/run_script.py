"""Run one short sh script on the server through a living master, in a separate session that ends with the script."""

from __future__ import annotations

import asyncio
import os

from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, Timeout
from trayagent.ssh.remote.pipes import chunks
from trayagent.ssh.remote.quote_script import command_line

BEGIN, END = "TRAY-BEGIN", "TRAY-END"
DEADLINE_S = 10.0
_OUTPUT_MAX = 64 * 1024  # a short script prints less; a login that prints more has no usable shell
_EXIT_S = 2.0  # the exit status comes soon after the end of the output


async def run(
    control_path: str,
    script: str,
    *,
    stdin: int | None = None,
    want_agent: bool = False,
    timeout_s: float = DEADLINE_S,
) -> list[str] | None:
    """Return the lines that a POSIX sh script prints, or None if the server runs no script (a forced command).

    This works with every login shell, skips banners and the output of start-up files, and takes two round trips. The
    script reads from the descriptor `stdin`, or has no input. Its stderr and exit status are dropped, so let it echo
    its results. `want_agent` requests agent forwarding; this works only if the master was started with it.

    Raise Timeout (which shows nothing about the server), Gone, or Refused (MaxSessions is reached). None of them harms
    the master. A script that hangs continues on the server, and its output is lost.
    """
    whole = f"echo {BEGIN}\n(\n{script}\n)\necho; echo {END}"  # in parentheses `exit` ends only the script
    async with MuxClient.connected(control_path) as client:
        near, far = os.pipe()
        try:
            async with asyncio.timeout(timeout_s):
                await _begin(client, far, whole, stdin=stdin, want_agent=want_agent, timeout_s=timeout_s)
                output = await _output(near)
                if output is None or BEGIN in output:
                    return _between(output)
                if await client.wait_exit(timeout_s=_EXIT_S) is None:
                    raise Gone("the connection ended before the server's shell answered")
                return None
        except TimeoutError as error:
            raise Timeout("the server's shell did not answer in time") from error
        finally:
            os.close(near)


async def _begin(
    client: MuxClient, far: int, script: str, *, stdin: int | None, want_agent: bool, timeout_s: float
) -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        await client.new_session(
            command_line(script),
            fds=(null if stdin is None else stdin, far, null),
            want_agent=want_agent,
            timeout_s=timeout_s,
        )
    finally:  # the master has copies; the output never ends while this process holds one open
        os.close(far)
        os.close(null)


async def _output(fd: int) -> str | None:
    """Return the output up to the end marker, or the whole output without a marker.

    Return None if the output is too long.
    """
    seen = b""
    async for data in chunks(fd):
        seen += data
        if seen.endswith(f"\n{END}\n".encode()):
            break
        if len(seen) > _OUTPUT_MAX:
            return None
    return seen.decode(errors="replace")


def _between(output: str | None) -> list[str] | None:
    """Return the lines between the markers; the first marker may follow a banner on the same line.

    Raise Gone if the second marker is missing.
    """
    if output is None:
        return None
    inner = output.partition(f"{BEGIN}\n")[2]
    if not inner.endswith(f"\n{END}\n"):
        raise Gone("the connection ended before the server had finished")
    inner = inner.removesuffix(f"\n{END}\n").removesuffix("\n")
    return inner.split("\n") if inner else []
