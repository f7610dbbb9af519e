"""A ProxyCommand may leave the work to a daemon: by a Unix socket, a named pipe or a pipe."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ssh.conftest import poll
from trayagent.ssh.os.linux_process import is_openssh, is_readable, program_of
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
        pytest.param(
            "exec 3<&0; (setpriv --reuid=61234 --clear-groups setsid cat <&3 &); exec sleep 60",
            "",
            True,
            marks=pytest.mark.root,
        ),
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

        def found() -> bool:
            return leads_to_others(descendants(ssh.pid), ssh.pid)

        if leads:  # a shell may still be the parent of what it leaves behind
            poll(found, "it leads to another process")
        assert found() == leads
    finally:
        ssh.communicate()
        other.kill()
        other.communicate()


def test_only_a_program_of_openssh_counts_as_ssh(tmp_path: Path) -> None:
    """A script or another program may have the name ssh."""
    script, copy, link = tmp_path / "script" / "ssh", tmp_path / "copy" / "ssh", tmp_path / "link"
    for path in (script, copy):
        path.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.stdin.read()\n")
    script.chmod(0o755)
    shutil.copy(shutil.which("cat") or "", copy)
    link.symlink_to(shutil.which("ssh") or "")
    with socket.create_server(("127.0.0.1", 0)) as server:
        to_server = ["-F", "none", "-p", str(server.getsockname()[1]), "127.0.0.1"]
        for path, words, expected in ((script, [], False), (copy, [], False), (link, to_server, True)):
            with subprocess.Popen([str(path), *words], stdin=PIPE, stderr=subprocess.DEVNULL) as child:
                connection = server.accept()[0] if expected else None
                assert is_openssh(child.pid) == expected
                child.kill()
                if connection is not None:
                    connection.close()


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
