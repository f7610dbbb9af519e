from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from trayagent.cli import demo, main
from trayagent.errors import TrayagentError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("value", ["-1", "501", "nan", "inf", "fast", ""])
def test_an_impossible_round_trip_ends_with_2(run: Run, value: str) -> None:
    """For an invalid round-trip time, the exit status is 2, and the error has the valid range."""
    done = run("demo", f"--rtt={value}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "from 0 to 500" in done.stderr


@pytest.mark.parametrize("status", [0, 1])
def test_the_play_decides_the_status(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The exit status is 0 if the agent recovered and 1 if not. The round-trip time is passed to the demo."""
    asked: list[float] = []

    def play(rtt_ms: float) -> int:
        asked.append(rtt_ms)
        return status

    signals: dict[int, Any] = {}
    monkeypatch.setattr("trayagent.sandbox.demo.play", play)
    monkeypatch.setattr(signal, "signal", signals.__setitem__)
    assert main.entry(["demo", "--rtt", "120"]) == status
    assert main.entry(["demo"]) == status
    assert asked == [120.0, demo.RTT_MS]
    assert set(signals) == {signal.SIGTERM, signal.SIGHUP}


def test_a_machine_that_cannot_run_the_demo_gets_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the machine cannot run the demo, the status is 1, and the error explains what is wrong and how to fix it."""

    def play(_: float) -> int:
        raise TrayagentError("the demo needs `sshd`", code="tool-missing", hint="Install: sudo apt-get …")

    monkeypatch.setattr("trayagent.sandbox.demo.play", play)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main.entry(["demo"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "trayagent: the demo needs `sshd`\n  Install: sudo apt-get …\n"
