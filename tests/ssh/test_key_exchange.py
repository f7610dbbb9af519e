"""The lines that ssh logs of its key exchange, and the attempts to forge them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trayagent.sandbox import Lab, other_ssh_programs
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import SERVER
from trayagent.ssh.login.key_exchange_log import LOG_OPTIONS, KeyExchange, preferring, read_key_exchange
from trayagent.ssh.master.master_logs import SshOutput, create, read, remove, rename

PID = 4242
KEY = "ssh-ed25519 SHA256:GMc+LHnlGBleoNb19XfA4OUepclt8e3zGXHgQY6tMY4"


def shown(pid: int = PID, text: str = f"Server host key: {KEY}", where: str = "") -> str:
    """Return ssh's line about the server's key. `where` is text that newer versions log before the pid."""
    return f"debug1: sshconnect.c:verify_host_key():1477 ({where}pid={pid}): {text}\r\n"


def newkeys(pid: int = PID, where: str = "") -> str:
    """Return ssh's line about the end of the key exchange."""
    return f"debug1: kex.c:kex_input_newkeys():612 ({where}pid={pid}): SSH2_MSG_NEWKEYS received\r\n"


DENIED = "me@203.0.113.10: Permission denied (publickey).\r\n"


@pytest.mark.parametrize("where", ["", "bin=ssh, ", "bin=/opt/my ssh, pid=1/ssh, "])
def test_the_key_and_then_newkeys_prove_a_host_key(where: str) -> None:
    """Both lines in this order, complete and from the ssh that connected, prove the host key."""
    found = read_key_exchange(
        f"Warning: x\r\n{shown(where=where)}Warning: y\r\n{newkeys(where=where)}{DENIED}", PID
    )
    assert found.host_key == KEY
    assert found.after == DENIED.replace("\r\n", "\n")


CERTIFICATE = "Server host certificate: ssh-ed25519-cert-v01@openssh.com SHA256:abc, serial 7 ID"


def test_a_certificate_proves_its_key_only_with_a_login() -> None:
    """A certificate proves its key, under the plain type, only after a login, because the peer wrote its content."""
    text = f'{CERTIFICATE} "web" CA ssh-ed25519 x'
    name = "debug2: sshconnect.c:verify_host_key():1470 (pid=4242): Server host certificate hostname: web\n"
    log = shown(text=text) + name + newkeys() + DENIED
    assert read_key_exchange(log, PID, logged_in=True).host_key == "ssh-ed25519 SHA256:abc"
    assert read_key_exchange(log, PID) == KeyExchange(certified=True)


@pytest.mark.parametrize(
    "log",
    [
        "",
        newkeys(),
        shown(),
        newkeys() + shown(),
        shown(1) + newkeys(1),
        shown() + newkeys(1),
        shown() + newkeys().replace("debug1: ", "x debug1: "),
        shown() + newkeys().replace("received", "received, or so"),
        f"Received disconnect from 203.0.113.10 port 22:2: x\n{shown()}{newkeys()}{DENIED}",
        f"Unable to negotiate with 203.0.113.10 port 22: no x. Their offer: y\n{shown()}{newkeys()}{DENIED}",
        f"{shown()}Received disconnect from 203.0.113.10 port 22:2: x\n{newkeys()}{DENIED}",
        f"{shown()}{newkeys()}{DENIED}Connection to 203.0.113.10 port 22: incorrect signature\r\n",
        f"{shown()}{newkeys()}{DENIED}Host key verification failed.\r\n",
    ],
)
def test_nothing_else_proves_a_host_key(log: str) -> None:
    """An incomplete line, a wrong order, another process, a server's text and a wrong signature prove no host key."""
    found = read_key_exchange(log, PID)
    assert (found.host_key, found.after) == (None, "")


@pytest.mark.parametrize("pid", [1, PID])
def test_the_key_id_of_a_certificate_forges_nothing(pid: int) -> None:
    """Lines that are forged through a certificate's key ID prove nothing, even with the right pid."""
    log = shown(text=f'{CERTIFICATE} "x\n{newkeys(pid)}{DENIED}" CA ssh-ed25519 x')
    log += "Connection to 203.0.113.10 port 22: incomplete message\r\n"
    assert read_key_exchange(log, PID) == KeyExchange(certified=True)
    assert read_key_exchange(log, None).host_key is None


def test_a_recorded_key_is_requested_first() -> None:
    """The algorithms of the recorded key come first, and all others stay.

    For an unknown type there is no preference.
    """
    algorithms = [
        "ssh-ed25519-cert-v01@openssh.com",
        "ssh-ed25519",
        "rsa-sha2-512",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
    ]
    assert preferring("ssh-rsa SHA256:abc", algorithms) == (
        "rsa-sha2-512,ssh-rsa,ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256"
    )
    assert preferring("ssh-ed25519 SHA256:abc", algorithms) == ",".join(algorithms)
    assert preferring("ssh-other SHA256:abc", algorithms) is None


def test_the_output_of_other_programs_is_in_a_separate_file(tmp_path: Path) -> None:
    """The log of ssh and its stderr are two private files that are renamed and removed together."""
    log, later = tmp_path / "attempt-1.log", tmp_path / "master-1.log"
    descriptor = create(log)
    os.write(descriptor, b"a banner\n")
    os.close(descriptor)
    log.write_text("own\n")
    rename(log, later)
    assert read(later) == SshOutput("own\n", "a banner\n")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    remove(later)
    assert not list(tmp_path.iterdir())
    assert read(later) == SshOutput("", "")


@pytest.mark.lab
@pytest.mark.parametrize("level", ["QUIET", "VERBOSE"])
@pytest.mark.parametrize("ssh", [None, *other_ssh_programs()])
def test_ssh_logs_the_key_at_any_level(ssh: str | None, level: str, tmp_path: Path) -> None:
    """Every tested ssh logs both lines, whatever the user's LogLevel and LogVerbose are."""
    program = ssh or tool("ssh")
    with Lab() as lab:
        lab.join("home")
        server = lab.sshd()
        lab.ssh_config(
            {"web": {"HostName": SERVER}}, LogLevel=level, LogVerbose="kex.c:*", SyslogFacility="AUTH"
        )
        options = [word for key, value in LOG_OPTIONS.items() for word in ("-o", f"{key}={value}")]
        log = tmp_path / "log"
        login = [program, "-E", str(log), *options, "web", "true"]
        child = lab.laptop.popen(login)
        assert child.wait(20) == 0
        words = ["ssh-keygen", "-lf", str(server.folder / "host_key.pub")]
        fingerprint = lab.server.check(words).split()[1]
        assert read_key_exchange(log.read_text(), child.pid).host_key == f"ssh-ed25519 {fingerprint}"
