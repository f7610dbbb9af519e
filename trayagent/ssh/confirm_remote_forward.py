"""Requests a remote forward in such a way that only the server can confirm it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from trayagent.core.facts.forwards import Forward
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.errors import Timeout
from trayagent.ssh.request_forward import cancel, request

_LINE_SHARE = 0.5  # the shortest round trip so far may have been on a slower line than the present one


async def open_remote(
    control_path: str, forward: Forward, cleared: Callable[[], Awaitable[None]] | None, rtt_s: float | None
) -> int | TrayagentError | None:
    """Request a remote forward that this master has not confirmed yet.

    A master confirms a forward at once if any client requested it before, even if the server refused it or never
    answered. So cancel the earlier request first; the master does that locally and notifies the server. A confirmation
    that comes faster than the line allows proves nothing.
    """
    if cleared is not None:
        await cleared()
    await cancel(control_path, forward)
    begin = time.monotonic()
    answer = await request(control_path, forward)
    fast = rtt_s is not None and time.monotonic() - begin < rtt_s * _LINE_SHARE
    if fast and not isinstance(answer, TrayagentError):
        return TrayagentError("the ssh master confirmed before the server could answer")
    if isinstance(
        answer, Timeout
    ):  # the master waits for the server's answer, and some servers never answer (tinysshd)
        where = f"port {forward.listen.port}" if forward.listen.path is None else forward.listen.path
        return Timeout(
            f"the server did not answer the request for {where}. Perhaps it has no remote forwards"
        )
    return answer
