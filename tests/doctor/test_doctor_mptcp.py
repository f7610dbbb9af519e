"""What doctor says about Multipath TCP, and the command that it prints for a server."""

from __future__ import annotations

import subprocess

import pytest

from trayagent.doctor.mptcp import SCRIPT, findings, line_for

BY_SOCKET = (
    r"printf '[Socket]\nSocketProtocol=mptcp\n' | sudo systemctl edit --stdin ssh.socket "
    "&& sudo systemctl restart ssh.socket"
)
SERVICE = {"enabled": "1", "systemd": "252", "unit": "ssh.service"}


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (SERVICE, "sudo mptcpize enable ssh.service && sudo systemctl restart ssh.service"),
        (
            {**SERVICE, "unit": "sshd.service"},
            "sudo mptcpize enable sshd.service && sudo systemctl restart sshd.service",
        ),
        (
            {**SERVICE, "systemd": "257", "unit": "ssh.socket"},
            BY_SOCKET,
        ),
        ({**SERVICE, "unit": "ssh.socket"}, None),  # sshd gets its connections from systemd, which is too old
        ({**SERVICE, "enabled": ""}, None),  # the server's kernel has none
        ({**SERVICE, "systemd": ""}, None),
        ({"enabled": "1", "systemd": "257"}, None),
        ({}, None),
    ],
)
def test_the_line_fits_what_listens_on_the_server(server: dict[str, str], line: str | None) -> None:
    """The command fits the unit that listens for ssh. Where no single command is enough, there is none."""
    assert line_for(server) == line


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("speaks", ["mptcp"]),
        ("plain", ["mptcp-plain"]),
        ("dropped", ["mptcp-dropped"]),
        *((answer, []) for answer in ("silent", "tunnel", "offline", "proxy", "off", "machine", "")),
    ],
)
def test_each_answer_has_its_finding(answer: str, code: list[str]) -> None:
    """Doctor reports whether the server or the network speaks it, and nothing if the agent could not find out."""
    found = findings("web", answer, SERVICE)
    assert [one.code for one in found] == code
    assert {one.level for one in found} <= {"ok"}


def test_the_script_runs_in_any_shell() -> None:
    """The script prints its lines on this machine, whether or not it has systemd."""
    done = subprocess.run(["sh", "-c", SCRIPT], capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["mptcp", "enabled"], ["mptcp", "systemd"]]
    assert not done.stderr
