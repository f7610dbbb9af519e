"""The ProxyCommand that takes the place of a ProxyJump, beside the one that ssh itself makes of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.master.command import connect_timeout_s, master_command, may_be_handed_over

CONNECTION = "/run/user/1000/trayagent/connection-1"
DOOR = Resolved("door", "192.0.2.1", plain_connect=True)
# What is added to ssh's own: the connection, and that nobody is asked.
_OURS = re.compile(r" -o BatchMode=yes -o ProxyUseFdpass=yes -o 'ProxyCommand=[^']*'")
_SSHS = re.compile(r"debug1: Setting implicit ProxyCommand from ProxyJump: (.*?)\r?\n")


def host(jump: str, door: Resolved | None = DOOR, hops: int = 1) -> Resolved:
    """Return a host behind a jump host."""
    return Resolved("target", "10.0.0.1", proxy_jump=jump, jump=door, hops=hops)


def option(words: list[str], name: str) -> str:
    """Return the value of an option on the command line."""
    return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))


@pytest.mark.parametrize("jump", ["door", "me@door", "door:2222", "me@door:2222", "192.0.2.7"])
def test_it_is_what_ssh_makes_of_the_jump_host(tmp_path: Path, jump: str) -> None:
    """But for what is added, word for word the command that ssh logs."""
    config = tmp_path / "config"
    config.write_text(f"Host target\n ProxyJump {jump}\n HostName 10.0.0.1\nHost *\n ConnectTimeout 1\n")
    said = subprocess.run(
        ["ssh", "-v", "-F", str(config), "-o", "BatchMode=yes", "-o", "CanonicalizeHostname=no", "target"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SHELL": "/bin/false"},  # no jump host is gone to
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
        host("door", None),  # it has a jump host or ProxyCommand of its own
        host("[2001:db8::1]:22"),
        host("ssh://door"),
        host("-oProxyCommand=x"),
    ],
    ids=["two jump hosts", "a jump host in its own way", "an address in brackets", "a URL", "an option"],
)
def test_where_unsure_ssh_goes_to_the_jump_host_itself(resolved: Resolved) -> None:
    """Only a plain name, address, user and port are taken over."""
    assert not may_be_handed_over(resolved, CONNECTION)


def test_names_that_a_shell_would_change_are_left_to_ssh() -> None:
    """Also those of ssh and of its configuration."""
    assert may_be_handed_over(host("door"), CONNECTION)
    assert not may_be_handed_over(host("door"), "/run/my folder/x")
    assert not may_be_handed_over(host("door"), CONNECTION, config="/home/me/my config")
    assert not may_be_handed_over(host("door"), CONNECTION, ssh="/opt/$x/ssh")


def test_each_hop_gets_the_time_of_a_login() -> None:
    """The banner of a host comes after the logins before it. What ssh_config says stays."""
    words = master_command("target", host("door"), "/run/cm", background=False, log="/run/log")
    assert option(words, "ConnectTimeout") == "40"
    assert connect_timeout_s(Resolved("web", "web")) == 10
    assert connect_timeout_s(host("a,b", None, hops=2)) == 70
