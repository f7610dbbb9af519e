"""A person who logs in at a terminal."""

from __future__ import annotations

import time

from trayagent.sandbox import Terminal

DEADLINE_S = 20.0
_AGAIN_S = 3.0  # a second Ctrl-C would be for the command, no longer for ssh


class AtTerminal(Terminal):
    """A terminal at which prompts are answered."""

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt and answer it with a line."""
        self.expect(prompt, DEADLINE_S)
        self.enter(f"{text}\n")

    def interrupt(self, deadline_s: float = DEADLINE_S) -> int:
        """Press Ctrl-C until it has ended, and return its exit status.

        One that comes between ssh's prompt and its read(2) is lost (readpassphrase.c); no person is that quick.
        """
        limit = time.monotonic() + deadline_s
        while self._child.poll() is None and time.monotonic() < limit:
            self.enter("\x03")
            again = time.monotonic() + _AGAIN_S
            while self._child.poll() is None and time.monotonic() < again:
                self._read(time.monotonic() + 0.02)
        return self.ended()
