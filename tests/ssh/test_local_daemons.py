"""A ProxyCommand may leave the work to a daemon: by a Unix socket, a named pipe or a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trayagent.ssh.os.linux_process import is_readable, program_of
from trayagent.ssh.os.local_daemons import leads_to_others
from trayagent.ssh.os.process import descendants

PIPE = subprocess.PIPE
# Runs a command as ssh runs a ProxyCommand, until its own stdin ends.
SSH = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(b"there\\n")
child.stdin.flush()
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
child.kill()
"""


@pytest.mark.parametrize(
    ("command", "daemon", "leads"),
    [
        (
            "exec socat - UNIX-CONNECT:daemon,retry=99,interval=0.05",
            "exec socat UNIX-LISTEN:daemon EXEC:cat",
            True,
        ),
        ("exec socat - EXEC:cat", "", False),
        ("cat | cat", "", False),
        ("exec 6<&0 7>up 8<down; cat <&6 >&7 & exec cat <&8", "exec cat <up >down", True),
        ("exec 2>log; cat", "exec cat <log", False),
        # The cat in the background has the same pipes, and its parent is gone.
        ("exec 3<&0; (cat <&3 &); exec sleep 60", "", True),
        ("exec 9<>/dev/ptmx; cat", "", True),
        ("exec 9</dev/null; cat", "", False),
    ],
)
def test_only_what_leads_to_another_process_counts(
    tmp_path: Path, command: str, daemon: str, leads: bool
) -> None:
    """What a command has for itself, for its children or for its log leads to no daemon."""
    for name in ("up", "down", "log"):
        os.mkfifo(tmp_path / name)
    other = subprocess.Popen(["sh", "-c", daemon], cwd=tmp_path, stdin=subprocess.DEVNULL)
    # It has a process group of its own: in that of the tests, another test may have a program that nobody can read.
    words = [sys.executable, "-I", "-c", SSH, command]
    ssh = subprocess.Popen(words, cwd=tmp_path, stdin=PIPE, stdout=PIPE, process_group=0)
    try:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"there\n"
        assert leads_to_others(descendants(ssh.pid), ssh.pid) == leads
    finally:
        ssh.communicate()
        other.kill()
        other.communicate()


def test_the_program_of_a_script_is_its_interpreter(tmp_path: Path) -> None:
    """A script may have the name of a known program, and a known program the name of a link."""
    script, link = tmp_path / "nc", tmp_path / "nc7"
    script.write_text("#!/bin/bash\nread -r line\n")
    script.chmod(0o755)
    link.symlink_to("/bin/cat")
    for path, program in ((script, "bash"), (link, "cat")):
        with subprocess.Popen([path], stdin=PIPE) as child:
            assert program_of(child.pid) == program
            assert is_readable(child.pid)
            child.communicate()
    assert program_of(child.pid) == ""
    assert is_readable(child.pid)
