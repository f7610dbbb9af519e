"""A user who logs in at a terminal."""

from __future__ import annotations

import time

from trayagent.sandbox import Terminal

DEADLINE_S = 20.0
_AGAIN_S = 3.0  # wait between two Ctrl-C, because a quick second one would reach the command instead of ssh


class AtTerminal(Terminal):
    """A terminal on which a test answers prompts."""

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt and answer it with a line."""
        self.expect(prompt, DEADLINE_S)
        self.enter(f"{text}\n")

    def interrupt(self, deadline_s: float = DEADLINE_S) -> int:
        """Press Ctrl-C repeatedly until the command has ended, and return its exit status.

        ssh loses a Ctrl-C between its prompt and its read(2) (readpassphrase.c). Only a test is that quick.
        """
        limit = time.monotonic() + deadline_s
        while self._child.poll() is None and time.monotonic() < limit:
            self.enter("\x03")
            again = time.monotonic() + _AGAIN_S
            while self._child.poll() is None and time.monotonic() < again:
                self._read(time.monotonic() + 0.02)
        return self.ended()
