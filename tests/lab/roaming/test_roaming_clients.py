"""Common client programs during three moves of a host that roams: no program fails."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from tests.lab.matrix import need, until
from tests.lab.roaming.test_roaming_losses import HOST, roaming
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent_events import Events
from trayagent.sandbox.lab_tools import search_path
from trayagent.sandbox.terminal import Terminal

SIZE = 2_000_000
SLOW_MBIT_S = 4.0  # slow enough that the transfers take longer than the three moves
MOVES = (("home", "cafe"), ("cafe", "office"), ("office", "home"))
LONG_S = 120.0

# Connects to a port, sends each line from stdin, and prints the answer. With a second number, the first port is a
# SOCKS proxy (RFC 1928), and the second is the target port on the server.
VISITOR = """
import socket, struct, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60) as sock:
    if sys.argv[2:]:
        sock.sendall(bytes([5, 1, 0]) + bytes([5, 1, 0, 1, 127, 0, 0, 1]) + struct.pack("!H", int(sys.argv[2])))
        answer = b""
        while len(answer) < 12:
            answer += sock.recv(12 - len(answer))
        assert answer[:4] == bytes([5, 0, 5, 0]), answer
    lines = sock.makefile("rw")
    for line in sys.stdin:
        lines.write(line); lines.flush()
        print(lines.readline(), end="", flush=True)
"""


def program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name, path=search_path())
    need(found, name)
    return str(found)


def move(lab: Lab, events: Events) -> None:
    """Move three times, each time until the sessions continue."""
    for left, joined in MOVES:
        lab.switch(left, joined)
        events.wait("moved", HOST, deadline_s=LONG_S)


def random_file(path: Path) -> str:
    """Write a file that cannot be compressed, and return its hash."""
    data = Random(path.name).randbytes(SIZE)  # noqa: S311  # the same bytes in each run
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def hash_of(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git(lab: Lab, *words: str) -> None:
    """Run git on the laptop."""
    lab.laptop.check(["git", "-c", "user.name=me", "-c", "user.email=me@here", *words])


def make_repository(lab: Lab) -> str:
    """Make a repository on the server with one large file, and return the file's hash."""
    far, work = lab.files.far_home / "repository.git", lab.files.home / "work"
    git(lab, "init", "-q", "--bare", str(far))
    git(lab, "init", "-q", str(work))
    wanted = random_file(work / "fetched")
    git(lab, "-C", str(work), "add", ".")
    git(lab, "-C", str(work), "commit", "-qm", "one")
    git(lab, "-C", str(work), "push", "-q", str(far), "HEAD:refs/heads/main")
    git(lab, "-C", str(far), "symbolic-ref", "HEAD", "refs/heads/main")
    random_file(work / "pushed")
    git(lab, "-C", str(work), "add", ".")
    git(lab, "-C", str(work), "commit", "-qm", "two")
    return wanted


@pytest.mark.timeout(600)
def test_transfers_go_on(lab: Lab, agent: Agent) -> None:
    """git, rsync, scp and sftp transfer files in both directions, and all files arrive complete."""
    for name in ("git", "rsync", "scp", "sftp"):
        program(name)
    near, far = lab.files.home, lab.files.far_home
    fetched = make_repository(lab)
    wanted = {far / f"up-{name}": random_file(near / f"{name}-up") for name in ("rsync", "scp", "sftp")}
    wanted |= {near / f"down-{name}": random_file(far / f"{name}-down") for name in ("rsync", "scp", "sftp")}
    roaming(lab, agent)
    events = agent.events()
    lab.set_bandwidth(SLOW_MBIT_S)
    commands = {
        "git clone": ["git", "clone", "-q", f"{HOST}:repository.git", str(near / "clone")],
        "git push": [
            "git",
            "-C",
            str(near / "work"),
            "push",
            "-q",
            f"{HOST}:repository.git",
            "HEAD:refs/heads/next",
        ],
        "rsync up": ["rsync", "-P", str(near / "rsync-up"), f"{HOST}:up-rsync"],
        "rsync down": ["rsync", "-P", f"{HOST}:rsync-down", str(near / "down-rsync")],
        "scp up": ["scp", "-q", str(near / "scp-up"), f"{HOST}:up-scp"],
        "scp down": ["scp", "-q", f"{HOST}:scp-down", str(near / "down-scp")],
        "sftp up": ["sh", "-c", f"echo put {near}/sftp-up up-sftp | sftp -q -b - {HOST}"],
        "sftp down": ["sh", "-c", f"echo get sftp-down {near}/down-sftp | sftp -q -b - {HOST}"],
    }
    running = start(lab, commands)
    move(lab, events)
    assert any(child.poll() is None for child in running.values()), "all ended before the last move"
    lab.set_bandwidth(None)
    for name, child in running.items():
        _, errors = child.communicate(timeout=LONG_S)
        assert child.returncode == 0, f"{name}: {errors}"
    assert {path: hash_of(path) for path in wanted} == wanted
    assert hash_of(near / "clone/fetched") == fetched
    git(lab, "-C", str(far / "repository.git"), "fsck", "--strict")
    pushed = lab.laptop.check(["git", "-C", str(far / "repository.git"), "rev-parse", "next"])
    assert pushed == lab.laptop.check(["git", "-C", str(near / "work"), "rev-parse", "HEAD"])


def start(lab: Lab, commands: Mapping[str, list[str]]) -> dict[str, subprocess.Popen[str]]:
    """Start programs on the laptop."""
    pipe = subprocess.PIPE
    return {name: lab.laptop.popen(words, stdout=pipe, stderr=pipe) for name, words in commands.items()}


@pytest.mark.timeout(600)
def test_terminals_go_on(lab: Lab, agent: Agent) -> None:
    """A bare shell with a background job, vim in a shell, and tmux: each answers its input after each move."""
    for name in ("vim", "tmux"):
        program(name)
    roaming(lab, agent)
    events = agent.events()
    env = {"PATH": f"{Path(lab.ssh).parent}:{search_path()}"}
    ssh = ["ssh", "-t", HOST]
    with (
        Terminal(lab.laptop, [*ssh, "sh -i"], env) as shell,
        Terminal(lab.laptop, [*ssh, "vim -u NONE -i NONE notes"], env) as vim,
        Terminal(lab.laptop, [*ssh, "tmux -f /dev/null new -s work"], env) as tmux,
    ):
        shell.enter("PS1='pro''mpt> '\r")
        shell.expect("prompt> ")
        shell.enter("(i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i >counter; sleep 0.1; done) &\r")
        shell.expect("prompt> ")
        vim.enter("ihome ")
        vim.expect("home")
        tmux.enter("echo ho''me\r")
        tmux.expect("home")
        for left, joined in MOVES:
            lab.switch(left, joined)
            shell.enter(f"echo in-{joined[:3]}''{joined[3:]}\r")
            vim.enter(f"{joined} ")
            tmux.enter(f"echo at-{joined[:3]}''{joined[3:]}\r")
            events.wait("moved", HOST, deadline_s=LONG_S)
            shell.expect(f"in-{joined}", LONG_S)
            vim.expect(joined, LONG_S)
            tmux.expect(f"at-{joined}", LONG_S)
        vim.enter("\x1b:wq\r")
        assert vim.ended() == 0
        tmux.enter("exit\r")
        assert tmux.ended() == 0
        shell.enter("kill %1; cat counter; exit\r")
        assert shell.ended() == 0
    assert (lab.files.far_home / "notes").read_text() == "home cafe office home \n"
    assert int((lab.files.far_home / "counter").read_text()) > 1


@pytest.mark.timeout(150)
def test_connections_through_forwards_go_on(lab: Lab, agent: Agent) -> None:
    """Connections of a client through -L, a visitor through -R, and an editor get each answer exactly once.

    An editor like VS Code runs `ssh -T -D`: it talks to a program on the server, and connects through SOCKS.
    """
    lab.echo(8000)
    lab.echo(8100, node=lab.laptop)
    roaming(lab, agent, 'local = ["9000:127.0.0.1:8000"]\nremote = ["9022:127.0.0.1:8100"]\n')
    agent.wait_forwards(HOST, {"local": "open", "remote": "open"}, LONG_S)
    events, pipe = agent.events(), subprocess.PIPE
    command = [sys.executable, "-I", "-c", VISITOR]
    client = lab.laptop.popen([*command, "9000"], stdin=pipe, stdout=pipe)
    visitor = lab.server.popen([*command, "9022"], stdin=pipe, stdout=pipe)
    editor = lab.laptop.popen(
        ["ssh", "-T", "-D", "9080", HOST, "echo ready; exec cat"], stdin=pipe, stdout=pipe
    )
    assert editor.stdout is not None and editor.stdout.readline() == "ready\n"
    socks = lab.laptop.popen([*command, "9080", "8000"], stdin=pipe, stdout=pipe)
    children = (client, visitor, editor, socks)
    number = 0
    for left, joined in MOVES:
        lab.switch(left, joined)
        for child in children:
            assert child.stdin is not None and child.stdout is not None
            number += 1
            print(f"question {number}", file=child.stdin, flush=True)
            assert child.stdout.readline() == f"question {number}\n"
        events.wait("moved", HOST, deadline_s=LONG_S)
    late = lab.server.popen([*command, "9022"], stdin=pipe, stdout=pipe)  # the port still leads to the laptop
    assert late.communicate("hello\n", timeout=LONG_S)[0] == "hello\n"
    for child in children:
        child.communicate(timeout=LONG_S)
        assert child.returncode == 0


def test_mounted_files_stay_usable(lab: Lab, agent: Agent) -> None:
    """Programs can read and write a directory mounted by sshfs after each move. An open file stays open."""
    program("sshfs")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is missing or not ours")
    mount, far = lab.files.home / "mounted", lab.files.far_home / "shared"
    mount.mkdir()
    wanted = random_file(far / "book")
    roaming(lab, agent)
    events, pipe = agent.events(), subprocess.PIPE
    words = ["sshfs", "-f", "-o", "ssh_command=ssh", f"{HOST}:shared", str(mount)]
    sshfs = lab.laptop.popen(words, stderr=pipe)
    until("it is mounted", lambda: lab.laptop.run(["test", "-e", f"{mount}/book"]).returncode == 0)
    script = "exec 3>>notes; while read -r line; do echo $line >&3; tail -n 1 notes; done"
    writer = lab.laptop.popen(["sh", "-c", f"cd {mount} && {script}"], stdin=pipe, stdout=pipe)
    assert writer.stdin is not None and writer.stdout is not None
    for left, joined in MOVES:
        lab.switch(left, joined)
        print(joined, file=writer.stdin, flush=True)
        assert writer.stdout.readline() == f"{joined}\n"
        events.wait("moved", HOST, deadline_s=LONG_S)
    writer.communicate(timeout=LONG_S)
    assert lab.laptop.check(["sha256sum", f"{mount}/book"]).split()[0] == wanted
    lab.laptop.check(["umount", str(mount)])
    assert sshfs.wait(LONG_S) == 0
    assert (far / "notes").read_text() == "cafe\noffice\nhome\n"


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("ansible-playbook") is None, reason="`make fleet-check` gets Ansible and runs this"
)
def test_a_play_goes_on(lab: Lab, agent: Agent) -> None:
    """No task of an Ansible play fails or runs twice while the laptop moves."""
    roaming(lab, agent)
    events, path = agent.events(), Path(program("ansible-playbook"))
    inventory, book, done = (
        lab.files.home / "hosts.ini",
        lab.files.home / "book.json",
        lab.files.far_home / "done",
    )
    inventory.write_text(f"{HOST} ansible_python_interpreter={sys.executable}\n")
    tasks = [{"shell": f"sleep 1; echo {number} >>{done}"} for number in range(len(MOVES) + 1)]
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    env = {
        "PATH": f"{path.parent}:{search_path()}",
        "ANSIBLE_HOME": str(lab.files.home / "ansible"),
        # without ControlPersist, Ansible sets no ControlPath
        "ANSIBLE_SSH_ARGS": f"-F {lab.files.ssh / 'config'}",
    }
    words = [str(path), "-i", str(inventory), str(book)]
    play = lab.laptop.popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for number, (left, joined) in enumerate(MOVES):
        until("the next task runs", lambda: len(lines(done)) >= number, LONG_S)  # noqa: B023  # called in this iteration only
        lab.switch(left, joined)
        events.wait("moved", HOST, deadline_s=LONG_S)
    said = play.communicate(timeout=LONG_S)[0]
    assert play.returncode == 0, said
    assert lines(done) == [str(number) for number in range(len(MOVES) + 1)]


def lines(path: Path) -> list[str]:
    """Return the lines of a file, or [] if there is no file yet."""
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_a_visitor_may_knock_all_the_time(lab: Lab, agent: Agent) -> None:
    """If a client connects to the -R port twice a second, no connection is refused while the laptop moves."""
    lab.echo(8100, node=lab.laptop)
    roaming(lab, agent, 'remote = ["9022:127.0.0.1:8100"]\n')
    agent.wait_forwards(HOST, {"remote": "open"}, LONG_S)
    events = agent.events()
    script = (
        "import socket, time\n"
        "for _ in range(24):\n"
        "    with socket.create_connection(('127.0.0.1', 9022), timeout=60) as sock:\n"
        "        sock.sendall(b'x')\n"
        "        assert sock.recv(1) == b'x'\n"
        "    time.sleep(0.5)\n"
        "print('never refused')\n"
    )
    visitor = lab.server.popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE)
    move(lab, events)
    assert visitor.communicate(timeout=LONG_S)[0] == "never refused\n"
    assert [e for e in events.drain() if e["event"] == "forward-failed"] == []


def test_agent_forwarding_goes_on(lab: Lab, agent: Agent) -> None:
    """In a session that was opened before the move, the forwarded ssh-agent still answers after the move."""
    lab.join("home")
    lab.sshd()
    started = lab.laptop.check(["ssh-agent", "-s"])
    socket = started.partition("SSH_AUTH_SOCK=")[2].partition(";")[0]
    pid = started.partition("SSH_AGENT_PID=")[2].partition(";")[0]
    try:
        lab.laptop.run(["ssh-add", "-q", str(lab.files.key)], env={"SSH_AUTH_SOCK": socket})
        lab.ssh_config(
            {HOST: {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n", "ForwardAgent": socket}}
        )
        agent.start(f"[hosts.{HOST}]\nroam = true\n")
        until("it roams", lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), LONG_S)
        events, pipe = agent.events(), subprocess.PIPE
        script = "while read -r line; do ssh-add -l || echo none; done"
        session = lab.laptop.popen(["ssh", HOST, script], stdin=pipe, stdout=pipe)
        assert session.stdin is not None and session.stdout is not None
        print("before", file=session.stdin, flush=True)
        assert "ED25519" in session.stdout.readline()
        lab.switch("home", "cafe")
        events.wait("moved", HOST, deadline_s=LONG_S)
        print("after", file=session.stdin, flush=True)
        assert "ED25519" in session.stdout.readline()
        session.communicate(timeout=LONG_S)
    finally:
        lab.laptop.run(["kill", pid])
