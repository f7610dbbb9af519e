"""The remote command of attach: every login shell passes the user's words unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.attach import remote_command as far_command
from trayagent.errors import TrayagentError

SHELLS = ("sh", "bash", "dash", "zsh", "fish", "csh", "tcsh")
NASTY = (
    "a b",
    "it's",
    '"',
    "$HOME",
    "`id`",
    "$(id)",
    "!!",
    "\\",
    "\\n",
    "\\0141",
    "%d%s",
    "-e",
    "é☃",
    "a\nb",
    "",
    "*",
)


def have(program: str) -> None:
    """If a program is missing, skip on a desktop, but fail in CI."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is missing")


def run(shell: str, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as sshd does: the login shell with -c."""
    return subprocess.run(
        [shell, "-c", command],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Make a directory whose tmux and screen print the words that they were called with."""
    for name in ("tmux", "screen"):
        path = tmp_path / name
        path.write_text('#!/bin/sh\n[ "$1" = -ls ] || { printf "<%s>" "$@"; exit 5; }\n')
        path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_the_words_of_a_command_arrive_as_they_are(shell: str) -> None:
    """Words with special characters of every shell and of printf arrive unchanged, and so does the exit status."""
    have(shell)
    script = 'printf "<%s>" "$@"; exit 7'
    done = run(shell, far_command.words(["sh", "-c", script, "sh", *NASTY], "t-1", again=True))
    assert done.stdout == "".join(f"<{word}>" for word in NASTY), done.stderr
    assert done.returncode == 7


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("kind", "called"), [("tmux", "<new-session><-A><-s><{}>"), ("screen", "<-S><{}>")])
def test_a_session_gets_its_name_in_every_login_shell(
    shell: str, kind: str, called: str, programs: Path
) -> None:
    """An existing session is attached, and a missing one is created.

    The command exits with the multiplexer's status.
    """
    have(shell)
    path = f"{programs}:{os.environ['PATH']}"
    for name in ("main", "größe", "a+b@c=d,e~f-g"):
        done = run(
            shell, far_command.multiplexer(kind, name, "t-1", again=False), PATH=path, LC_ALL="C.UTF-8"
        )
        assert done.stdout == called.format(name), done.stderr
        assert done.returncode == 5


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "-x",
        "a:b",
        "a.b",
        "a/b",
        "it's",
        'a"b',
        "$a",
        "`a`",
        "a;b",
        "a\nb",
        "a\n",
        "\0",
        "x" * 65,
        "a!",
        "(",
        "*",
    ],
)
def test_an_invalid_name_is_refused(name: str) -> None:
    """An invalid name is rejected. The error contains the rule, and not all of a name of three hundred characters."""
    with pytest.raises(TrayagentError) as refused:
        far_command.check_name(name)
    assert refused.value.code == "session-name"
    assert "letters, digits" in refused.value.hint
    assert len(refused.value.title) < 100


class Orphan:
    """A session that a dead connection left behind: our shell, a Unix session's leader, with a foreground program."""

    def __init__(self, token: str) -> None:
        command = far_command.words(["sleep", "60"], token, again=False)
        self.process = subprocess.Popen(["sh", "-c", command], start_new_session=True)
        limit = time.monotonic() + 10
        while not self._is_ours():
            assert time.monotonic() < limit
            time.sleep(0.01)

    def _is_ours(self) -> bool:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return bool(children.read_text().split())


@pytest.fixture
def orphans() -> Iterator[list[Orphan]]:
    """Start three left-over sessions: two with our token, and one of another terminal."""
    made = [Orphan(token) for token in ("trayagent-b-1", "trayagent-b-1", "trayagent-b-2")]
    try:
        yield made
    finally:
        for orphan in made:
            if orphan.process.poll() is None:
                os.killpg(orphan.process.pid, 9)
            orphan.process.wait()


def test_a_later_attempt_ends_only_its_own_process_groups(orphans: list[Orphan]) -> None:
    """A later attempt ends only process groups with its own token. The first attempt ends none."""
    first = far_command.words(["true"], "trayagent-b-1", again=False)
    assert run("sh", first).returncode == 0
    assert [orphan.process.poll() for orphan in orphans] == [None, None, None]
    again = far_command.words(["echo", "begins"], "trayagent-b-1", again=True)
    assert run("sh", again).stdout == "begins\n"
    assert [orphan.process.wait(10) for orphan in orphans[:2]] == [-1, -1]
    assert orphans[2].process.poll() is None
