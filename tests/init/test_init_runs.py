"""`trayagent init` turns running tunnels into a working configuration, with real ssh, autossh, sshd and agent."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory, need, until
from trayagent.sandbox import Agent, Lab

pytestmark = pytest.mark.lab

UNIT = """\
[Service]
Environment=AUTOSSH_GATETIME=0
ExecStart=/usr/bin/autossh -M 0 -N -o "ServerAliveInterval 30" -o ExitOnForwardFailure=yes \\
    -L 9000:127.0.0.1:8000 web01
Restart=always

[Install]
WantedBy=default.target
"""
# Only this unit, not ssh_config, has port, user and key.
BY_ADDRESS = """\
[Service]
ExecStart=/usr/bin/autossh -M 20000 -N -p 2222 -i "{key}" -L 9001:127.0.0.1:8000 {user}@203.0.113.10
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Build a laboratory with a server that answers on two ports."""
    with laboratory() as made:
        made.join("home")
        made.sshd()
        made.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
        made.echo(8000)
        yield made


def put_unit(lab: Lab, name: str, text: str, *, enabled: bool = True) -> None:
    """Write a user unit into the laptop's home directory."""
    folder = lab.files.home / ".config/systemd/user"
    (folder / "default.target.wants").mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    if enabled:
        (folder / "default.target.wants" / name).symlink_to(f"../{name}")


def carries(lab: Lab, port: int) -> None:
    """Wait until an echo comes through the forward."""
    with lab.probe(port) as probe:
        probe.release()
        probe.result()


def test_units_of_autossh_become_a_configuration_that_runs(lab: Lab) -> None:
    """A forward by alias works immediately; one by address works once the printed lines are in ~/.ssh/config."""
    lab.sshd(port=2222)
    key = lab.files.ssh / "tunnel key"
    shutil.copy(lab.files.key, key)
    put_unit(lab, "autossh-web01.service", UNIT)
    put_unit(lab, "by-address.service", BY_ADDRESS.format(key=key, user=lab.files.user))
    with Agent(lab) as agent:
        done = agent.cli("init", "--yes")
        assert done.returncode == 0, done.stderr
        assert "systemctl --user disable --now autossh-web01.service" in done.stdout
        agent.start()
        agent.wait_forwards("web01", {"local": "open"})
        carries(lab, 9000)

        block = re.search(r"(?m)^    (Host tunnel-203-0-113-10\n(?:        .*\n)+)", done.stdout)
        assert block is not None, done.stdout
        config = lab.files.ssh / "config"
        fresh = config.with_suffix(".new")
        fresh.write_text(block[1] + config.read_text())
        fresh.chmod(0o600)
        fresh.replace(config)
        agent.wait_forwards("tunnel-203-0-113-10", {"local": "open"}, deadline_s=30)
        carries(lab, 9001)


def test_what_runs_now_is_found(lab: Lab) -> None:
    """`init` finds a running ssh tunnel, a background master and autossh, but not autossh's child separately.

    autossh may run in the background: with -f it blanks that option in its command line. The first advice keeps them
    all, and names sshuttle, which no forward replaces. A program that may start an ssh again is named beside `kill`.
    """
    need(shutil.which("autossh"), "autossh")
    web01 = ["-o", "ControlPath=none", "web01"]
    lab.laptop.check(["ssh", "-fN", "-L", "9002:127.0.0.1:8000", *web01])
    lab.laptop.check(["ssh", "-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "web01", "true"])
    lab.laptop.popen(["autossh", "-M", "0", "-N", "-D", "9003", *web01], env={"AUTOSSH_GATETIME": "0"})
    lab.laptop.check(["autossh", "-M", "0", "-f", "-NR", "9005:127.0.0.1:8000", *web01])
    loop = lab.laptop.popen(
        ["sh", "-c", "while :; do ssh -N -o ControlPath=none -L 9004:127.0.0.1:8000 web01; sleep 1; done"]
    )
    shuttle = lab.files.home / "sshuttle"
    shuttle.write_text("#!/bin/sh\nssh -o ControlPath=none web01 'echo there; cat'\nexit\n")
    shuttle.chmod(0o755)
    tunnel = lab.laptop.popen([str(shuttle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tunnel.stdout
    assert tunnel.stdout.readline() == "there\n"
    runner = [sys.executable, "-c", f"import subprocess; subprocess.run({['ssh', '-ND', '9006', *web01]})"]
    supervisor = lab.laptop.popen(runner)
    until("its ssh listens", lambda: "9006" in lab.laptop.run(["ss", "-Hltn"]).stdout)
    carries(lab, 9004)
    carries(lab, 9002)
    until("autossh's forward listens", lambda: "9003" in lab.laptop.run(["ss", "-Hltn"]).stdout)
    with Agent(lab) as agent:
        done = agent.cli("init", "--print")
    assert done.returncode == 0, done.stderr
    assert 'connect = "always"' in done.stdout
    listed = 'local = ["9002:127.0.0.1:8000", "9004:127.0.0.1:8000"]\nremote = ["9005:127.0.0.1:8000"]\n'
    assert f'{listed}dynamic = ["9003", "9006"]\n' in done.stdout
    words = " ".join(line.removeprefix("# ") for line in done.stdout.splitlines())
    assert re.search(
        r"From (?=.*ssh with pid \d+)(?=.*autossh with pid \d+)(?=.*a master that runs on \S+)", words
    )
    kills = re.findall(r"(auto)?ssh with pid (\d+): kill (\d+)", done.stderr)
    assert len(kills) == 2
    starter = rf"python\S* \(pid {supervisor.pid}\)"
    again = rf"started by {starter}: kill \d+, but {starter} may start it again: end it there"
    assert re.search(again, done.stderr)
    assert all(named == killed for _, named, killed in kills)
    assert re.search(rf"of “sh -c while :; do ssh .* …” \(pid {loop.pid}\): kill {loop.pid} \d+", done.stderr)
    assert "AUTOSSH_GATETIME: " in done.stderr
    assert done.stderr.startswith("\nThe smallest step keeps what you have.")
    assert '    [agent]\n    beside = "end"\n' in done.stderr
    assert re.search(r"ssh with pid \d+ of sshuttle: trayagent does not replace sshuttle", done.stderr)


def test_a_master_alone_is_proposed_for_use(lab: Lab) -> None:
    """`init` finds a running master by its control path, and proposes on-use, which is like adoption."""
    lab.laptop.check(["ssh", "-fNM", "web01"])
    lab.laptop.check(["ssh", "-O", "exit", "web01"])
    lab.laptop.check(["ssh", "-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "web01", "true"])
    with Agent(lab) as agent:
        shown = agent.cli("init", "--print").stdout
    assert '[hosts.web01]\nconnect = "on-use"' in shown


def test_the_agents_own_master_is_no_tunnel_of_yours(lab: Lab) -> None:
    """`init` does not list the agent's own master as a tunnel that the user should end."""
    with Agent(lab) as agent:
        agent.start('[hosts.web01]\nlocal = ["9000:127.0.0.1:8000"]\n')
        agent.wait_forwards("web01", {"local": "open"})
        done = agent.cli("init", "--print")
    assert "kill " not in done.stderr
    assert '[hosts.web01]\nconnect = "on-use"' in done.stdout


def test_where_it_was_found_never_ends_a_comment(lab: Lab) -> None:
    """Control characters in names cannot inject lines into the configuration."""
    put_unit(lab, "a\n[agent]\nadopt = false\x1b\x7f.service", UNIT)
    with Agent(lab) as agent:
        done = agent.cli("init", "--yes")
        assert done.returncode == 0, done.stderr
        assert "\nadopt" not in agent.config.read_text()
        assert Path(agent.config).stat().st_mode & 0o777 == 0o600
