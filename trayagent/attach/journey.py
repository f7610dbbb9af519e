"""While ssh runs: keys, the window's size, and what the agent says of the connection beneath.

Theory of operation. While the network is away the session is left as it is: the connection may
survive, and a byte sent into the void makes it slower to come back. Keys are held back then (and
forgotten: nobody remembers later what they were meant for), and one line over the picture says why.
When the network is back, the far side is made to draw its picture again.

A connection that is doubted for long, with the network there, is another matter: what can be
attached again is let go, and the person hears the rest on the first screen.
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

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import Literal

    from trayagent.attach.keyboard import Keyboard
    from trayagent.attach.link import Link
    from trayagent.attach.session import Session
    from trayagent.attach.status_line import View
    from trayagent.attach.terminal import Terminal
    from trayagent.ipc.heard import Heard

    Way = Literal["open", "held", "lost"]

_SILENT_S = 2.0
"""A session is open after two round trips; one that takes longer than this hangs on a master that may be stale."""
_USABLE = frozenset({"connected", "paused", "idle"})
_SHOWN_S = 1.0
"""A gap between two access points passes faster, and then the picture need not change."""
_DOUBTED_S = 4.0
"""Most doubts are settled within a second, either way; with a slow line it takes some more."""
_REDRAW_S = 0.1
"""The size is changed and changed back; both must reach the far side, or its kernel sees no change."""


class Journey:
    """One run of ssh, from its start to its end."""

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
        self._look_at: float | None = time.monotonic() + _SILENT_S
        self._redraw_at: float | None = None
        self._covered = False

    def go(self) -> Literal["stuck", "left"] | None:
        """Return None when ssh has ended, else why it is to be ended; raises KeyboardInterrupt."""
        with _bell() as bell:
            while self._child.poll() is None:
                with contextlib.suppress(TrayagentError):  # an agent gone wrong does no harm to a session
                    self._link.follow()
                now = time.monotonic()
                way = self._doubt.way(self._link.view is not None, self._link.host, now)
                if way == "held" and self._session.is_protocol:
                    # A line over the picture would be nonsense to it, and a lost key a lost answer.
                    way = "open"
                if way == "lost" and self._session.stays:
                    return "stuck"
                self._cover(way, now)
                self._look(now)
                self._redrawn(now)
                if self._wait(bell, way, now):
                    return "left"
        return None

    def _cover(self, way: Way, now: float) -> None:
        """Say over the picture that nothing gets through, or let it be drawn again."""
        waited = now - self._doubt.since if self._doubt.since is not None else 0.0
        if way != "open" and waited >= _SHOWN_S:
            words = status_line.line(
                self._session.host, self._link.view, waited, self._link.interface, enter=False
            )
            self._terminal.cover(f"{words} · Ctrl-C leaves", last_row=self._session.stays)
            self._covered = True
            self._link.look_often(True)
        elif way == "open" and self._covered:
            self._covered = False
            self._link.look_often(False)
            self._terminal.uncover(last_row=self._session.stays)
            self._redraw_at = now + _REDRAW_S
            self._resize(rows_less=1)

    def _redrawn(self, now: float) -> None:
        if self._redraw_at is not None and now >= self._redraw_at:
            self._redraw_at = None
            self._resize()

    def _resize(self, *, rows_less: int = 0) -> None:
        if self._keyboard.fit(rows_less=rows_less):
            self._child.send_signal(signal.SIGWINCH)  # ssh passes it on to the master

    def _look(self, now: float) -> None:
        """Have the agent ask the master for a sign of life, where ssh waits for a session in vain."""
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            if not self._keyboard.is_open:
                self._link.look()

    def _wait(self, bell: int, way: Way, now: float) -> bool:
        """Wait for whatever comes next; report whether the person wants to leave."""
        until = [at - now for at in (self._look_at, self._redraw_at) if at is not None]
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
        return 0 in readable and self._typed(way)

    def _typed(self, way: Way) -> bool:
        """Pass keys on, or see in them only whether the person wants to leave; report that."""
        keys = self._terminal.keys()
        if not keys:
            return True  # the terminal was closed
        if way == "open" and self._keyboard.is_open:
            self._keyboard.send(keys)
            return False
        if INTERRUPT in keys:
            raise KeyboardInterrupt
        if way == "open":
            self._keyboard.send(keys)
        return self._terminal.wants_to_leave(keys)


class Doubt:
    """Whether anything gets through, as the agent sees it; pure. `since` is when that began to be doubted."""

    def __init__(self) -> None:
        self._way: Way = "open"
        self._here_since: float | None = None
        self.since: float | None = None

    def way(self, has_agent: bool, seen: View | None, now: float) -> Way:
        """Return whether keys may go on, are held back, or the way is lost.

        They are held while the network is away, and until what was away is proven. Without an
        agent nobody knows better than before.
        """
        if not has_agent:
            return self._way
        state = seen["state"] if seen is not None else "idle"
        if state in _USABLE:
            self._way, self.since, self._here_since = "open", None, None
            return self._way
        if self.since is None:
            self.since = now
        if state in AWAY:
            self._way, self._here_since = "held", None
            return self._way
        if self._here_since is None:
            self._here_since = now
        if now - self._here_since >= _DOUBTED_S:
            self._way = "lost"
        return self._way

    def changes_in_s(self, now: float) -> float | None:
        """Return how long what is shown or done stays right by itself; None: for ever."""
        if self.since is None:
            return None
        waited = now - self.since
        steps = [_SHOWN_S - waited] if waited < _SHOWN_S else [status_line.next_tick_s(waited)]
        if self._here_since is not None and (left := self._here_since + _DOUBTED_S - now) > 0:
            steps.append(left)
        return min(steps)


@contextlib.contextmanager
def _bell() -> Iterator[int]:
    """Yield a descriptor that is readable after a signal: ssh ended, or the window has another size."""
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
