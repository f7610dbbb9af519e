"""Log in at the terminal: ssh prompts the user itself, and the agent adopts the new master.

The agent supplies the command line. ssh runs in its own process group, as a shell would start it, so that a
Ctrl-C after the login does not reach the master's transport (an `ssh -W`).
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
from trayagent.config import runtime_directory as folders
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client
from trayagent.ipc.errors import NoAgent
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text

INTERRUPTED = 128 + signal.SIGINT
_ANSWER_S = 30.0  # the agent runs `ssh -G` first, which may run a slow `Match exec`
_POLL_S = (
    0.01  # an event for ssh's log would need a library; a user is waiting anyway, so polling costs nothing
)
# Lines that ssh logs only because of LogLevel VERBOSE or LogVerbose. The agent needs them, so hide them from the user.
_FOR_THE_AGENT = re.compile(
    r"Authenticated |Transferred: |Bytes per second: |debug[123]: \S+\.c:\w+\(\):\d+ \((?:bin=.*, )?pid=\d+\): "
)
_ONCE_MORE = "Permission denied, please try again."  # comes after the next prompt is on the screen


def log_in(host: str, print_line: Callable[[str], None]) -> int:
    """Log in to a host at this terminal. Return 0 once it is connected, 130 if the user gave up.

    `host` may be any name that ssh understands. Starts an agent if none runs. `print_line` prints a line for the
    user. ssh's prompts and errors go to the terminal (or to $SSH_ASKPASS, see ssh(1)). Raises TrayagentError.
    """
    _check_that_ssh_can_prompt(os.environ)
    log_file = ensure_agent()
    if log_file is not None:
        print_line(_("No agent was running. Started one; it logs to {file}").format(file=log_file))
    begun = _request("login", _ANSWER_S, host=host, pid=os.getpid())
    status = _run(begun["words"], {**begun["env"], **os.environ}, Path(begun["log"]))
    outcome = _outcome(host, begun["attempt"], status)
    if outcome["state"] == "connected" and outcome["pid"] is not None and status == 0:
        print_line(_("{host}: connected").format(host=host))
        _log_in_to_roam(host, print_line)
        return 0
    if status == -signal.SIGTERM:
        hint = f"Log in again: trayagent login {host}"
        raise TrayagentError(
            f"{host}: the login was ended by a restart of the agent or by a signal.", hint=hint
        )
    if status < 0:
        return INTERRUPTED if status == -signal.SIGINT else 128 - status
    problem = outcome["problem"] or {"title": _("ssh did not log in"), "hint": ""}
    title = agent_text(problem["title"])
    if host not in title:
        title = f"{host}: {title}"
    if outcome["state"] == "connected":
        title = _("{problem} (the old connection is kept)").format(problem=title)
    raise TrayagentError(title, hint=problem["hint"])


def _log_in_to_roam(host: str, print_line: Callable[[str], None]) -> None:
    """Log in once more if the host's sessions are to continue on other networks. It stays connected in any case."""
    try:
        begun = _request("login-inner", None, host=host, pid=os.getpid())
    except TrayagentError:  # the agent is older than this command
        return
    if begun["words"] is not None:
        said = _(
            "{host}: a second login follows. It may ask for another code. After that, moves need no login"
        )
        print_line(said.format(host=host))
        # ssh runs a short helper in $SHELL; the user's own shell may read a profile first
        status = _run(begun["words"], {**begun["env"], **os.environ, "SHELL": "/bin/sh"}, Path(begun["log"]))
        begun = _request("logged-in-inner", None, login=begun["login"], status=status)
    if begun.get("roams"):
        print_line(_("{host}: its sessions continue on other networks").format(host=host))
    elif begun["reason"] is not None:
        print_line(_("{host}: does not roam: {reason}").format(host=host, reason=agent_text(begun["reason"])))


def _check_that_ssh_can_prompt(env: Mapping[str, str]) -> None:
    """Raise TrayagentError if ssh cannot prompt the user. Such an ssh would send empty passwords to the server."""
    by_windows = env.get("DISPLAY") or env.get("WAYLAND_DISPLAY") or env.get("SSH_ASKPASS_REQUIRE") == "force"
    with _terminal() as tty:
        if tty is None and not by_windows:
            hint = "Run it in a terminal, or with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force"
            raise TrayagentError(
                "There is no terminal for the questions of ssh.", code="no-terminal", hint=hint
            )


def _request(op: str, timeout_s: float | None, **args: Any) -> dict[str, Any]:
    return blocking_client.call(folders.ipc_socket(os.environ), op, args, timeout_s)


def _outcome(host: str, attempt: int, status: int) -> dict[str, Any]:
    """Report ssh's exit status to the agent, and return the host's new state."""
    try:
        return _request("logged-in", None, host=host, attempt=attempt, status=status)
    except NoAgent:  # the agent ended while the user typed; the next agent finds the new master
        if status != 0:
            raise
        ensure_agent()
        return _request("logged-in", None, host=host, attempt=attempt, status=status)


def _run(words: Sequence[str], env: Mapping[str, str], log: Path) -> int:
    """Run ssh at the terminal, and print its log. Return ssh's exit status, negative if a signal ended it."""
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
    """Yield a descriptor of the controlling terminal; None if there is none or another job owns it."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    # This process takes the terminal back while it is in the background. SIGTTOU would stop it then.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield tty if os.tcgetpgrp(tty) == os.getpgrp() else None
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(tty)


def _foreground(tty: int | None, group: int) -> None:
    """Give the terminal to a process group. Then continue the group, which may have stopped without the terminal."""
    if tty is not None:
        with contextlib.suppress(OSError):  # the terminal or the group is gone; then ssh ends anyway
            os.tcsetpgrp(tty, group)
            os.killpg(group, signal.SIGCONT)


def _stop_too(tty: int | None, group: int) -> None:
    """React to Ctrl-Z, which stopped ssh: stop this process too, because the shell waits for it. Continue both."""
    _foreground(tty, os.getpgrp())
    os.killpg(0, signal.SIGSTOP)
    if tty is None or os.tcgetpgrp(tty) == os.getpgrp():
        _foreground(tty, group)


def _show(log: Path, shown: int) -> int:
    """Print the complete lines that ssh logged after byte `shown`. Return the new offset."""
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
