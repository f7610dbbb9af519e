"""The near relay as a process: requests, descriptors, adoption, and clients that misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.roaming.local import ALONE, Local, exactly, quiet, to_the_end
from trayagent.roaming.near_client import NearClient, near_command, new_token
from trayagent.sandbox.roaming_relays import wait_for


def raw(local: Local) -> socket.socket:
    """Return a connection to the control socket, after reading the relay's first line."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(local.path)
    assert json.loads(client.recv(4096))["relay"] == "near"
    return client


def test_a_connection_survives_the_agent(local: Local) -> None:
    """The next agent finds a connection that an earlier agent started, moves it, and is notified of its end."""
    token, inner = local.connect()
    local.client.close()
    inner.sendall(b"before")
    assert exactly(inner, 6) == b"before"
    local.client = NearClient(local.path)
    (found,) = local.client.ask("status")["sessions"]
    assert (found["id"], found["host"], found["state"], found["counter"]) == (
        token[:16],
        "web01",
        "attached",
        1,
    )
    local.client.ask("watch")
    local.hang_up()
    assert local.client.event()["event"] == "away"
    inner.sendall(b"away")
    assert local.attach(token)["counter"] == 2
    assert exactly(inner, 4) == b"away"
    inner.shutdown(socket.SHUT_WR)
    assert to_the_end(inner) == b""
    inner.close()
    events = [local.client.event(), local.client.event()]
    assert [one["event"] for one in events] == ["attached", "ended"]
    assert events[1]["why"] == "closed"
    wait_for(lambda: not local.relays(), "the far relay ended, too")


def test_a_connection_waits_for_the_first_attach(local: Local) -> None:
    """Data that ssh sends before the first attach is kept."""
    token = local.serve()
    with local.start(token) as inner:
        inner.sendall(b"SSH-2.0-early")
        assert local.is_state(token, "new")()
        assert local.attach(token)["ok"]
        assert exactly(inner, 13) == b"SSH-2.0-early"


def test_the_old_link_is_used_until_the_new_one_works(local: Local) -> None:
    """While a new attach hangs or fails, the old link continues."""
    token, inner = local.connect()
    nowhere, ours = socket.socketpair()
    tag = local.client.send("attach", [ours.fileno()], id=token[:16])
    ours.close()
    inner.sendall(b"x")
    assert exactly(inner, 1) == b"x"
    nowhere.close()
    assert local.client.answer(tag) == {
        "ok": False, "error": "closed", "id": token[:16], "machine": None, "boot": None, "tag": tag
    }  # fmt: skip
    inner.sendall(b"y")
    assert exactly(inner, 1) == b"y"
    inner.close()


def test_a_channel_may_have_two_descriptors_and_more_that_are_kept(local: Local) -> None:
    """Two pipes work as a channel. Further descriptors, which keep the channel open, are closed with the link."""
    token = local.serve()
    inner = local.start(token)
    (down, to_near), (from_near, up) = os.pipe(), os.pipe()
    kept, ours = socket.socketpair()
    child = subprocess.Popen([*ALONE, "attach", token[:16]], stdin=from_near, stdout=to_near, env=local.env)
    for fd in (from_near, to_near):
        os.close(fd)
    assert local.client.ask("attach", [down, up, kept.fileno()], id=token[:16], channel=2)["ok"]
    for fd in (down, up):
        os.close(fd)
    kept.close()
    inner.sendall(b"x")
    assert exactly(inner, 1) == b"x"
    child.kill()
    child.wait()
    ours.settimeout(60)
    assert ours.recv(1) == b""
    inner.close()
    ours.close()


def test_a_server_that_rebooted_is_told_apart(local: Local) -> None:
    """If the machine has another boot id and no relay, the answer says so, and the connection waits for the agent."""
    token, inner = local.connect()
    before = local.state(token)
    assert before
    local.hang_up()
    said = {"machine": before["machine"], "boot": "another", "error": "unknown"}
    ours, theirs = socket.socketpair()
    theirs.sendall(f"TRAYAGENT-ROAM {json.dumps(said)}\n".encode())
    answer = local.client.ask("attach", [ours.fileno()], id=token[:16])
    assert {**answer, **said, "ok": False} == answer
    ours.close()
    theirs.close()
    wait_for(local.is_state(token, "away"), "the old link is gone")
    assert local.attach(token)["ok"]
    inner.sendall(b"x")
    assert exactly(inner, 1) == b"x"
    inner.close()


def test_little_waits_between_ssh_and_the_relay(local: Local) -> None:
    """At most 256 KiB can wait between ssh and the relay, so that keystrokes do not wait long behind them."""
    token = local.serve()
    with local.start(token) as inner:
        local.near.send_signal(signal.SIGSTOP)
        inner.setblocking(False)
        size = 0
        with pytest.raises(BlockingIOError):
            while True:
                size += inner.send(bytes(4096))
        local.near.send_signal(signal.SIGCONT)
        assert size <= 256 * 1024


def test_a_second_near_relay_leaves_the_first_alone(local: Local) -> None:
    """A second near relay exits with 3. After the first was killed, the next one takes the socket over."""
    assert subprocess.run(near_command(local.path), check=False).returncode == 3
    assert stat.S_IMODE(Path(local.path).stat().st_mode) == 0o600
    local.near.send_signal(signal.SIGKILL)
    local.near.wait()
    instance = local.client.hello["instance"]
    local.client.close()
    local.near = local.start_near()

    def answers() -> bool:
        try:
            local.client = NearClient(local.path)
        except OSError:
            return False
        return True

    wait_for(answers, "the next near relay listens")
    assert local.client.hello["instance"] != instance


def test_a_killed_near_relay_ends_ssh_cleanly(local: Local) -> None:
    """If the near relay is killed, ssh reads the end of its connection, and the far relay can be ended by its token."""
    token, inner = local.connect()
    local.near.kill()
    assert inner.recv(1) == b""
    wait_for(lambda: not local.relays()[0]["attached"], "the far relay noticed")
    assert local.far("end", text=token + "\n")["id"] == token[:16]
    wait_for(lambda: not local.relays(), "the far relay ended")
    inner.close()


def test_quit_is_refused_while_it_carries_connections(local: Local) -> None:
    """`quit` is refused while there are connections. With force it ends everything, including the far relays."""
    _, inner = local.connect()
    assert local.client.ask("quit")["error"] == "busy"
    assert local.client.ask("quit", force=True)["ok"]
    assert local.near.wait(60) == 0
    assert inner.recv(1) == b""
    inner.close()
    assert not Path(local.path).exists()
    wait_for(lambda: not local.relays(), "the far relay ended")


def test_end_closes_both_ends(local: Local) -> None:
    """When the agent ends a connection, ssh and the far relay notice it at once."""
    token, inner = local.connect()
    assert local.client.ask("end", id=token[:16])["ok"]
    assert inner.recv(1) == b""
    inner.close()
    wait_for(lambda: not local.relays(), "the far relay ended")
    assert local.client.ask("end", id=token[:16])["error"] == "unknown"
    assert local.client.ask("status")["ended"][-1]["why"] == "ended"


def test_data_without_an_acknowledgement_is_reported_once(local: Local) -> None:
    """Unacknowledged data is reported once. Without data there is no report, and after the report no wake-up."""
    token, inner = local.connect()
    with inner:
        inner.sendall(b"x")
        assert exactly(inner, 1) == b"x"
        local.client.ask("watch")
        far = local.relays()[0]["pid"]
        os.kill(far, signal.SIGSTOP)
        try:
            inner.sendall(b"y")
            assert local.client.event() == {"event": "stalled", "id": token[:16], "host": "web01"}
            assert quiet(local.near.pid) == 0
        finally:
            os.kill(far, signal.SIGCONT)
        assert exactly(inner, 1) == b"y"
        assert local.state(token)


def test_the_far_relays_end_closes_ssh(local: Local) -> None:
    """When `end` runs on the server, the far relay sends a goodbye, which closes ssh's connection."""
    token, inner = local.connect()
    local.client.ask("watch")
    assert local.far("end", text=token + "\n")["id"]
    assert inner.recv(1) == b""
    inner.close()
    assert local.client.event()["why"] == "ended"


def test_ssh_that_ends_before_the_first_attach_leaves_nothing(local: Local) -> None:
    """If ssh ends before the first attach, the connection is removed at once."""
    token = local.serve()
    local.start(token).close()
    wait_for(local.is_state(token, "over"), "the connection is over")
    assert local.client.ask("status")["ended"][-1]["why"] == "unused"


def test_roam_for_ends_a_connection_that_is_away(local: Local) -> None:
    """`roam_for` ends a connection that has had no link for that time."""
    token = local.serve()
    with local.start(token, roam_for_s=1) as inner:
        assert inner.recv(1) == b""
    assert local.client.ask("status")["ended"][-1]["why"] == "expired"


REQUESTS: list[tuple[bytes, str]] = [
    (b"{}", "version"),
    (b'{"v": 2, "do": "status"}', "version"),
    (b'{"v": "1", "do": "status"}', "version"),
    (b'{"v": 1}', "unknown-request"),
    (b'{"v": 1, "do": "frobnicate"}', "unknown-request"),
    (b"[]", "malformed"),
    (b"nonsense", "malformed"),
    (b"\xff\xfe", "malformed"),
    (b"[" * 4000, "malformed"),
    (b'{"v": 1, "do": "start"}', "malformed"),
    (b'{"v": 1, "do": "start", "id": "../../../../x", "secret": "", "roam_for": 1}', "malformed"),
    (
        b'{"v": 1, "do": "start", "id": "0123456789abcdef", "secret": "%s", "roam_for": -1}' % (b"0" * 32),
        "malformed",
    ),
    (
        b'{"v": 1, "do": "start", "id": "0123456789abcdef", "secret": "%s", "roam_for": NaN}' % (b"0" * 32),
        "malformed",
    ),
    (b'{"v": 1, "do": "attach", "id": "0123456789abcdef"}', "unknown"),
    (b'{"v": 1, "do": "end", "id": []}', "unknown"),
]


@pytest.mark.parametrize(("line", "code"), REQUESTS)
def test_a_bad_request_is_answered_with_a_code(local: Local, line: bytes, code: str) -> None:
    """An invalid request gets an error code. The client stays connected, and the relay continues."""
    with raw(local) as client:
        client.sendall(line + b"\n")
        assert json.loads(client.recv(4096))["error"] == code
        client.sendall(b'{"v": 1, "do": "status", "tag": "t"}\n')
        assert json.loads(client.recv(4096))["tag"] == "t"


def test_descriptors_without_a_use_are_closed(local: Local) -> None:
    """Descriptors that come with other requests are closed, and an attach without a descriptor is refused."""
    token, inner = local.connect()
    folder = Path(f"/proc/{local.near.pid}/fd")
    before = len(list(folder.iterdir()))
    assert local.client.ask("attach", id=token[:16])["error"] == "no-descriptor"
    assert local.client.ask("attach", id=token[:16], channel=7)["error"] == "no-descriptor"
    for _ in range(50):
        assert local.client.ask("attach", [0, 1, 2], id="0" * 16)["error"] == "unknown"
    with NearClient(local.path) as client:
        for _ in range(2):
            client.ask("status", [0, 1, 2])
    wait_for(lambda: len(list(folder.iterdir())) == before, "all are closed")
    inner.close()


def test_clients_that_flood_or_do_not_read_are_dropped(local: Local) -> None:
    """Endless lines, too many clients and a watcher that does not read are dropped. Connections are not affected."""
    token, inner = local.connect()
    with raw(local) as client:
        client.sendall(b"x" * 20_000)
        assert_dropped(client)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for one in clients:
        one.connect(local.path)
    inner.sendall(b"x")
    assert exactly(inner, 1) == b"x"
    for one in clients:
        one.close()
    wait_for(lambda: takes_clients(local), "they are forgotten")
    with raw(local) as client:
        client.settimeout(5)
        with pytest.raises(OSError):  # the relay has closed the connection, or reads no more
            while True:
                client.sendall(b'{"v": 1, "do": "status"}\n' * 100)
    inner.sendall(b"y")
    assert exactly(inner, 1) == b"y"
    assert local.state(token)
    inner.close()


def takes_clients(local: Local) -> bool:
    """Report whether the relay accepts one more client."""
    try:
        NearClient(local.path).close()
    except OSError:
        return False
    return True


def assert_dropped(client: socket.socket) -> None:
    """Check that the relay closed this connection."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


def test_a_client_that_leaves_at_once_harms_nothing(local: Local) -> None:
    """A client that disconnects before the greeting causes no error."""
    token, inner = local.connect()
    local.near.send_signal(signal.SIGSTOP)
    for _ in range(8):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(local.path)
    local.near.send_signal(signal.SIGCONT)
    wait_for(lambda: takes_clients(local), "they are forgotten")
    inner.sendall(b"x")
    assert exactly(inner, 1) == b"x"
    assert local.state(token)
    inner.close()


def test_the_number_of_connections_is_limited(local: Local) -> None:
    """The 65th connection is refused. When one ends, another may begin."""
    tokens = [new_token() for _ in range(64)]
    inners = [local.start(token) for token in tokens]
    with pytest.raises(OSError, match="too-many"):
        local.start(new_token())
    inners[0].close()
    wait_for(local.is_state(tokens[0], "over"), "the first one is over")
    inners.append(local.start(new_token()))
    with pytest.raises(OSError, match="exists"):
        local.start(tokens[1])
    for inner in inners:
        inner.close()


def test_ten_idle_hosts_cost_no_wake_up(local: Local) -> None:
    """With ten idle connections the near relay is not scheduled."""
    inners = [local.connect()[1] for _ in range(10)]
    wait_for(lambda: quiet(local.near.pid, 1) == 0, "the last acknowledgement is out")
    assert quiet(local.near.pid) == 0
    for inner in inners:
        inner.close()


BUFFERED_MAX = 600_000
"""More bytes than the buffers of ssh's socket hold."""


@pytest.mark.parametrize(("size", "small_buffers"), [(20_000_000, False), (2_000_000, True)])
def test_moves_lose_and_double_nothing(local: Local, size: int, small_buffers: bool) -> None:
    """20 MB pass an echo service while links are cut and replaced. Every byte comes back once and in order.

    The same holds for 2 MB over links on which nearly every write is incomplete.
    """
    local.small_buffers = small_buffers
    token, inner = local.connect()
    random = Random(4)  # noqa: S311  # the same cuts in each run
    body = random.randbytes(size)
    sender = threading.Thread(target=send_all, args=(inner, body))
    sender.start()
    received, next_cut = bytearray(), size // 20
    while len(received) < len(body):
        received += inner.recv(1 << 16)
        # Once the relays have delivered the last bytes to our socket, there is no connection to attach.
        if len(received) > next_cut and len(body) - len(received) > BUFFERED_MAX:
            next_cut += size // 10
            if random.random() < 0.5:
                local.hang_up()
            answer = local.attach(token)
            assert answer["ok"], answer
    sender.join()
    assert received == body
    assert to_the_end(inner) == b""
    inner.close()


def send_all(inner: socket.socket, body: bytes) -> None:
    """Send everything, and then the end."""
    inner.sendall(body)
    inner.shutdown(socket.SHUT_WR)


def test_a_watcher_of_another_version_is_not_needed(local: Local) -> None:
    """Unknown keys in a request are ignored, so that agent N+1 works with relay N."""
    words: dict[str, Any] = {"tomorrow": {"x": [1]}, "colour": "blue"}
    assert local.client.ask("status", **words)["ok"]
