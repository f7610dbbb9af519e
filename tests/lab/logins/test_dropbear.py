"""A Dropbear server: masters, forwards, probes and the clean-up of a dead session work as with sshd."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.forwards.test_remote_cleanup import CONFIG, HOST, decisions, far_pid, kept, reached
from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab

ADDRESS = "203.0.113.10"
MISSING = [
    name for name in ("dropbear", "dropbearkey") if shutil.which(name, path="/usr/sbin:/usr/bin") is None
]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@contextmanager
def dropbear(lab: Lab) -> Iterator[None]:
    """Run Dropbear on the server, and add its host key to known_hosts."""
    key = lab.files.root / "dropbear-key"
    made = lab.server.check(["dropbearkey", "-t", "ed25519", "-f", str(key)])
    public = next(line for line in made.splitlines() if line.startswith("ssh-ed25519 "))
    folder = lab.files.far_home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_bytes(lab.files.authorized_keys.read_bytes())
    (folder / "authorized_keys").chmod(0o600)
    with lab.files.known_hosts.open("a") as known:
        known.write(f"{ADDRESS} {public.rsplit(' ', 1)[0]}\n")
    words = ["/usr/sbin/dropbear", "-F", "-E", "-s", "-r", str(key), "-p", f"{ADDRESS}:22"]
    words += ["-P", str(lab.files.root / "dropbear.pid")]
    child = lab.server.popen(words, stderr=subprocess.DEVNULL)
    try:
        until("Dropbear listens", lambda: f"{ADDRESS}:22 " in lab.server.check(["ss", "-Hltn"]))
        yield
    finally:
        child.kill()
        child.wait()


def test_the_dead_session_is_ended_and_its_port_is_back(lab: Lab, agent: Agent) -> None:
    """The dead session's parent is Dropbear's process for the connection.

    It holds the port, and sends no keep-alives.
    """
    lab.join("home")
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: {"HostName": ADDRESS, "ControlPath": "~/.ssh/cm-%C"}})
    with dropbear(lab):
        agent.start(CONFIG)
        agent.wait_forwards(HOST, {"remote": "open"})
        until("the remote session is on record", lambda: kept(agent))
        old = far_pid(agent)
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        events.wait("forward-open", HOST)
        assert reached(lab)
        assert not alive(old)
        assert "ended=1" in decisions(agent, "reap")[-1]
