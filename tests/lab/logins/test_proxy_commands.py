"""Hosts behind a ProxyCommand: real programs, and a substitute for those of cloud providers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.lab.matrix import HOST, OPTIONS, need, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

CONFIG = f"[hosts.{HOST}]\n"
ON_USE = f'[hosts.{HOST}]\nconnect = "on-use"\n'
TLS, PROXY = 443, 3128
COMMANDS: Mapping[str, str] = {
    "socat": "socat - TCP:%h:%p",
    "ncat": "ncat %h %p",
    "openssl": f"openssl s_client -quiet -connect %h:{TLS}",
    "corkscrew": f"corkscrew {SERVER} {PROXY} %h %p",
}
# Like cloudflared, tsh or a cloud's own command: without a token, it opens a browser and waits for the user.
STAND_IN = f"""#!/bin/sh
if [ ! -e "$HOME/token" ]; then
    {{opens}} https://login.example.net/ &
    while [ ! -e "$HOME/token" ]; do sleep 0.2; done
fi
[ "$(cat "$HOME/token")" != expired ] || {{{{ echo 'error: the token has expired' >&2; exit 1; }}}}
exec socat - TCP:{SERVER}:22
"""
# A browser that records the display on which it was opened.
BROWSER = '#!/bin/sh\necho "$DISPLAY" >"$HOME/opened"\n'
OPENS = {
    "xdg-open": "xdg-open",
    "BROWSER": f"{sys.executable} -m webbrowser",
    "the desktop's own": "gio open",
}


@pytest.fixture
def doors(lab: Lab, tmp_path: Path) -> Lab:
    """Make the server reachable by plain TCP, by TLS and through an HTTP proxy."""
    for name in COMMANDS:
        need(shutil.which(name), name)
    lab.join("home")
    lab.sshd()
    pem = lab.files.far / "door.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=door"]
    subprocess.run([*words, "-keyout", pem, "-out", tmp_path / "cert"], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "cert").read_text())
    lab.server.popen(
        ["socat", f"OPENSSL-LISTEN:{TLS},cert={pem},verify=0,fork,reuseaddr", f"TCP:{SERVER}:22"]
    )
    lab.server.popen(["ncat", "--listen", "--keep-open", "--proxy-type", "http", str(PROXY)])
    for port in (TLS, PROXY):
        until(f"port {port} is open", lambda port=port: _open(lab, port))  # type: ignore[misc]  # a default argument binds the variable
    return lab


def _open(lab: Lab, port: int) -> bool:
    return lab.server.run(["socat", "-u", "/dev/null", f"TCP:127.0.0.1:{port}"]).returncode == 0


def through(lab: Lab, command: str) -> None:
    """Write an ssh_config in which the host uses this ProxyCommand."""
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": command}})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_move_is_survived_through_it(doors: Lab, agent: Agent, name: str) -> None:
    """After a change of network the host is back within seconds, with a master that carries sessions."""
    through(doors, COMMANDS[name])
    agent.start(CONFIG)
    old = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    t0 = doors.switch("home", "cafe")
    assert events.wait("connected", HOST)["pid"] != old
    print(f"{name}: back after {time.monotonic() - t0:.2f} s")  # noqa: T201  # shown by pytest -s
    done = doors.laptop.run(["ssh", "-o", "ControlMaster=no", HOST, "true"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("config", [CONFIG, ON_USE], ids=["always", "on-use"])
@pytest.mark.parametrize("name", COMMANDS)
def test_its_own_error_is_shown_and_a_world_that_is_down_tried_again(
    doors: Lab, agent: Agent, name: str, config: str
) -> None:
    """If the port is closed, the problem shows the command's own message. The host connects once the port is open."""
    command = COMMANDS[name].replace(str(TLS), "8443").replace(str(PROXY), "8128")
    doors.servers[0].stop()
    through(doors, command)
    agent.start(config)
    agent.cli("reconnect", HOST)
    until("why it failed is shown", lambda: (agent.host(HOST) or {}).get("problem"))
    problem = (agent.host(HOST) or {})["problem"]
    assert problem["code"] == "jump-host-failed"
    assert "Connection refused" in problem["title"]
    doors.servers[0].start()
    through(doors, COMMANDS[name])
    if config == ON_USE:
        agent.cli("reconnect", HOST)
    agent.wait_state(HOST, "connected")


@pytest.fixture
def stand_in(lab: Lab, agent: Agent, request: pytest.FixtureRequest) -> Lab:
    """Put the substitute in front of the server, and give the laptop a browser and a display."""
    need(shutil.which("socat"), "socat")
    lab.join("home")
    lab.sshd()
    tools = lab.files.home / "bin"
    tools.mkdir()
    opens = getattr(request, "param", "xdg-open")
    for name, text in (("door", STAND_IN.format(opens=opens)), ("xdg-open", BROWSER), ("gio", BROWSER)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    agent.env |= {
        "DISPLAY": ":99",
        "PATH": f"{tools}:{lab.laptop.env['PATH']}",
        "BROWSER": str(tools / "xdg-open"),
        "XDG_CURRENT_DESKTOP": "GNOME",
    }
    through(lab, str(tools / "door"))
    return lab


@pytest.mark.parametrize("stand_in", OPENS.values(), ids=OPENS, indirect=True)
@pytest.mark.parametrize("config", [CONFIG, ON_USE], ids=["always", "on-use"])
def test_a_browser_does_not_open_in_the_background_and_the_host_needs_sign_in(
    stand_in: Lab, agent: Agent, config: str
) -> None:
    """A background login opens no browser. The host shows what it needs, and connects once there is a token."""
    agent.start(config)
    agent.cli("reconnect", HOST)
    host = agent.wait_state(HOST, "needs-sign-in")
    assert "browser" in host["problem"]["title"]
    assert f"trayagent login {HOST}" in host["problem"]["hint"]
    assert not (stand_in.files.home / "opened").exists()
    assert not list(agent.runtime_dir.glob("attempt-*"))
    (stand_in.files.home / "token").write_text("good")
    agent.cli("reconnect", HOST)
    agent.wait_state(HOST, "connected")


def test_an_expired_token_waits_for_the_user_and_kills_nothing(stand_in: Lab, agent: Agent) -> None:
    """If a login that needed no user starts to fail, the living master stays.

    The reason shows the command's own message.
    """
    token = stand_in.files.home / "token"
    token.write_text("good")
    agent.start(CONFIG)
    old = agent.wait_state(HOST, "connected")["pid"]
    token.write_text("expired")
    stand_in.switch("home", "cafe")
    host = agent.wait_state(HOST, "needs-sign-in")
    assert "the token has expired" in host["problem"]["title"]
    assert host["pid"] == old
    token.write_text("good")
    agent.cli("reconnect", HOST)
    assert agent.wait_state(HOST, "connected")["pid"] != old
