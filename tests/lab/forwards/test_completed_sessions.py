"""The shell completion of `attach`: it lists the sessions that run on the host, through the host's master."""

from __future__ import annotations

import shutil

from tests.lab.matrix import need
from trayagent.sandbox import Agent, Lab


def offered(agent: Agent, *words: str) -> list[str]:
    """Return what `trayagent complete` prints for the last word."""
    done = agent.cli("complete", "--", "attach", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_sessions_of_a_connected_host_are_offered(lab: Lab, agent: Agent) -> None:
    """Completion offers sessions of tmux or screen, as configured.

    Without a master it offers none and makes no login.
    """
    for program in ("tmux", "screen"):  # a login on the server does not find programs that are only unpacked
        need(shutil.which(program, path="/usr/local/bin:/usr/bin:/bin"), program)
    lab.join("home")
    sshd = lab.sshd()
    lab.ssh_config({name: {"HostName": "203.0.113.10"} for name in ("web01", "old", "idle")})
    lab.server.run(["touch", "/run/utmp"], admin=True)
    lab.server.check(["tmux", "new-session", "-d", "-s", "work", "cat"])
    lab.server.check(["tmux", "new-session", "-d", "-s", "mail at home", "cat"])
    lab.server.check(["screen", "-dmS", "build", "cat"])
    try:
        agent.start('[hosts.web01]\n[hosts.old]\nsession = "screen"\n[hosts.idle]\nconnect = "on-use"\n')
        for host in ("web01", "old"):
            agent.wait_state(host, "connected")
        logins = sshd.logins()
        assert offered(agent, "we") == ["web01\tconnected"]
        assert offered(agent, "web01", "") == ["mail at home\ttmux session", "work\ttmux session"]
        assert offered(agent, "web01", "wo") == ["work\ttmux session"]
        assert offered(agent, "old", "") == ["build\tscreen session"]
        assert offered(agent, "idle", "") == []
        assert offered(agent, "web01", "work", "") == []
        assert sshd.logins() == logins
    finally:
        lab.server.run(["tmux", "kill-server"])
        lab.server.run(["screen", "-S", "build", "-X", "quit"])
