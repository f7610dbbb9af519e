"""Check single values. Each check raises ValueError with a text for the user."""

from __future__ import annotations

import re

from trayagent.config import parse_duration
from trayagent.core.facts.forward_spec import parse as parse_forward
from trayagent.core.facts.forwards import ForwardKind

# Characters that ssh 9.6 and later refuse in a host's name, because a shell interprets them.
SHELL_SIGNS = frozenset("'`\"$\\;&<>|(){}")
PATTERN_SIGNS = frozenset("*?!")
LONGEST_SOCKET = (
    103  # the longest path of a Unix socket that every system supports; macOS has the lowest limit
)
LONGEST_NAME = 255  # the limit of DNS (RFC 1035); no alias needs more


def duration(text: str) -> None:
    """Check a duration."""
    parse_duration.parse(text)


def host_name(name: str) -> None:
    """Check that `ssh NAME` takes the name as a host, never as an option, a path or a pattern."""
    bad = next((c for c in name if c in SHELL_SIGNS or c == "/" or c.isspace() or not c.isprintable()), None)
    if not name or len(name) > LONGEST_NAME:
        msg = "a host's name has 1 to 255 characters"
    elif name.startswith("-"):
        msg = 'a host\'s name cannot begin with "-": ssh would read an option'
    elif bad is not None:
        msg = f"a host's name cannot contain {_shown(bad)}"
    elif PATTERN_SIGNS.intersection(name):
        msg = "a host's name cannot be a pattern: list each host that you want connected"
    else:
        return
    raise ValueError(msg)


def label(text: str) -> None:
    """Check a displayed name: it must be printable and not empty."""
    if not text.strip() or not text.isprintable():
        msg = "must be a printable name"
        raise ValueError(msg)


def network(text: str) -> None:
    """Check a network's name, with or without a leading "!"."""
    label(text.removeprefix("!"))


def interface_glob(text: str) -> None:
    """Check a pattern of interface names: the characters that Linux allows in a name, and wildcards."""
    if not re.fullmatch(r"[^\s/]{1,64}", text):
        msg = f'"{text}" is not an interface name'
        raise ValueError(msg)


def word(text: str) -> None:
    """Check one word of a command: a process cannot receive a NUL."""
    if "\0" in text:
        msg = "cannot contain a NUL character"
        raise ValueError(msg)


def command(words: tuple[str, ...]) -> None:
    """Check a list of words to run."""
    if not words or not words[0]:
        msg = "must name a program"
        raise ValueError(msg)


def far_path(text: str) -> None:
    """Check the path of a socket on the server: it must be absolute or in the home directory, and one line."""
    if len(text.encode()) > LONGEST_SOCKET:
        msg = f"a socket's path has at most {LONGEST_SOCKET} bytes"
        raise ValueError(msg)
    if not text.isprintable() or not text.startswith(("/", "~/")) or text.endswith("/"):
        msg = f'"{text}" is not an absolute path, nor one that begins with ~/'
        raise ValueError(msg)


def port_range(value: int | str) -> None:
    """Check a TCP port of the server, or a range of at most 1000 ports that need no privileges."""
    first, dash, last = str(value).partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(one.isascii() and one.isdigit() and len(one) <= 5 for one in numbers):
        msg = f'"{value}" is neither a port nor a range'
        raise ValueError(msg)
    low, high = map(int, numbers)
    if not 1024 <= low <= high <= 65_535 or high - low >= 1000:
        msg = f'"{value}" is not a range of at most 1000 ports between 1024 and 65535'
        raise ValueError(msg)


def forward(kind: ForwardKind, text: str) -> None:
    """Check the argument of ssh -L, -R or -D."""
    parse_forward(kind, text)


def local_forward(text: str) -> None:
    """Check the argument of ssh -L."""
    forward("local", text)


def remote_forward(text: str) -> None:
    """Check the argument of ssh -R."""
    forward("remote", text)


def dynamic_forward(text: str) -> None:
    """Check the argument of ssh -D."""
    forward("dynamic", text)


def _shown(sign: str) -> str:
    return f'"{sign}"' if sign.isprintable() and not sign.isspace() else repr(sign)
