"""Expired certificates: the agent reports them before it tries a login, and connects their hosts after a renewal."""

from __future__ import annotations

import time

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.lab_files import keygen
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import JUMP, OTHER, SERVER

HOSTS = ("web01", "web02")
VALID_S = 25


def sign(lab: Lab, valid_s: int) -> int:
    """Sign the user's key. Return the time at which the certificate expires, in seconds since 1970."""
    end = int(time.time()) + valid_s
    words = [
        "-I",
        "me",
        "-n",
        lab.server.check(["id", "-un"]).strip(),
        "-V",
        f"-5m:{time.strftime('%Y%m%d%H%M%S', time.localtime(end))}",
    ]
    lab.laptop.check(
        [tool("ssh-keygen"), "-q", "-s", str(lab.files.root / "ca"), *words, f"{lab.files.key}.pub"]
    )
    return end


@pytest.mark.slow
def test_no_login_is_spent_on_an_expired_certificate(lab: Lab, agent: Agent) -> None:
    """After a move all hosts wait for the same reason, and no server sees a refused login. After a renewal all connect.

    The agent also checks the certificate for a jump host, and the reason names the jump host.
    """
    keygen(lab.files.root / "ca")
    end = sign(lab, VALID_S)
    lab.join("home")
    by_certificate = [f"TrustedUserCAKeys {lab.files.root / 'ca.pub'}", "AuthorizedKeysFile none"]
    servers = [lab.sshd(config=by_certificate), lab.sshd(JUMP, config=by_certificate)]
    lab.sshd(OTHER)
    keys = {"CertificateFile": f"{lab.files.key}-cert.pub"}
    hosts = {name: {"HostName": SERVER, "ControlPath": f"~/.ssh/cm-{name}", **keys} for name in HOSTS}
    lab.ssh_config(
        {**hosts, "door": {"HostName": JUMP, **keys}, "inner": {"HostName": OTHER, "ProxyJump": "door"}}
    )
    names = (*HOSTS, "inner")
    agent.start("".join(f"[hosts.{name}]\n" for name in names))
    for name in names:
        agent.wait_state(name, "connected")
    logins = [server.logins() for server in servers]
    until("the certificate has expired", lambda: time.time() > end + 1, deadline_s=VALID_S + 10)
    lab.switch("home", "cafe")
    for name in names:
        problem = agent.wait_state(name, "needs-sign-in")["problem"]
        whose = " for the jump host door" if name == "inner" else ""
        assert f"{lab.files.key.name}-cert.pub{whose} expired on" in problem["title"]
    assert [server.logins() for server in servers] == logins
    assert not [server for server in servers if "Failed publickey" in server.said()]
    sign(lab, 3600)
    for name in names:
        agent.wait_state(name, "connected")


def test_a_refused_login_names_the_certificate(lab: Lab, agent: Agent) -> None:
    """If the certificate had expired before the first login, the message names it as the likely reason."""
    keygen(lab.files.root / "ca")
    sign(lab, -60)
    lab.join("home")
    lab.sshd(config=[f"TrustedUserCAKeys {lab.files.root / 'ca.pub'}", "AuthorizedKeysFile none"])
    lab.ssh_config({"web01": {"HostName": "203.0.113.10"}})
    agent.start("[hosts.web01]\n")
    assert (
        f"{lab.files.key.name}-cert.pub expired on"
        in agent.wait_state("web01", "needs-sign-in")["problem"]["title"]
    )
