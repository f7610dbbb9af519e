"""Logging in with the person at the terminal: ssh asks them itself, and what comes of it is the agent's master.

The agent says which words to run. ssh runs in a process group of its own, as a shell would start it, so
that a Ctrl-C after the login does not reach what the new master connects through (an `ssh -W`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trayagent.attach.start_agent import ensure_agent
from trayagent.config import folders
from trayagent.errors import TrayagentError
from trayagent.ipc import client
from trayagent.ipc.errors import NoAgent
from trayagent.presentation.text import clean

INTERRUPTED = 128 + signal.SIGINT
_ANSWER_S = 30.0  # `ssh -G` with a slow Match exec is part of it
_POLL_S = 0.01  # what ssh logs has no event that this needs a library for, and a person waits anyway
# What ssh says at VERBOSE only, for the agent and not for people.
_FOR_THE_AGENT = re.compile(r"Authenticated |Transferred: |Bytes per second: ")
_ONCE_MORE = "Permission denied, please try again."  # the next prompt is on the screen already


def log_in(host: str, tell: Callable[[str], None]) -> int:
    """Log in to a host at this terminal; return 0 once it is connected, 130 when the person gave up.

    Any name that ssh understands. Starts an agent if none runs. `tell` takes a line for the person; ssh's own
    questions and complaints go to the terminal (or to $SSH_ASKPASS, as ssh(1) says). Raises TrayagentError.
    """
    _see_that_ssh_can_ask(os.environ)
    log_file = ensure_agent()
    if log_file is not None:
        tell(f"No agent was running. One is started; it logs to {log_file}")
    begun = _ask("login", _ANSWER_S, host=host, pid=os.getpid())
    status = _run(begun["words"], {**begun["env"], **os.environ}, Path(begun["log"]))
    outcome = _outcome(host, begun["attempt"], status)
    if outcome["state"] == "connected" and outcome["pid"] is not None and status == 0:
        tell(f"{host}: connected")
        return 0
    if status == -signal.SIGTERM:
        hint = f"Log in again: trayagent login {host}"
        raise TrayagentError(
            f"{host}: the login was ended, by a restart of the agent or by somebody.", hint=hint
        )
    if status < 0:
        return INTERRUPTED if status == -signal.SIGINT else 128 - status
    problem = outcome["problem"] or {"title": "ssh did not log in", "hint": ""}
    title = problem["title"] if host in problem["title"] else f"{host}: {problem['title']}"
    kept = " (the old connection is kept)" if outcome["state"] == "connected" else ""
    raise TrayagentError(f"{title}{kept}", hint=problem["hint"])


def _see_that_ssh_can_ask(env: Mapping[str, str]) -> None:
    """Raise TrayagentError where it could not: it would offer the server empty passwords instead."""
    by_windows = env.get("DISPLAY") or env.get("WAYLAND_DISPLAY") or env.get("SSH_ASKPASS_REQUIRE") == "force"
    with _terminal() as tty:
        if tty is None and not by_windows:
            hint = "Run it in a terminal, or with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force"
            raise TrayagentError("There is no terminal to ask at.", code="no-terminal", hint=hint)


def _ask(op: str, timeout_s: float | None, **args: Any) -> dict[str, Any]:
    return client.call(folders.ipc_socket(os.environ), op, args, timeout_s)


def _outcome(host: str, attempt: int, status: int) -> dict[str, Any]:
    """Say how ssh ended, and return what became of the host."""
    try:
        return _ask("logged-in", None, host=host, attempt=attempt, status=status)
    except NoAgent:  # it was stopped while the person typed; the next one finds what they made
        if status != 0:
            raise
        ensure_agent()
        return _ask("logged-in", None, host=host, attempt=attempt, status=status)


def _run(words: Sequence[str], env: Mapping[str, str], log: Path) -> int:
    """Run ssh at the terminal; return its exit status, negative for a signal. What it logs is shown."""
    with _terminal() as tty:
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                env=dict(env),
                cwd="/",
                process_group=0 if tty is not None else None,
            )
        except OSError as error:
            raise TrayagentError(f"{words[0]} cannot be run: {error.strerror}", code="ssh-missing") from error
        _foreground(tty, child.pid)
        shown = 0
        while True:
            time.sleep(_POLL_S)
            pid, raw = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
            shown = _show(log, shown)
            if pid and os.WIFSTOPPED(raw):
                _stop_too(tty, child.pid)
            elif pid:
                _foreground(tty, os.getpgrp())
                child.returncode = os.waitstatus_to_exitcode(raw)
                return child.returncode


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """Yield a descriptor of the controlling terminal, None where there is none or it is another job's."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    # Who hands the terminal over is in the background for a moment, and would be stopped for it.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield tty if os.tcgetpgrp(tty) == os.getpgrp() else None
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(tty)


def _foreground(tty: int | None, group: int) -> None:
    """Give the terminal to a process group, and wake it: it may have asked for the terminal already."""
    if tty is not None:
        with contextlib.suppress(OSError):  # the terminal or the group is gone; both end by themselves
            os.tcsetpgrp(tty, group)
            os.killpg(group, signal.SIGCONT)


def _stop_too(tty: int | None, group: int) -> None:
    """Ctrl-Z: the shell waits for us and not for ssh; go on together."""
    _foreground(tty, os.getpgrp())
    os.killpg(0, signal.SIGSTOP)
    if tty is None or os.tcgetpgrp(tty) == os.getpgrp():
        _foreground(tty, group)


def _show(log: Path, shown: int) -> int:
    """Show the whole lines that ssh has logged since byte `shown`; return up to where that was."""
    try:
        with log.open("rb") as file:
            file.seek(shown)
            lines, end, _rest = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return shown
    for line in lines.decode(errors="replace").splitlines():
        text = clean(line.rstrip("\r\n"))
        if text == _ONCE_MORE:
            sys.stderr.write(f"({text}) ")
        elif text and not _FOR_THE_AGENT.match(text):
            sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    return shown + len(lines) + len(end)
