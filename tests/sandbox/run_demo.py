"""Runs `trayagent demo` as a user does."""

from __future__ import annotations

import os
import subprocess
import sys

DEMO = [sys.executable, "-m", "trayagent", "demo"]
WITHIN_S = 90.0  # enough for a whole demo on a busy machine


def output_of_demo(option: str) -> str:
    """Run a demo that must succeed, without a terminal. Return its output, whose lines have at most 80 columns."""
    done = subprocess.run(
        [*DEMO, option, "--rtt", "5"],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    return done.stdout
