"""A script as one command line that every login shell passes on to sh unchanged; pure."""

from __future__ import annotations

_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _./:=,;|&<>()[]{}+-@#?*~^"
)


def command_line(script: str) -> str:
    r"""Return `exec sh -c '…'` for a script, whatever is in it.

    csh takes no newline and no `!` inside single quotes, fish unescapes backslashes there, and a single
    quote ends them for all: these travel as printf's octal numbers (POSIX, `%b`), the rest as itself, so
    that whoever looks at the server's processes can read it.
    """
    safe = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in script.encode())
    return f'exec sh -c \'eval "$(printf %b "{safe}")"\''


def quoted(word: str) -> str:
    """Return a word as a script of sh writes it; raises ValueError for one with a NUL, which no word can have."""
    if "\0" in word:
        raise ValueError("a word with a NUL")
    return "'" + word.replace("'", "'\\''") + "'"
