"""Servers other than sshd, and restricted accounts: each forward opens or fails with a reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.lab.logins.test_openssh_versions import program
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

HOST = "web01"
ADDRESS = "203.0.113.10"
OPTIONS = {"HostName": ADDRESS, "ControlPath": "~/.ssh/cm-%C"}
CONFIG = f'[hosts.{HOST}]\nlocal = ["9000:127.0.0.1:8001"]\nremote = ["127.0.0.1:22221:127.0.0.1:8000"]\n'
Server = Callable[[Lab], AbstractContextManager[None]]
# The states of the local forward, and of the remote forward before and after a move. If the server runs no script,
# the agent cannot free a port that the lost connection holds. tinysshd never answers a request for a remote forward,
# so each request costs 10 s.
EXPECTED: Mapping[str, tuple[str, tuple[str, str | None]]] = {
    "asyncssh": ("open", ("open", "failed")),
    "tinysshd": ("open", ("failed", None)),
    "rbash": ("open", ("open", "failed")),
    "sftp_only": ("open", ("failed", "failed")),
}

ASYNCSSH = """
    import asyncio, sys, asyncssh
    class Server(asyncssh.SSHServer):
        def connection_requested(self, *_): return True
        def server_requested(self, *_): return True
        def begin_auth(self, _): return True
    async def session(process):
        shell = await asyncio.create_subprocess_shell(process.command or "cat", stdin=-1, stdout=-1)
        await process.redirect(shell.stdin, shell.stdout)
        process.exit(await shell.wait())
    async def main():
        await asyncssh.create_server(Server, sys.argv[1], 22, server_host_keys=[sys.argv[2]],
            authorized_client_keys=sys.argv[3], process_factory=session, encoding=None)
        await asyncio.Event().wait()
    asyncio.run(main())
"""


@contextmanager
def running(lab: Lab, words: list[str]) -> Iterator[None]:
    """Run a server program during the block."""
    child = lab.server.popen(words, stderr=subprocess.DEVNULL)
    try:
        until("the server listens", lambda: f"{ADDRESS}:22 " in lab.server.check(["ss", "-Hltn"]))
        yield
    finally:
        child.kill()
        child.wait()


def known(lab: Lab, public: str) -> None:
    """Add a host key to known_hosts, and authorize the user's key."""
    folder = lab.files.far_home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_bytes(lab.files.authorized_keys.read_bytes())
    (folder / "authorized_keys").chmod(0o600)
    with lab.files.known_hosts.open("a") as known:
        known.write(f"{ADDRESS} {public}\n")


def edit_account(lab: Lab, old: str, new: str) -> None:
    """Change the user's line in the server's /etc/passwd, in place, because the file is mounted."""
    with (lab.files.root / "etc/passwd-far").open("r+") as file:
        text = file.read().replace(old, new, 1)
        file.seek(0)
        file.write(text)
        file.truncate()


@contextmanager
def asyncssh(lab: Lab) -> Iterator[None]:
    """Run an AsyncSSH server."""
    pytest.importorskip("asyncssh")
    key = lab.files.root / "asyncssh-key"
    lab.server.check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    known(lab, " ".join(key.with_suffix(".pub").read_text().split()[:2]))
    script = textwrap.dedent(ASYNCSSH)
    with running(lab, [sys.executable, "-c", script, ADDRESS, str(key), str(lab.files.authorized_keys)]):
        yield


@contextmanager
def tinysshd(lab: Lab) -> Iterator[None]:
    """Run tinysshd behind socat, as inetd would."""
    if shutil.which("tinysshd") is None or shutil.which("socat") is None:
        pytest.skip("tinysshd or socat is missing")
    keys = lab.files.root / "tinyssh"
    lab.server.check(["tinysshd-makekey", str(keys)])
    line = next(w for w in lab.server.check(["tinysshd-printkey", str(keys)]).splitlines() if "ed25519" in w)
    known(lab, " ".join(line.split()[:2]))
    # tinysshd refuses a home below a directory that others may write to, such as the lab's in /tmp.
    lab.server.check(["chmod", "755", "/run"])
    edit_account(lab, str(lab.files.far_home), "/run/home")
    lab.server.check(["mkdir", "-m", "700", "/run/home"])
    lab.server.check(["cp", "-r", str(lab.files.far_home / ".ssh"), "/run/home/"])
    words = ["socat", f"TCP-LISTEN:22,bind={ADDRESS},reuseaddr,fork", f"EXEC:tinysshd -v {keys}"]
    with running(lab, words):
        yield


@contextmanager
def rbash(lab: Lab) -> Iterator[None]:
    """Run sshd for an account whose shell is rbash."""
    lab.sshd()
    edit_account(lab, "/bin/bash", "/bin/rbash")
    yield


@contextmanager
def sftp_only(lab: Lab) -> Iterator[None]:
    """Run sshd for an account that may only use sftp, in a chroot, which only root may set up."""
    chroot = ["ChrootDirectory /"] if os.geteuid() == 0 else []
    lab.sshd(config=["ForceCommand internal-sftp", "AllowTcpForwarding no", *chroot])
    yield


@pytest.mark.parametrize("server", [asyncssh, tinysshd, rbash, sftp_only])
def test_each_forward_is_open_or_says_why_not(lab: Lab, agent: Agent, server: Server) -> None:
    """Before and after a move the host is connected, and no forward stays `opening`. A refused one shows the reason."""
    lab.join("home")
    lab.echo(8000, node=lab.laptop)
    lab.echo(8001)
    lab.ssh_config({HOST: OPTIONS})
    local, remote = EXPECTED[server.__name__]
    words = defaultdict(lambda: "not allowed", tinysshd="has no remote forwards")
    with server(lab):
        agent.start(CONFIG)
        agent.wait_forwards(HOST, {"local": local, "remote": remote[0]})
        for forward in agent.listed_host(HOST)["forwards"]:
            assert forward["state"] == "open" or words[server.__name__] in forward["error"], forward
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        agent.wait_forwards(HOST, {"local": local} | ({"remote": remote[1]} if remote[1] else {}))
        said = agent.cli("doctor").stdout
        assert ("runs no commands" in said) == (server in {rbash, sftp_only}), said


def test_a_server_that_refuses_connections_has_a_code_of_its_own(lab: Lab, agent: Agent) -> None:
    """With RefuseConnection the server proves its host key and then closes the connection.

    The agent makes two logins.
    """
    server = lab.sshd(config=["RefuseConnection yes"], program=program("sid", "usr/sbin/sshd"))
    lab.join("home")
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    until(
        "the code is shown", lambda: (agent.listed_host(HOST)["problem"] or {}).get("code") == "login-closed"
    )
    assert "administratively prohibited" in server.said()
