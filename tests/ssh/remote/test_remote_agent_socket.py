"""The scripts for the link to the ssh-agent socket, run by several shells, with sockets like those of sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.ssh.remote.agent_socket_link import release_script, take_script

SHELLS = [shell for shell in ("dash", "bash", "zsh", "ksh") if shutil.which(shell)]


class ServerHome:
    """A home directory on a server, with sockets like those of OpenSSH 10, and a shell."""

    def __init__(self, home: Path, shell: str) -> None:
        self.home, self._shell = home, shell
        self._sockets: list[socket.socket] = []
        (home / ".ssh" / "agent").mkdir(parents=True)

    def socket(self, name: str) -> str:
        """Make a socket that does not answer, like that of a dead connection."""
        sock = socket.socket(socket.AF_UNIX)
        path = self.home / ".ssh" / "agent" / f"s.{name}.sshd.x"
        sock.bind(str(path))
        sock.listen()
        self._sockets.append(sock)
        return str(path)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            sock.close()

    def release(self, link: str, ours: str) -> str:
        """Run the release script. Without ssh-add, the script finds no other connection for the link."""
        few = self.home / "bin"
        few.mkdir(exist_ok=True)
        for tool in ("readlink", "rm", "ls"):
            if not (few / tool).exists():
                (few / tool).symlink_to(shutil.which(tool) or tool)
        return self.run(release_script(link, ours), path=str(few))

    def run(self, script: str, agent: str = "", path: str = os.environ["PATH"]) -> str:
        """Run a script in a session whose SSH_AUTH_SOCK is `agent`, and return its output."""
        words = [
            shutil.which(self._shell) or self._shell,
            *(["--emulate", "sh"] if self._shell == "zsh" else []),
            "-c",
            script,
        ]
        env = {"HOME": str(self.home), "PATH": path, "SSH_AUTH_SOCK": agent}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip()


@pytest.fixture(params=SHELLS)
def far(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ServerHome]:
    """Make a server's home in a short path, because sockets need short paths."""
    made = ServerHome(tmp_path_factory.mktemp("h"), request.param)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["agent.sock", 'it\'s "an" $agent; `sock`', "new folder/-x.sock"])
def test_the_link_has_exactly_the_configured_name(far: ServerHome, name: str) -> None:
    """The link gets exactly the configured name, even with special characters; a missing directory is made private."""
    mine = far.socket("1")
    assert far.run(take_script(f"~/{name}", None, claim=False), mine) == f"linked {mine}"
    link = far.home / name
    assert str(link.readlink()) == mine
    assert link.parent == far.home or link.parent.stat().st_mode & 0o777 == 0o700
    assert far.run(take_script(f"~/{name}", mine, claim=False), mine) == f"kept {mine}"
    assert far.release(f"~/{name}", mine) == "released"
    assert not link.is_symlink()


def test_our_earlier_link_and_a_dangling_link_are_replaced(far: ServerHome) -> None:
    """The script replaces our own earlier link and a dangling link, without a check of their sockets."""
    link = far.home / "a.sock"
    old, new = far.socket("old"), far.socket("new")
    link.symlink_to(old)
    assert far.run(take_script(str(link), old, claim=False), new) == f"linked {new}"
    link.unlink()
    link.symlink_to(f"{far.home}/.ssh/agent/s.gone.sshd.x")
    assert far.run(take_script(str(link), None, claim=False), new) == f"linked {new}"


def test_a_link_to_a_silent_connection_is_replaced(far: ServerHome) -> None:
    """The script replaces a link to a connection that does not answer."""
    link = far.home / "a.sock"
    silent, mine = far.socket("silent"), far.socket("mine")
    link.symlink_to(silent)
    assert far.run(take_script(str(link), None, claim=False), mine) == f"linked {mine}"


def test_files_of_others_are_kept(far: ServerHome) -> None:
    """The script keeps a file, a directory and a link to something else; release keeps a link that is not ours."""
    mine = far.socket("1")
    file, folder, link = (far.home / name for name in ("file", "folder", "link"))
    file.write_text("x")
    folder.mkdir()
    link.symlink_to("/run/user/1000/keyring/ssh")
    assert far.run(take_script(str(file), None, claim=True), mine) == "occupied"
    assert far.run(take_script(str(folder), None, claim=True), mine) == "occupied"
    assert far.run(take_script(str(link), None, claim=True), mine).startswith("foreign /run/user")
    assert far.release(str(link), mine) == ""
    assert file.read_text() == "x"
    assert str(link.readlink()) == "/run/user/1000/keyring/ssh"
    assert not list(folder.iterdir())


def test_a_missing_and_a_hidden_socket_are_reported(far: ServerHome) -> None:
    """The script makes no link without agent forwarding, or if the start-up files name another ssh-agent."""
    assert far.run(take_script("~/a.sock", None, claim=True)) == "none"
    own = far.home / "keyring"
    assert far.run(take_script("~/a.sock", None, claim=True), str(own)) == f"hidden {own}"
    assert not (far.home / "a.sock").is_symlink()


def test_a_link_that_cannot_be_made_is_reported_with_the_reason(far: ServerHome) -> None:
    """If the link cannot be made, the script reports the reason."""
    (far.home / "file").write_text("")
    said = far.run(take_script("~/file/a.sock", None, claim=True), far.socket("1"))
    assert said.startswith("failed ")
    assert "file" in said
