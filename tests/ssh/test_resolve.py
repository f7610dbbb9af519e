"""The output of `ssh -G` from the installed OpenSSH, and how trayagent parses it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from trayagent.core.facts import forward_spec
from trayagent.core.facts.forwards import End, Forward, ForwardKind
from trayagent.core.facts.resolved import Jump, Resolved
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward
from trayagent.ssh.request_forward import to_mux
from trayagent.ssh.resolve import MAX_OUTPUT, _take, parse, resolve

DEADLINE_S = 20.0


def resolved(folder: Path, text: str, name: str = "web01") -> Resolved:
    """Write a configuration and resolve a name with the real ssh."""
    config = folder / "config"
    config.write_text(text)
    return asyncio.run(resolve(name, config=str(config), timeout_s=DEADLINE_S))


def on_the_wire(folder: Path, *options: str) -> list[MuxForward]:
    """Return the fields of OPEN_FWD for these lines of ssh_config."""
    return [to_mux(forward) for forward in resolved(folder, "\n".join(options)).forwards]


TABLE: list[tuple[str, tuple[object, ...]]] = [
    ("LocalForward 8001 localhost:80", ("local", "", 8001, "localhost", 80)),
    ("LocalForward 127.0.0.1:8002 db:5432", ("local", "127.0.0.1", 8002, "db", 5432)),
    ("LocalForward [::1]:8003 [2001:db8::1]:443", ("local", "::1", 8003, "2001:db8::1", 443)),
    ("LocalForward *:8004 h:80", ("local", "*", 8004, "h", 80)),
    ("LocalForward :8014 h:80", ("local", "*", 8014, "h", 80)),
    ("LocalForward 0.0.0.0:8015 h:80", ("local", "0.0.0.0", 8015, "h", 80)),  # noqa: S104  # only a text, no socket
    ("LocalForward 8006 /run/r.sock", ("local", "", 8006, "/run/r.sock", UNIX_PATH)),
    ("LocalForward /tmp/l.sock h:80", ("local", "/tmp/l.sock", UNIX_PATH, "h", 80)),  # noqa: S108  # only a name
    ("LocalForward /l2 /run/r2", ("local", "/l2", UNIX_PATH, "/run/r2", UNIX_PATH)),
    ('LocalForward "/l 3" "/run/r 3"', ("local", "/l 3", UNIX_PATH, "/run/r 3", UNIX_PATH)),
    ('LocalForward "/l 4" h:80', ("local", "/l 4", UNIX_PATH, "h", 80)),
    ("LocalForward ~/home.sock h:80", ("local", "~/home.sock", UNIX_PATH, "h", 80)),
    ("RemoteForward 0 localhost:22", ("remote", "", 0, "localhost", 22)),
    ("RemoteForward 9005 /m.sock", ("remote", "", 9005, "/m.sock", UNIX_PATH)),
    ("RemoteForward /run/r.sock h:22", ("remote", "/run/r.sock", UNIX_PATH, "h", 22)),
    ("RemoteForward 1080", ("remote", "", 1080, "socks", 0)),
    ("DynamicForward 1090", ("dynamic", "", 1090, "socks", 0)),
    ("DynamicForward *:1091", ("dynamic", "*", 1091, "socks", 0)),
    ("DynamicForward [::1]:1092", ("dynamic", "::1", 1092, "socks", 0)),
]


@pytest.mark.parametrize(("option", "fields"), TABLE, ids=[option for option, _ in TABLE])
def test_a_forward_of_ssh_config_reaches_the_wire(
    tmp_path: Path, option: str, fields: tuple[object, ...]
) -> None:
    """A forward in ssh_config results in exactly these fields, and in no other forward."""
    forwards = on_the_wire(tmp_path, option)
    assert [(f.kind, f.listen_host, f.listen_port, f.connect_host, f.connect_port) for f in forwards] == [
        fields
    ]


def test_only_the_echo_of_a_forward_is_dropped(tmp_path: Path) -> None:
    """`ssh -G` prints a forward to a Unix socket once more as dynamic. Only this duplicate is dropped."""
    forwards = on_the_wire(tmp_path, "LocalForward 8006 /run/r.sock", "DynamicForward 1090")
    assert [(f.kind, f.listen_port) for f in forwards] == [("local", 8006), ("dynamic", 1090)]


SPECS: dict[ForwardKind, str] = {
    "local": """8080:h:80 :8080:h:80 *:8080:h:80 []:80:h:80 [::1]:80:[::2]:90 8080:/r h:8080:/r /l:h:80 /l:/r
        a\\:b:80:h:80 80:h:80: 80:[/a:b]""",
    "remote": "0:h:22 2222:h:22 1080 0 :1080 [::1]:1080 /r /r:h:80 /r:/l 1:2:3 localhost:0",
    "dynamic": "1080 *:1080 :1080 [::1]:1080 /d",
}
REFUSED: dict[ForwardKind, str] = {
    "local": "8080 0:h:80 8080:h:0 ::1:80:h:80 80:h:65536 h:80",
    "remote": "h:/p 8080:h:0",
    "dynamic": "0 h:/p 1:2:3",
}


def each(specs: dict[ForwardKind, str]) -> list[tuple[ForwardKind, str]]:
    """Return each argument with the kind of its forward."""
    return [(kind, spec) for kind, line in specs.items() for spec in line.split()]


def ssh_g(kind: ForwardKind, spec: str) -> subprocess.CompletedProcess[str]:
    """Run the real `ssh -G` with an argument of -L, -R or -D."""
    option = {"local": "-L", "remote": "-R", "dynamic": "-D"}[kind]
    words = ["ssh", "-F", "none", "-G", option, spec, "--", "host"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_S)


@pytest.mark.parametrize(("kind", "spec"), each(SPECS))
def test_an_argument_is_read_as_by_ssh(kind: ForwardKind, spec: str) -> None:
    """`parse` reads an argument of -L, -R or -D as the real ssh does."""
    assert parse(ssh_g(kind, spec).stdout).forwards == (forward_spec.parse(kind, spec),)


@pytest.mark.parametrize(("kind", "spec"), each(REFUSED))
def test_ssh_rejects_the_arguments_that_we_reject(kind: ForwardKind, spec: str) -> None:
    """If trayagent rejects an argument, ssh rejects it, too, except empty targets, service names and variables."""
    assert ssh_g(kind, spec).returncode == 255
    with pytest.raises(ValueError, match="for example"):
        forward_spec.parse(kind, spec)


def test_forwards_keep_their_specs_in_the_users_words(tmp_path: Path) -> None:
    """The spec of a forward in ssh_config is the equivalent argument of -L, -R or -D."""
    text = "LocalForward [::1]:8003 [2001:db8::1]:443\nLocalForward 8001 localhost:80\nDynamicForward :1090"
    specs = [forward.spec for forward in resolved(tmp_path, text).forwards]
    assert specs == ["[::1]:8003:[2001:db8::1]:443", "8001:localhost:80", "*:1090"]


def test_every_field_is_read(tmp_path: Path) -> None:
    """Each option that a decision needs is read with its value."""
    said = resolved(
        tmp_path,
        """
        HostName 203.0.113.10
        User me
        Port 2222
        HostKeyAlgorithms rsa-sha2-512,ssh-ed25519
        Ciphers aes256-gcm@openssh.com,aes128-ctr
        ControlPath /run/c-%h-%p-%r
        ControlMaster auto
        ControlPersist 10m
        ProxyCommand nc %h %p
        ProxyUseFdpass yes
        GatewayPorts yes
        StreamLocalBindUnlink yes
        ServerAliveInterval 7
        ServerAliveCountMax 2
        ConnectTimeout 5
        StrictHostKeyChecking accept-new
        HostKeyAlias other
        UserKnownHostsFile /k1 /k2
        GlobalKnownHostsFile /g
        IdentityAgent /agent.sock
        IdentityFile /id1
        IdentityFile /id2
        CertificateFile /cert
        IdentitiesOnly yes
        PKCS11Provider /lib.so
        PreferredAuthentications publickey
        PubkeyAuthentication no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        ForwardAgent yes
        AddressFamily inet6
        BindAddress 127.0.0.2
        BindInterface lo
        CanonicalizeHostname always
        """,
    )
    assert said == Resolved(
        host="web01",
        hostname="203.0.113.10",
        user="me",
        port=2222,
        control_path="/run/c-203.0.113.10-2222-me",
        control_master="auto",
        control_persist="600",
        proxy_command="nc %h %p",
        proxy_use_fdpass=True,
        gateway_ports=True,
        stream_local_bind_unlink=True,
        server_alive_interval=7,
        server_alive_count_max=2,
        connect_timeout=5,
        strict_host_key_checking="accept-new",
        host_key_alias="other",
        user_known_hosts=("/k1", "/k2"),
        global_known_hosts=("/g",),
        identity_agent="/agent.sock",
        identity_files=("/id1", "/id2"),
        certificate_files=("/cert",),
        identities_only=True,
        pkcs11_provider="/lib.so",
        preferred_authentications="publickey",
        pubkey_authentication=False,
        password_authentication=False,
        kbd_interactive_authentication=False,
        forward_agent=True,
        address_family="inet6",
        bind_address="127.0.0.2",
        bind_interface="lo",
        canonicalize_hostname="always",
        host_key_algorithms=("rsa-sha2-512", "ssh-ed25519"),
        ciphers=("aes256-gcm@openssh.com", "aes128-ctr"),
    )


@pytest.mark.parametrize(
    ("word", "keeps"), [("true", True), ("yes", True), ("all", True), ("no", False), ("false", False)]
)
def test_each_word_for_tcp_keep_alive_is_read(word: str, *, keeps: bool) -> None:
    """OpenSSH 9.2 prints TCPKeepAlive as yes or no, 10.0 as true or false, and since 10.6 also as all."""
    assert parse(f"hostname web01\nport 22\nuser me\ntcpkeepalive {word}\n").tcp_keep_alive is keeps


def test_gssapi_is_read_where_ssh_has_it(tmp_path: Path) -> None:
    """GSSAPIAuthentication is read with its value. Debian puts it in a package of its own since OpenSSH 10.4."""
    words = ["ssh", "-G", "-F", "none", "-o", "GSSAPIAuthentication=yes", "web01"]
    printed = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_S).stdout
    has_it = "gssapiauthentication yes" in printed
    assert resolved(tmp_path, "GSSAPIAuthentication yes").gssapi_authentication is has_it
    assert not resolved(tmp_path, "GSSAPIAuthentication no").gssapi_authentication


def test_unset_options_and_none_are_equal(tmp_path: Path) -> None:
    """An empty configuration equals one full of `none`, except for the ssh-agent that must not be used."""
    plain = resolved(tmp_path, "")
    none = resolved(tmp_path, "ControlPath none\nProxyCommand none\nPKCS11Provider none\n")
    assert none == plain
    assert (plain.identity_agent, resolved(tmp_path, "IdentityAgent none\n").identity_agent) == (None, "none")
    assert (plain.control_path, plain.proxy_jump, plain.connect_timeout) == (None, None, None)
    assert (plain.control_master, plain.strict_host_key_checking) == ("no", "ask")
    assert len(plain.identity_files) > 3


@pytest.mark.parametrize(("word", "means"), [("yes", "yes"), ("no", "no"), ("off", "no"), ("ask", "ask")])
def test_host_key_checking_is_read_with_its_usual_words(tmp_path: Path, word: str, means: str) -> None:
    """StrictHostKeyChecking is converted to its usual words: OpenSSH 9.2 prints yes as true, and `off` means no."""
    assert resolved(tmp_path, f"StrictHostKeyChecking {word}").strict_host_key_checking == means


def test_a_jump_host_is_read(tmp_path: Path) -> None:
    """ProxyJump is read as it is written."""
    assert resolved(tmp_path, "ProxyJump me@j1:22,j2").proxy_jump == "me@j1:22,j2"


def test_ssh_passes_the_jump_hosts_in_the_order_of_its_answer(tmp_path: Path) -> None:
    """The first jump host is the one that ssh connects to. An address may be in brackets."""
    jumps = resolved(tmp_path, "ProxyJump me@[fd00::1]:2222,j2,j3:99").jumps
    assert jumps == (Jump("fd00::1", "me", 2222), Jump("j2"), Jump("j3", "", 99))
    assert [str(jump) for jump in jumps] == ["me@[fd00::1]:2222", "j2", "j3:99"]


def test_a_user_in_the_name_counts(tmp_path: Path) -> None:
    """A user in the name is read, as ssh reads it."""
    said = resolved(tmp_path, "User other", "me@web01")
    assert (said.host, said.user) == ("web01", "me")


@pytest.mark.parametrize("name", ["-oProxyCommand=true", "-", ""])
def test_a_name_that_would_be_an_option_is_rejected(name: str) -> None:
    """A name that would be an option is rejected before any program starts."""
    with pytest.raises(TrayagentError, match="not a host name"):
        asyncio.run(resolve(name, ssh="/nonexistent/ssh"))


def test_an_error_is_ssh_s_own_line(tmp_path: Path) -> None:
    """For a configuration that ssh rejects, the error is ssh's own line with file and line number."""
    with pytest.raises(TrayagentError) as error:
        resolved(tmp_path, "Host *\n Foo bar\n")
    assert error.value.code == "config-error"
    assert error.value.title == f"{tmp_path / 'config'}: line 2: Bad configuration option: foo"
    assert error.value.hint


def test_a_missing_program_is_reported(tmp_path: Path) -> None:
    """A missing ssh program raises an error with the code `ssh-missing`."""
    with pytest.raises(TrayagentError) as error:
        asyncio.run(resolve("web01", ssh=str(tmp_path / "no-ssh")))
    assert error.value.code == "ssh-missing"


def test_a_slow_match_exec_is_cut_with_all_its_children(tmp_path: Path) -> None:
    """At the deadline ssh and all its children, such as a slow `Match exec`, are killed."""
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    config = tmp_path / "config"
    config.write_text(f'Match exec "echo $$ > {pid_file}; sleep 60; true"\n User x\n')
    with pytest.raises(TrayagentError, match="longer than 1 s"):
        asyncio.run(resolve("web01", config=str(config), timeout_s=1.0))
    assert time.monotonic() - began < DEADLINE_S
    stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    end = time.monotonic() + DEADLINE_S
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end, "the command of Match exec still runs"
        time.sleep(0.005)


def test_ssh_g_gets_the_options_of_a_master(tmp_path: Path) -> None:
    """`ssh -G` gets -N, which matters for `Match sessiontype` of OpenSSH 10.0, and the name after `--`."""
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\necho hostname h\n')
    fake.chmod(0o755)
    assert asyncio.run(resolve("web01", ssh=str(fake), config="/c", timeout_s=DEADLINE_S)).hostname == "h"
    assert (tmp_path / "words").read_text() == "-F /c -N -G -- web01\n"


def test_a_flood_of_output_is_bounded() -> None:
    """A flood of output is read to its end, but only a part of limited size is kept."""

    async def run() -> bytes:
        stream = asyncio.StreamReader()
        for _ in range(3):
            stream.feed_data(bytes(MAX_OUTPUT))
        stream.feed_eof()
        return await _take(stream)

    assert len(asyncio.run(run())) == MAX_OUTPUT


@pytest.mark.parametrize("text", ["", "nonsense", "hostname h\nport x\n", "hostname h\nlocalforward x\n"])
def test_text_that_is_no_output_of_ssh_is_rejected(text: str) -> None:
    """Text that is no output of ssh -G raises TrayagentError, and no other exception."""
    with pytest.raises(TrayagentError):
        parse(text)


def test_equal_configurations_are_equal() -> None:
    """Two results from the same output are equal, so that a change can be detected."""
    text = "host a\nhostname h\nlocalforward 8080 [h]:80\n"
    assert parse(text) == parse(text)
    assert parse(text).forwards == (Forward("local", End("", 8080), End("h", 80), ""),)


def test_a_plain_host_can_use_our_connection(tmp_path: Path) -> None:
    """Without options for the connection, ssh can use the agent's connection."""
    assert resolved(tmp_path, "Port 2222\nUser me").plain_connect


@pytest.mark.parametrize(
    "option",
    [
        "ProxyJump gate",
        "ProxyCommand nc %h %p",
        "BindAddress 192.0.2.1",
        "BindInterface eth0",
        "CheckHostIP yes",
        "CanonicalizeHostname yes",
        "ConnectionAttempts 3",
    ],
)
def test_with_an_option_for_the_connection_ssh_connects_on_its_own(tmp_path: Path, option: str) -> None:
    """With an option that a ProxyCommand would replace or disable, ssh connects on its own."""
    assert not resolved(tmp_path, option).plain_connect
