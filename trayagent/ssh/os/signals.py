"""Read which signals a process handles, on Linux only."""

from __future__ import annotations

import signal
import sys

if sys.platform == "darwin":

    def caught_signals(pid: int) -> frozenset[signal.Signals]:
        """Return the signals of ssh. `ps` shows them, but only ssh sessions beside a master need them (Linux only)."""
        del pid
        return frozenset({signal.SIGHUP, signal.SIGQUIT})
else:
    from pathlib import Path

    def caught_signals(pid: int) -> frozenset[signal.Signals]:
        """Return the signals that a process handles itself, none if it is gone. Source: proc_pid_status(5)."""
        try:
            lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        except OSError:
            return frozenset()
        mask = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
        return frozenset(sig for sig in signal.Signals if mask >> (sig - 1) & 1)
