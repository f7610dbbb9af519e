"""What can go wrong between a client and the agent; `exit_status` is what a command then ends with."""

from __future__ import annotations

from trayagent.errors import TrayagentError


class NoAgent(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """No agent is running (or it ended while we were talking)."""

    exit_status = 3

    def __init__(self, title: str = "No agent is running.", *, code: str = "no-agent") -> None:
        super().__init__(title, code=code, hint="Start it: trayagent run")


class AgentSilent(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """The agent runs and does not answer, or answers nonsense."""

    exit_status = 1


class Refused(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """The agent said no; carries its words. 1: it failed, 2: it was asked wrongly."""

    def __init__(self, title: str, *, code: str, hint: str = "", exit_status: int = 1) -> None:
        super().__init__(title, code=code, hint=hint)
        self.exit_status = exit_status


class BadRequest(Refused):
    """The request is wrong, whatever the agent's state: unknown host, operation, argument or version."""

    def __init__(self, title: str, *, code: str = "bad-request", hint: str = "") -> None:
        super().__init__(title, code=code, hint=hint, exit_status=2)


class AlreadyRunning(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """Another agent of this user holds the lock; `pid` is None where it could not be read."""

    exit_status = 1

    def __init__(self, pid: int | None) -> None:
        who = f"pid {pid}" if pid is not None else "its pid is not known"
        super().__init__(
            f"An agent is running already ({who}).",
            code="already-running",
            hint="See it: trayagent status. End it: trayagent stop",
        )
        self.pid = pid
