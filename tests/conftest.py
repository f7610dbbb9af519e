"""A fix for every test: Ctrl-C reaches the programs that a test starts, and they speak English."""

from __future__ import annotations

import os
import signal


def pytest_configure() -> None:
    """Restore Python's handler of SIGINT if it is ignored, and choose the language that the tests compare with.

    A shell without job control makes its background jobs ignore SIGINT. The programs that tests start would inherit
    that, and a test that interrupts such a program would wait until the time limit.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ.pop("LANGUAGE", None)
