"""The program that signs in to a VPN: how it is started, and the message if it fails."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Sequence

import pytest

from trayagent.desktop.record_exit import last_line
from trayagent.desktop.vpn_sign_in_program import sign_in
from trayagent.errors import TrayagentError


async def a_terminal(words: Sequence[str]) -> int:
    """Act as a terminal emulator: a real pty, in which a user types "secret" at the prompt."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(words[0], list(words))  # noqa: S606  # a list of words, no shell
    loop = asyncio.get_running_loop()

    def drain() -> int:
        try:
            while seen := os.read(fd, 1024):
                if b"Password?" in seen:
                    os.write(fd, b"secret\n")
        except OSError:  # the program has closed the terminal
            pass
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    status = await loop.run_in_executor(None, drain)
    os.close(fd)
    return status


def test_the_program_may_ask_in_the_terminal() -> None:
    """A sign-in program in a terminal can prompt, and reads what the user types."""
    asyncio.run(
        sign_in("corp", ["sh", "-c", 'printf "Password? "; read -r word; [ "$word" = secret ]'], a_terminal)
    )


@pytest.mark.parametrize("terminal", [None, a_terminal], ids=["without", "with"])
def test_a_failure_is_reported_with_its_last_line(terminal: None) -> None:
    """The message has the last line that is not empty, without colours."""
    words = ["sh", "-c", r"printf 'trying\n\033[31mWrong password\033[0m\n\n'; exit 3"]
    with pytest.raises(TrayagentError, match=r"^Signing in to corp failed: Wrong password"):
        asyncio.run(sign_in("corp", words, terminal))


@pytest.mark.parametrize("terminal", [None, a_terminal], ids=["without", "with"])
def test_a_program_that_cannot_be_started_is_reported(terminal: None) -> None:
    """The message has the program's name and the reason."""
    with pytest.raises(TrayagentError, match="/nowhere/vpn"):
        asyncio.run(sign_in("corp", ["/nowhere/vpn", "up"], terminal))


def test_the_command_of_a_failure_can_be_pasted() -> None:
    """A word with a space is quoted."""
    with pytest.raises(TrayagentError) as caught:
        asyncio.run(sign_in("corp", ["/nowhere/nmcli", "up", "Corp VPN"], None))
    assert caught.value.hint == "Try it in a terminal: /nowhere/nmcli up 'Corp VPN'"


def test_a_terminal_that_is_closed_is_no_success() -> None:
    """Closing the window ends the command. That counts as a failure, and the message says so."""

    async def closed(words: Sequence[str]) -> int:
        pid, fd = pty.fork()
        if pid == 0:
            os.execvp(words[0], list(words))  # noqa: S606  # a list of words, no shell
        os.read(fd, 1)  # it runs
        os.close(fd)
        return os.waitpid(pid, 0)[1]  # noqa: ASYNC222  # nothing else has to run meanwhile

    with pytest.raises(TrayagentError, match="closed before it ended"):
        asyncio.run(sign_in("corp", ["sh", "-c", "echo waiting; sleep 60"], closed))


def test_the_last_line_is_never_blank() -> None:
    """Escape sequences, control characters and blank lines do not count."""
    assert last_line(b"one\r\n\x1b]0;title\x07two \x1b[1m\r\n  \n") == "two"
    assert last_line(b"") == ""
