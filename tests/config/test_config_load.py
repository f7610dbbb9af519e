from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from trayagent.config.errors import ConfigError
from trayagent.config.load_file import load
from trayagent.config.model import EVENTS, Config
from trayagent.core.facts.forwards import End

DOCUMENTED = """
[agent]
adopt = true
keep_while_offline = "10m"
notify = "problems"
history = "90d"

[hosts.web01]
connect = "always"
local   = ["8080:localhost:80"]
remote  = ["22221:localhost:22"]
dynamic = ["1080"]
session = "tmux"
vpn     = "corp"
networks = ["!Airport WiFi"]
reap    = true
interactive = false
probe   = "session"
agent_socket = "~/.ssh/agent.sock"

[vpns.corp]
interface = "tun*"
networkmanager = "Corp VPN"
sign_in = ["nmcli", "--ask", "connection", "up", "Corp VPN"]
grace = "8s"

[hooks]
connected = ["HOOK", "a b"]
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration that only this user may write."""
    tmp_path.chmod(0o700)

    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """Return a program that may be a hook."""
    path = tmp_path / "hook"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def refused(path: Path) -> ConfigError:
    """Load a configuration that must be rejected, and return the error."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    error = caught.value
    assert (error.code, error.exit_status, error.file) == ("config-error", 2, str(path))
    assert error.title.startswith(f"{path}: ")
    return error


def test_a_missing_and_an_empty_file_are_the_defaults(tmp_path: Path, write: Write) -> None:
    """A missing or empty file gives the defaults, so the user need not write a configuration."""
    assert (
        load(tmp_path / "nothing.toml")
        == load(tmp_path / "no" / "folder.toml")
        == load(write(""))
        == Config()
    )
    assert Config().agent.keep_while_offline_s == 600
    assert Config().agent.history_s == 90 * 86400


def test_the_documented_example_is_read_as_documented(write: Write, hook: Path) -> None:
    """Every documented key has its documented meaning."""
    config = load(write(DOCUMENTED.replace("HOOK", str(hook))))
    host, vpn = config.hosts["web01"], config.vpns["corp"]
    assert (host.session, host.vpn, host.networks) == ("tmux", "corp", ("!Airport WiFi",))
    assert [(f.kind, f.listen.port, f.spec) for f in host.forwards] == [
        ("local", 8080, "8080:localhost:80"),
        ("remote", 22221, "22221:localhost:22"),
        ("dynamic", 1080, "1080"),
    ]
    assert host.forwards[0].target == End("localhost", 80)
    assert (vpn.interface, vpn.networkmanager, vpn.grace_s) == ("tun*", "Corp VPN", 8)
    assert config.hook("connected") == (str(hook), "a b")
    assert config.hook("connect-failed") == ()


def test_what_is_left_out_has_the_documented_default(write: Write) -> None:
    """By default a host is kept connected, its session is a plain shell, and its dead sessions are ended."""
    host = load(write("[hosts.a]")).hosts["a"]
    assert (host.connect, host.session, host.reap, host.interactive) == ("always", "shell", True, False)
    assert (host.probe, host.vpn, host.networks, host.agent_socket, host.forwards) == (
        "session",
        None,
        (),
        None,
        (),
    )


def test_a_session_may_be_words_to_run(write: Write) -> None:
    """A session is one of three words, or a list of any words."""
    config = load(
        write('[hosts.a]\nsession = ["zellij", "attach", "-c"]\n[hosts."b@c.d"]\nsession = "screen"')
    )
    assert config.hosts["a"].session == ("zellij", "attach", "-c")
    assert config.hosts["b@c.d"].session == "screen"


def test_a_hooks_program_may_begin_with_the_home_folder(
    write: Write, hook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~ is expanded for the check and for the run, and every event can have a hook."""
    monkeypatch.setenv("HOME", str(hook.parent))
    keys = [event.replace("-", "_") for event in EVENTS]
    config = load(write("[hooks]\n" + "\n".join(f'{key} = ["~/hook"]' for key in keys)))
    assert {config.hook(event) for event in EVENTS} == {(str(hook),)}


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[agnet]", "agnet", 'Did you mean "agent"?'),
        ("agent = 1", "agent", "must be a table"),
        ("hosts = []", "hosts", "must be a table"),
        ("hosts.a = 1", "hosts.a", "must be a table"),
        ("[agent]\nadpot = true", "agent.adpot", 'Did you mean "adopt"?'),
        ("[agent]\nadopt = 1", "agent.adopt", "expected true or false, got a whole number"),
        ('[agent]\nkeep_while_offline = "soon"', "agent.keep_while_offline", '"soon" is not a duration'),
        ("[agent]\nhistory = 90", "agent.history", "expected a string, got a whole number"),
        (
            '[agent]\nnotify = "al"',
            "agent.notify",
            'Choose one of "all", "problems", "none". Did you mean "all"?',
        ),
        ("[hosts.web01]\nlocl = []", "hosts.web01.locl", 'Did you mean "local"?'),
        ('[hosts."w.b"]\nconnect = "alwys"', 'hosts."w.b".connect', 'Did you mean "always"?'),
        ("[hosts.a]\nconnect = 1", "hosts.a.connect", '"always", "on-use", "never"'),
        (
            '[hosts.a]\nlocal = "8080:localhost:80"',
            "hosts.a.local",
            "Give a list; each item is the argument of ssh -L",
        ),
        ("[hosts.a]\ndynamic = [1080]", "hosts.a.dynamic[0]", "the argument of ssh -D"),
        ('[hosts.a]\nlocal = ["8080:x:80", "no"]', "hosts.a.local[1]", "the argument of ssh -L"),
        ('[hosts.a]\nremote = ["70000:x:80"]', "hosts.a.remote[0]", "the argument of ssh -R"),
        (
            '[hosts.a]\nlocal = ["80:b:1", "80:c:2"]',
            "hosts.a.local",
            '"80:c:2" listens on the same address as "80:b:1"',
        ),
        ('[hosts.a]\nlocal = ["80:b:1"]\ndynamic = ["80"]', "hosts.a.dynamic", "listens on the same address"),
        ('[hosts.a]\nsession = "tmx"', "hosts.a.session", "or a list of words"),
        ("[hosts.a]\nsession = []", "hosts.a.session", "must name a program"),
        ("[hosts.a]\nsession = 1", "hosts.a.session", '"tmux", "screen", "shell", or a list of words'),
        ('[hosts.a]\nsession = ["x\\u0000"]', "hosts.a.session[0]", "NUL"),
        ('[hosts.a]\nvpn = "crop"\n[vpns.corp]\ninterface = "tun0"', "hosts.a.vpn", 'Did you mean "corp"?'),
        ('[hosts.a]\nvpn = "x"', "hosts.a.vpn", "Add a table [vpns.x]."),
        ('[hosts.a]\nnetworks = ["!"]', "hosts.a.networks[0]", "printable name"),
        ("[hosts.a]\nroam_port = 80", "hosts.a.roam_port", "between 1024 and 65535"),
        ('[hosts.a]\nroam_port = "6000-5999"', "hosts.a.roam_port", "between 1024 and 65535"),
        ('[hosts.a]\nroam_port = "2000-4000"', "hosts.a.roam_port", "at most 1000 ports"),
        ('[hosts.a]\nroam_port = "60001; id"', "hosts.a.roam_port", "neither a port nor a range"),
        ("[hosts.a]\nroam_port = -1", "hosts.a.roam_port", "neither a port nor a range"),
        ("[hosts.a]\nroam_port = true", "hosts.a.roam_port", ""),
        ('[hosts.a]\nagent_socket = "x"', "hosts.a.agent_socket", "begins with ~/"),
        ('[hosts.a]\nagent_socket = "/a\\nb"', "hosts.a.agent_socket", "not an absolute path"),
        ('[hosts.a]\nprobe = "ping"', "hosts.a.probe", '"session", "forward"'),
        ("[vpns.corp]", "vpns.corp", 'Give "interface", "networkmanager" or both'),
        ('[vpns.corp]\ninterface = "a b"', "vpns.corp.interface", "not an interface name"),
        (
            '[vpns.corp]\ninterface = "tun0"\ngrace = "8"',
            "vpns.corp.grace",
            "Give a number and one of s, m, h, d",
        ),
        ('[vpns.corp]\ninterface = "tun0"\nsign_in = "nmcli"', "vpns.corp.sign_in", "expected a list"),
        ('[vpns." "]\ninterface = "tun0"', 'vpns." "', "printable name"),
        ('[hooks]\nconected = ["/bin/true"]', "hooks.conected", 'Did you mean "connected"?'),
        ('[hooks]\nconnected = "/bin/true"', "hooks.connected", "expected a list"),
        ("[hooks]\nconnected = []", "hooks.connected", "must name a program"),
        ('[hooks]\nconnected = ["true"]', "hooks.connected[0]", "absolute path"),
        ('[hooks]\nconnected = ["/bin/nosuch"]', "hooks.connected[0]", "No such file"),
        ('[hooks]\nconnected = ["/etc"]', "hooks.connected[0]", "not an executable file"),
        ('[hooks]\nconnected = ["/etc/passwd"]', "hooks.connected[0]", "not an executable file"),
    ],
)
def test_a_wrong_key_is_named_with_the_valid_choices(write: Write, text: str, key: str, said: str) -> None:
    """The error names the file, the dotted key, the fault and the valid choices."""
    error = refused(write(text))
    assert error.key == key
    assert error.title.startswith(f"{error.file}: {key}: ")
    assert said in f"{error.title} {error.hint}"


@pytest.mark.parametrize(
    "name",
    [
        "-oProxyCommand=x",
        "",
        "a b",
        "a/b",
        "a\\u0007b",
        "a\\u202eb",
        "a;b",
        "a$b",
        "a`b",
        "*",
        "*.corp",
        "x?",
        "!a",
    ],
)
def test_a_host_name_that_ssh_could_misread_is_refused(write: Write, name: str) -> None:
    """Options, paths, patterns, spaces and shell characters are rejected."""
    error = refused(write(f'[hosts."{name}"]'))
    assert error.key.startswith('hosts."') or error.key == "hosts.-oProxyCommand"
    assert "a host's name" in error.title
    assert error.title.isprintable()


@pytest.mark.parametrize(
    "name", ["web01", "user@host", "host.example.org", "10.0.0.1", "fe80::1%eth0", "my_box", "büro"]
)
def test_what_ssh_takes_as_a_host_is_taken(write: Write, name: str) -> None:
    """Aliases, names and addresses are accepted, with or without a user."""
    assert list(load(write(f'[hosts."{name}"]')).hosts) == [name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent]\nadopt = yes\n", "line 2, column 9: "),
        ("[agent\n", "line 1, column 7: "),
        ("x = ", "line 1, column 5: "),
        ("[agent]\n[agent]\n", "line 2, column 7: "),
        ("[hosts.a]\nx = " + "[" * 50_000, "too deeply"),
        ("x = " + "1" * 10_000, "not valid TOML"),
    ],
)
def test_what_is_no_toml_is_located(write: Write, text: str, said: str) -> None:
    """The error has line and column; bad input of any size gives an error, never a crash."""
    assert said in refused(write(text)).title


def test_two_forwards_with_a_port_of_the_servers_choice_are_no_twins(write: Write) -> None:
    """Port 0 means another port each time, and ports on the server do not clash with local ones."""
    text = (
        '[hosts.a]\nremote = ["0:localhost:1", "0:localhost:2", "80:localhost:3"]\nlocal = ["80:localhost:3"]'
    )
    assert len(load(write(text)).hosts["a"].forwards) == 4


def test_what_others_may_write_is_refused(write: Write, tmp_path: Path) -> None:
    """A file or directory that others may write is rejected, also through a link, because it names programs to run."""
    path = write("")
    path.chmod(0o602)
    error = refused(path)
    assert "can be written by other users" in error.title
    assert error.hint == f"Remove that right: chmod go-w {path}"
    path.chmod(0o600)
    tmp_path.chmod(0o707)
    assert f"its directory {tmp_path} can be written" in refused(path).title
    tmp_path.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "config.toml"
    link.symlink_to(path)
    assert load(link) == Config()
    tmp_path.chmod(0o777)
    assert f"its directory {tmp_path}" in refused(link).title
    tmp_path.chmod(0o700)
    elsewhere.chmod(0o777)
    assert f"its directory {elsewhere}" in refused(link).title
    elsewhere.chmod(0o1777)  # with the sticky bit, others cannot replace our files
    assert load(link) == Config()


@pytest.mark.parametrize(
    ("group", "member", "accepted"),
    [
        pytest.param("me", None, True, id="the private group"),
        pytest.param("me", "me", True, id="the private group that lists its user"),
        pytest.param("me", "other", False, id="another member"),
        pytest.param("users", None, False, id="a group of all users"),
    ],
)
def test_a_file_that_the_users_private_group_may_write_is_accepted(
    write: Write, monkeypatch: pytest.MonkeyPatch, group: str, member: str | None, accepted: bool
) -> None:
    """With the umask 0002 of Debian 13 and Fedora a new file is accepted, unless the group has other members."""
    account = pwd.struct_passwd(("me", "x", os.geteuid(), os.getegid(), "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: account)
    members = grp.struct_group((group, "x", os.getegid(), [member] if member else []))
    monkeypatch.setattr(grp, "getgrgid", lambda _: members)
    path = write("")
    path.chmod(0o664)
    path.parent.chmod(0o775)
    if accepted:
        assert load(path) == Config()
    else:
        assert "can be written by other users" in refused(path).title


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_another_group_may_write_is_refused(write: Write) -> None:
    """A file that a group may write which is not the user's is rejected."""
    path = write("")
    os.chown(path, -1, 65534)
    path.chmod(0o660)
    assert "can be written by other users" in refused(path).title


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(write: Write) -> None:
    """A file of another user is rejected, because only the user and root may write the configuration."""
    path = write("")
    os.chown(path, 65534, 65534)
    assert "belongs to another user (uid 65534)" in refused(path).title


def test_a_hook_that_others_may_write_is_refused(write: Write, hook: Path) -> None:
    """A hook that others may write is rejected, because it would run automatically with the user's rights."""
    path = write(f'[hooks]\nconnected = ["{hook}"]')
    hook.chmod(0o757)
    error = refused(path)
    assert error.key == "hooks.connected[0]"
    assert "can be written by other users" in error.title
    hook.chmod(0o644)
    assert "not an executable file" in refused(path).title
    loose = hook.parent / "loose"
    loose.mkdir()
    hook.chmod(0o755)
    moved = hook.rename(loose / "hook")
    loose.chmod(0o777)
    assert f"is in {loose}, which can be written" in refused(write(f'[hooks]\nconnected = ["{moved}"]')).title


def test_what_is_no_readable_file_is_refused(tmp_path: Path, write: Write) -> None:
    """A directory, a pipe, a loop of links, a huge file and binary data each give an error, and nothing blocks."""
    tmp_path.chmod(0o700)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "cannot be read: Is a directory" in refused(folder).title
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert "not a file" in refused(pipe).title
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read" in refused(loop).title
    assert "larger than 1 MiB" in refused(write("#" * (1 << 20) + "\n")).title
    path = write("")
    path.write_bytes(b"# fine\n# \xff\n")
    assert "line 2 is not UTF-8" in refused(path).title


def test_a_byte_order_mark_is_no_mistake(write: Write) -> None:
    """A byte order mark is accepted, because some editors write one."""
    assert load(write("\ufeff[agent]\nadopt = false")).agent.adopt is False
