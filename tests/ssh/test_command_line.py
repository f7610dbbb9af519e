"""The parser of ssh and autossh command lines, whose options `ssh -G` then resolves."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh.command_line import (
    NotUnderstood,
    forwards_of,
    has_session,
    host_of,
    jump_host_of,
    parse,
    server_names_of,
)


@pytest.mark.parametrize(
    ("line", "host", "user", "carried", "command"),
    [
        ("ssh -N web01", "web01", None, "", ""),
        ("ssh -fNTL8080:localhost:80 me@web01", "web01", "me", "-L 8080:localhost:80", ""),
        ("ssh -NvvvC -p2222 web01", "web01", None, "-C -p 2222", ""),
        ("ssh web01 -p 2222 -N", "web01", None, "-p 2222", ""),
        ("ssh web01 -p 22 tail -f /var/log/x -L nothing", "web01", None, "-p 22", "tail -f /var/log/x -L nothing"),
        ("ssh -N -- -p", None, None, "", ""),
        ("ssh -N -- web01 -p 22", "web01", None, "", "-p 22"),
        ("ssh -N a@b@web01", "web01", "a@b", "", ""),
        ("ssh -N ssh://me@web01:2222/", "web01", "me", "", ""),
        ("ssh -N ssh://me;x=y@[2001:db8::1]:22", "2001:db8::1", "me", "", ""),
        ("ssh -N me@fe80::1%eth0", "fe80::1%eth0", "me", "", ""),
        ("ssh -N -o 'Port 2222' -oUser=me -F none -S /x -E log -e none h", "h", None,
         "-o 'Port 2222' -o User=me -F none", ""),
        ("autossh -M 20000:7 -f -N h", "h", None, "", ""),
        ("autossh -M0 -t h 'tmux attach'", "h", None, "", "'tmux attach'"),
        ("/usr/lib/autossh/autossh -NR 2222:localhost:22 h", "h", None, "-R 2222:localhost:22", ""),
    ],
)  # fmt: skip
def test_the_words_of_a_call_are_separated(
    line: str, host: str | None, user: str | None, carried: str, command: str
) -> None:
    """The parser recognizes clusters, attached values, options after the host, URIs and the remote command."""
    words = shlex.split(line)
    if host is None:
        with pytest.raises(NotUnderstood):
            parse(words)
        return
    call = parse(words)
    assert (call.host, call.user) == (host, user)
    assert (list(call.carried), list(call.command)) == (shlex.split(carried), shlex.split(command))


@pytest.mark.parametrize(
    ("line", "keeps"),
    [
        ("ssh -N h", True),
        ("ssh -L 1:b:1 h", False),
        ("ssh -f -L 1:b:1 h sleep 3600", True),
        ("ssh -o SessionType=none h", True),
        ("ssh -o sessiontype=NONE h", True),
        ("ssh -f h sleep 1", False),
        ("autossh h", True),
    ],
)
def test_what_keeps_a_connection_for_its_own_sake(line: str, keeps: bool) -> None:
    """Autossh always keeps a connection. An ssh does if it has no session, or runs in the background with forwards."""
    assert parse(line.split()).keeps is keeps


@pytest.mark.parametrize(
    "line",
    ["ssh", "ssh -N", "ssh -W a:1 h", "ssh -O exit h", "ssh -G h", "ssh -p", "ssh -o = h", "scp a h:", ""],
)
def test_what_keeps_nothing_connected_is_refused(line: str) -> None:
    """A command line that keeps no connection is rejected. The error completes a sentence with the reason."""
    with pytest.raises(NotUnderstood, match=r"."):
        parse(line.split())


def test_autossh_has_an_m_of_its_own() -> None:
    """-M is a flag for ssh. For autossh its value is a port, which AUTOSSH_PORT overrides."""
    assert parse(["ssh", "-M", "-N", "web01"]).host == "web01"
    assert parse(["autossh", "-M", "0", "-N", "web01"]).monitor == "0"
    assert parse(["autossh", "-M", "0", "web01"], {"AUTOSSH_PORT": "9"}).monitor == "9"


def test_of_two_settings_the_first_counts() -> None:
    """The first setting wins, as in ssh, in any case and notation."""
    call = parse(["ssh", "-oServerAliveInterval=5", "-o", "serveraliveinterval 9", "-N", "h"])
    assert call.settings == {"serveraliveinterval": "5"}


@given(st.lists(st.text(alphabet="-oLRDMNpf=: @/h1[]\n\0", max_size=8), max_size=6))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    """Any words are parsed or raise NotUnderstood."""
    for program in ("ssh", "autossh"):
        try:
            parse([program, *words])
        except NotUnderstood:
            continue


@pytest.mark.parametrize(
    ("line", "specs"),
    [
        ("ssh -fN -M -L 1:a:2 -R3:b:4 -D 5 web", ["1:a:2", "3:b:4", "5"]),
        ("/opt/ssh-10 -O forward -L 1:a:2 web", ["1:a:2"]),
        ("ssh -O cancel -L 1:a:2 web", []),
        ("ssh -o 'LocalForward 1 a:2' -o RemoteForward=3\\ b:4 web", ["1:a:2", "3:b:4"]),
        ("ssh -o ClearAllForwardings=yes -L 1:a:2 web", []),
        ("ssh -L nonsense -L 1:a:2 web ls -L 9:c:9", ["1:a:2"]),
        ("ssh: /home/me/cm [mux]", []),
    ],
)
def test_the_forwards_of_a_running_ssh(line: str, specs: list[str]) -> None:
    """The parser skips forwards that ssh would reject, and words of the remote command."""
    assert [forward.spec for forward in forwards_of(shlex.split(line))] == specs


@pytest.mark.parametrize(
    ("line", "host", "jump"),
    [
        ("ssh app01", "app01", None),
        ("ssh -oUser=me me@app01 ls corpdb", "app01", None),
        ("ssh -l me -p 2222 -W [10.0.0.1]:22 bastion", "bastion", "bastion"),
        ("ssh -J first -W [10.0.0.1]:22 me@bastion", "bastion", "bastion"),
        ("renamed-ssh -fN ssh://me@[::1]:2222", "::1", None),
        ("ssh -p", None, None),
    ],
)
def test_the_host_of_a_running_ssh(line: str, host: str | None, jump: str | None) -> None:
    """The host is the destination, never a word of the remote command. Only `ssh -W` passes a jump host."""
    assert (host_of(line.split()), jump_host_of(line.split())) == (host, jump)
    assert host_of(["ssh: /run/cm [mux]"]) is None


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("ssh -J jump me@web01 ssh db", ("me@web01", "web01")),
        ("ssh -S none -p 22 -l web01 db ping web01", ("db",)),
        ("ssh -o HostName=10.0.0.9 ssh://db:2222", ("ssh://db:2222", "db", "10.0.0.9")),
        ("ssh -p", ()),
    ],
)
def test_the_names_of_a_running_ssh_s_server(line: str, names: tuple[str, ...]) -> None:
    """The destination names the server, and the HostName option does. No other word does."""
    assert server_names_of(line.split()) == names


@pytest.mark.parametrize(
    ("line", "session"),
    [
        ("ssh web", True),
        ("ssh -M -S /tmp/cm web sleep 60", True),
        ("ssh -f web sleep 60", True),
        ("ssh -fMN web", False),
        ("ssh -o SessionType=none web", False),
        ("'ssh: /home/me/.ssh/cm-1 [mux]'", False),
        ("", False),
    ],
)
def test_which_running_ssh_has_a_session(line: str, session: bool) -> None:
    """A call with -N has no session, nor has a master in the background."""
    assert has_session(shlex.split(line)) == session
