"""Hostile texts from a server or a jump host do not slow the classification down."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.login.failure_table import TABLE, Row

SIZE = 64 * 1024
BENIGN = "Welcome to this server. It works as it should today, and so it says.\n"
CARRIER_ENDED = "Connection closed by UNKNOWN port 65535\r\n"
ALLOWED = 40
"""The limit of a hostile text's time, as a multiple of a benign text's. Bad patterns take thousands of times longer."""


def literals(row: Row) -> list[str]:
    """Return the literal texts in a row's pattern."""
    plain = re.sub(r"\(\?P<\w+>|\(\?[:>]", "|", row.pattern.pattern)
    pieces = re.split(r"\[\^?[^\]]*\][*+]?|\\[SdsWwb][*+]?\??|\.[*+]\??|(?<!\\)[|()^$?+*]", plain)
    return [text for text in (re.sub(r"\\(.)", r"\1", piece) for piece in pieces) if len(text) > 1]


def hostile_texts(row: Row) -> Iterator[str]:
    """Yield texts for which a pattern with unbounded repetitions would try every split."""
    words = [*literals(row), row.then] if row.then else literals(row)
    for word in words:
        for filling in (word, ": ", "x", "\n", f"{word}\n", ", "):
            yield (word + filling * (SIZE // len(filling)))[:SIZE]
    for first in words:
        for second in words:
            half = SIZE // 2
            yield (first * half)[:half] + (second * half)[:half]
            yield ((first + second + ": ") * (SIZE // 4))[:SIZE]


def all_ways(text: str) -> None:
    """Classify a text in every position in which the other side can send it."""
    classify(CARRIER_ENDED, host="web01", exit_status=255, others=text, proven="")
    classify("", host="web01", exit_status=255, others=text, proven=text)


@contextmanager
def at_most(cpu_s: float) -> Iterator[None]:
    """Fail if the block uses more processor time than this. Processor time does not depend on the machine's load."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"more than {cpu_s:.2f} s of processor time")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(scope="module")
def benign_s() -> float:
    """Return the processor time that a benign text of the same size takes."""
    text = (BENIGN * (SIZE // len(BENIGN) + 1))[:SIZE]
    all_ways(text)
    begin = time.process_time()
    for _ in range(10):
        all_ways(text)
    return (time.process_time() - begin) / 10


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.pattern.pattern[:40])
def test_no_text_takes_much_longer_than_a_benign_one(row: Row, benign_s: float) -> None:
    """The literal texts of each row, repeated in several ways, take about as long as a benign text."""
    assert literals(row)
    for text in hostile_texts(row):
        with at_most(ALLOWED * benign_s):
            all_ways(text)


def test_the_last_lines_of_a_long_text_count() -> None:
    """A flood of lines or one long line before ssh's message does not hide the message."""
    said = BENIGN * 5000 + "x" * SIZE + "\nme@203.0.113.1: Permission denied (publickey,password)."
    failure = classify(said, host="web01", exit_status=255)
    assert (failure.kind, failure.problem.title) == (
        "auth",
        "web01 refused the login; it accepts a password or a code",
    )


def test_the_second_half_of_a_message_must_follow_the_first() -> None:
    """A missing key file is the reason only if the login was refused after the message about it."""
    absent, denied = "no such identity: /k: No such file", "me@x: Permission denied (publickey)."
    assert classify(f"{absent}\n{denied}", host="web01", exit_status=255).kind == "key-file"
    assert classify(f"{denied}\n{absent}", host="web01", exit_status=255).kind == "auth"
