"""Manage the user's terminal: restore it after a dead session, and show one line while there is no session."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import termios

from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

# The modes that a full-screen program resets at its end. When its connection dies, the program cannot reset them.
# From xterm's ctlseqs and from what tmux and screen send. Resetting an unchanged mode has no effect.
RESET = "".join((
    "\x1b\\",  # the end of a string: `tmux -CC` sends a string
    "\x1b7\x1b[r\x1b8",  # scroll the whole screen; the sequence moves the cursor, so save and restore the cursor
    "\x1b7\x1b[?1049l",  # the main screen; if the main screen is shown already, the cursor stays
    "\x1b[0m\x1b(B\x0f",  # colours, character set
    "\x1b[?1l\x1b>\x1b[>4m",  # normal keys
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l",  # mouse
    "\x1b[?1004l\x1b[?2004l\x1b[?2026l",  # focus events, bracketed paste, held output
    "\x1b[4l\x1b[?7h",  # insert mode, wrapping
    "\x1b[0 q\x1b[?12l\x1b[?25h",  # cursor
))  # fmt: skip
PUSH_TITLE, POP_TITLE = "\x1b[22;0t", "\x1b[23;0t"
ERASE = "\r\x1b[K"
UP = "\x1b[A"

INTERRUPT, ENTER = b"\x03", re.compile(rb"[\r\n]")
LEAVE = b"~."
_LONGEST = 4096
_IXALL = termios.IXON | termios.IXANY | termios.IXOFF
_ECHO_ALL = termios.ECHOE | termios.ECHOK | termios.ECHONL


_BACK = "\x1b8"


def _set(when: int, mode: list[Any]) -> None:
    with contextlib.suppress(termios.error):  # the terminal was closed: nothing to restore
        termios.tcsetattr(0, when, mode)


def _row(last: bool) -> str:
    """Return the escapes that begin a line over the screen: save cursor and colours, clear the row."""
    return f"\x1b7\x1b[{'999' if last else '1'};1H\x1b[0m\x1b[K"


class Terminal:
    """The controlling terminal on stdin and stdout.

    Raises TrayagentError (no-terminal) without one.
    """

    def __init__(self) -> None:
        if sys.stdin is None or sys.stdout is None or not (os.isatty(0) and os.isatty(1)):
            hint = "For a single command: ssh HOST COMMAND"
            raise TrayagentError("attach needs a terminal.", code="no-terminal", hint=hint)
        self._saved = termios.tcgetattr(0)
        self._dumb = os.environ.get("TERM", "dumb") in {"", "dumb"}
        self._shown = ""
        self._fresh = True  # whether the cursor is at the beginning of an empty line
        self._typed = b""
        self._over = ""

    # A session.

    @property
    def modes(self) -> list[Any]:
        """The terminal's modes at the start, see termios(3)."""
        return self._saved

    def lend(self) -> None:
        """Set raw mode for ssh: the remote terminal handles what the local modes are for."""
        self.clear()
        mode: list[Any] = [*self._saved[:6], [*self._saved[6]]]
        # Set the same modes as ssh (sshtty.c). ssh itself changes only its own input, which is the pseudo-terminal.
        mode[0] &= ~(termios.IGNPAR | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | _IXALL)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ISIG | termios.ICANON | termios.ECHO | _ECHO_ALL | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        _set(termios.TCSADRAIN, mode)
        self._escape(PUSH_TITLE)

    def take_back(self, *, broken: bool, behind_words: bool) -> None:
        """Restore the terminal after ssh; after a broken session (`broken`) also reset what that left changed.

        `behind_words`: the cursor may then follow a program's last output, which is kept.
        """
        if broken:
            self._escape(RESET)
        self._escape(POP_TITLE)
        _set(termios.TCSAFLUSH if broken else termios.TCSADRAIN, self._saved)
        self._fresh = not (broken and behind_words)
        self._typed = b""
        self._over = ""

    def cover(self, line: str, *, last_row: bool) -> None:
        """Show the line over the first or the last row of a frozen screen."""
        line = line[: max(self._columns() - 1, 1)]
        if line != self._over:
            self._over = line
            self._escape(f"{_row(last_row)}{line}{_BACK}")

    def uncover(self, *, last_row: bool) -> None:
        """Remove that line; the row beneath must be redrawn."""
        self._over = ""
        self._escape(f"{_row(last_row)}{_BACK}")

    # Waiting.

    def watch_keys(self) -> None:
        """Read single keys without echo; Ctrl-C and other control keys arrive as keys, too."""
        mode: list[Any] = [*self._saved[:6], [*self._saved[6]]]
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        _set(termios.TCSADRAIN, mode)

    def release_keys(self) -> None:
        """Read whole lines again, and discard what was typed."""
        _set(termios.TCSAFLUSH, self._saved)

    def keys(self) -> bytes:
        """Return what was typed, b"" when the terminal is gone."""
        try:
            return os.read(0, _LONGEST)
        except OSError:
            return b""

    def wants_to_leave(self, keys: bytes) -> bool:
        """Report whether these keys, with the previous key, contain `~.`, as in ssh."""
        typed, self._typed = self._typed + keys, keys[-1:]
        return LEAVE in typed

    def show(self, line: str) -> None:
        """Replace the current line by another line. A dumb terminal gets each new line beneath."""
        line = line[: max(self._columns() - 1, 1)]
        if line == self._shown:
            return
        if self._dumb:
            self._write(f"{line}\n")
        else:
            begin = "" if self._shown or self._fresh else "\n"
            self._write(f"{begin}{ERASE}{line}")
        self._shown = line

    def clear(self) -> None:
        """Remove the line, and the row that was opened for the line."""
        if self._shown and not self._dumb:
            self._write(ERASE if self._fresh else ERASE + UP)
        self._shown = ""

    def print_line(self, text: str) -> None:
        """Print a line that stays, in place of the current one."""
        self.clear()
        erase = "" if self._dumb else ERASE  # a remote program may have moved the cursor up onto old text
        self._write(f"{erase}{text}\n" if self._fresh else f"\n{erase}{text}\n")
        self._fresh = True

    def _columns(self) -> int:
        with contextlib.suppress(OSError):
            return os.get_terminal_size(1).columns or 80
        return 80

    def _escape(self, text: str) -> None:
        if not self._dumb:
            self._write(text)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed, so the output goes nowhere
            data = text.encode(sys.stdout.encoding or "utf-8", "replace")
            while data:
                data = data[os.write(1, data) :]
