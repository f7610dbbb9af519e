"""A fix for every test: Ctrl-C must reach the programs that a test starts."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Restore Python's handler of SIGINT if it is ignored.

    A shell without job control makes its background jobs ignore SIGINT. The programs that tests start would inherit
    that, and a test that interrupts such a program would wait until the time limit.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
