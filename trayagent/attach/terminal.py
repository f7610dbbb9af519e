"""Manage the user's terminal: restore it after a dead session, and show one line while there is no session."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import termios

from trayagent.errors import TrayagentError
from trayagent.presentation.text import is_dumb_terminal

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

# A full-screen program resets these modes at its end, but cannot do so after its connection died. Resetting an
# unchanged mode has no effect. Sources: xterm's ctlseqs, and the output of tmux and screen.
RESET = "".join((
    "\x1b\\",  # the end of a string: `tmux -CC` sends a string
    "\x1b7\x1b[r\x1b8",  # scroll the whole screen; the sequence moves the cursor, so save and restore the cursor
    "\x1b7\x1b[?1049l",  # the main screen; save the cursor, so that it stays if that screen is shown already
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
    """Return the escape sequence before a line over the screen: save cursor and colours, clear the row."""
    return f"\x1b7\x1b[{'999' if last else '1'};1H\x1b[0m\x1b[K"


class Terminal:
    """The controlling terminal on stdin and stdout.

    The constructor raises TrayagentError (no-terminal) if stdin or stdout is not a terminal.
    """

    def __init__(self) -> None:
        if sys.stdin is None or sys.stdout is None or not (os.isatty(0) and os.isatty(1)):
            hint = "For a single command: ssh HOST COMMAND"
            raise TrayagentError("attach needs a terminal.", code="no-terminal", hint=hint)
        self._saved = termios.tcgetattr(0)
        self._dumb = is_dumb_terminal(os.environ)
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
        """Set raw mode for ssh: the terminal on the server does the echo, line editing and signals instead."""
        self.clear()
        mode: list[Any] = [*self._saved[:6], [*self._saved[6]]]
        # Set the modes that ssh sets (sshtty.c). ssh sets them only on its own input, the pseudo-terminal.
        mode[0] &= ~(termios.IGNPAR | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | _IXALL)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ISIG | termios.ICANON | termios.ECHO | _ECHO_ALL | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        _set(termios.TCSADRAIN, mode)
        self._escape(PUSH_TITLE)

    def take_back(self, *, broken: bool, behind_words: bool) -> None:
        """Restore the terminal after ssh. `broken`: the connection was lost, so reset all terminal modes.

        `behind_words`: if `broken`, the cursor may be behind a program's last output, which must stay visible.
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
        """Remove the line of `cover`. The caller must have the row beneath it redrawn."""
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
        """Return what was typed, b"" if the terminal was closed."""
        try:
            return os.read(0, _LONGEST)
        except OSError:
            return b""

    def wants_to_leave(self, keys: bytes) -> bool:
        """Report whether these keys, after the previous key, contain `~.`: the keys with which ssh ends."""
        typed, self._typed = self._typed + keys, keys[-1:]
        return LEAVE in typed

    def show(self, line: str) -> None:
        """Show this line in place of the last one. A dumb terminal gets each line below the last one."""
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
        """Remove the line of `show`, and the row that `show` began for it."""
        if self._shown and not self._dumb:
            self._write(ERASE if self._fresh else ERASE + UP)
        self._shown = ""

    def print_line(self, text: str) -> None:
        """Print a line that stays, in place of the line of `show`."""
        self.clear()
        erase = "" if self._dumb else ERASE  # a remote program may have left the cursor on old text
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
