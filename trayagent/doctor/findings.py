"""What a check finds: what is so, why it matters, and what mends it; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "advice", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    A "problem" stops something from working, "advice" would make it better or safer, "ok" is as it should
    be. `remedy` says what to do, and `lines` are commands to type or lines of a file, word for word.
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
    """Return that something is as it should be; `why` is what is worth knowing all the same."""
    return Finding("ok", code, title, why, host=host)


def advice(
    code: str, title: str, why: str, remedy: str = "", *lines: str, host: str | None = None
) -> Finding:
    """Return something that would better be otherwise."""
    return Finding("advice", code, title, why, remedy, lines, host)


def problem(
    code: str, title: str, why: str, remedy: str = "", *lines: str, host: str | None = None
) -> Finding:
    """Return something that stops trayagent, or a part of it, from working."""
    return Finding("problem", code, title, why, remedy, lines, host)
