"""Which processes write to a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from trayagent.ssh.os.terminals import prints_to_terminal


@pytest.mark.skipif(sys.platform == "darwin", reason="not known there")
@pytest.mark.parametrize("hidden", [False, True])
def test_a_process_prints_to_a_terminal_if_its_standard_error_is_one(hidden: bool) -> None:
    """`ssh HOST 2>/dev/null` shows nothing, wherever its standard output goes."""
    ours, theirs = pty.openpty()
    error = subprocess.DEVNULL if hidden else theirs
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=theirs, stderr=error) as process:
        try:
            assert prints_to_terminal(process.pid) is not hidden
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)
