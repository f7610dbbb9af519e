"""The ProxyCommand that replaces a ProxyJump, compared with the ProxyCommand that ssh itself makes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.master.master_command_line import connect_timeout_s, master_command, may_be_handed_over

PATH = "/usr/bin:/bin"
CONNECTION = "/run/user/1000/trayagent/connection-1"
DOOR = Resolved("door", "192.0.2.1", plain_connect=True)
# The words that the agent adds to ssh's own command: the connection and BatchMode.
_OURS = re.compile(r" -o BatchMode=yes -o ProxyUseFdpass=yes -o LogLevel=INFO -o 'ProxyCommand=[^']*'")
_SSHS = re.compile(r"debug1: Setting implicit ProxyCommand from ProxyJump: (.*?)\r?\n")


def host(jump: str, door: Resolved | None = DOOR, hops: int = 1) -> Resolved:
    """Return a host behind a jump host."""
    return Resolved("target", "10.0.0.1", proxy_jump=jump, jump=door, hops=hops)


def option(words: list[str], name: str) -> str:
    """Return the value of an option on the command line."""
    return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))


@pytest.mark.parametrize("jump", ["door", "me@door", "door:2222", "me@door:2222", "192.0.2.7"])
def test_the_command_is_the_one_that_ssh_makes(tmp_path: Path, jump: str) -> None:
    """Apart from the additions, the command equals the one that ssh logs, word for word."""
    if shutil.which("ssh", path=PATH) is None:
        pytest.skip("ssh is only unpacked, and would log the path of its wrapper")
    config = tmp_path / "config"
    config.write_text(f"Host target\n ProxyJump {jump}\n HostName 10.0.0.1\nHost *\n ConnectTimeout 1\n")
    said = subprocess.run(
        ["ssh", "-v", "-F", str(config), "-o", "BatchMode=yes", "-o", "CanonicalizeHostname=no", "target"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": PATH, "SHELL": "/bin/false"},  # so no jump host is contacted
    ).stderr
    its = _SSHS.search(said)
    assert its is not None, said
    words = master_command(
        "target",
        host(jump),
        "/run/cm",
        background=False,
        log="/run/log",
        config=str(config),
        connection=CONNECTION,
    )
    ours = option(words, "ProxyCommand")
    assert _OURS.search(ours)
    assert _OURS.sub("", ours) == its[1].replace(" -v", "")


@pytest.mark.parametrize(
    "resolved",
    [
        host("first,door", None, hops=2),
        host("door", None),  # this jump host has its own jump host or ProxyCommand
        host("[2001:db8::1]:22"),
        host("ssh://door"),
        host("-oProxyCommand=x"),
    ],
    ids=["two jump hosts", "a jump host in its own way", "an address in brackets", "a URL", "an option"],
)
def test_for_an_unusual_jump_host_ssh_connects_on_its_own(resolved: Resolved) -> None:
    """Unless the jump host is a plain name or address with user and port, ssh connects to it on its own."""
    assert not may_be_handed_over(resolved, CONNECTION)


def test_names_that_a_shell_would_change_are_left_to_ssh() -> None:
    """If a shell would change a path of ssh or of its configuration, ssh connects on its own."""
    assert may_be_handed_over(host("door"), CONNECTION)
    assert not may_be_handed_over(host("door"), "/run/my folder/x")
    assert not may_be_handed_over(host("door"), CONNECTION, config="/home/me/my config")
    assert not may_be_handed_over(host("door"), CONNECTION, ssh="/opt/$x/ssh")


def test_each_hop_gets_the_time_of_a_login() -> None:
    """ConnectTimeout grows with each hop, because the banner comes after the logins; ssh_config's value is kept."""
    words = master_command("target", host("door"), "/run/cm", background=False, log="/run/log")
    assert option(words, "ConnectTimeout") == "40"
    assert connect_timeout_s(Resolved("web", "web")) == 10
    assert connect_timeout_s(host("a,b", None, hops=2)) == 70


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("ssh -q -W %h:%p door", "ssh -o LogLevel=INFO -W %h:%p door"),
        (
            "exec /usr/bin/ssh -aqxW %h:%p door 2>/dev/null",
            "exec /usr/bin/ssh -o LogLevel=INFO -axW %h:%p door",
        ),
        ("ssh -l q -o 'SetEnv A=b  -q' -q door", "ssh -o LogLevel=INFO -l q -o 'SetEnv A=b  -q' door"),
        ("ssh door nc -q 1 %h %p", "ssh -o LogLevel=INFO door nc -q 1 %h %p"),
        ("ssh door 'nc %h %p 2>/dev/null'", "ssh -o LogLevel=INFO door 'nc %h %p 2>/dev/null'"),
    ],
)
def test_a_proxy_command_that_is_ssh_says_why_it_fails(given: str, used: str) -> None:
    """The agent overrides `ssh -q` in a ProxyCommand, because a quiet ssh would hide a refused login.

    The command on the jump host stays unchanged.
    """
    resolved = Resolved("target", "target", proxy_command=given, hops=1)
    words = master_command("target", resolved, "/run/cm", background=False, log="/run/log")
    assert option(words, "ProxyCommand") == used
