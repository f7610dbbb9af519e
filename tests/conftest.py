"""A fix for every test: Ctrl-C and a hang-up reach the programs that a test starts, and they speak English.

A busy machine may take long for one example of hypothesis, so its deadline of 200 ms is off. This module also chooses
which tests run, and in which order.
"""

from __future__ import annotations

import os
import signal
from itertools import groupby

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test-long`."""
    parser.addoption(
        "--long", action="store_true", help="run the tests that are marked `long`, and no others"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `long`, or with --long all others. Let each worker begin with a slow file.

    A test that the user names runs in any case.
    """
    if not any("::" in word for word in config.args):
        is_long = bool(config.getoption("long"))
        left_out = [item for item in items if (item.get_closest_marker("long") is not None) != is_long]
        items[:] = [item for item in items if (item.get_closest_marker("long") is not None) == is_long]
        config.hook.pytest_deselected(items=left_out)
    items[:] = _slow_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order in which the share of each worker begins with slow tests.

    xdist gives each worker one piece of the list. A slow test at the end of a piece would hold up the end of the run.
    The slow tests of a file stay together, because they share what a fixture made.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    files = [list(group) for _, group in groupby(slow, key=lambda item: item.path)]
    order = list[pytest.Item]()
    for number in range(workers):
        end = len(order) + (len(items) - len(order)) // (workers - number)  # as xdist divides the list
        order += [item for file in files[number::workers] for item in file]
        count = max(0, end - len(order))
        order += others[:count]
        del others[:count]
    return order + others


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
