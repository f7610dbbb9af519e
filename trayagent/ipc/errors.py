"""The errors between a client and the agent."""

from __future__ import annotations

from trayagent.errors import TrayagentError
from trayagent.exit_statuses import ALREADY_RUNNING, FAILED, NO_AGENT, WRONG_USAGE


class NoAgent(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """No agent is running, or it ended during the request. `start` is the command that starts one."""

    exit_status = NO_AGENT

    def __init__(
        self, title: str = "No agent is running.", *, code: str = "no-agent", start: str = "trayagent run"
    ) -> None:
        super().__init__(title, code=code, hint=f"Start it: {start}")


class AgentSilent(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """The agent runs but does not answer, or its answer is invalid."""


class Refused(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """The agent refused the request, with this text. `exit_status`: FAILED, or WRONG_USAGE if the request was wrong."""

    def __init__(self, title: str, *, code: str, hint: str = "", exit_status: int = FAILED) -> None:
        super().__init__(title, code=code, hint=hint)
        self.exit_status = exit_status


class BadRequest(Refused):
    """The request itself is wrong: unknown host, operation, argument or version."""

    def __init__(self, title: str, *, code: str = "bad-request", hint: str = "") -> None:
        super().__init__(title, code=code, hint=hint, exit_status=WRONG_USAGE)


class AlreadyRunning(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """Another agent of this user holds the lock. `pid` is that agent's, None if the lock file does not show it."""

    exit_status = ALREADY_RUNNING

    def __init__(self, pid: int | None) -> None:
        who = f"pid {pid}" if pid is not None else "its pid is not known"
        super().__init__(
            f"An agent is running already ({who}).",
            code="already-running",
            hint="See it: trayagent status. End it: trayagent stop",
        )
        self.pid = pid
