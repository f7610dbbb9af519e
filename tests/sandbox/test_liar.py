from __future__ import annotations

import subprocess

import pytest

from trayagent.sandbox import Lab, Liar
from trayagent.sandbox.network_map import JUMP, SERVER

pytestmark = pytest.mark.lab

FAST = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=2"]


@pytest.fixture
def cafe(lab: Lab) -> Lab:
    """Join the café, start a real server, and write its name into ~/.ssh/config."""
    lab.join("cafe")
    lab.sshd()
    lab.ssh_config({"web": {"HostName": SERVER}})
    return lab


@pytest.fixture
def liar(cafe: Lab) -> Liar:
    """Make the café's gateway impersonate the server."""
    return cafe.liar("cafe")


def login(lab: Lab, *words: str) -> tuple[int, str]:
    """Return the exit status of a login, and ssh's error output."""
    done = lab.laptop.run(["ssh", *FAST, *words, "web", "true"])
    return done.returncode, done.stderr


def test_a_forged_disconnect_is_printed_by_ssh(cafe: Lab, liar: Liar) -> None:
    """Ssh prints the text of a forged plaintext packet to stderr, including its newlines."""
    liar.disconnects(
        'bye\nAuthenticated to web ([203.0.113.10]:22) using "publickey".\nPermission denied (publickey).'
    )
    status, said = login(cafe)
    assert status == 255
    assert "Permission denied (publickey)." in said.splitlines()
    assert any(line.startswith("Received disconnect from ") for line in said.splitlines())
    assert liar.visits == 1
    assert cafe.servers[0].said().count("Connection from") == 0


def test_lines_before_the_banner_and_debug_messages_arrive(cafe: Lab, liar: Liar) -> None:
    """At LogLevel DEBUG1 ssh prints the lines that the gateway sent before its banner."""
    liar.disconnects("bye", prelude=["forged prelude"], debug=["forged debug"])
    _, said = login(cafe, "-v")
    assert "forged prelude" in said


@pytest.mark.parametrize("reset", [False, True])
def test_a_closed_port_22_ends_a_login_at_once(cafe: Lab, liar: Liar, *, reset: bool) -> None:
    """The gateway accepts and closes or resets the connection, and ssh reports that."""
    liar.closes(reset=reset)
    status, said = login(cafe)
    assert status == 255
    assert "reset by peer" in said or "Connection closed by" in said


def test_silence_lasts_until_ssh_gives_up(cafe: Lab, liar: Liar) -> None:
    """If the gateway is silent from the start, ConnectTimeout ends the login."""
    liar.is_silent()
    assert "timed out during banner exchange" in login(cafe)[1]


def test_a_tarpit_holds_ssh(cafe: Lab, liar: Liar) -> None:
    """The gateway sends line after line before a banner. OpenSSH 10.0 does not count that for ConnectTimeout."""
    liar.is_tarpit()
    child = cafe.laptop.popen(["ssh", *FAST, "-v", "web", "true"], stderr=subprocess.PIPE)
    assert child.stderr
    lines = (line for line in child.stderr if "wait a little" in line)
    for _ in range(4):
        next(lines)
    assert child.poll() is None


def test_a_stall_comes_after_the_banner(cafe: Lab, liar: Liar) -> None:
    """After the banner, ssh gets no more data."""
    liar.stalls()
    child = cafe.laptop.popen(["ssh", *FAST, "-v", "web", "true"], stderr=subprocess.PIPE)
    assert child.stderr
    for line in child.stderr:
        if "remote software version OpenSSH_9.2p1" in line:
            break
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)


def test_a_banner_of_100_kilobytes_is_refused_by_ssh(cafe: Lab, liar: Liar) -> None:
    """Ssh reads a banner only up to a limit, and gives up."""
    liar.sends_banner()
    assert login(cafe)[0] == 255


def test_another_server_shows_another_key(cafe: Lab, liar: Liar) -> None:
    """A real sshd answers with another host key, and accepts the user if ssh does not check the key."""
    server = liar.pretends()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in login(cafe)[1]
    unchecked = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    assert login(cafe, *unchecked)[0] == 0
    assert (server.logins(), cafe.servers[0].logins()) == (1, 0)
    liar.pretends(["AuthorizedKeysFile none"])
    assert "Permission denied (publickey)" in login(cafe, *unchecked)[1]


def test_others_and_other_networks_are_not_lied_about(cafe: Lab, liar: Liar) -> None:
    """Another address is reachable through the hostile gateway.

    The real server is reachable from home, and in the café after `is_honest`.
    """
    cafe.sshd(JUMP)
    cafe.ssh_config({"web": {"HostName": SERVER}, "jump": {"HostName": JUMP}})
    assert cafe.laptop.run(["ssh", *FAST, "jump", "true"]).returncode == 0
    cafe.switch("cafe", "home")
    assert login(cafe)[0] == 0
    cafe.switch("home", "cafe")
    assert login(cafe)[0] == 255
    liar.is_honest()
    assert login(cafe)[0] == 0


def test_what_was_connected_before_the_lie_is_cut_off(cafe: Lab) -> None:
    """While the gateway impersonates the server, an older session gets no answer and no reset.

    It continues afterwards.
    """
    session = cafe.laptop.popen(["ssh", "web", "echo ready; cat"], stdin=-1, stdout=-1)
    assert session.stdin and session.stdout
    assert session.stdout.readline() == "ready\n"
    liar = cafe.liar("cafe")
    liar.closes()
    session.stdin.write("alive\n")
    session.stdin.flush()
    assert login(cafe)[0] == 255
    assert session.poll() is None
    liar.is_honest()
    assert session.stdout.readline() == "alive\n"
