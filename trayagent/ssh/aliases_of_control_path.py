"""Find the aliases that could own a control path, from the text of ssh_config alone.

Only `ssh -G` can decide. This module rules out the aliases for which `ssh -G` need not run. Where the text leaves the
answer open, an alias counts as possible. This is so for a Match with more than a name, for tokens and variables, and
for a block in another file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from trayagent.ssh import ssh_config_text

_TOKEN = re.compile(r"%(.)|\$\{[^}]*\}")
_PATTERNS = {"%": "%", "C": "[0-9a-f]+", "p": r"\d+", "i": r"\d+"}


def may_own(roots: Iterable[Path], alias: str, control_path: str) -> bool:
    """Report whether a ControlPath that may apply to `alias` could expand to `control_path`.

    `roots` are the files of ssh_config.
    """
    values = (value for root in roots for value in _values(root, alias))
    return any(_fits(value, alias, control_path) for value in dict.fromkeys(values))


def _values(root: Path, alias: str) -> Iterator[str]:
    """Yield the ControlPath values that may apply to this alias, as written."""
    for options in ssh_config_text.options_by_file(root):
        holds = True  # the options before the first block of a file apply to every alias
        for key, words in options:
            if key in {"host", "match"}:
                holds = _applies(key, words, alias)
            elif key == "controlpath" and words and holds:
                yield words[0]


def _fits(value: str, alias: str, control_path: str) -> bool:
    if value.lower() == "none":
        return False
    home = str(ssh_config_text.home())
    text = home + value[1:] if value.startswith("~/") else value
    pattern, last = "", 0
    for token in _TOKEN.finditer(text):
        pattern += re.escape(text[last : token.start()])
        pattern += re.escape(alias) if token[1] == "n" else _PATTERNS.get(token[1] or "", ".*")
        last = token.end()
    return re.fullmatch(pattern + re.escape(text[last:]), control_path) is not None


def _applies(keyword: str, words: Iterable[str], alias: str) -> bool:
    """Report whether a Host or Match line may apply to this alias."""
    words = list(words)
    if keyword == "host":
        return _matches(words, alias)
    if [w.lower() for w in words[::2]] == ["originalhost"] and len(words) == 2:
        return _matches(words[1].split(","), alias)
    return True


def _matches(patterns: Iterable[str], alias: str) -> bool:
    """Report whether the patterns match as in ssh: a negated pattern that matches excludes the alias in any case."""
    patterns = list(patterns)
    if any(p.startswith("!") and fnmatchcase(alias, p[1:]) for p in patterns):
        return False
    return any(fnmatchcase(alias, p) for p in patterns)
