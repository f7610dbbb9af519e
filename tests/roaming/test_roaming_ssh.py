"""Real ssh through both relays: the sessions continue, whatever happens to the outer connection.

`TRAYAGENT_ROAM_MOVES=100` sets the number of moves in the longest test.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.roaming.conftest import HOST
from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab
from trayagent.sandbox.other_users import other_user
from trayagent.sandbox.roaming_relays import FAR, NearRelay, RoamingHost, wait_for

BODY = 200_000_000
AT_ONCE = 1_000_000
MOVES = int(os.environ.get("TRAYAGENT_ROAM_MOVES", "4"))


@pytest.fixture
def body(lab: Lab) -> Path:
    """Make a file of 200 MB that cannot be compressed."""
    random, path = Random(1), lab.files.root / "body"  # noqa: S311  # the same bytes in each run
    with path.open("wb") as file:
        for _ in range(0, BODY, AT_ONCE):
            file.write(random.randbytes(AT_ONCE))
    return path


def move(host: RoamingHost) -> None:
    """Silently lose the outer connection, and attach over a new one."""
    host.cut()
    answer = host.attach()
    assert answer["ok"], answer


def moves_while(host: RoamingHost, running: Callable[[], bool], most: int, seed: int = 1) -> int:
    """Move repeatedly while `running()` is true, at most `most` times. Return the number of moves."""
    random, count = Random(seed), 0  # noqa: S311  # the same times in each run
    while running() and count < most:
        time.sleep(random.uniform(0.2, 1.0))
        move(host)
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_200_mb_each_way_arrive_across_moves(lab: Lab, host: RoamingHost, body: Path) -> None:
    """An upload and a download of 200 MB at the same time survive ten moves. Both checksums are right."""
    wanted = hashlib.sha256(body.read_bytes()).hexdigest()
    script = "sha256sum; echo done >&2"
    with body.open("rb") as source:
        up = lab.laptop.popen(host.through(HOST, script), stdin=source, stdout=subprocess.PIPE)
    copy = lab.files.root / "copy"
    with copy.open("wb") as target:
        down = lab.laptop.popen(host.through(HOST, f"cat {body}"), stdout=target)

    def running() -> bool:
        return up.poll() is None or down.poll() is None

    count = moves_while(host, running, 10)
    assert up.stdout
    assert up.stdout.read().split()[0] == wanted
    assert (up.wait(300), down.wait(300)) == (0, 0)
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == wanted
    assert count >= 3


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_moves_with_traffic_lose_nothing(lab: Lab, host: RoamingHost) -> None:
    """Many cuts at random moments, channels given up halfway, and ten seconds without a channel lose no data."""
    chatter = Chatter(lab, host)
    cuts = Random(8)  # noqa: S311  # the same cuts in each run
    for number in range(MOVES):
        if cuts.random() < 0.3:  # a channel that ends before or during its attach
            outer, ours = host.channel()
            with ours:
                tag = host.near.client.send("attach", [ours.fileno()], id=host.token[:16])
            time.sleep(cuts.uniform(0, 0.6))
            outer.kill()
            host.near.client.answer(tag)
        if number == MOVES // 2:
            host.cut()
            time.sleep(10)
        if cuts.random() < 0.5:
            host.cut()
        answer = host.attach()
        assert answer["ok"], answer
    chatter.check_end()


class Chatter:
    """A remote `cat` that gets random data. Its output is compared at the end."""

    def __init__(self, lab: Lab, host: RoamingHost) -> None:
        pipe = subprocess.PIPE
        self._session = lab.laptop.popen(host.through(HOST, "cat"), stdin=pipe, stdout=pipe)
        self._sent, self._received = hashlib.sha256(), hashlib.sha256()
        self._sizes = [0, 0]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._send, self._read)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        assert self._session.stdin
        random = Random(7)  # noqa: S311  # the same bytes in each run
        while not self._stop.is_set():
            data = random.randbytes(random.choice((1, 50, 3000, 100_000)))
            self._sent.update(data)
            self._sizes[0] += len(data)
            write_all(self._session.stdin.fileno(), data)
            time.sleep(0.002)
        self._session.stdin.close()

    def _read(self) -> None:
        assert self._session.stdout
        while data := os.read(self._session.stdout.fileno(), 1 << 16):
            self._received.update(data)
            self._sizes[1] += len(data)

    def check_end(self) -> None:
        """Stop, and check that all data came back."""
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        assert self._session.wait(60) == 0
        assert self._sizes[0] == self._sizes[1] > 0
        assert self._sent.digest() == self._received.digest()


def write_all(fd: int, data: bytes) -> None:
    """Write all data to a pipe."""
    while data:
        data = data[os.write(fd, data) :]


def test_keystrokes_come_back_once_and_in_order(lab: Lab, host: RoamingHost) -> None:
    """Keystrokes in a remote `cat` come back once and in order, through three moves to other networks and back."""
    session = lab.laptop.popen(host.through(HOST, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert session.stdin and session.stdout
    for old, new in (("home", "cafe"), ("cafe", "home"), ("home", "cafe")):
        for key in "the quick brown fox":
            session.stdin.write(key)
            session.stdin.flush()
            assert session.stdout.read(1) == key
        session.stdin.write("typed while away")
        session.stdin.flush()
        lab.switch(old, new)
        move(host)
        assert session.stdout.read(16) == "typed while away"
    session.stdin.close()
    assert session.stdout.read() == ""
    assert session.wait(60) == 0


def test_the_end_of_input_and_the_exit_status_pass_while_away(lab: Lab, host: RoamingHost) -> None:
    """A program's input ends after one move, and its last output and status arrive after another one."""
    script = "cat; sleep 3; echo last words; exit 7"
    session = lab.laptop.popen(host.through(HOST, script), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert session.stdin and session.stdout
    session.stdin.write("x")
    session.stdin.flush()
    assert session.stdout.read(1) == "x"
    host.cut()
    session.stdin.write("typed while away\n")
    session.stdin.close()
    assert host.attach()["ok"]
    assert session.stdout.readline() == "typed while away\n"
    host.cut()
    time.sleep(4)
    assert host.attach()["ok"]
    assert session.stdout.read() == "last words\n"
    assert session.wait(60) == 7


def test_a_connection_through_a_forward_survives_and_closes_by_halves(lab: Lab, host: RoamingHost) -> None:
    """A TCP connection through -L continues after moves. Its client closes its half, and still receives the rest."""
    server = "import socket,time; l=socket.create_server(('127.0.0.1',8000)); print('up',flush=True); c,_=l.accept()"
    server += "\nd=b''\nwhile m:=c.recv(65536): d+=m\ntime.sleep(3); c.sendall(d[::-1]); c.close()"
    service = lab.server.popen(["python3", "-c", server], stdout=subprocess.PIPE)
    assert service.stdout and service.stdout.readline() == "up\n"
    lab.laptop.check(host.through("-O", "forward", "-L", "9000:127.0.0.1:8000", HOST))
    client = (
        "import socket,sys,time; c=socket.create_connection(('127.0.0.1',9000)); c.sendall(b'a'*500_000)\n"
        "print('half',flush=True); sys.stdin.readline(); c.sendall(b'b'*500_000); c.shutdown(socket.SHUT_WR); d=b''\n"
        "while m:=c.recv(65536): d+=m\nprint(d==b'b'*500_000+b'a'*500_000)"
    )
    user = lab.laptop.popen(
        ["python3", "-c", client], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert user.stdout and user.stdin
    assert user.stdout.readline() == "half\n"
    move(host)
    user.stdin.write("\n")
    user.stdin.flush()
    time.sleep(1)
    host.cut()
    time.sleep(3)
    assert host.attach()["ok"]
    assert user.stdout.readline() == "True\n"
    assert user.wait(60) == 0


def test_a_remote_forward_keeps_its_port(lab: Lab, host: RoamingHost) -> None:
    """A client on the server reaches the laptop through -R before and after moves. The port never closes."""
    lab.echo(8000, node=lab.laptop)
    lab.laptop.check(host.through("-O", "forward", "-R", "9100:127.0.0.1:8000", HOST))
    visit = "import socket; c=socket.create_connection(('127.0.0.1',9100),30); c.sendall(b'hi')"
    visit += "; print(c.recv(2).decode())"
    for _ in range(3):
        visitor = lab.server.popen(["python3", "-c", visit], stdout=subprocess.PIPE)
        move(host)
        assert visitor.stdout and visitor.stdout.read() == "hi\n"
        assert lab.server.run(["python3", "-c", visit]).stdout == "hi\n"


def test_the_end_of_the_inner_master_leaves_nothing(lab: Lab, host: RoamingHost) -> None:
    """The end of the inner master also ends the far relay, its socket, the inner login and the outer session."""
    assert host.master
    outer = host.outers[-1]
    host.master.send_signal(signal.SIGTERM)
    host.master.wait(60)
    assert outer.wait(60) == 0
    wait_for(lambda: host.near.session(host.token) is None, "the near relay forgot it")
    assert host.far("list")["relays"] == []
    wait_for(lambda: not lab.servers[0].sessions(), "the server has no session")


def test_a_killed_near_relay_is_cleaned_up_on_the_server(lab: Lab, host: RoamingHost) -> None:
    """If the near relay is killed, ssh ends at once. `end` with the token removes the far relay and its -R port."""
    lab.laptop.check(host.through("-O", "forward", "-R", "9100:127.0.0.1:8000", HOST))
    host.near.process.kill()
    assert host.master
    assert host.master.wait(60) == 255
    host.cut()
    assert [one["id"] for one in host.far("list")["relays"]] == [host.token[:16]]
    taken = ["python3", "-c", "import socket; socket.create_server(('127.0.0.1',9100))"]
    assert lab.server.run(taken).returncode
    assert host.far("end", text=host.token + "\n")["id"]
    wait_for(lambda: lab.server.run(taken).returncode == 0, "the port is free")


def test_a_killed_far_relay_is_found_out(lab: Lab, host: RoamingHost) -> None:
    """After the far relay was killed, the next attach reports `unknown` with the same machine and boot."""
    session = host.near.session(host.token)
    assert session
    lab.server.check(["kill", "-9", str(host.far("list")["relays"][0]["pid"])])
    wait_for(lambda: (host.near.session(host.token) or {})["state"] == "away", "the near relay noticed")
    answer = host.attach()
    assert (answer["error"], answer["machine"], answer["boot"]) == (
        "unknown",
        session["machine"],
        session["boot"],
    )
    assert host.master
    assert host.master.poll() is None
    assert host.near.client.ask("end", id=host.token[:16])["ok"]
    assert host.master.wait(60) == 255


def test_another_machine_of_the_same_name_is_recognized(lab: Lab, host: RoamingHost) -> None:
    """An attach at another machine of the same name reports that the relay is unknown, with that machine's id."""
    before = host.near.session(host.token)
    assert before
    path = lab.files.root / "etc/machine-id"
    mine = path.read_text()
    path.write_text("f" * 32 + "\n")
    host.cut()
    answer = host.attach()
    assert (answer["ok"], answer["error"]) == (False, "other-machine")
    assert answer["machine"] == "f" * 32
    path.write_text(mine)
    assert host.attach()["machine"] == before["machine"]
    assert lab.laptop.run(host.through(HOST, "echo alive")).stdout == "alive\n"


def test_two_laptops_of_one_user_do_not_disturb_each_other(lab: Lab, host: RoamingHost) -> None:
    """The connections of two near relays to one account move and end independently."""
    second = NearRelay(lab, "other")
    try:
        with RoamingHost(lab, second, HOST) as other:
            other.connect()
            assert {one["id"] for one in host.far("list")["relays"]} == {host.token[:16], other.token[:16]}
            move(other)
            assert lab.laptop.run(host.through(HOST, "echo one")).stdout == "one\n"
            move(host)
            assert lab.laptop.run(other.through(HOST, "echo two")).stdout == "two\n"
            other.exit()
        wait_for(lambda: len(host.far("list")["relays"]) == 1, "only the first is left")
        assert lab.laptop.run(host.through(HOST, "echo one")).stdout == "one\n"
    finally:
        second.close()


def test_start_up_files_may_print(lab: Lab, near: NearRelay) -> None:
    """A .bashrc that prints with and without a newline, and to stderr, does not disturb the relays."""
    (lab.files.far_home / ".bashrc").write_text("echo welcome; echo TRAYAGENT; echo oops >&2; printf '> '\n")
    with RoamingHost(lab, near, HOST) as host:
        host.connect()
        move(host)
        assert lab.laptop.run(host.through(HOST, "echo alive")).stdout.endswith("alive\n")


@pytest.mark.parametrize("forced", ["echo no shell for you", "cat", "sleep 100", "yes"])
def test_a_server_without_a_shell_is_no_far_relay(lab: Lab, near: NearRelay, forced: str) -> None:
    """With a forced command, the attach fails with a reason, or when its channel ends."""
    lab.servers[0].restart([f"ForceCommand {forced}"])
    with RoamingHost(lab, near, HOST) as host:
        host.start()
        outer, ours = host.channel()
        with ours:
            tag = near.client.send("attach", [ours.fileno()], id=host.token[:16])
        if forced in {"cat", "sleep 100"}:
            time.sleep(2)
            outer.kill()
        answer = near.client.answer(tag)
        assert answer["error"] in {"closed", "no-marker"}
        assert near.session(host.token)


def test_a_full_disk_on_the_server_is_reported(lab: Lab, host: RoamingHost) -> None:
    """If no socket can be created, the start fails with the system's error. A running relay is not affected."""
    folder = lab.files.far_home / "full"
    folder.mkdir(mode=0o700)
    lab.server.check(["mount", "-t", "tmpfs", "-o", "nr_inodes=2,mode=0700", "lab", str(folder)], admin=True)
    command = f'set -- $SSH_CONNECTION; export XDG_RUNTIME_DIR={folder}; {FAR} serve "$3" "$4" 60 lab'
    said = host.remote(command, "0" * 16 + "." + "0" * 32 + "\n")
    assert "No space left" in said
    assert lab.laptop.run(host.through(HOST, "echo alive")).stdout == "alive\n"
    move(host)
    assert lab.laptop.run(host.through(HOST, "echo alive")).stdout == "alive\n"


@pytest.mark.root
def test_another_user_of_the_server_cannot_open_the_socket(lab: Lab, host: RoamingHost) -> None:
    """Another user cannot open the folder, and not the socket either, even if the folder's mode were open."""
    (path,) = [one for one in lab.files.far_home.rglob("*.roam") if host.token[:16] in one.name]
    for folder in (
        lab.files.root,
        lab.files.far_home,
        path.parent.parent.parent,
        path.parent.parent,
        path.parent,
    ):
        folder.chmod(0o755)
    attack = f"import socket; s=socket.socket(socket.AF_UNIX); s.connect({str(path)!r})"
    other = other_user(lab.server, 61_234)
    done = other.run(["python3", "-c", attack])
    assert "Permission denied" in done.stderr
    path.chmod(0o666)
    attack += '; s.sendall(b\'{"do": "list"}\\n\'); print(repr(s.recv(100)))'
    done = other.run(["python3", "-c", attack])
    assert "b''" in done.stdout or "reset" in done.stderr.lower() or "Broken pipe" in done.stderr
    for folder in (path.parent, path.parent.parent):
        folder.chmod(0o700)
    move(host)
    assert lab.laptop.run(host.through(HOST, "echo alive")).stdout == "alive\n"


def test_a_stopped_far_relay_stalls_one_host_only(lab: Lab, host: RoamingHost) -> None:
    """While one far relay is suspended, only its host waits. Another host works, and the near relay answers."""
    pid = str(host.far("list")["relays"][0]["pid"])
    with RoamingHost(lab, host.near, HOST) as other:
        other.connect()
        lab.server.check(["kill", "-STOP", pid])
        try:
            upload = lab.laptop.popen(
                host.through(HOST, "wc -c"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert upload.stdin and upload.stdout
            os.set_blocking(upload.stdin.fileno(), False)
            with contextlib.suppress(BlockingIOError):
                os.write(upload.stdin.fileno(), bytes(60_000))
            assert lab.laptop.run(other.through(HOST, "echo alive")).stdout == "alive\n"
            assert host.near.client.ask("status")["ok"]
        finally:
            lab.server.check(["kill", "-CONT", pid])
        upload.stdin.close()
        assert upload.stdout.read().strip() == "60000"


def test_an_attach_needs_the_relay_of_this_token(lab: Lab, host: RoamingHost) -> None:
    """An attach with a token that the server does not know reports `unknown`, and affects no other connection."""
    with RoamingHost(lab, host.near, HOST) as other:
        other.start()
        assert other.attach()["error"] == "unknown"
        with pytest.raises(TrayagentError):
            other.far("nonsense", "| head -c 0")
    assert lab.laptop.run(host.through(HOST, "echo alive")).stdout == "alive\n"
