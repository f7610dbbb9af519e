"""Read from the text of ssh_config what `ssh -G` does not show.

It finds the files and the aliases of ssh_config, and whether the output of `ssh -G` may vary between networks.

Only `ssh -G NAME` decides what a name means. This module finds what the agent must know before it runs `ssh -G`. It
does not evaluate blocks: every line in the text counts. It skips unreadable files, and Includes that form a loop or are
too many, because a wrong guess here costs little.
"""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import re
import shlex
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

MAX_FILE = 1024 * 1024
"""The most bytes that are read of one file. Usual files have a few KB."""
MAX_FILES = 256
"""The most files that are read from one root."""
MAX_DEPTH = 16
"""The deepest level of Includes within Includes, as in ssh."""

SYSTEM = Path("/etc/ssh")

Option = tuple[str, list[str]]

_WILDCARDS = frozenset("*?")
_SPECIAL = frozenset("\"'\\#")
_CANONICALIZING = frozenset({"canonicalizehostname", "canonicalizepermittedcnames"})
_KEYWORD = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$")
# %l and %L are this machine's name, which DHCP may change.
_LOCAL_NAME = re.compile(r"(?<!%)(?:%%)*%[lL]")


THIS_MACHINE = frozenset({".host", "machine/.host"})
"""Names of this machine in the file that systemd 256 and later add to ssh_config; systemd-ssh-proxy(1)."""


class Block(Struct, frozen=True):
    """One Host or Match block: the words of its first line, and the options below it in their order."""

    keyword: str
    words: tuple[str, ...]
    options: tuple[Option, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The literal names in a Host line, or in a Match line whose only criterion is the host."""
        words = self.words
        if self.keyword == "match":
            criteria = [word.lower() for word in words[::2]]
            words = (
                tuple(words[1].split(","))
                if criteria in (["host"], ["originalhost"]) and len(words) == 2
                else ()
            )
        return tuple(name for name in words if not set(name) & set("*?!") and not name.startswith("-"))


def config_files(path: Path) -> tuple[Path, ...]:
    """Return the file and all files that it includes. Missing files are listed, too, because they may appear later.

    For an Include with a pattern, return the files that match it now.
    """
    return tuple(dict.fromkeys(file for file, _ in _read(path)))


def network_dependent(paths: Iterable[Path]) -> bool:
    """Report whether the output of `ssh -G` may differ between networks."""
    return any(_varies(*option) for path in paths for option in _options(path))


def canonicalizes(paths: Iterable[Path]) -> bool:
    """Report whether `ssh -G` may resolve names by DNS."""
    return any(_canonicalizes(*option) for path in paths for option in _options(path))


def aliases(path: Path) -> tuple[str, ...]:
    """Return the literal names in Host lines, without wildcards and negations."""
    names = (word for key, words in _options(path) if key == "host" for word in words)
    return tuple(
        dict.fromkeys(name for name in names if not set(name) & set("*?!") and not name.startswith("-"))
    )


def host_patterns(paths: Iterable[Path]) -> tuple[tuple[str, ...], ...]:
    """Return the patterns of each Host line, and of each Match line for a host, that does not apply to every name."""
    lines = (tuple(_patterns(*option)) for path in paths for option in _options(path))
    return tuple(dict.fromkeys(line for line in lines if any(p.strip("*") and p[0] != "!" for p in line)))


def is_named(patterns: Iterable[tuple[str, ...]], name: str) -> bool:
    """Report whether one of the lines of `host_patterns` applies to this name."""
    return any(_names(line, name) for line in patterns)


def blocks(path: Path) -> tuple[Block, ...]:
    """Return the Host and Match blocks of all files, without the options before the first block of a file."""
    found: list[Block] = []
    for _, options in _read(path):
        starts = [at for at, (key, _) in enumerate(options) if key in {"host", "match"}]
        for at, end in itertools.pairwise([*starts, len(options)]):
            key, words = options[at]
            found.append(Block(key, tuple(words), tuple(options[at + 1 : end])))
    return tuple(found)


def control_paths(path: Path) -> tuple[str, ...]:
    """Return the values of ControlPath as written, with their tokens."""
    return tuple(dict.fromkeys(words[0] for key, words in _options(path) if key == "controlpath" and words))


def options_by_file(path: Path) -> Iterator[list[Option]]:
    """Yield the options of each file in their order, including Host and Match lines."""
    for _, options in _read(path):
        yield options


def _patterns(key: str, words: list[str]) -> Iterator[str]:
    if key == "host":
        yield from filter(None, words)
    elif key == "match":
        for criterion, value in itertools.pairwise(words):
            if criterion.lower() in {"host", "originalhost"}:
                yield from filter(None, value.split(","))


def _names(patterns: tuple[str, ...], name: str) -> bool:
    if any(p[0] == "!" and _fits(p[1:], name) for p in patterns):
        return False
    return any(p.strip("*") and _fits(p, name) for p in patterns)


def _fits(pattern: str, name: str) -> bool:
    """Report whether the pattern matches. Most have no wildcard, and a regular expression for each would be slow."""
    return fnmatchcase(name, pattern) if _WILDCARDS.intersection(pattern) else name == pattern


def _canonicalizes(key: str, words: list[str]) -> bool:
    return key in _CANONICALIZING and bool(words) and words[0].lower() not in {"no", "false", "none"}


def _varies(key: str, words: list[str]) -> bool:
    if key == "match":
        return any(word.lstrip("!").partition("=")[0].lower() in {"exec", "localnetwork"} for word in words)
    if _canonicalizes(key, words):
        return True
    return any(_LOCAL_NAME.search(word) for word in words)


def _options(path: Path) -> Iterator[Option]:
    for _, options in _read(path):
        yield from options


def _read(root: Path) -> Iterator[tuple[Path, list[Option]]]:
    """Yield each file once with its options, in the order of the Includes."""
    waiting = [(root, 0)]
    seen: set[Path] = set()
    while waiting and len(seen) < MAX_FILES:
        path, depth = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        options = [option for line in _lines(path) if (option := _option(line)) is not None]
        yield path, options
        if depth < MAX_DEPTH:
            patterns = (word for key, words in options if key == "include" for word in words)
            waiting += [
                (found, depth + 1) for pattern in patterns for found in _included(pattern, root.parent)
            ]


def _included(pattern: str, root: Path) -> list[Path]:
    if "\0" in pattern:
        return []
    # A relative Include starts at ~/.ssh, even in the file of `ssh -F`. In the system's file, it starts at /etc/ssh.
    folder = SYSTEM if root.is_relative_to(SYSTEM) else home() / ".ssh"
    text = str(home() / pattern[2:]) if pattern.startswith("~/") else str(folder / pattern)
    if "${" in text or "%" in text:
        return []  # OpenSSH 9.9 expands variables and tokens in paths; the agent does not know the results
    if not glob.has_magic(text):
        return [Path(text)]
    return [Path(found) for found in sorted(glob.glob(text))]  # noqa: PTH207  # Path.glob accepts no absolute pattern


def home() -> Path:
    """Return the home directory as ssh finds it: from the user's passwd entry, not from HOME."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/")  # ssh itself refuses to run for a user without an entry


def _lines(path: Path) -> list[str]:
    try:
        if not path.is_file():
            return []  # reading a FIFO would block
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def _option(line: str) -> Option | None:
    match = _KEYWORD.match(line)
    if match is None:
        return None
    return match[1].lower(), _words(match[2])


def _words(text: str) -> list[str]:
    """Split a line into words as ssh does: with quotes; a # at the start of a word begins a comment."""
    if not _SPECIAL.intersection(text):
        return text.split()  # true for nearly every line; shlex would be slow with thousands of hosts
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = "\\"
    words: list[str] = []
    try:
        for word in lexer:
            if word.startswith("#"):
                break
            words.append(word)
    except ValueError:
        return text.split()  # an unclosed quote: ssh rejects the file and reports that
    return words
