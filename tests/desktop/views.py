"""Small views in the format of `status --json`, and transcripts of the messages that the registry shows."""

from __future__ import annotations

import textwrap
from typing import Any

from trayagent.desktop.notifications import which_to_show as registry
from trayagent.desktop.notifications.which_to_show import Memory, Notify


def host(name: str, state: str = "connected", code: str = "", *, recoveries: int = 0, **more: Any) -> Any:
    """Return a host of the view. `code` is its problem's code, `title` and `hint` are its texts."""
    problem = {"code": code, "title": more.pop("title", code), "hint": more.pop("hint", "")} if code else None
    return {
        "name": name,
        "state": state,
        "problem": problem,
        "recoveries": recoveries,
        "forwards": more.pop("forwards", []),
        **more,
    }


def vpn(name: str, state: str, *hosts: str, hint: str = "") -> Any:
    """Return a VPN of the view."""
    problem = {"code": "vpn-needs-sign-in", "title": "expired", "hint": hint} if hint else None
    return {"name": name, "state": state, "hosts": list(hosts), "problem": problem}


def view(*subjects: Any, online: bool = True, paused: bool = False, rejected: str | None = None) -> Any:
    """Return a view of these hosts and VPNs. `rejected` is the error of a rejected configuration."""
    return {
        "agent": {"paused": paused, "config_error": rejected},
        "network": {"online": online},
        "vpns": [s for s in subjects if "hosts" in s],
        "hosts": [s for s in subjects if "hosts" not in s],
    }


class Desk:
    """A desktop to which views are played over time. `lines` are the messages that the user saw."""

    def __init__(self, notify: Notify = "problems") -> None:
        self.memory, self.now, self.notify, self.lines = Memory(), 0.0, notify, list[str]()
        self.view: Any = view()

    def sees(self, *subjects: Any, **around: Any) -> Desk:
        """Show a new view to the registry now."""
        self.view = view(*subjects, **around)
        self._step()
        return self

    def after(self, seconds: float) -> Desk:
        """Let time pass, and call the registry whenever a call is due."""
        end = self.now + seconds
        while (at := self._ask_at) is not None and at <= end:
            assert at > self.now, "it wants to be called again at once, forever"
            self.now = at
            self._step()
        self.now = end
        return self

    _ask_at: float | None = None

    def closes(self, key: str) -> Desk:
        """Let the user close a message."""
        self.memory = registry.closed(self.memory, key)
        return self

    def snoozes(self, key: str) -> Desk:
        """Let the user press Snooze."""
        self.memory = registry.snooze(self.memory, key, self.now)
        self._step()
        return self

    def _step(self) -> None:
        done = registry.step(self.memory, self.view, self.now, self.notify)
        self.memory, self._ask_at = done.memory, done.ask_at
        self.lines += [f"{self.now:g} - {key}" for key in done.withdraw]
        self.lines += [f"{self.now:g} + {m.key}: {m.title} | {m.text}".rstrip(" |") for m in done.show]

    def expect(self, transcript: str) -> None:
        """Compare the messages since the last call: "+" shown, "-" withdrawn."""
        seen, self.lines = self.lines, []
        assert "\n".join(seen) == textwrap.dedent(transcript).strip()
