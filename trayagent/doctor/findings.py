"""The result of a check: what was found, why it matters and how to fix it; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "advice", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    The levels: "problem" means that something does not work, "advice" that something could be better or safer, "ok"
    that everything is as it should be. `remedy` says what to do. `lines` are commands to type or lines for a file,
    verbatim.
    """

    level: Level
    code: str
    title: str
    why: str = ""
    remedy: str = ""
    lines: tuple[str, ...] = ()
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found, under its topic."""

    topic: str
    findings: tuple[Finding, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """Return the objects that `doctor --json` lists."""
        return [
            {
                "topic": self.topic,
                "level": finding.level,
                "code": finding.code,
                "host": finding.host,
                "title": finding.title,
                "why": finding.why,
                "remedy": finding.remedy,
                "lines": list(finding.lines),
            }
            for finding in self.findings
        ]


def ok(title: str, why: str = "", *, host: str | None = None, code: str = "ok") -> Finding:
    """Return a finding that reports no problem; `why` may add a note."""
    return Finding("ok", code, title, why, host=host)


def advice(
    code: str, title: str, why: str, remedy: str = "", *lines: str, host: str | None = None
) -> Finding:
    """Return a finding about something that works but should be changed."""
    return Finding("advice", code, title, why, remedy, lines, host)


def problem(
    code: str, title: str, why: str, remedy: str = "", *lines: str, host: str | None = None
) -> Finding:
    """Return a finding about something that stops trayagent, or a part of it, from working."""
    return Finding("problem", code, title, why, remedy, lines, host)
