"""The classification of ssh's failures. The installed ssh prints the messages, if one machine can cause the failure."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.core.facts.failure import Failure
from trayagent.ssh.login.classify_failure import MAX_LINE, classify, perhaps_refused
from trayagent.ssh.login.key_exchange_log import KeyExchange

if TYPE_CHECKING:
    from tests.ssh.conftest import Keys, SshConfig, Sshd, StartMaster

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
SLOW_S = 20.0

Told = tuple[str, str, bool]


def told(failure: Failure) -> Told:
    """Return those parts of a failure that decisions use."""
    return failure.kind, failure.problem.code, failure.positive


def fail(config: SshConfig, *options: str, host: str = "box") -> Failure:
    """Run the real ssh, which must fail, and return the failure."""
    done = config.run(*options, host, "true")
    assert done.returncode == 255, done.stderr
    return classify(done.stderr, host="web01", exit_status=done.returncode)


@dataclass(frozen=True)
class Case:
    """One cause of a failure: lines of sshd_config, lines of ssh_config, known_hosts, options of ssh.

    The test fills in {port}, {user}, {key} (the key of another host) and {keys}. {keys} is a directory of files: the
    server does not know the keys `a` to `h`, `open` is the right key with mode 0644, and `junk` is not a key.
    """

    told: Told
    options: str = ""
    server: str = ""
    config: str = ""
    known: str | None = None


AUTH: Told = ("auth", "auth-denied", True)
KEY_FILE: Told = ("key-file", "auth-denied", True)
TOO_MANY: Told = ("too-many-keys", "too-many-auth-failures", True)
CHANGED: Told = ("host-key-changed", "host-key-changed", False)
UNKNOWN_KEY: Told = ("host-key-unknown", "host-key-unknown", False)
CERTIFICATE: Told = ("host-certificate", "host-certificate", False)
NEGOTIATION: Told = ("negotiation", "no-common-algorithm", False)
CONFIG: Told = ("config", "config-error", False)
REFUSED: Told = ("refused", "refused", False)
DROPPED: Told = ("dropped", "refused", False)
UNREACHABLE: Told = ("unreachable", "unreachable", False)
TIMED_OUT: Told = ("timed-out", "timed-out", False)
DNS: Told = ("dns", "name-not-found", False)
DIED: Told = ("died", "unknown", False)
PROXY: Told = ("proxy-command", "jump-host-failed", False)

DENIED = "AuthorizedKeysFile none"
UNKNOWN_KEYS = "abcdefgh"
"""Names of key files. Since OpenSSH 10.6, MaxAuthTries counts only what follows the first six keys."""
REAL = {
    "no key fits": Case(AUTH, server=DENIED),
    "the user is denied": Case(AUTH, server="DenyUsers {user}"),
    "the key file is absent": Case(KEY_FILE, server=DENIED, config="IdentityFile /nonexistent/key"),
    "the key file is no key": Case(KEY_FILE, server=DENIED, config="IdentityFile {keys}/junk"),
    "the key file is open to others": Case(
        KEY_FILE, server="MaxAuthTries 1", config="IdentityFile {keys}/open\n IdentitiesOnly yes"
    ),
    "too many keys": Case(
        TOO_MANY,
        server="MaxAuthTries 1",
        config="\n ".join(f"IdentityFile {{keys}}/{name}" for name in UNKNOWN_KEYS),
    ),
    "another host key": Case(CHANGED, known="[127.0.0.1]:{port} {key}\n"),
    "an unknown host key": Case(UNKNOWN_KEY, known=""),
    "an unknown host key, no user to ask": Case(UNKNOWN_KEY, "-o StrictHostKeyChecking=ask", known=""),
    "no common key exchange": Case(
        NEGOTIATION, "-o KexAlgorithms=ecdh-sha2-nistp256", server="KexAlgorithms curve25519-sha256"
    ),
    "no common cipher": Case(NEGOTIATION, "-o Ciphers=aes256-ctr", server="Ciphers aes128-ctr"),
    "no common host key type": Case(NEGOTIATION, "-o HostKeyAlgorithms=rsa-sha2-512"),
    "no such name": Case(DNS, "-o HostName=a..invalid"),
    "no process listens": Case(REFUSED, "-p 1"),
    "a forward that must not fail": Case(
        ("forward", "forward-failed", True),
        "-o ExitOnForwardFailure=yes -R 0:localhost:1",
        server="AllowTcpForwarding no",
    ),
    "a bad option": Case(CONFIG, "-o Foo=bar"),
    "a bad value": Case(CONFIG, "-o Port=x"),
    "a bad list": Case(CONFIG, "-o HostKeyAlgorithms=foo"),
    "a bad line": Case(CONFIG, config="Foo bar"),
    "no configuration": Case(CONFIG, "-F /nonexistent/config"),
    "an absent ProxyCommand": Case(PROXY, "-o ProxyCommand=/nonexistent"),
    "a ProxyCommand that says why": Case(PROXY, "-o ProxyCommand={keys}/says"),
    "a mute ProxyCommand": Case(DROPPED, "-o ProxyCommand=true"),
    "a control path without a folder": Case(("control-path", "config-error", True), "-M -S /nonexistent/x"),
    "a long control path": Case(("control-path", "control-path-too-long", True), f"-M -S /{'x' * 95}"),
}


@pytest.fixture(scope="session")
def keys(ssh_keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the key files that the cases name."""
    folder = tmp_path_factory.mktemp("cases")
    for name in UNKNOWN_KEYS:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, timeout=SLOW_S)
    for name, text, mode in (
        ("junk", "no key\n", 0o600),
        ("open", ssh_keys.user.read_text(), 0o644),
        ("says", "#!/bin/sh\necho no token >&2\n", 0o755),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    return folder


@pytest.mark.parametrize("case", REAL.values(), ids=REAL)
def test_failures_of_the_real_ssh_are_classified(
    sshd: Sshd, ssh_config: SshConfig, keys: Path, case: Case
) -> None:
    """Each failure that is possible on loopback is classified correctly, also at the agent's log level."""

    def fill(text: str) -> str:
        return text.format(port=sshd.port, user=sshd.user, keys=keys, key=OTHER_KEY)

    if case.server:
        sshd.restart(fill(case.server))
    if "/open" in case.config:  # only that file may offer the right key
        ssh_config.path.write_text(
            ssh_config.path.read_text().replace(f" IdentityFile {sshd.keys.user}\n", "")
        )
    if case.config:
        ssh_config.add(f"Host box\n {fill(case.config)}")
    if case.known is not None:
        (ssh_config.folder / "known_hosts").write_text(fill(case.known))
    options = fill(case.options).split()
    assert told(fail(ssh_config, *options)) == case.told
    assert told(fail(ssh_config, "-o", "LogLevel=VERBOSE", *options)) == case.told


@pytest.mark.parametrize(
    ("valid", "principal", "expected"),
    [
        ("20200101:20200102", "127.0.0.1", CERTIFICATE),
        ("20990101:20990102", "127.0.0.1", CERTIFICATE),
        ("always:forever", "192.0.2.1", UNKNOWN_KEY),
    ],
    ids=["expired", "not yet valid", "of another host"],
)
@pytest.mark.parametrize("plain", ["", OTHER_KEY], ids=["no plain key", "another plain key"])
def test_a_host_certificate_outside_its_dates_is_reported(
    sshd: Sshd, ssh_config: SshConfig, valid: str, principal: str, expected: Told, plain: str
) -> None:
    """The dates of a certificate from a known authority are the cause, unless known_hosts has another key."""
    authority, certificate = ssh_config.folder / "authority", ssh_config.folder / "host.pub"
    certificate.write_text(sshd.keys.host_public + "\n")
    for words in (
        ("-t", "ed25519", "-N", "", "-f", str(authority)),
        ("-s", str(authority), "-I", "box", "-h", "-n", principal, "-V", valid, str(certificate)),
    ):
        subprocess.run(["ssh-keygen", "-q", *words], check=True, timeout=SLOW_S)
    sshd.restart(f"HostCertificate {certificate.with_name('host-cert.pub')}")
    name = f"[127.0.0.1]:{sshd.port}"
    known = f"@cert-authority {name} {authority.with_suffix('.pub').read_text()}"
    known += f"{name} {plain}\n" if plain else ""
    (ssh_config.folder / "known_hosts").write_text(known)
    assert told(fail(ssh_config)) == (CHANGED if plain else expected)


# The ssh_config lines of the jump host, those of the target, and the expected failure.
JUMPS: dict[str, tuple[str, str, Told]] = {
    "the jump host refuses the login": ("User nobody-there", "", ("auth", "auth-denied", False)),
    "the jump host has another key": (
        "UserKnownHostsFile {folder}/wrong", "", CHANGED,
    ),
    "the jump host's key is unknown": (
        "UserKnownHostsFile /dev/null", "", UNKNOWN_KEY,
    ),
    "the jump host does not listen": ("Port 1", "", ("refused", "jump-host-failed", False)),
    "the jump host has no address": ("HostName a..invalid", "", ("dns", "jump-host-failed", False)),
    "the target refuses the login": ("", "User nobody-there", AUTH),
    "the target does not listen": ("", "Port 1", REFUSED),
    "the target has no address": ("", "HostName a..invalid", DNS),
    "the target has another key": (
        "", "UserKnownHostsFile {folder}/wrong", CHANGED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("jump", "target", "expected"), JUMPS.values(), ids=JUMPS)
def test_a_jump_host_is_distinguished_from_its_target(
    sshd: Sshd, ssh_config: SshConfig, tmp_path: Path, jump: str, target: str, expected: Told
) -> None:
    """The title names the host that failed, jump host or target, and only the target's own answer is positive."""
    (tmp_path / "wrong").write_text(f"[127.0.0.1]:{sshd.port} {OTHER_KEY}\n")
    common = ssh_config.path.read_text().removeprefix("Host box\n")
    lines = f"Host jump\n{jump}\nHost far\n ProxyJump jump\n{target}\nHost far jump\n{common}"
    ssh_config.path.write_text(lines.format(folder=tmp_path))
    failure = fail(ssh_config, host="far")
    assert told(failure) == expected
    by_name = ("dns",)  # in this case the title contains the literal name
    assert ("ump host" in failure.problem.title) is (
        bool(jump) or "Port" in target
    ) or failure.kind in by_name


def test_a_jump_host_that_forbids_forwarding_is_reported(sshd: Sshd, ssh_config: SshConfig) -> None:
    """A jump host that accepts the login but forbids forwarding is reported as such."""
    sshd.restart("AllowTcpForwarding no")
    common = ssh_config.path.read_text().removeprefix("Host box\n")
    ssh_config.path.write_text(f"Host far\n ProxyJump jump\nHost far jump\n{common}")
    assert told(fail(ssh_config, host="far")) == ("jump", "jump-host-failed", False)


def test_a_server_that_never_greets_timed_out(ssh_config: SshConfig) -> None:
    """If a server accepts the connection and sends nothing, the failure is a time-out after ConnectTimeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        failure = fail(ssh_config, "-o", f"Port={listener.getsockname()[1]}", "-o", "ConnectTimeout=1")
    assert told(failure) == TIMED_OUT


def test_a_full_server_counts_as_busy(sshd: Sshd, ssh_config: SshConfig) -> None:
    """A server that closes the connection because of MaxStartups counts as busy, not as down."""
    sshd.restart("MaxStartups 1:100:1")
    with socket.create_connection(("127.0.0.1", sshd.port), timeout=SLOW_S) as first:
        assert first.recv(4) == b"SSH-"
        assert told(fail(ssh_config)) == DROPPED


def test_a_master_cut_by_its_server_died(sshd: Sshd, start_master: StartMaster) -> None:
    """A connection that worked and was cut off is distinguished from one that never worked."""
    master = start_master()
    sshd.stop()
    status = master.process.wait(SLOW_S)
    assert told(classify(master.stderr(), host="web01", exit_status=status)) == DIED


def test_a_master_ends_when_its_server_is_silent(sshd: Sshd, start_master: StartMaster) -> None:
    """If ServerAlive ends a master, the failure is a time-out."""
    master = start_master("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    stopped = sshd.pids()
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):  # a process of the login may have ended just now
            os.kill(pid, signal.SIGSTOP)
    try:
        status = master.process.wait(SLOW_S)
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert told(classify(master.stderr(), host="web01", exit_status=status)) == ("died", "timed-out", False)


# Messages of OpenSSH and PAM that loopback and one version cannot produce.
def _proxied(said: str) -> str:
    """Return the output of ssh if its ProxyCommand prints this and ends."""
    return (
        f"{said}\nkex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by UNKNOWN port 65535\r\n"
    )


RECORDED: dict[str, tuple[str, Told]] = {
    "no route": ("ssh: connect to host 203.0.113.1 port 22: No route to host", UNREACHABLE),
    "no network": (
        "ssh: connect to host 2001:db8::1 port 22: Network is unreachable", UNREACHABLE,
    ),
    "a blackhole route": (
        "ssh: connect to host 203.0.113.1 port 22: Invalid argument", UNREACHABLE,
    ),
    "a prohibit route": (
        "ssh: connect to host 203.0.113.1 port 22: Permission denied", UNREACHABLE,
    ),
    "silence": (
        "ssh: connect to host 203.0.113.1 port 22: Connection timed out", TIMED_OUT,
    ),
    "resolver down": (
        "ssh: Could not resolve hostname web01: Temporary failure in name resolution",
        DNS,
    ),
    "the agent's user said no": (
        (
            'sign_and_send_pubkey: signing failed for ED25519 "/k" from agent: agent refused operation\n'
            "me@203.0.113.1: Permission denied (publickey)."
        ),
        AUTH,
    ),
    "the security key is unplugged": (
        (
            'sign_and_send_pubkey: signing failed for ED25519-SK "/k": device not found\n'
            "me@203.0.113.1: Permission denied (publickey)."
        ),
        AUTH,
    ),
    "booting": (
        (
            '"System is booting up. Unprivileged users are not permitted to log in yet. Please come back later.'
            ' For technical details, see pam_nologin(8)."\nConnection closed by 203.0.113.1 port 22'
        ),
        ("booting", "refused", True),
    ),
    "going down": (
        (
            "System is going down. Unprivileged users are not permitted to log in anymore.\n"
            "me@203.0.113.1: Permission denied (publickey)."
        ),
        ("booting", "refused", True),
    ),
    "a penalty (9.8)": ("banner line 0: Not allowed at this time\n", DROPPED),
    "MaxStartups (9.7)": ("banner line 0: Exceeded MaxStartups\r\n", DROPPED),
    "dropped without a prefix (10.x)": ("Connection reset by 203.0.113.1 port 22", DROPPED),
    "a taken control path": (
        "ControlSocket /run/m already exists, disabling multiplexing", ("control-path", "control-path-taken", True),
    ),
    "a full disk": (
        "unix_listener: cannot bind to path /home/me/.ssh/cm-a.1x.Tq2n: No space left on device",
        ("unwritable", "disk-full", True),
    ),
    "an open configuration": (
        "Bad owner or permissions on /home/me/.ssh/config", CONFIG,
    ),
    "a broken pipe": ("client_loop: send disconnect: Broken pipe", DIED),
    "a reset": (
        "Read from remote host 203.0.113.1: Connection reset by peer\nclient_loop: send disconnect: Broken pipe",
        DIED,
    ),
    "a master that carried a forward to a closed port": (
        "channel 2: open failed: connect failed: Connection refused\nConnection to web01 closed by remote host.",
        DIED,
    ),
    "a mute ProxyCommand, quick": ("banner exchange: Connection to UNKNOWN port 65535: Broken pipe", DROPPED),
    "a ProxyCommand that says why, quick": (
        "no token\nbanner exchange: Connection to UNKNOWN port 65535: Broken pipe", PROXY,
    ),
    "socat, closed port": (_proxied(
        "2026/11/29 18:21:38 socat[8448] E connect(5, AF=2 127.0.0.1:1, 16): Connection refused"
    ), ("refused", "jump-host-failed", False)),
    "ncat, no such name": (_proxied(
        'Ncat: Could not resolve hostname "nosuch.invalid": Name or service not known. QUITTING.'
    ), ("dns", "jump-host-failed", False)),
    "openssl, no network": (_proxied(
        "40F7:error:80000065:system library:BIO_connect:Network is unreachable:../crypto/bio/bio_sock2.c:117:calling\n"
        "40F7:error:10000067:BIO routines:BIO_connect:connect error:../crypto/bio/bio_sock2.c:119:\nconnect:errno=101"
    ), ("unreachable", "jump-host-failed", False)),
    "openssl's remark about a certificate is no refusal": (_proxied(
        "verify error:num=10:certificate has expired\n40F7:error:8000006F:system library:BIO_connect:Connection refused"
    ), ("refused", "jump-host-failed", False)),
    "cloudflared, the server is away": (_proxied(
        'ERR failed to connect to origin error="dial tcp 203.0.113.10:443: i/o timeout" originURL=https://x'
    ), ("timed-out", "jump-host-failed", False)),
    "aws, an expired token": (_proxied(
        "An error occurred (ExpiredTokenException) when calling the StartSession operation: The security token "
        "included in the request is expired"
    ), ("proxy-login", "auth-denied", False)),
    "a proxy that wants a password": (_proxied("Ncat: Proxy returned status code 407."), (
        "proxy-login", "auth-denied", False
    )),
    "a token that cannot be fetched is no refused one": (_proxied(
        "login: fetch token: dial tcp: connect: connection refused"
    ), ("refused", "jump-host-failed", False)),
    "a server that closes while we greet": ("banner exchange: Connection to 203.0.113.1 port 22: Broken pipe", DROPPED),
    "the jump host has no route to the target": (
        (
            "channel 0: open failed: connect failed: No route to host\nstdio forwarding failed\n"
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535"
        ),
        UNREACHABLE,
    ),
    "the jump host waited for the target in vain": (
        (
            "channel 0: open failed: connect failed: Connection timed out\nstdio forwarding failed\n"
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535"
        ),
        TIMED_OUT,
    ),
    "the second of two jump hosts does not listen": (
        (
            "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n"
            "Connection closed by UNKNOWN port 65535\nConnection closed by UNKNOWN port 65535"
        ),
        ("refused", "jump-host-failed", False),
    ),
    "an unknown message": ("something new\nWarning: Permanently added 'x'", ("unknown", "unknown", False)),
    "nothing": ("", ("unknown", "unknown", False)),
}  # fmt: skip


@pytest.mark.parametrize(("stderr", "expected"), RECORDED.values(), ids=RECORDED)
def test_a_recorded_message_is_classified(stderr: str, expected: Told) -> None:
    """Recorded messages that one machine cannot produce are classified correctly."""
    assert told(classify(stderr, host="web01", exit_status=255)) == expected


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("the agent's user said no", "The ssh-agent did not sign the login to web01"),
        ("the security key is unplugged", "The hardware key for web01 was not found"),
        ("booting", "web01 is starting up or shutting down"),
        ("a penalty (9.8)", "web01 closed the connection before the login"),
    ],
)
def test_a_title_says_what_happened(name: str, title: str) -> None:
    """Each failure has its own title, even failures that the agent treats alike."""
    assert classify(RECORDED[name][0], host="web01", exit_status=255).problem.title == title


def test_our_deadline_is_a_time_out_unless_ssh_logged_a_reason() -> None:
    """Without an exit status (the agent ended ssh) the failure is a time-out, unless ssh logged another reason."""
    assert classify("", host="web01").kind == "timed-out"
    assert classify("Warning: Permanently added 'x'\n", host="web01").kind == "timed-out"
    assert classify("me@x: Permission denied (publickey).", host="web01").kind == "auth"


def test_every_title_names_the_host_or_ssh_s_own_words() -> None:
    """Every title names the host or quotes ssh, so that the user knows which host failed."""
    failure = classify("me@203.0.113.1: Permission denied (publickey).", host="web01", exit_status=255)
    assert (failure.problem.title, failure.problem.hint) == (
        "web01 refused the login",
        "Check the key and the ssh-agent: ssh web01",
    )
    assert (
        classify("x: line 3: Bad port 'y'.", host="web01", exit_status=255).problem.title
        == "x: line 3: Bad port 'y'."
    )
    assert classify("odd\n", host="web01", exit_status=255).problem.title == "odd"
    assert classify("", host="web01", exit_status=1).problem.title == "ssh to web01 ended with status 1"


@given(
    st.text(max_size=300) | st.sampled_from([text for text, _ in RECORDED.values()]),
    st.sampled_from([None, 255]),
)
def test_any_text_is_a_failure_with_a_printable_title(stderr: str, exit_status: int | None) -> None:
    """Any text gives a failure without an exception; its title is one short line without escape sequences."""
    problem = classify(stderr + "\x1b[2J{x}\r", host="web01", exit_status=exit_status).problem
    assert problem.title
    assert problem.title.isprintable()
    assert problem.hint.isprintable() or not problem.hint
    assert len(problem.title) < MAX_LINE + 100


CLOSED = "Connection closed by 203.0.113.1 port 22"
EXPIRED = "web01 closed the connection during the login: perhaps the account is refused or expired"


@pytest.mark.parametrize(
    ("after", "exit_status", "kind", "title"),
    [
        (CLOSED, 255, "closed", EXPIRED),
        ("Connection closed by UNKNOWN port 65535", 255, "closed", EXPIRED),
        ("", None, "timed-out", "web01 did not finish the login in time: perhaps it was refused"),
        (
            "Received disconnect from 203.0.113.1 port 22:2: no",
            255,
            "unknown",
            "Received disconnect from 203.0.113.1 port 22:2: no",
        ),
    ],
)
def test_an_end_without_a_word_after_the_key_exchange_may_be_a_refusal(
    after: str, exit_status: int | None, kind: str, title: str
) -> None:
    """An end without a message after the key exchange may be a refused login.

    It is no answer, so it is not positive.
    """
    exchange = KeyExchange("ssh-ed25519 SHA256:x", after)
    found = classify(after, host="web01", exit_status=exit_status, others="", proven=after)
    found = perhaps_refused(found, exchange, "web01")
    assert (found.kind, found.perhaps_refused, found.positive) == (kind, True, False)
    assert found.problem.title == title


@pytest.mark.parametrize(
    ("exchange", "text"),
    [
        (KeyExchange(), CLOSED),
        (
            KeyExchange("ssh-ed25519 SHA256:x", f'Authenticated to web01 (x) using "publickey".\n{CLOSED}'),
            CLOSED,
        ),
        (
            KeyExchange("ssh-ed25519 SHA256:x", "x: Permission denied (publickey)."),
            "x: Permission denied (publickey).",
        ),
        (
            KeyExchange("ssh-ed25519 SHA256:x"),
            "Received disconnect from 203.0.113.1 port 22:2: Too many authentication failures",
        ),
    ],
)
def test_other_ends_are_what_they_were(exchange: KeyExchange, text: str) -> None:
    """No refusal is suspected before the key exchange (a busy server), after the login, or if there is a message."""
    found = classify(text, host="web01", exit_status=255)
    assert perhaps_refused(found, exchange, "web01") == found
