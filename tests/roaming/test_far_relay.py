"""The far relay as a process: its commands, its socket, its limits and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

from tests.lab.matrix import alive
from tests.roaming.ends import written
from tests.roaming.local import Local, exactly, quiet, to_the_end
from trayagent.roaming.far_relay_and_resend_buffer import BYE, DATA, HEADER, Budget, Stream, frame
from trayagent.roaming.near_client import new_token
from trayagent.roaming.near_session import NearLink
from trayagent.sandbox.roaming_relays import wait_for


def sockets(local: Local) -> list[Path]:
    """Return the sockets in the user's home."""
    return list(local.home.glob(".cache/trayagent/*/*"))


def say_hello(local: Local, token: str, counter: int) -> tuple[socket.socket, NearLink]:
    """Attach by hand with a counter. Return the channel and the near half of the link."""
    stream = Stream(Budget())
    stream.counter = counter - 1
    link = NearLink(stream, token[:16], token[17:], None)
    ours = local.channel(token)
    ours.settimeout(60)
    ours.sendall(written(link))
    return ours, link


def goodbye(channel: socket.socket) -> str:
    """Return the code of the goodbye, which must be the channel's last frame, and close the channel."""
    with channel:
        data = to_the_end(channel)
    at = data.index(b"\n") + 1
    while True:
        length, kind, *_ = HEADER.unpack_from(data, at)
        payload = data[at + HEADER.size : at + HEADER.size + length]
        if kind == BYE:
            return payload.decode()
        at += HEADER.size + length


def test_only_this_user_can_open_the_socket(local: Local) -> None:
    """The folder has mode 0700 and the socket 0600. The token is in no file, argument or environment."""
    token = local.serve()
    (found,) = sockets(local)
    assert found.name == f"{token[:16]}.roam"
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    pid = local.relays()[0]["pid"]
    for name in ("cmdline", "environ"):
        assert token[17:].encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_it_is_detached_and_holds_nothing_of_the_login(local: Local) -> None:
    """The far relay has its own session without a terminal, and its standard descriptors are /dev/null."""
    local.serve()
    pid = local.relays()[0]["pid"]
    assert os.getsid(pid) != os.getsid(0)
    assert {str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in (0, 1, 2)} == {"/dev/null"}
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    os.kill(pid, signal.SIGHUP)
    assert local.relays()


def test_sshd_sees_a_connection_only_after_the_first_attach(local: Local) -> None:
    """The relay connects to sshd only once, at the first attach, so an unused relay uses up no limit of sshd."""
    token = local.serve()
    assert local.relays() and local.echo.connections == 0
    with local.start(token) as inner:
        for _ in range(3):
            assert local.attach(token)["ok"]
            inner.sendall(b"x")
            assert exactly(inner, 1) == b"x"
    assert local.echo.connections == 1


def test_list_shows_each_relay_and_end_needs_the_token(local: Local) -> None:
    """Two laptops of one user see each other's relays, and neither can end the other's without its token."""
    first, second = local.serve(), local.serve()
    assert {one["id"] for one in local.relays()} == {first[:16], second[:16]}
    assert local.far("end", text=first[:17] + "0" * 32 + "\n")["error"] == "token"
    assert local.far("end", text=first + "\n")["id"] == first[:16]
    wait_for(lambda: len(sockets(local)) == 1, "the socket is gone")
    assert [one["id"] for one in local.relays()] == [second[:16]]
    assert local.far("end", text=first + "\n")["error"] == "unknown"


def test_one_command_line_at_a_time(local: Local) -> None:
    """An invalid command line gives an error in the marker line."""
    token = local.serve()
    words = ("serve", "127.0.0.1", "22", "60", "lab")
    assert local.far(*words, text=token + "\n")["error"] == "exists"
    assert local.far(*words, text="not a token\n")["error"] == "token"
    assert local.far(*words, text="")["error"] == "token"
    assert local.far("serve", "127.0.0.1", "port", "60", "lab", text=new_token() + "\n")["error"] == "system"
    assert local.far("attach", "../../etc/passwd")["error"] == "unknown"
    assert local.far()["error"] == local.far("frobnicate")["error"] == local.far("serve")["error"] == "usage"
    assert len(local.relays()) == 1


def test_a_dead_relays_socket_is_removed(local: Local) -> None:
    """The next `list` removes the socket of a killed relay. Other files in the folder stay."""
    token = local.serve()
    pid = local.relays()[0]["pid"]
    (found,) = sockets(local)
    (found.parent / "notes.txt").write_text("mine")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not local.relays(), "the relay is gone")
    assert [one.name for one in sockets(local)] == ["notes.txt"]
    assert local.far("attach", token[:16])["error"] == "unknown"


def test_end_finds_a_relay_whose_socket_was_deleted(local: Local) -> None:
    """If a relay's socket was deleted, `attach` cannot reach the relay, but `end` finds its process."""
    first, second = local.serve(), local.serve()
    pids = {one["id"]: one["pid"] for one in local.relays()}
    for found in sockets(local):
        found.unlink()
    assert local.far("attach", first[:16])["error"] == "unknown"
    assert local.far("end", text=first + "\n")["id"] == first[:16]
    wait_for(lambda: not alive(pids[first[:16]]), "the first one ended")
    assert alive(pids[second[:16]])
    assert local.far("end", text=first + "\n")["error"] == "unknown"
    assert local.far("end", text=second + "\n")["id"] == second[:16]
    wait_for(lambda: not alive(pids[second[:16]]), "the second one ended")


def test_sigterm_ends_it_without_a_trace(local: Local) -> None:
    """An administrator's kill closes the connection and removes the socket."""
    token, inner = local.connect()
    with inner:
        os.kill(local.relays()[0]["pid"], signal.SIGTERM)
        wait_for(lambda: not sockets(local), "the socket is removed")
        wait_for(local.is_state(token, "away"), "the near relay noticed")
        assert local.attach(token)["error"] == "unknown"


def test_a_folder_that_others_can_use_is_refused(local: Local) -> None:
    """A folder of mode 0755 is not used, and sockets in it are not trusted."""
    token = local.serve()
    folder = sockets(local)[0].parent
    folder.chmod(0o755)
    words = ("serve", "127.0.0.1", "22", "60", "lab")
    assert local.far(*words, text=new_token() + "\n")["error"] == "unsafe-folder"
    assert local.far("attach", token[:16])["error"] == "unsafe-folder"
    seen = local.far("look", token[:16])
    assert (seen["socket"], seen["unsafe"], seen["listed"]) == (False, [str(folder)], True)
    folder.chmod(0o700)


def test_look_tells_a_deleted_socket_from_an_ended_relay(local: Local) -> None:
    """The kernel lists the socket of a living relay even if its file was deleted."""
    token = local.serve()
    (path,), pid = sockets(local), local.relays()[0]["pid"]
    assert local.far("look", token[:16])["socket"]
    path.unlink()
    seen = local.far("look", token[:16])
    assert (seen["socket"], seen["listed"]) == (False, True)
    assert seen["net_ns"] == str(Path("/proc/self/ns/net").readlink())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: local.far("look", token[:16])["listed"] is False, "the relay ended")


def test_a_link_to_another_folder_is_refused(local: Local, tmp_path: Path) -> None:
    """A symbolic link in place of the folder is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "trayagent").symlink_to(elsewhere)
    words = ("serve", "127.0.0.1", "22", "60", "lab")
    said = local.far(*words, text=new_token() + "\n", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert said["error"] == "unsafe-folder"


def test_the_runtime_folder_is_used_where_there_is_one(local: Local, tmp_path: Path) -> None:
    """A relay in $XDG_RUNTIME_DIR is found by a login that has the variable."""
    runtime = tmp_path / "a-folder-whose-name-is-longer-than-the-address-of-a-socket" / ("x" * 60)
    runtime.mkdir(parents=True, mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    token = local.serve(env=env)
    assert (runtime / "trayagent" / f"{token[:16]}.roam").is_socket()
    assert [one["id"] for one in local.far("list", env=env)["relays"]] == [token[:16]]
    local.far("end", text=token + "\n", env=env)


def test_the_number_of_relays_is_limited(local: Local) -> None:
    """The 33rd relay of a user is refused."""
    for _ in range(32):
        local.serve()
    said = local.far("serve", "127.0.0.1", "22", "60", "lab", text=new_token() + "\n")
    assert said["error"] == "too-many"


def test_a_relay_ends_when_its_laptop_is_away_for_too_long(local: Local) -> None:
    """`roam_for` counts from the loss of the link, not from the start."""
    token = local.serve(roam_for_s=2)
    with local.start(token) as inner:
        assert local.attach(token)["ok"]
        wait_for(lambda: local.relays()[0]["attached"], "attached")
        local.hang_up()
        wait_for(lambda: not local.relays(), "the relay ended")
        assert local.attach(token)["error"] == "unknown"
        inner.close()


def test_an_idle_relay_is_not_scheduled(local: Local) -> None:
    """While the connection is attached and silent, neither relay wakes up."""
    token, inner = local.connect()
    with inner:
        inner.sendall(b"x")
        assert exactly(inner, 1) == b"x"
        far = local.relays()[0]["pid"]
        wait_for(lambda: quiet(far, 1) == 0, "the last acknowledgement is out")
        assert quiet(far) == 0
        assert quiet(local.near.pid) == 0
        assert local.state(token)


def test_a_delayed_older_attach_displaces_nothing(local: Local) -> None:
    """If attach 5 arrives after attach 6, the relay refuses attach 5, and the connection continues over 6."""
    token = local.serve()
    newer, _ = say_hello(local, token, 6)
    wait_for(lambda: local.relays()[0]["attached"], "attached")
    older, _ = say_hello(local, token, 5)
    assert goodbye(older) == "older-attach"
    same, _ = say_hello(local, token, 6)
    assert goodbye(same) == "older-attach"
    newer.sendall(frame(DATA, 0, b"still here"))
    data = b""
    while b"still here" not in data:
        data += newer.recv(1 << 16)
    assert local.relays()[0]["attached"]
    newer.close()


def test_a_connection_to_the_socket_may_be_a_link(local: Local) -> None:
    """A connection to the relay's socket can be a link, without another process.

    The attach may come with the request.
    """
    token = local.serve()
    (found,) = sockets(local)
    with local.start(token) as inner:
        assert local.attach(token)["ok"]
        assert echoed(inner, b"through the command")
        for _ in range(2):
            os.chdir(found.parent)  # the path is too long for a socket's address
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(found.name)
            finally:
                os.chdir("/")
            with link:
                link.sendall(b'{"do": "link"}\n')
                answer = local.client.ask("attach", [link.fileno()], id=token[:16])
            assert answer["ok"], answer
            assert answer["machine"] and answer["boot"]
            local.hang_up()
            assert echoed(inner, b"straight")
    assert local.echo.connections == 1


def echoed(inner: socket.socket, data: bytes) -> bool:
    """Report whether the service sends the data back."""
    inner.sendall(data)
    return exactly(inner, len(data)) == data


def test_a_stranger_at_the_socket_gets_no_link_without_the_secret(local: Local) -> None:
    """A connection to the socket gets no link without the token's secret."""
    token = local.serve()
    (found,) = sockets(local)
    stream = Stream(Budget())
    near = NearLink(stream, token[:16], "0" * 32, None)
    os.chdir(found.parent)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(found.name)
    finally:
        os.chdir("/")
    link.settimeout(60)
    link.sendall(b'{"do": "link"}\n' + written(near))
    assert goodbye(link) == "token"
    assert local.echo.connections == 0


def test_another_token_is_refused(local: Local) -> None:
    """A program that can open the socket but does not know the secret is refused."""
    token = local.serve()
    channel, _ = say_hello(local, token[:17] + "0" * 32, 1)
    assert goodbye(channel) == "token"
    assert local.echo.connections == 0


def test_an_sshd_that_does_not_answer_is_named(local: Local) -> None:
    """If nothing listens at the server's address, the attach fails with a reason, and can be tried again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        token = local.serve(port=free.getsockname()[1])
        with local.start(token):
            assert local.attach(token)["error"] == "no-sshd"
            free.listen()
            assert local.attach(token)["ok"]


def test_callers_that_say_nothing_are_dropped(local: Local) -> None:
    """Many silent connections to the socket do not block another client. The relay closes silent and invalid ones."""
    token = local.serve()
    (found,) = sockets(local)
    os.chdir(found.parent)
    try:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for one in silent:
            one.connect(found.name)
        for nonsense in (b"x" * 10_000, b"[]\n", b'{"do": []}\n', b"\xff\n", b'{"do": "attach"}\n'):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(found.name)
                caller.settimeout(60)
                caller.sendall(nonsense)
                try:
                    said = caller.recv(100)
                except ConnectionResetError:
                    said = b""
                assert said == b"" or "error" in json.loads(said)
    finally:
        os.chdir("/")
    assert local.far("list")["relays"]
    for one in silent:
        one.close()
    with local.start(token):
        assert local.attach(token)["ok"]


def test_the_attach_process_ends_with_its_link(local: Local) -> None:
    """When a newer link comes, the older channel closes, so that the old outer session ends on the server."""
    token = local.serve()
    with local.start(token) as inner:
        assert local.attach(token)["ok"]
        assert local.attach(token)["ok"]
        assert local.children[0].wait(60) == 0
        inner.sendall(b"x")
        assert exactly(inner, 1) == b"x"


def test_attach_reports_a_socket_that_takes_no_connection_as_silent(local: Local) -> None:
    """If the socket accepts no connection, attach reports `silent`, because the relay may only be busy."""
    token = local.serve()
    (path,) = sockets(local)
    kept = path.rename(path.with_name("kept"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:  # connect(2) fails with EPROTOTYPE
        folder = os.open(path.parent, os.O_RDONLY)
        other.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        assert local.far("attach", token[:16])["error"] == "silent"
        assert path.exists()
    path.unlink()
    assert local.far("attach", token[:16])["error"] == "unknown"
    kept.rename(path)
