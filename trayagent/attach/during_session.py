"""Control a running ssh: keys, window size, and the agent's reports about the connection.

Theory of operation. Without a network, `attach` keeps the session, because its connection may survive. Each byte
that is sent meanwhile delays the recovery, so `attach` discards keys. A line over the screen explains this. When
the network is back, `attach` changes the window size, so that the remote program redraws its screen.

If the network is there but the connection stays in doubt for long, `attach` ends a session that can be attached
again. No output is lost: it is on the first screen of the next session.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from trayagent.attach import status_line
from trayagent.attach.terminal import INTERRUPT
from trayagent.errors import TrayagentError
from trayagent.presentation.states import AWAY
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import Literal

    from trayagent.attach.agent_link import Link
    from trayagent.attach.keyboard import Keyboard
    from trayagent.attach.session import Session
    from trayagent.attach.status_line import View
    from trayagent.attach.terminal import Terminal
    from trayagent.ipc.nonblocking_client import Heard

    InputState = Literal["open", "held", "lost"]

_SILENT_S = 2.0
"""Have the master probed if ssh has no session after this time. Usually it needs two round trips."""
_USABLE = frozenset({"connected", "paused", "idle"})
_SHOWN_S = 1.0
"""Wait this long before the line is shown. A move between two access points is over sooner."""
_DOUBTED_S = 4.0
"""Give up a connection that is in doubt for this long. Most doubts take a second, more on a slow line."""
_REDRAW_S = 0.1
"""The time between changing the size and changing it back. Both changes must reach the server separately: otherwise the
size there stays the same, and the program does not redraw."""


class Journey:
    """One run of ssh in a session, from start to end."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        keyboard: Keyboard,
        session: Session,
        terminal: Terminal,
        link: Link,
    ) -> None:
        self._child = child
        self._keyboard = keyboard
        self._session = session
        self._terminal = terminal
        self._link = link
        self._doubt = Doubt()
        self._probe_at: float | None = time.monotonic() + _SILENT_S
        self._redraw_at: float | None = None
        self._covered = False

    def go(self) -> Literal["stuck", "left"] | None:
        """Wait until ssh has ended and return None, or return why the caller must end ssh.

        "stuck": nothing gets through. "left": the user wants to leave. Raises KeyboardInterrupt for Ctrl-C.
        """
        with _bell() as bell:
            while self._child.poll() is None:
                with contextlib.suppress(TrayagentError):  # a failing agent must not harm a session
                    self._link.follow()
                now = time.monotonic()
                input_state = self._doubt.input_state(self._link.view is not None, self._link.host, now)
                if input_state == "held" and self._session.is_protocol:
                    # In tmux's control mode the terminal carries a protocol. A status line would corrupt it, and a
                    # discarded key would be part of a lost command.
                    input_state = "open"
                if input_state == "lost" and self._session.stays:
                    return "stuck"
                self._cover(input_state, now)
                self._probe_if_slow(now)
                self._redrawn(now)
                if self._wait(bell, input_state, now):
                    return "left"
        return None

    def _cover(self, input_state: InputState, now: float) -> None:
        """Show a line over the screen while nothing gets through. Afterwards, make the program redraw the screen."""
        waited = now - self._doubt.since if self._doubt.since is not None else 0.0
        if input_state != "open" and waited >= _SHOWN_S:
            words = status_line.line(
                self._session.host, self._link.view, waited, self._link.interface, enter=False
            )
            self._terminal.cover(f"{words} · {_('Ctrl-C leaves')}", last_row=self._session.stays)
            self._covered = True
            self._link.reconnect_often(True)
        elif input_state == "open" and self._covered:
            self._covered = False
            self._link.reconnect_often(False)
            self._terminal.uncover(last_row=self._session.stays)
            self._redraw_at = now + _REDRAW_S
            self._resize(rows_less=1)

    def _redrawn(self, now: float) -> None:
        if self._redraw_at is not None and now >= self._redraw_at:
            self._redraw_at = None
            self._resize()

    def _resize(self, *, rows_less: int = 0) -> None:
        if self._keyboard.fit(rows_less=rows_less):
            self._child.send_signal(signal.SIGWINCH)  # ssh passes the signal on to the master

    def _probe_if_slow(self, now: float) -> None:
        """Make the agent probe the master if ssh has waited too long for its session."""
        if self._probe_at is not None and now >= self._probe_at:
            self._probe_at = None
            if not self._keyboard.is_open:
                self._link.request_probe()

    def _wait(self, bell: int, input_state: InputState, now: float) -> bool:
        """Wait for the next event; report whether the user wants to leave."""
        until = [at - now for at in (self._probe_at, self._redraw_at) if at is not None]
        until += [tick] if (tick := self._doubt.changes_in_s(now)) is not None else []
        until += [again] if (again := self._link.again_in_s) is not None else []
        keyboard = self._keyboard
        sources: list[int | Heard] = [bell, keyboard.master, *self._link.sources]
        sources += [] if keyboard.pending else [0]
        full = [keyboard.master] if keyboard.pending else []
        readable, writable, _ = select.select(sources, full, [], max(min(until), 0.0) if until else None)
        if bell in readable:
            _ = os.read(bell, 4096)
            if self._redraw_at is None:
                self._resize()
        if keyboard.master in readable:
            keyboard.drop_echo()
        if writable:
            keyboard.send(b"")
        return 0 in readable and self._typed(input_state)

    def _typed(self, input_state: InputState) -> bool:
        """Read keys and pass them on unless they are held. Report whether the user leaves (`~.` or no terminal)."""
        keys = self._terminal.keys()
        if not keys:
            return True  # the terminal was closed
        held = input_state != "open"
        in_session = not held and self._keyboard.is_open
        if INTERRUPT in keys and not in_session:
            raise KeyboardInterrupt
        self._keyboard.send(keys, held=held)
        return not in_session and self._terminal.wants_to_leave(keys)


class Doubt:
    """Decides from the agent's view whether keys may pass; pure. `since`: when the doubt began, None if none did."""

    def __init__(self) -> None:
        self._input_state: InputState = "open"
        self._here_since: float | None = None
        self.since: float | None = None

    def input_state(self, has_agent: bool, seen: View | None, now: float) -> InputState:
        """Return what to do with keys: pass them (`open`), discard them (`held`), or give up the connection (`lost`).

        Keys are held without a network, and afterwards until the connection is proven to work. Without an agent,
        the last result is repeated.
        """
        if not has_agent:
            return self._input_state
        state = seen["state"] if seen is not None else "idle"
        if state in _USABLE:
            self._input_state, self.since, self._here_since = "open", None, None
            return self._input_state
        if self.since is None:
            self.since = now
        if state in AWAY:
            self._input_state, self._here_since = "held", None
            return self._input_state
        if self._here_since is None:
            self._here_since = now
        if now - self._here_since >= _DOUBTED_S:
            self._input_state = "lost"
        return self._input_state

    def changes_in_s(self, now: float) -> float | None:
        """Return after how many seconds the line or the decision changes without an event; None: never."""
        if self.since is None:
            return None
        waited = now - self.since
        steps = [_SHOWN_S - waited] if waited < _SHOWN_S else [status_line.next_tick_s(waited)]
        if self._here_since is not None and (left := self._here_since + _DOUBTED_S - now) > 0:
            steps.append(left)
        return min(steps)


@contextlib.contextmanager
def _bell() -> Iterator[int]:
    """Yield a descriptor that becomes readable after a signal: ssh ended, or the window size changed."""
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    before = {n: signal.signal(n, lambda *_: None) for n in (signal.SIGCHLD, signal.SIGWINCH)}
    old = signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    try:
        yield bell
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(bell)
        os.close(ring)
