"""Wrong, hostile or incomplete input: the agent reports the error and continues."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import until
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.lab_tools import tool

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
GOOD = '[hosts.web01]\nlocal = ["9000:127.0.0.1:22"]\n'
NEXT = '[hosts.web01]\nlocal = ["9000:127.0.0.1:22", "9001:127.0.0.1:22"]\n'
GROWTH_MAX_KB = 5 * 1024
NOBODY = 65534

BAD = {
    "unknown key": ("[hosts.web01]\nforwards = []\n", ("hosts.web01.forwards", '"local"')),
    "unknown table": ("[host.web01]\n", ("host", '"hosts"')),
    "wrong type": ('[hosts.web01]\ninteractive = "yes"\n', ("hosts.web01.interactive", "true or false")),
    "impossible forward": ("[hosts.web01]\nlocal = ['99999:localhost:80']\n", ("hosts.web01.local", "99999")),
    "no forward": ("[hosts.web01]\nlocal = ['$(reboot)']\n", ("hosts.web01.local",)),
    "option as host": ('[hosts."-oProxyCommand=reboot"]\n', ("-oProxyCommand=reboot", "option")),
    "shell as host": ('[hosts."$(reboot)"]\n', ("$(reboot)",)),
    "two words as host": ('[hosts."web01; reboot"]\n', ("web01; reboot",)),
    "hook that is no program": ('[hooks]\nconnected = ["HOOK-PLAIN"]\n', ("hooks.connected", "executable")),
    "hook of everybody": ('[hooks]\nconnected = ["HOOK-OPEN"]\n', ("hooks.connected", "written by other users")),
    "hook that is not there": ('[hooks]\nconnected = ["/nonexistent"]\n', ("hooks.connected", "/nonexistent")),
    "cut in the middle": ('[hosts.web01]\nlocal = ["9000:127.0.', ("line 2",)),
    "not text": ("\udcff\udcfe", ("UTF-8",)),
}  # fmt: skip


def write(path: Path, text: str) -> None:
    """Replace a file atomically. The text may contain invalid UTF-8."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(text.encode(errors="surrogateescape"))
    fresh.replace(path)


def with_hooks(agent: Agent, text: str) -> str:
    """Replace HOOK-PLAIN and HOOK-OPEN in the text by paths of files that are invalid as hooks."""
    for name, mode in (("HOOK-PLAIN", 0o600), ("HOOK-OPEN", 0o777)):
        file = agent.state_dir / name.lower()
        file.write_text("#!/bin/sh\n")
        file.chmod(mode)
        text = text.replace(name, str(file))
    return text


def listens(lab: Lab, port: int) -> bool:
    """Report whether a program in the laptop listens on the port."""
    return bool(lab.laptop.run(["ss", "-Hltn", f"sport = :{port}"]).stdout.strip())


def connected(lab: Lab, agent: Agent) -> int:
    """Bring web01 up at home; return its pid."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start(GOOD)
    agent.wait_forwards("web01", {"local": "open"})
    return int(agent.wait_state("web01", "connected")["pid"])


def test_every_bad_configuration_at_start_is_named_and_status_2(agent: Agent) -> None:
    """The message names file, key, error and valid choices, without a traceback; the exit status is 2."""
    for case, (text, said) in BAD.items():
        write(agent.config, with_hooks(agent, text))
        done = agent.cli("run", "--no-tray")
        assert done.returncode == 2, (case, done)
        for word in (str(agent.config), *said):
            assert word in done.stderr, (case, done.stderr)
        assert "Traceback" not in done.stderr, (case, done.stderr)
    agent.config.unlink()
    agent.config.mkdir()
    done = agent.cli("run", "--no-tray")
    assert done.returncode == 2
    assert str(agent.config) in done.stderr
    agent.config.rmdir()
    os.mkfifo(agent.config)
    assert agent.cli("run", "--no-tray", deadline_s=30.0).returncode == 2


def test_every_bad_configuration_at_reload_is_reported_and_changes_nothing(lab: Lab, agent: Agent) -> None:
    """Each error names the key. The master and its forward keep working, and the next valid file takes effect."""
    pid = connected(lab, agent)
    events = agent.events()
    for case, (text, said) in BAD.items():
        write(agent.config, with_hooks(agent, text))
        reason = events.wait("configuration-rejected")["reason"]
        for word in (str(agent.config), said[0]):
            assert word in reason, (case, reason)
    agent.config.unlink()
    agent.config.mkdir()
    events.wait("configuration-rejected")
    agent.config.rmdir()
    assert listens(lab, 9000)
    assert agent.wait_state("web01", "connected")["pid"] == pid
    agent.configure(NEXT)
    until("9001 listens", lambda: listens(lab, 9001))
    assert agent.wait_state("web01", "connected")["pid"] == pid


@pytest.mark.parametrize("opened", ["once", "twice"])
def test_a_file_that_is_saved_in_two_halves_ends_in_force(lab: Lab, agent: Agent, opened: str) -> None:
    """A file that is written in place in two halves, 300 ms apart, takes effect. The master stays."""
    pid = connected(lab, agent)
    events = agent.events()
    half = len(NEXT) - 10
    with agent.config.open("w") as file:
        file.write(NEXT[:half])
        file.flush()
        if opened == "once":
            time.sleep(0.3)  # simulate a slow writer
            file.write(NEXT[half:])
    if opened == "twice":
        time.sleep(0.3)  # simulate a slow writer
        with agent.config.open("a") as file:
            file.write(NEXT[half:])
    until("9001 listens", lambda: listens(lab, 9001))
    assert agent.wait_state("web01", "connected")["pid"] == pid
    told = [e["event"] for e in events.drain() if e["event"].startswith("configuration-")]
    assert told[-1] == "configuration-changed", told


def test_a_configuration_in_a_folder_that_is_made_later_is_read(lab: Lab, agent: Agent) -> None:
    """The agent runs before any configuration exists, and loads the first one when it is written."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.config.parent.chmod(0o700)
    agent.config = agent.config.parent / "later" / "deeper" / "config.toml"
    agent.env["TRAYAGENT_CONFIG"] = str(agent.config)
    agent.start()
    agent.config.parent.mkdir(parents=True, mode=0o700)
    write(agent.config, GOOD)
    agent.wait_state("web01", "connected")


def test_a_host_of_ssh_config_that_is_not_listed_leads_to_login(lab: Lab, agent: Agent) -> None:
    """For an unlisted host of ssh_config, the hint suggests `login`. For an unknown name, it suggests `status`."""
    lab.ssh_config({"gitlab": SERVER, "git.example": SERVER})
    agent.start()
    told = agent.cli("reconnect", "gitlab").stderr
    assert "gitlab is in ssh_config, but not listed" in told
    assert "trayagent login gitlab" in told
    assert "[hosts.gitlab]" in told
    assert '[hosts."git.example"]' in agent.cli("why", "git.example").stderr
    assert "`trayagent status` lists all hosts" in agent.cli("reconnect", "unheard").stderr


# -- the IPC socket ---------------------------------------------------------------------------------


def rss_kb(agent: Agent) -> int:
    """Return the agent's resident memory in KiB."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{agent.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@contextlib.contextmanager
def client(agent: Agent) -> Iterator[socket.socket]:
    """Connect to the agent's socket, as any program of this user can."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5.0)
        sock.connect(str(next(agent.runtime_dir.glob("*.sock"))))
        yield sock


def goes_on(agent: Agent, before_kb: int) -> None:
    """Check that the agent answers and that its memory has not grown."""
    agent.status()
    grown_kb = rss_kb(agent) - before_kb
    assert grown_kb < GROWTH_MAX_KB, grown_kb


def end_of(sock: socket.socket) -> bytes:
    """Read until the agent closes the connection."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            said += data
    return said


def test_garbage_half_lines_and_endless_lines_do_no_harm(agent: Agent) -> None:
    """The agent answers each bad request with an error or drops it.

    `status` works meanwhile, and memory does not grow.
    """
    agent.start("")
    agent.status()
    before_kb = rss_kb(agent)
    with client(agent) as half:
        half.sendall(b'{"op": "sta')
        for garbage in (
            b"\0\xff\xfe\n",
            b"[]\n",
            b"{}\n",
            b'{"op": "format"}\n',
            b"\n" * 1000 + b"x\n",
            b"[" * 60000 + b"\n",
        ):
            with client(agent) as sock:
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                assert b'"error"' in end_of(sock) or not garbage.strip(), garbage[:40]
        with client(agent) as sock:
            chunk, sent = b"a" * 65536, 0
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while sent < 10 << 20:
                    sent += sock.send(chunk)
            assert sent < 10 << 20, "ten megabytes without a newline were accepted"
        goes_on(agent, before_kb)


def test_five_hundred_idle_clients_lock_no_client_out(agent: Agent) -> None:
    """Idle clients use little memory. The agent closes the longest idle ones first, and answers other requests."""
    agent.start("")
    agent.status()
    before_kb = rss_kb(agent)
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(client(agent))
        goes_on(agent, before_kb)
    goes_on(agent, before_kb)


def test_a_client_that_never_reads_a_thousand_events_costs_only_itself(lab: Lab, agent: Agent) -> None:
    """Unread events wait in a bounded queue. Another reader gets each event in time."""
    lab.join("home")
    agent.start("")
    events = agent.events()
    agent.status()
    before_kb = rss_kb(agent)
    with client(agent) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.sendall(json.dumps({"v": 1, "op": "events", "args": {}}).encode() + b"\n")
        ip = lab.laptop.popen([tool("ip"), "-batch", "-"], admin=True, stdin=subprocess.PIPE)
        assert ip.stdin
        for number in range(1000):
            word = "add" if number % 2 == 0 else "del"
            ip.stdin.write(f"addr {word} 10.77.0.{number // 2 % 200 + 1}/32 dev eth0\n")
            ip.stdin.flush()
            time.sleep(0.003)  # so that the agent does not merge the changes into one event
        ip.communicate()
        goes_on(agent, before_kb)
        lab.join("cafe")

        def heard() -> bool:
            changes = [e["reason"] for e in events.drain(0.1) if e["event"] == "network-changed"]
            return len(changes) > 100 and "+10.20.0.2" in " ".join(changes[-5:])

        until("another reader has the last change", heard)
        assert deaf.recv(100).startswith(b'{"ok":true'), "it was not a reader of events"


KNOCK = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
    sock.sendall(b'{"v": 1, "op": "status", "args": {"hosts": []}}\\n')
    print("heard", sock.recv(65536))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user for once")
def test_another_user_cannot_speak_to_the_agent(lab: Lab, agent: Agent) -> None:
    """The folder's mode excludes other users. If the mode is changed, the agent still checks the peer's credentials."""
    agent.start("")
    (path,) = agent.runtime_dir.glob("*.sock")
    for folder in (lab.files.root, lab.files.runtime):
        folder.chmod(0o711)
    assert lab.laptop.run(["python3", "-c", KNOCK, str(path)]).stdout == "PermissionError\n"
    agent.runtime_dir.chmod(0o711)
    assert lab.laptop.run(["python3", "-c", KNOCK, str(path)]).stdout == "PermissionError\n"
    path.chmod(0o666)
    assert lab.laptop.run(["python3", "-c", KNOCK, str(path)]).stdout in {
        "heard b''\n",
        "ConnectionResetError\n",
        "BrokenPipeError\n",
    }
    agent.status()


# -- words with a special meaning elsewhere -----------------------------------------------------------


STRANGE = (
    "a b",
    "$(touch marker);touch marker",
    "it's",
    'say "it"',
    r"back\slash",
    "per%%cent #1",
    "-oProxyCommand=touch marker",
    "`touch marker`",
    "ünï",
)


def test_a_control_path_of_strange_signs_is_only_a_path(lab: Lab, agent: Agent) -> None:
    """The agent takes a control path with quotes, spaces and shell characters literally, also after a recovery."""
    lab.join("home")
    lab.sshd()
    paths, options = {}, {}
    for number, name in enumerate(STRANGE):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        options[f"web{number}"] = {"HostName": "203.0.113.10", "ControlPath": f'"~/.ssh/{quoted}"'}
        paths[f"web{number}"] = lab.files.ssh / name.replace("%%", "%")
    lab.ssh_config(options)
    agent.start("".join(f"[hosts.{host}]\n" for host in paths))
    for host, path in paths.items():
        assert agent.wait_state(host, "connected")["control_path"] == str(path)
        assert path.is_socket()
    lab.switch("home", "cafe")
    until("all recovered", lambda: {h["recoveries"] for h in agent.status()["hosts"]} == {1}, 20.0)
    for host, path in paths.items():
        assert agent.wait_state(host, "connected")["control_path"] == str(path)
        check = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "check", host]
        assert lab.laptop.run(check).stderr.startswith("Master running"), path
    assert {p for p in lab.files.ssh.iterdir() if p.is_socket()} == {*paths.values()}
    assert not list(lab.files.root.rglob("marker*"))


def test_a_forward_of_strange_signs_is_only_a_forward(lab: Lab, agent: Agent) -> None:
    """The text of a forward reaches the master unchanged, never as shell code, an option or another file."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    listen = f"{lab.files.home}/a b;$(touch marker).sock"
    agent.start(
        "[hosts.web01]\n"
        f"local = [{json.dumps(listen + ':/tmp/x')}, '9000:$(touch marker):22', '9001:-oProxyCommand=x:22']\n"
    )
    agent.wait_state("web01", "connected")
    until("it listens", Path(listen).is_socket)
    for port in (9000, 9001):
        until(f"{port} listens", lambda port=port: listens(lab, port))  # type: ignore[misc]  # called in this iteration only
        with contextlib.suppress(TrayagentError), lab.probe(port) as probe:
            probe.release()
            probe.result(deadline_s=0.3)
    assert not list(lab.files.root.rglob("marker*"))
    assert agent.wait_state("web01", "connected")["pid"]
