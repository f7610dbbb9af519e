"""Detect a wake from suspend without logind: the kernel cancels a timer whenever the wall clock jumps.

Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. A resume sets the wall clock, but so do users and NTP. During a
suspend, CLOCK_MONOTONIC stops and CLOCK_BOOTTIME does not, so only a suspend makes their difference grow.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import Callable
from typing import Protocol

from trayagent.net.hints import Hint, Woke

# The two clocks are read one after the other, and the scheduler may pause the process in between. No suspend is as
# short as this.
SHORTEST_SLEEP_S = 0.5

_NEVER_S = 9_000_000_000  # the year 2255; the kernel's clock ends in 2262
_ABSTIME, _CANCEL_ON_SET = 1, 2
_ARM_TRIES = 5


def suspended_s() -> float:
    """Return for how many seconds in total this machine has been suspended since it booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)  # type: ignore[attr-defined, unused-ignore]  # Linux only


class Timer(Protocol):
    """A timer whose descriptor becomes readable when the wall clock is set."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def arm(self) -> None:
        """Arm the timer for the next jump; raises OSError."""

    def was_cancelled(self) -> bool:
        """Consume the event; report whether the clock was set."""

    def close(self) -> None:
        """Close the descriptor."""


class LinuxClock:
    """Watches for wakes. If the clock was only set, there is no hint. `start` raises OSError."""

    def __init__(
        self, timer: Callable[[], Timer] | None = None, suspended: Callable[[], float] = suspended_s
    ) -> None:
        self._make_timer, self._suspended = timer or TimerFd, suspended
        self._timer: Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hint: Callable[[Hint], None] = lambda _: None
        self._before_s = 0.0

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch on the running loop."""
        timer = self._make_timer()
        try:
            timer.arm()
        except OSError:
            timer.close()
            raise
        self._hint, self._timer, self._before_s = hint, timer, self._suspended()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(timer.fileno(), self._readable)

    def close(self) -> None:
        """Stop watching."""
        if self._timer is None or self._loop is None:
            return
        self._loop.remove_reader(self._timer.fileno())
        self._timer.close()
        self._timer = None

    def _readable(self) -> None:
        if self._timer is None or not self._timer.was_cancelled():
            return
        # Arm the timer again before reading the clocks, so that a jump in between causes another event.
        self._timer.arm()
        now_s = self._suspended()
        asleep_s, self._before_s = now_s - self._before_s, now_s
        if asleep_s > SHORTEST_SLEEP_S:
            self._hint(Woke(asleep_s))


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerFd:
    """The kernel's timerfd, called with ctypes because Python offers it only since 3.13."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _os_error("timerfd_create")

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def arm(self) -> None:
        """Arm the timer for the next jump.

        If the clock was set since the last read, the kernel answers ECANCELED, but also arms the timer. Then call
        again, so that this jump is reported only once.
        """
        when = _Itimerspec(0, 0, _NEVER_S, 0)
        for _ in range(_ARM_TRIES):
            flags = _ABSTIME | _CANCEL_ON_SET
            if self._libc.timerfd_settime(self._fd, flags, ctypes.byref(when), None) == 0:
                return
            if ctypes.get_errno() != errno.ECANCELED:
                raise _os_error("timerfd_settime")

    def was_cancelled(self) -> bool:
        """Consume the event; report whether the clock was set."""
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return False
        except OSError as e:
            if e.errno != errno.ECANCELED:
                raise
        return True

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _os_error(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
