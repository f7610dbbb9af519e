"""A fix for every test: Ctrl-C and a hang-up reach the programs that a test starts, and they speak English.

A busy machine may take long for one example of hypothesis, so its deadline of 200 ms is off.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Handle SIGINT and SIGHUP if they are ignored, switch the deadline off, and choose the language of the tests.

    A shell without job control makes its background jobs ignore SIGINT, and nohup makes a program ignore SIGHUP. The
    programs that tests start would inherit that, but no handler. A test that interrupts such a program would wait
    until the time limit.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    settings.register_profile("no deadline", settings.default, deadline=None)
    settings.load_profile("no deadline")
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ.pop("LANGUAGE", None)
