from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client
from trayagent.ipc.errors import NoAgent, Refused
from trayagent.ipc.server import Server

if TYPE_CHECKING:
    Running = Any  # the type is conftest's RunningServer, but a conftest cannot be imported
    Start = Callable[[Path], Running]
    Until = Callable[[Callable[[], bool], str], None]


def dial(path: Path) -> socket.socket:
    """Connect to the socket without the client module."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))  # blocking, because with a timeout a full queue would raise immediately
    sock.settimeout(10)
    return sock


def request_line(op: str, **args: Any) -> bytes:
    return json.dumps({"v": 1, "op": op, "args": args, "env": {}}).encode() + b"\n"


def reply(sock: socket.socket) -> dict[str, Any]:
    with sock.makefile("rb") as file:
        message: dict[str, Any] = json.loads(file.readline())
        return message


def everything(sock: socket.socket) -> bytes:
    """Read to the end. A reset counts as the end."""
    read = bytearray()
    try:
        while chunk := sock.recv(1 << 16):
            read += chunk
    except ConnectionResetError:
        pass
    return bytes(read)


def test_a_call_is_answered_with_the_handlers_result(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operation, arguments and the caller's SSH_AUTH_SOCK reach the handler, and its result comes back."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    result = blocking_client.call(running.path, "status", {"hosts": ["web"]}, 10)
    assert result == {"op": "status", "args": {"hosts": ["web"]}, "env": {"SSH_AUTH_SOCK": "/run/agent"}}


def test_a_request_runs_as_a_named_task(running: Running) -> None:
    """A task dump of the agent shows the current operation."""
    blocking_client.call(running.path, "status", {"hosts": []}, 10)
    assert running.handler.task_names == ["ipc status"]


@pytest.mark.parametrize(("host", "code", "status"), [("unknown", "unknown-host", 2), ("sad", "refused", 1)])
def test_the_handlers_error_reaches_the_client(running: Running, host: str, code: str, status: int) -> None:
    """The client gets the agent's error text and its exit status."""
    with pytest.raises(Refused) as caught:
        blocking_client.call(running.path, "why", {"host": host}, 10)
    assert (caught.value.code, caught.value.exit_status) == (code, status)


def test_a_bug_in_the_handler_harms_no_other_client(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an error, the log gets the traceback, and the next request is answered."""
    with pytest.raises(Refused, match="RuntimeError"):
        blocking_client.call(running.path, "why", {"host": "bug"}, 10)
    assert "a bug" in caplog.text
    assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"


def test_the_socket_is_this_users_alone(running: Running) -> None:
    """The socket has mode 0600."""
    assert stat.S_IMODE(running.path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_turned_away(start_server: Start) -> None:
    """Another user is rejected by the uid that the kernel reports, even if directory and socket are open to all."""
    code = "import socket,sys; s=socket.socket(1); s.settimeout(10); s.connect(sys.argv[1]); print(s.recv(9))"
    with tempfile.TemporaryDirectory(prefix="ipc") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "s"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        running = start_server(path)
        try:
            path.chmod(0o666)
            done = subprocess.run(
                ["/usr/bin/python3", "-c", code, str(path)],
                user=65534,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            running.close()
    assert done.stdout.strip() == "b''" or "ConnectionReset" in done.stderr, done


def test_a_stale_socket_is_replaced(tmp_path: Path, start_server: Start) -> None:
    """A killed agent's socket does not prevent the next start."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoAgent) as caught:
        blocking_client.call(path, "stop", {})
    assert caught.value.exit_status == 3
    running = start_server(path)
    try:
        assert blocking_client.call(path, "stop", {}, 10)["op"] == "stop"
    finally:
        running.close()
    assert not path.exists()


def test_a_successors_socket_is_not_removed(tmp_path: Path, start_server: Start) -> None:
    """An agent that ends late does not remove the next agent's socket."""
    path = tmp_path / "agent.sock"
    running = start_server(path)
    try:
        path.unlink()
        path.touch()
    finally:
        running.close()
    assert path.exists()


def test_an_impossible_path_is_an_error_for_the_user(tmp_path: Path) -> None:
    """The error for a path that is too long explains how to fix it."""
    server = Server(tmp_path / ("x" * 120), handler=None)  # type: ignore[arg-type]  # never called
    with pytest.raises(TrayagentError, match="cannot be made") as caught:
        server._bound()
    assert "TRAYAGENT_RUNTIME_DIR" in caught.value.hint


def test_requests_on_one_connection_are_answered_in_order(running: Running) -> None:
    """A client may send several requests at once."""
    with dial(running.path) as sock, sock.makefile("rb") as file:
        sock.sendall(b"".join(request_line("why", host=f"h{n}") for n in range(50)))
        answered = [json.loads(file.readline())["result"]["args"]["host"] for _ in range(50)]
    assert answered == [f"h{n}" for n in range(50)]


def test_five_hundred_idle_clients_do_not_block_another(running: Running, until: Until) -> None:
    """The longest idle clients are closed, and a request is still answered."""
    idle = []
    try:
        for _ in range(500):
            idle.append(dial(running.path))  # noqa: PERF401  # so that each is closed if a later one fails
        assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"
        until(lambda: len(running.server._connections) <= 192, "at most 192 clients")
        assert idle[0].recv(1) == b""
    finally:
        for sock in idle:
            sock.close()


def test_too_many_watchers_lock_nobody_out(running: Running, until: Until) -> None:
    """One more watcher gets an error, and the others continue. Commands are answered."""
    watchers = []
    try:
        for number in range(128):
            watchers.append(dial(running.path))
            watchers[-1].sendall(request_line("watch" if number % 2 else "events"))
        until(lambda: len(running.handler.pushes) == 128, "128 watchers")
        with pytest.raises(Refused, match="Too many watchers"):
            next(blocking_client.stream(running.path, "watch", {"hosts": []}))
        assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"
        assert len(running.handler.pushes) == 128
        watchers.pop().close()
        until(lambda: running.handler.unsubscribed == 1, "one unsubscribed")
        assert next(blocking_client.stream(running.path, "watch", {"hosts": []})) == {"view": 0}
    finally:
        for sock in watchers:
            sock.close()
    until(lambda: running.handler.unsubscribed == 129, "all unsubscribed")


def test_a_client_in_use_is_not_cut_for_a_newcomer(running: Running) -> None:
    """If no client is idle, a new client gets an error, and the others continue."""
    running.server._most_clients = 2
    with dial(running.path) as first, dial(running.path) as second:
        for sock in (first, second):
            sock.sendall(request_line("watch"))
            assert reply(sock)["ok"]
        with pytest.raises(Refused, match="Too many clients"):
            blocking_client.call(running.path, "stop", {}, 10)
        assert len(running.handler.pushes) == 2


@pytest.mark.parametrize("sent", [b"\x00\xff garbage\n", b"GET / HTTP/1.1\r\n\r\n", b"{}\n" * 10_000])
def test_garbage_is_answered_once_and_ends_the_connection(running: Running, sent: bytes) -> None:
    """A client that speaks another protocol gets one error and is disconnected."""
    with dial(running.path) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(sent)
        answers = everything(sock).splitlines()
    assert len(answers) == 1
    assert json.loads(answers[0])["exit"] == 2
    assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"


def test_ten_megabytes_without_a_newline_are_not_kept(running: Running) -> None:
    """The agent stops reading soon after 64 KiB, and still answers others."""
    with dial(running.path) as sock:
        sent = 0
        try:
            while sent < 10 << 20:
                sent += sock.send(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 2 << 20
        assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"


def test_half_a_line_waits_without_harm(running: Running) -> None:
    """A request may arrive in pieces, and others are answered meanwhile."""
    line = request_line("why", host="web")
    with dial(running.path) as sock:
        sock.sendall(line[:20])
        assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"
        sock.sendall(line[20:])
        assert reply(sock)["result"]["args"] == {"host": "web"}


def test_a_client_that_asks_and_never_reads_is_not_served_without_end(running: Running, until: Until) -> None:
    """If a client never reads its answers, the agent stops reading its requests after a while."""
    name = "x" * 5000
    with dial(running.path) as sock:
        sock.settimeout(0.5)
        sent = 0
        line = request_line("why", host=name)
        with pytest.raises(TimeoutError):
            while sent < 50 << 20:
                sent += sock.send(line)
        assert sent < 4 << 20
        assert blocking_client.call(running.path, "stop", {}, 10)["op"] == "stop"
    until(lambda: not running.server._connections, "the client is forgotten")


def test_a_watcher_gets_the_whole_view_first_and_then_each_change(running: Running) -> None:
    """The first item comes without a change, and leaving unsubscribes."""
    views = blocking_client.stream(running.path, "watch", {"hosts": []})
    assert next(views) == {"view": 0}
    running.push({"view": 1})
    assert next(views) == {"view": 1}
    views.close()  # type: ignore[attr-defined]  # the stream is a generator


def test_a_watcher_of_an_unknown_host_is_refused(running: Running) -> None:
    """If the host is unknown, the stream fails with the same error as a call."""
    with pytest.raises(Refused, match="no host unknown"):
        next(blocking_client.stream(running.path, "watch", {"hosts": ["unknown"]}))


def test_a_slow_watcher_skips_to_the_newest_view(running: Running, until: Until) -> None:
    """A slow watcher gets the newest view. At most one view waits for it."""
    with dial(running.path) as sock, sock.makefile("rb") as file:
        sock.sendall(request_line("watch"))
        until(lambda: bool(running.handler.pushes), "subscribed")
        for number in range(1, 2001):
            running.push({"view": number, "filler": "x" * 5000})
        assert json.loads(file.readline())["ok"]
        seen: list[int] = []
        while not seen or seen[-1] != 2000:
            seen.append(json.loads(file.readline())["item"]["view"])
    assert seen == sorted(seen)
    assert len(seen) < 500


def test_a_slow_reader_of_events_gets_an_error_and_is_closed(running: Running, until: Until) -> None:
    """A stream of events ends with an error rather than with a silent gap."""
    with dial(running.path) as sock:
        sock.sendall(request_line("events"))
        until(lambda: bool(running.handler.pushes), "subscribed")
        for number in range(3000):
            running.push({"event": number, "filler": "x" * 5000})
        until(lambda: not running.handler.pushes or number == 2999, "pushed")
        lines = everything(sock).splitlines()
    assert json.loads(lines[-1])["error"]["code"] == "too-slow"
    until(lambda: running.handler.unsubscribed == 1, "unsubscribed")


def test_a_reader_that_never_comes_back_is_cut_off(running: Running, until: Until) -> None:
    """If a reader never reads the last bytes, the agent closes the connection after a while."""
    with dial(running.path) as sock:
        sock.sendall(request_line("events"))
        until(lambda: bool(running.handler.pushes), "subscribed")
        for number in range(3000):
            running.push({"event": number, "filler": "x" * 5000})
        until(lambda: not running.server._connections, "cut off")


def test_a_client_that_leaves_is_unsubscribed(running: Running, until: Until) -> None:
    """Nothing is pushed to a client that left."""
    with dial(running.path) as sock:
        sock.sendall(request_line("watch"))
        until(lambda: bool(running.handler.pushes), "subscribed")
    until(lambda: running.handler.unsubscribed == 1, "unsubscribed")


def test_clients_learn_that_the_agent_ended(tmp_path: Path, until: Until, start_server: Start) -> None:
    """Clients that wait for a reconnect or watch learn within a second that the agent ended."""
    running = start_server(tmp_path / "agent.sock")
    failures: list[TrayagentError] = []

    def wait(op: str) -> None:
        try:
            if op == "watch":
                list(blocking_client.stream(running.path, op, {}))
            else:
                blocking_client.call(running.path, op, {})
        except TrayagentError as error:
            failures.append(error)

    threads = [threading.Thread(target=wait, args=(op,)) for op in ("watch", "reconnect")]
    for thread in threads:
        thread.start()
    until(lambda: bool(running.handler.pushes) and bool(running.handler.task_names), "both at work")
    running.close()
    for thread in threads:
        thread.join(10)
    assert {error.code for error in failures} == {"agent-ended"}


def test_an_agent_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    """The client's deadline applies, although a stopped process still has a listening socket."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(path))
        stopped.listen()
        with pytest.raises(TrayagentError, match="does not answer"):
            blocking_client.call(path, "status", {}, timeout_s=0.1)


def test_no_socket_means_no_agent(tmp_path: Path) -> None:
    """The error says how to start an agent, and its exit status is 3."""
    with pytest.raises(NoAgent) as caught:
        blocking_client.call(tmp_path / "nowhere" / "agent.sock", "status", {})
    assert (caught.value.exit_status, caught.value.hint) == (3, "Start it: trayagent run")
