"""`attach` at a real terminal: the same session after every change of network, until the user leaves it.

A shell on the server needs a terminal there. In a namespace, only an sshd that runs as root can provide one.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import need, until
from trayagent.sandbox import Agent, Lab, Terminal
from trayagent.sandbox.lab_tools import tool

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
PROMPT = "# "
ALTERNATE, FIRST = "\x1b[?1049h", "\x1b[?1049l"
DETACH = {"tmux": "\x02d", "screen": "\x01d"}

with_terminals = pytest.mark.root


@pytest.fixture
def host(lab: Lab, agent: Agent) -> Iterator[Agent]:
    """Yield an agent at home with web01 connected."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    # Without /run/utmp, screen prints an error for seconds and discards what the user types.
    lab.server.run(["touch", "/run/utmp"], admin=True)
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    yield agent
    lab.server.run(["tmux", "kill-server"])


def attach(agent: Agent, *args: str) -> Terminal:
    """Attach to web01 at a terminal."""
    return agent.at_terminal("attach", "web01", *args)


def say(terminal: Terminal, words: str) -> None:
    """Check that this is the marked session: make its shell print $MARK."""
    terminal.enter(f"echo $MARK-{words}\r")
    terminal.expect(f"mine-{words}")


def mark(terminal: Terminal) -> None:
    """Set the shell variable MARK, which only this session has."""
    terminal.expect(PROMPT)
    terminal.enter("MARK=mine\r")
    say(terminal, "first")


def clients(lab: Lab) -> list[str]:
    """Return the terminals that are attached to the server's tmux."""
    return lab.server.run(["tmux", "list-clients", "-F", "#{client_tty}"]).stdout.split()


@with_terminals
def test_tmux_is_the_same_through_three_networks_and_a_restart_of_the_agent(lab: Lab, host: Agent) -> None:
    """The tmux shell continues, dead clients are gone, another terminal stays attached, and detaching exits with 0."""
    need(tool("tmux"), "tmux")
    with attach(host, "work") as terminal, attach(host, "work") as other:
        mark(terminal)
        say(other, "other")
        for number, (old, new) in enumerate((("home", "cafe"), ("cafe", "home"), ("home", "cafe"))):
            lab.switch(old, new)
            terminal.expect(ALTERNATE)
            other.expect(ALTERNATE)
            say(terminal, f"after-{number}")
            if number == 0:
                host.stop()
                host.start()
        until("the dead clients are gone", lambda: len(clients(lab)) == 2)
        terminal.resize(30, 100)
        until("the new size is there", lambda: "100x30" in lab.server.run(["tmux", "list-clients"]).stdout)
        terminal.enter(DETACH["tmux"])
        assert terminal.ended() == 0
        assert terminal.modes() == terminal.modes_before
        assert terminal.shown.rstrip().endswith("[detached (from session work)]\r\n\x1b[23;0t".rstrip())
        assert clients(lab), "the other terminal stays"
        other.enter("\r~.")
        assert other.ended() == 255
        assert other.modes() == other.modes_before
        assert FIRST in other.drain() or FIRST in other.shown[other.shown.rfind(ALTERNATE) :]


@with_terminals
def test_screen_is_the_same_after_a_change_of_network(lab: Lab, host: Agent) -> None:
    """A screen session survives like a tmux session, even if another session's name begins with the same text."""
    need(tool("screen"), "screen")
    host.configure('[hosts.web01]\nsession = "screen"\n')
    with attach(host, "workshop") as longer:
        mark(longer)
        with contextlib.ExitStack() as stack:
            terminal = stack.enter_context(attach(host, "work"))
            mark(terminal)
            other = stack.enter_context(attach(host, "work"))
            say(other, "other")
            lab.switch("home", "cafe")
            for one in (terminal, other, longer):
                one.expect(ALTERNATE)
            say(terminal, "after")
            say(other, "after-other")
            listed = lab.server.run(["screen", "-ls"]).stdout
            assert listed.count(".work\t") == listed.count(".workshop\t") == 1, listed
            terminal.enter(DETACH["screen"])
            assert terminal.ended() == 0
            say(other, "still")
            other.enter("exit\r")
            assert other.ended() == 0
        longer.enter("exit\r")
        assert longer.ended() == 0


@with_terminals
def test_a_shell_is_opened_again_and_its_status_passed_on(lab: Lab, host: Agent) -> None:
    """For a plain shell, attach reports a new shell before and after the change, and exits with ssh's exit status."""
    with attach(host) as terminal:
        terminal.expect("a plain shell, which starts again")
        mark(terminal)
        lab.switch("home", "cafe")
        terminal.expect("was lost; this is a new shell")
        terminal.expect(PROMPT)
        terminal.enter("exit 7\r")
        assert terminal.ended() == 7
        assert terminal.modes() == terminal.modes_before


@pytest.mark.slow
@with_terminals
def test_a_server_that_ends_each_session_is_reported_once(lab: Lab, agent: Agent) -> None:
    """If each connection dies as soon as a session begins, attach says so once, says what to do, and keeps trying."""
    lab.join("home")
    ends = 'if [ -n "$SSH_TTY" ]; then kill -KILL $PPID; else eval "$SSH_ORIGINAL_COMMAND"; fi'
    server = lab.sshd(config=[f"ForceCommand {ends}"])
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    with attach(agent) as terminal:
        terminal.expect("ends each time a session begins")
        terminal.expect("ssh -S none web01")
        before = server.logins()
        until("attach tries again", lambda: server.logins() > before)
        terminal.enter("\x03")
        assert terminal.ended() == 130
        assert terminal.shown.count("ends each time a session begins") == 1
        assert terminal.shown.count("this is a new shell") == 2, terminal.shown


@with_terminals
@pytest.mark.parametrize("name", ["work", None], ids=["tmux", "shell"])
def test_through_an_outage_that_the_connection_survives_the_session_stays(
    lab: Lab, host: Agent, name: str | None
) -> None:
    """One line over the screen shows the reason for the wait. Keys typed meanwhile never reach a program."""
    with attach(host, *([name] if name else [])) as terminal:
        mark(terminal)
        sessions = host.status()["hosts"][0]["pid"]
        lab.link_down()
        terminal.expect("web01: offline 2 s · waiting for wlan0 · Ctrl-C leaves\x1b8")
        covered = terminal.shown[terminal.shown.index("web01: offline 1 s") :]
        assert "\n" not in covered, "one line, written over itself"
        terminal.enter("MARK=later\r")
        host.stop()
        terminal.expect("no agent is running")
        host.start()
        terminal.expect("offline")
        lab.link_up()
        host.wait_state("web01", "connected")
        if name:  # attach makes tmux redraw the covered row; tmux itself would do so after 15 s
            terminal.expect(f"[{name}]", deadline_s=10.0)
        terminal.drain()
        say(terminal, "same")
        assert host.status()["hosts"][0]["pid"] == sessions
        assert ALTERNATE not in terminal.shown[terminal.shown.index("offline 2 s") :], (
            "nothing was attached again"
        )
        assert "later" not in terminal.drain()


@with_terminals
def test_after_an_outage_that_ends_on_another_network_it_attaches_again(lab: Lab, host: Agent) -> None:
    """After an outage that killed the connection, attach attaches again. Without a route, Ctrl-C and ~. end attach."""
    with attach(host, "work") as terminal, attach(host, "work") as other:
        mark(terminal)
        lab.leave("home")
        terminal.expect("offline 1 s")
        lab.join("cafe")
        terminal.expect(ALTERNATE)
        say(terminal, "back")
        say(other, "back-other")
        lab.leave("cafe")
        for one, keys, status in ((terminal, "\x03", 130), (other, "~.", 255)):
            one.expect("offline 1 s")
            one.enter(keys)
            assert one.ended() == status
            assert one.modes() == one.modes_before
            assert FIRST in one.shown[one.shown.rindex(ALTERNATE) :]


@with_terminals
def test_an_interactive_host_asks_immediately_and_later_at_enter(lab: Lab, agent: Agent) -> None:
    """A user who types `attach` is present, so ssh may prompt.

    After a change of network, attach waits for Enter first.
    """
    lab.join("home")
    server = lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start('[hosts.web01]\ninteractive = true\nsession = "tmux"\n')
    agent.wait_state("web01", "needs-sign-in")
    with attach(agent) as terminal:
        terminal.expect("web01: connected")
        mark(terminal)
        lab.switch("home", "cafe")
        terminal.expect("Enter signs in")
        assert server.logins() == 1
        terminal.enter("\r")
        terminal.expect("web01: connected")
        terminal.expect(ALTERNATE)
        say(terminal, "after")
        terminal.enter(DETACH["tmux"])
        assert terminal.ended() == 0
    lab.server.run(["tmux", "kill-server"])


@with_terminals
def test_without_tmux_on_the_server_it_opens_a_shell(lab: Lab, agent: Agent) -> None:
    """On a server without tmux, attach reports that and opens a plain shell."""
    lab.join("home")
    folder = lab.files.far / "bin"
    folder.mkdir()
    for name in ("sh", "bash", "ps"):
        (folder / name).symlink_to(tool(name))
    lab.sshd(config=[f"SetEnv PATH={folder}"])
    lab.ssh_config({"web01": SERVER})
    agent.start('[hosts.web01]\nsession = "tmux"\n')
    agent.wait_state("web01", "connected")
    with attach(agent) as terminal:
        terminal.expect("tmux is not installed here: this is a plain shell")
        terminal.expect(PROMPT)
        terminal.enter("exit 3\r")
        assert terminal.ended() == 3


@with_terminals
def test_a_session_command_gets_its_words_and_tmux_control_mode_is_ended(lab: Lab, host: Agent) -> None:
    """No shell expands the words of a session command. attach ends iTerm2's protocol before tmux starts it again."""
    host.configure(
        "[hosts.web01]\nsession = ['sh', '-c', 'echo \"got $0 $1\"; exec cat', '$HOME', \"it's\"]\n"
    )
    with attach(host) as terminal:
        terminal.expect("got $HOME it's")
        terminal.enter("\x04")
        assert terminal.ended() == 0
    host.configure('[hosts.web01]\nsession = ["tmux", "-CC", "new-session", "-A", "-s", "work"]\n')
    with attach(host) as terminal:
        terminal.expect("\x1bP1000p")
        terminal.expect("%session-changed")
        lab.switch("home", "cafe")
        assert "\x1b\\" in terminal.expect("\x1bP1000p")
        terminal.enter("detach\r")
        assert terminal.ended() == 0


@with_terminals
def test_a_server_that_refuses_a_session_is_a_clear_error(lab: Lab, agent: Agent) -> None:
    """If the user's own sessions use up MaxSessions, attach fails, and makes no direct connection."""
    lab.join("home")
    server = lab.sshd(config=["MaxSessions 1"])
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    with attach(agent, "work") as first:  # the agent ends its own session for this one
        first.expect(ALTERNATE)
        with attach(agent, "more") as terminal:
            terminal.expect("web01 opened no session.")
            terminal.expect("MaxSessions")
            assert terminal.ended() == 255
    assert server.logins() == 1


@with_terminals
def test_without_an_agent_one_is_started_in_the_background(lab: Lab, host: Agent) -> None:
    """The agent that attach starts outlives the terminal, and attach prints the path of its log.

    No ssh is left over.
    """
    host.stop()
    with attach(host, "work") as terminal:
        terminal.expect("Started one")
        mark(terminal)
        terminal.close()
        until(
            "attach is gone with its terminal", lambda: not Path(f"/proc/{terminal.pid}/cmdline").read_bytes()
        )
    try:
        assert host.cli("status").returncode == 0
        until("the session is left", lambda: not clients(lab))
    finally:
        assert host.cli("stop").returncode == 0


@with_terminals
def test_an_unlisted_host_is_connected_and_managed(lab: Lab, host: Agent) -> None:
    """An unlisted host's session also survives a change of network, because the agent adopts the master."""
    lab.ssh_config({"web01": SERVER, "web02": {**SERVER, "ControlPath": "~/.ssh/cm-%n"}})
    with host.at_terminal("attach", "web02", "work") as terminal:
        mark(terminal)
        lab.switch("home", "cafe")
        terminal.expect(ALTERNATE)
        say(terminal, "after")
        terminal.enter(DETACH["tmux"])
        assert terminal.ended() == 0


def test_a_host_that_is_gone_for_good_can_be_left(lab: Lab, agent: Agent) -> None:
    """If the host is unreachable, ~. (as in ssh), Ctrl-C and SIGTERM end attach.

    The line shows the reason for the wait.
    """
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    for keys, status in (("~.", 255), ("\x03", 130)):
        with attach(agent, "work") as terminal:
            terminal.expect("web01: offline 1 s")
            terminal.enter(keys)
            assert terminal.ended() == status
            assert terminal.modes() == terminal.modes_before
            assert terminal.shown.endswith("\r\x1b[K")
    with attach(agent, "work") as terminal:
        terminal.expect("web01: offline")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM
        assert terminal.modes() == terminal.modes_before


def test_impossible_requests_are_rejected_before_anything_happens(agent: Agent) -> None:
    """Without a terminal or with an invalid name, attach fails before it contacts the server."""
    agent.configure('[hosts.web01]\nsession = ["top"]\n')
    done = agent.cli("attach", "web01")
    assert done.returncode == 255
    assert "needs a terminal" in done.stderr
    for name in ("$(reboot)", "a\nb", "-x", "x" * 300):
        done = agent.cli("attach", "--", "web01", name)
        assert done.returncode == 255
        assert "cannot be the name of a session" in done.stderr
        assert len(done.stderr) < 250
    assert "takes no name" in agent.cli("attach", "web01", "work").stderr
    assert agent.cli("status").returncode == 3, "no agent was started for it"
