"""Follow the agent's reports about one host over one connection, until the user leaves."""

from __future__ import annotations

import contextlib
import os
import time

from trayagent.attach import status_line
from trayagent.config import runtime_directory as folders
from trayagent.errors import TrayagentError
from trayagent.ipc.errors import AgentSilent, NoAgent, Refused
from trayagent.ipc.nonblocking_client import Heard

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    from trayagent.attach.status_line import View

_AGAIN_S, _AGAIN_OFTEN_S, _AGAIN_MOST_S = 0.5, 1.0, 60.0
"""The first interval between attempts to reach an agent, then the longest one with and without a waiting user. Retries
are needed because no event reports a new IPC socket. An agent restarts in a second."""


class Link:
    """Follows the agent's view. After the agent ended, tries to reach the next one at growing intervals.

    `view` is the newest view, None while no agent runs. `interface` is the network interface over which the
    host was last connected.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._heard: Heard | None = None
        self._requests: dict[str, Heard] = {}
        self._again_at = 0.0
        self._again_s = _AGAIN_S
        self._often = False
        self.view: View | None = None
        self.interface: str | None = None

    @property
    def host(self) -> View | None:
        """The host's entry in the newest view, None if there is none."""
        return status_line.of(self.view, self._host) if self.view is not None else None

    @property
    def sources(self) -> list[Heard]:
        """The objects to pass to select(2)."""
        return [*([self._heard] if self._heard is not None else []), *self._requests.values()]

    @property
    def again_in_s(self) -> float | None:
        """Seconds until the next attempt to reach the agent, None while connected to the agent."""
        return None if self._heard is not None else max(self._again_at - time.monotonic(), 0.0)

    def reconnect_often(self, often: bool) -> None:
        """Set whether to reconnect more often to a missing agent, because a user waits for it."""
        if often and not self._often:
            self._again_at = min(self._again_at, time.monotonic() + _AGAIN_OFTEN_S)
        self._often = often

    def follow(self) -> None:
        """Read the agent's reports; raises Refused (for example unknown-host)."""
        self._hear_answers()
        try:
            if self._heard is None and time.monotonic() >= self._again_at:
                self._heard = Heard(_path(), "watch", {"hosts": [self._host]})
            if self._heard is not None:
                for view in self._heard.take():
                    self._received(view)
        except Refused:
            self._try_later()
            raise
        except (NoAgent, AgentSilent):
            self._try_later()
            self.view = None

    def request(self, op: str, args: dict[str, Any]) -> None:
        """Send a request, unless the same request is in progress. Its effect will appear in the view."""
        if op not in self._requests:
            with contextlib.suppress(TrayagentError):  # the next follow() gets the same error
                self._requests[op] = Heard(_path(), op, args)

    def request_probe(self) -> None:
        """Make the agent probe the master. It does so at each new `watch` request, so reconnect."""
        self.close()
        self._again_at = 0.0

    def close(self) -> None:
        """Close the connection; `follow` connects again."""
        for heard in self.sources:
            heard.close()
        self._requests.clear()
        self._heard = None

    def _try_later(self) -> None:
        self.close()
        self._again_at = time.monotonic() + self._again_s
        self._again_s = min(self._again_s * 2, _AGAIN_OFTEN_S if self._often else _AGAIN_MOST_S)

    def _hear_answers(self) -> None:
        for op, heard in list(self._requests.items()):
            try:
                if not heard.take():
                    continue
            except TrayagentError:  # the view shows the result
                pass
            heard.close()
            del self._requests[op]

    def _received(self, view: View) -> None:
        self.view = view
        self._again_s = _AGAIN_S
        seen = self.host
        if seen is not None and seen["interface"]:
            self.interface = seen["interface"]
        elif self.interface is None:
            default, interfaces = view["network"]["default"], view["network"]["interfaces"]
            physical = [i["name"] for i in interfaces if i["kind"] == "physical"]
            if default is not None or len(physical) == 1:
                self.interface = default["interface"] if default is not None else physical[0]


def _path() -> str:
    return folders.ipc_socket(os.environ)
