from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import INTERNAL, JUMP, OTHER, SERVER

pytestmark = pytest.mark.lab


@pytest.fixture
def home(lab: Lab) -> Lab:
    """Join home, start an ssh server, and write `web` into ~/.ssh/config."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web": {"HostName": SERVER}}, ControlPath="~/.ssh/cm-%C")
    return lab


def test_a_login_works_for_real(home: Lab) -> None:
    """`ssh web` logs the user in on the server, in the laboratory's home."""
    done = home.laptop.run(["ssh", "web", 'id -un; echo "$HOME $SSH_CONNECTION"'])
    assert done.returncode == 0, done.stderr
    user, place = done.stdout.splitlines()
    assert user == pwd.getpwuid(os.getuid()).pw_name
    assert place.startswith(f"{home.files.far_home} ")
    assert place.endswith(f" {SERVER} 22")
    assert home.servers[0].logins() == 1


def test_the_users_own_configuration_stays_out(home: Lab) -> None:
    """As ~ is the laboratory's home for ssh, it reads no key, known host or option of the real user."""
    words = home.laptop.run(["ssh", "-G", "elsewhere"]).stdout
    assert f"identityfile {home.files.key}" in words
    assert f"controlpath {home.files.ssh}/cm-" in words


def test_sshd_obeys_extra_lines(home: Lab) -> None:
    """A configuration line of the caller wins over the laboratory's."""
    home.servers[0].restart(["ForceCommand echo forced"])
    assert home.laptop.run(["ssh", "web", "echo free"]).stdout == "forced\n"


def test_an_unusable_configuration_is_reported_with_sshds_message(home: Lab) -> None:
    """The error of a server that does not start contains sshd's message."""
    with pytest.raises(TrayagentError, match="NoSuchOption"):
        home.servers[0].restart(["NoSuchOption yes"])


def test_a_stopped_server_refuses_and_its_sessions_live(home: Lab) -> None:
    """stop() ends only the listener. With sessions=True, its sessions end, too."""
    pipe = subprocess.PIPE
    session = home.laptop.popen(["ssh", "web", "echo ready; cat"], stdin=pipe, stdout=pipe)
    assert session.stdin and session.stdout
    assert session.stdout.readline() == "ready\n"
    home.servers[0].stop()
    assert "Connection refused" in home.laptop.run(["ssh", "web", "true"]).stderr
    session.stdin.write("alive\n")
    session.stdin.flush()
    assert session.stdout.readline() == "alive\n"


def test_a_restart_ends_the_sessions(home: Lab) -> None:
    """After a restart the session has ended, as at a reboot, and the next login works."""
    session = home.laptop.popen(["ssh", "web", "echo ready; exec sleep 60"], stdout=subprocess.PIPE)
    assert session.stdout
    assert session.stdout.readline() == "ready\n"
    home.servers[0].restart()
    assert session.wait(10) == 255
    assert home.laptop.run(["ssh", "web", "true"]).returncode == 0


def test_sessions_end_although_sshd_loses_a_signal(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """end_sessions() repeats a SIGTERM that a session lost, and leaves the listener running."""
    session = home.laptop.popen(["ssh", "web", "echo ready; exec sleep 60"], stdout=subprocess.PIPE)
    assert session.stdout
    assert session.stdout.readline() == "ready\n"
    kill, lost = os.kill, set[int]()

    def lose_the_first(pid: int, number: int) -> None:
        if number == signal.SIGTERM and pid not in lost:
            lost.add(pid)
            return
        kill(pid, number)

    monkeypatch.setattr(os, "kill", lose_the_first)
    home.servers[0].end_sessions()
    assert lost
    assert session.wait(10) == 255
    assert home.servers[0].pid


def test_several_servers_have_nothing_in_common(home: Lab) -> None:
    """Each of several servers has its own host key, configuration and log.

    While one is down, the others accept logins.
    """
    first, other, second_port = home.servers[0], home.sshd(OTHER), home.sshd(port=2222)
    other.restart(["ForceCommand echo other"])
    assert len({server.host_key for server in home.servers}) == 3
    first.stop(sessions=True)
    assert "Connection refused" in home.laptop.run(["ssh", "web", "true"]).stderr
    assert home.laptop.run(["ssh", OTHER, "echo free"]).stdout == "other\n"
    assert home.laptop.run(["ssh", "-p", "2222", SERVER, "echo free"]).stdout == "free\n"
    assert [server.logins() for server in (first, other, second_port)] == [0, 1, 1]


def test_another_host_key_is_noticed(home: Lab) -> None:
    """After new_host_key() the client refuses the login, because known_hosts still has the old key."""
    home.servers[0].new_host_key()
    home.servers[0].restart()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in home.laptop.run(["ssh", "web", "true"]).stderr


def test_an_internal_host_is_reached_over_the_jump_host(home: Lab) -> None:
    """ProxyJump leads to a server that is unreachable from outside."""
    home.sshd(JUMP)
    home.sshd(INTERNAL)
    hosts = {"jump": {"HostName": JUMP}, "db": {"HostName": INTERNAL, "ProxyJump": "jump"}}
    home.ssh_config(hosts)
    done = home.laptop.run(["ssh", "db", "echo $SSH_CONNECTION"])
    assert done.stdout.split()[2:] == [INTERNAL, "22"], done.stderr


def test_a_probe_tells_when_a_forward_works(home: Lab) -> None:
    """A probe that is released before the forward exists reports the time of the first echo through it."""
    home.echo(8000)
    with home.probe(8080) as probe:
        probe.release()
        t0 = time.monotonic()
        ssh = home.laptop.popen(["ssh", "-N", "-L8080:localhost:8000", "web"])
        took_ms = (probe.result() - t0) * 1000
        assert ssh.poll() is None
    # A cold login takes nine round trips of 20 ms, the forward two more.
    assert 11 * 20 * 0.8 < took_ms < 20_000


def test_the_echo_service_speaks_http(home: Lab) -> None:
    """A browser can open a forward to the echo service."""
    home.echo(8000)
    ask = r"exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3"
    done = home.laptop.run(["ssh", "web", f'bash -c "{ask}"'.replace("$", r"\$")])
    assert done.stdout.startswith("HTTP/1.0 200 OK")
