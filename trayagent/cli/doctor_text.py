"""Render the doctor's findings as text: problems first, then one line for each passed check. No I/O."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, ngettext

Signs = Mapping[str, str]
Finding = dict[str, Any]

SIGNS = {"problem": "failed", "advice": "needs-sign-in", "ok": "well"}
"""For each kind of finding, the state whose sign it gets."""
STYLES = {"problem": "bold red", "advice": "bold yellow", "ok": "green"}
NARROWEST = 40


def lines(findings: list[Finding], width: int, signs: Signs) -> list[Text]:
    """Return the whole report, for a terminal with this many columns."""
    width = max(width, NARROWEST)
    findings = [
        {**one, **{key: agent_text(one[key]) for key in ("title", "why", "remedy")}} for one in findings
    ]
    shown = [_headline(findings, signs)]
    for level in ("problem", "advice"):
        for alike in _alike([finding for finding in findings if finding["level"] == level]):
            shown.append(Text())
            shown += _ailing(alike, width, signs)
    well = [finding for finding in findings if finding["level"] == "ok"]
    if well:
        shown.append(Text())
        column = max(len(_(finding["topic"])) for finding in well) + 2
        for finding in well:
            shown += _well(finding, column, width, signs)
    return shown


def _headline(findings: list[Finding], signs: Signs) -> Text:
    levels = [finding["level"] for finding in findings]
    problems, advice = levels.count("problem"), levels.count("advice")
    wrong = ngettext("{count} problem", "{count} problems", problems).format(count=problems)
    advised = ngettext("{count} piece of advice", "{count} pieces of advice", advice).format(count=advice)
    parts = [
        wrong if problems else _("No problem"),
        *([advised] if advice else []),
        _("{count} fine").format(count=levels.count("ok")),
    ]
    return Text(f" {signs['separator']} ".join(parts), style="bold")


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """Group the findings that share reason and remedy, such as many unknown host keys."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding["code"], finding["why"], finding["remedy"]), []).append(finding)
    return list(groups.values())


def _ailing(alike: list[Finding], width: int, signs: Signs) -> Iterator[Text]:
    """Yield the finding, why it matters, and what to do. Never break a line that the user has to type."""
    level, why, remedy = (alike[0][key] for key in ("level", "why", "remedy"))
    sign, style = signs[SIGNS[level]], STYLES[level]
    for finding in alike:
        for number, line in enumerate(_wrapped(finding["title"], width - 2)):
            yield Text().append(f"{sign} " if number == 0 else "  ", style=style).append(line, style="bold")
    for line in _wrapped(why, width - 4):
        yield Text(f"    {line}", style="dim")
    for line in _wrapped(remedy, width - 4):
        yield Text(f"    {line}")
    for lines in dict.fromkeys(tuple(finding["lines"]) for finding in alike):
        yield from (Text(f"        {clean(line)}", style="cyan") for line in lines)


def _well(finding: Finding, column: int, width: int, signs: Signs) -> Iterator[Text]:
    """Yield one line for a passed check, and its remark beneath."""
    for number, line in enumerate(_wrapped(finding["title"], width - column - 2)):
        head = Text().append(f"{signs['well']} " if number == 0 else "  ", style=STYLES["ok"])
        yield head.append((clean(_(finding["topic"])) if number == 0 else "").ljust(column)).append(line)
    for line in _wrapped(finding["why"], width - column - 2):
        yield Text(f"{' ' * (column + 2)}{line}", style="dim")


def _wrapped(text: str, width: int) -> list[str]:
    """Break prose between words; a path longer than the line stays in one piece, so that it can be copied."""
    return textwrap.wrap(clean(text), width, break_long_words=False, break_on_hyphens=False)
