"""Quote a script as one command line that every login shell passes to sh unchanged; pure."""

from __future__ import annotations

_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _./:=,;|&<>()[]{}+-@#?*~^"
)


def command_line(script: str) -> str:
    r"""Return `exec sh -c '…'` for any script.

    Inside single quotes, csh accepts no newline and no `!`, and fish unescapes backslashes. In all shells a single
    quote ends the quoted text. So these characters are sent as printf's octal numbers (POSIX, `%b`). All others stay as
    they are, so that an administrator can read the script in the server's process list.
    """
    safe = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in script.encode())
    return f'exec sh -c \'eval "$(printf %b "{safe}")"\''


def quoted(word: str) -> str:
    """Return a word quoted for a sh script. Raise ValueError for a word with a NUL, which sh cannot hold."""
    if "\0" in word:
        raise ValueError("a word with a NUL")
    return "'" + word.replace("'", "'\\''") + "'"
