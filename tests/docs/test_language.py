"""Texts for users are plain English: they contain no word that the glossary replaced."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_documents import TEXTS

ROOT = Path(__file__).parents[2]

# Each retired word or phrase, and what to write instead. docs/glossary.md lists the current words.
RETIRED = {
    r"anew": "again",
    r"for ever": "forever",
    r"by itself": "automatically, on its own",
    r"besides": "in addition, also",
    r"mend(s|ed|ing)?": "fix",
    r"(is|are|was|were|be|being) (told|asked|said|looked after|looked at)": "name who does it: reports, probes, checks",
    r"(comes?|came) to nothing": "fail",
    r"nobody": "no one, or say who",
    r"of (ours|theirs)": "our, their, or the owner's name",
    r"far (side|end)": "server, remote",
    r"strangers?": "unnamed master",
    r"knock(s|ed|ing)?": "banner check",
    r"passed over": "skipped",
    r"goes past the master": "bypasses the master",
    r"wanted beforehand": "requirements",
    r"whole by itself": "self-contained",
    r"stands? in (the|its|your)": "is in, is listed in",
    r"no way (to|there)": "no route, unreachable",
    r"look(s|ed|ing)? after": "keep, manage",
    r"keeps? (its )?hands off": "pause",
    r"let(s)? nobody": "reject",
}
PATTERN = re.compile(r"\b(" + "|".join(f"(?:{word})" for word in RETIRED) + r")\b", re.IGNORECASE)

# The packages whose words users read: the command line, the terminal, the desktop, init, doctor, and problems.
SPEAKING = (
    "cli",
    "attach",
    "desktop",
    "doctor",
    "init",
    "presentation",
    "config",
    "agent",
    "core",
    "ssh",
    "net",
    "roaming",
)


def retired(text: str) -> list[str]:
    """Return the retired words in a text."""
    prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return [found[0] for found in PATTERN.finditer(prose)]


def shown(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module that users may see: those with a space, except docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docs:
            continue
        if re.search(r"\w \w", node.value):
            yield node.lineno, node.value


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_page_uses_the_words_of_the_glossary(name: str) -> None:
    """No page contains a retired word."""
    assert not retired(TEXTS[name])


@pytest.mark.parametrize("room", SPEAKING)
def test_messages_use_the_words_of_the_glossary(room: str) -> None:
    """No string of a package contains a retired word, even if only the log shows it."""
    found = {
        f"{path.relative_to(ROOT)}:{line}": words
        for path in sorted((ROOT / "trayagent" / room).rglob("*.py"))
        for line, text in shown(path)
        if (words := retired(text))
    }
    assert not found


def test_the_list_finds_what_it_should() -> None:
    """The pattern finds retired words, and ignores code."""
    assert retired("It is told anew what mends it") == ["is told", "anew", "mends"]
    assert not retired("The agent reports again how to fix it; `anew` is code")
