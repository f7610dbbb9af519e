"""Losses of a host that roams: a relay, the inner login, the server's program, the machine behind the name."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lab.agent.test_chaos_kills import ssh_pids
from tests.lab.masters.test_drain import Session
from tests.lab.matrix import alive, listener, until
from trayagent.roaming.near_client import new_token
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER, SERVER
from trayagent.sandbox.roaming_relays import FAR, marked

HOST = "web01"
OPTIONS = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%n"}
ROAMS = f"[hosts.{HOST}]\nroam = true\n"
LONG_S = 60.0


def roaming(lab: Lab, agent: Agent, table: str = "", config: tuple[str, ...] = ()) -> dict[str, Any]:
    """Connect the host from home, and return its view once it roams."""
    lab.join("home")
    lab.sshd(config=config)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(ROAMS + table)
    return roams(agent)


def roams(agent: Agent) -> dict[str, Any]:
    """Wait until the host roams and its sessions are attached, and return its view."""
    until("it roams", lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), LONG_S)
    return agent.wait_state(HOST, "connected")


def relays(lab: Lab) -> list[dict[str, Any]]:
    """Return the far relays on the server."""
    found = lab.server.run(["sh", "-c", f"cd && {FAR} list"]).stdout
    return list(marked(found)["relays"])


def roams_anew(agent: Agent, before: dict[str, Any]) -> dict[str, Any]:
    """Wait until the host has another inner master than in `before`, and return its view."""

    def has_another() -> bool:
        found = (agent.host(HOST) or {}).get("roaming") or before["roaming"]
        return bool(found["pid"] != before["roaming"]["pid"])

    until("it roams again", has_another, LONG_S)
    return roams(agent)


def said(agent: Agent) -> str:
    """Return the agent's log."""
    return (agent.state_dir / "agent.log").read_text()


def near_pid(agent: Agent) -> int:
    """Return the pid of the near relay."""
    path = str(agent.runtime_dir / "near-relay.sock")
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if path.encode() in words:
            return int(entry.name)
    raise AssertionError("no near relay runs")


def test_the_near_relay_is_killed(lab: Lab, agent: Agent) -> None:
    """The sessions end, the host roams again with its -R port, and no old far relay is left on the server."""
    before = roaming(lab, agent, 'remote = ["9022:localhost:22"]\n')
    agent.wait_forwards(HOST, {"remote": "open"})
    session = Session(lab)
    os.kill(near_pid(agent), signal.SIGKILL)
    assert session.ended() == 255
    assert roams_anew(agent, before)["pid"] == before["pid"]
    agent.wait_forwards(HOST, {"remote": "open"}, LONG_S)
    until("one far relay is left", lambda: len(relays(lab)) == 1, LONG_S)
    assert list(agent.records()["roaming"]) == [relays(lab)[0]["id"]]
    assert said(agent).count("the near relay ended, and with it") == 1
    assert Session(lab).end() == 0


def test_the_near_relay_is_stopped_while_the_agent_starts(lab: Lab, agent: Agent) -> None:
    """It does not answer the next agent, but its process lives. The session waits for it, and `status` says so."""
    before = roaming(lab, agent)
    session, near = Session(lab), near_pid(agent)
    agent.kill9()
    os.kill(near, signal.SIGSTOP)
    try:
        agent.start()
        waits(agent, "relay-unreachable", before)
        assert "near relay on this machine does not answer" in agent.cli("status").stdout
    finally:
        os.kill(near, signal.SIGCONT)
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert session.end() == 0


def test_the_laptop_restarts(lab: Lab, agent: Agent) -> None:
    """If all processes on the laptop are killed, the first recovery gets the -R port back, which the far relay held."""
    before = roaming(lab, agent, 'remote = ["9022:localhost:22"]\n')
    agent.wait_forwards(HOST, {"remote": "open"})
    (old,) = relays(lab)
    agent.kill9()
    lab.leave("home")
    for pid in (near_pid(agent), before["pid"], before["roaming"]["pid"]):
        with suppress(ProcessLookupError):  # the end of one may end the next
            os.kill(pid, signal.SIGKILL)
    lab.join("cafe")
    assert [one["id"] for one in relays(lab)] == [old["id"]]
    agent.start()
    agent.wait_forwards(HOST, {"remote": "open"}, LONG_S)
    roams(agent)
    agent.wait_forwards(HOST, {"remote": "open"}, LONG_S)
    assert old["id"] not in [one["id"] for one in relays(lab)]
    assert list(agent.records()["roaming"]) == [relays(lab)[0]["id"]]


@pytest.mark.parametrize("rebooted", [False, True])
def test_the_far_relay_is_killed(lab: Lab, agent: Agent, rebooted: bool) -> None:
    """The server reports that the far relay is gone, so the session ends immediately, and the host roams again.

    If the server rebooted, the agent gives that as the reason.
    """
    programs, switch, script = tools(lab), lab.files.root / "rebooted", lab.files.root / "login"
    login_with_boot_id(lab, programs, script, switch, "unshare -rm")
    before = roaming(lab, agent, config=(f"SetEnv PATH={programs}", f"ForceCommand {script}"))
    session = Session(lab)
    pid = relays(lab)[0]["pid"]
    if rebooted:
        switch.touch()
    os.kill(pid, signal.SIGKILL)
    assert session.ended() == 255
    assert roams_anew(agent, before)["pid"] == before["pid"]
    assert Session(lab).end() == 0
    assert ("its server rebooted" in agent.cli("why", HOST).stdout) == rebooted


def test_a_refused_inner_login_leaves_a_plain_host(lab: Lab, agent: Agent) -> None:
    """The server refuses logins from its own address. The agent reports that, and makes only one such login."""
    lab.join("home")
    server = lab.sshd(config=[f"Match Address {SERVER}", "PubkeyAuthentication no", "Match all"])
    lab.ssh_config({HOST: OPTIONS})
    agent.configure(ROAMS)
    agent.start()
    until("it says so", lambda: "refuses a login from its own address" in said(agent))
    host = agent.wait_state(HOST, "connected")
    assert host["roaming"] is None
    assert listener(lab, HOST) == host["pid"]
    assert Session(lab).end() == 0
    until("nothing is left on the server", lambda: not relays(lab), LONG_S)
    tries = server.said().count("Connection closed by authenticating user") + server.said().count(
        "Permission denied"
    )
    lab.switch("home", "cafe")
    agent.wait_state(HOST, "connected", LONG_S)
    assert server.said().count("Connection closed by authenticating user") <= max(tries, 1)
    assert not relays(lab)
    assert "forward-found" not in said(agent)  # the agent must not treat its own link as the user's forward


def test_the_agent_stops(lab: Lab, agent: Agent) -> None:
    """The near relay outlives the agent while it carries a connection. Without a connection, `stop` ends it."""
    before = roaming(lab, agent)
    session, near = Session(lab), near_pid(agent)
    agent.stop()
    assert alive(near)
    assert session.echoes()
    agent.start()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert near_pid(agent) == near
    assert session.end() == 0
    assert agent.cli("disconnect", HOST).returncode == 0
    until("both ended", lambda: not alive(before["roaming"]["pid"]), LONG_S)
    until("the server is clean", lambda: not relays(lab), LONG_S)
    agent.stop()
    until("the relay ended", lambda: not alive(near))


@pytest.mark.parametrize("kind", ["port", "jump", "alias"])
def test_the_inner_master_checks_the_same_host_key(lab: Lab, agent: Agent, kind: str) -> None:
    """On another port, behind a jump host and with HostKeyAlias, both logins use the same name in known_hosts."""
    lab.join("home")
    if kind == "port":
        lab.sshd(port=2222)
        lab.ssh_config({HOST: {**OPTIONS, "Port": 2222}})
    elif kind == "jump":
        lab.sshd(JUMP)
        lab.sshd(OTHER)
        lab.ssh_config(
            {HOST: {**OPTIONS, "HostName": OTHER, "ProxyJump": "jump"}, "jump": {"HostName": JUMP}}
        )
    else:
        server = lab.sshd()
        lab.files.known_hosts.write_text(f"the-server {server.host_key}\n")
        lab.ssh_config({HOST: {**OPTIONS, "HostKeyAlias": "the-server"}})
    agent.start(ROAMS)
    before = roams(agent)
    session = Session(lab)
    lab.switch("home", "cafe")
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert session.end() == 0


def test_a_server_may_forbid_forwards(lab: Lab, agent: Agent) -> None:
    """Without a forward to the far relay's socket, each attach runs a command on the server.

    The agent tries a forward once.
    """
    before = roaming(lab, agent, config=("DisableForwarding yes", "LogLevel DEBUG1"))
    (kept,) = agent.records()["roaming"].values()
    assert kept["far_path"] == ""
    session = Session(lab)
    for left, joined in (("home", "cafe"), ("cafe", "office")):
        lab.switch(left, joined)
        assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert lab.servers[0].said().count("ctype direct-streamlocal@openssh.com") == 1
    assert session.end() == 0


@pytest.mark.parametrize("how", ["idle", "exit", "disconnect"])
def test_the_server_is_clean_after_the_end(lab: Lab, agent: Agent, how: str) -> None:
    """However the inner master ends, the far relay ends, too, and no process or record is left over."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlPersist": "2"}})
    agent.start(f'[hosts.{HOST}]\nconnect = "{"on-use" if how == "idle" else "always"}"\nroam = true\n')
    assert agent.cli("reconnect", HOST).returncode == 0
    until("it roamed", lambda: "roams: inner=" in said(agent), LONG_S)
    if how == "exit":
        lab.laptop.run(["ssh", "-O", "exit", HOST])
    elif how == "disconnect":
        agent.cli("disconnect", HOST)
    until("both ended", lambda: not ssh_pids(lab), LONG_S)
    until("no far relay waits", lambda: not relays(lab))
    until("no record is left", lambda: not agent.records().get("roaming"))


def test_the_program_on_the_server_is_deleted(lab: Lab, agent: Agent) -> None:
    """The server allows no direct link, so each attach needs the program.

    If it was deleted, the agent installs it again.
    """
    before = roaming(lab, agent, config=("DisableForwarding yes",))
    session = Session(lab)
    lab.server.run(["sh", "-c", "cd ~/.cache/trayagent && rm -rf far_relay.py __pycache__"])
    lab.switch("home", "cafe")
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert "is installed again" in said(agent)
    assert session.end() == 0


def waits(agent: Agent, code: str, before: dict[str, Any]) -> None:
    """Wait until the sessions wait with this problem, and check that the inner master is the same one."""
    until("they wait", lambda: (agent.host(HOST) or {})["state"] == "waiting", LONG_S)
    host = agent.host(HOST) or {}
    assert host["problem"]["code"] == code
    assert host["roaming"]["pid"] == before["roaming"]["pid"]


def test_the_cache_on_the_server_is_deleted(lab: Lab, agent: Agent) -> None:
    """Without program and socket, the session waits, because its far relay lives. `reconnect --now` ends both.

    The host roams again, with its -R port.
    """
    before = roaming(lab, agent, 'remote = ["9022:localhost:22"]\n')
    agent.wait_forwards(HOST, {"remote": "open"})
    (old,) = relays(lab)
    session = Session(lab)
    lab.server.run(["sh", "-c", "rm -rf ~/.cache"])
    lab.switch("home", "cafe")
    waits(agent, "relay-unreachable", before)
    assert "was deleted or moved" in agent.cli("why", HOST).stdout
    agent.cli("reconnect", "--now", HOST)
    assert session.ended() == 255
    assert roams_anew(agent, before)["state"] == "connected"
    agent.wait_forwards(HOST, {"remote": "open"}, LONG_S)
    until("the old far relay ended", lambda: not alive(old["pid"]), LONG_S)
    until("only the new one is recorded", lambda: list(agent.records()["roaming"]) == [relays(lab)[0]["id"]])
    assert Session(lab).end() == 0


def test_the_home_is_not_there_at_a_login(lab: Lab, agent: Agent) -> None:
    """The next login does not see the home directory, so it does not find the living far relay. The session waits."""
    before = roaming(lab, agent)
    session = Session(lab)
    lab.server.run(["sh", "-c", "mv ~/.cache ~/elsewhere"])
    lab.switch("home", "cafe")
    waits(agent, "relay-unreachable", before)
    lab.server.run(["sh", "-c", "rm -rf ~/.cache && mv ~/elsewhere ~/.cache"])
    assert session.echoes()
    assert session.end() == 0


def test_others_can_open_the_directory_of_the_socket(lab: Lab, agent: Agent) -> None:
    """A login does not use such a directory. The far relay lives, so the session waits until it is private again."""
    before = roaming(lab, agent, config=("AllowStreamLocalForwarding no",))
    session = Session(lab)
    lab.server.run(["sh", "-c", "chmod 750 ~/.cache/trayagent/*/"])
    lab.switch("home", "cafe")
    waits(agent, "relay-unreachable", before)
    assert "chmod 700" in agent.cli("status").stdout
    lab.server.run(["sh", "-c", "chmod 700 ~/.cache/trayagent/*/"])
    assert session.echoes()
    assert session.end() == 0


@pytest.mark.parametrize("setting", ["MaxSessions 0", "ForceCommand cat"])
def test_the_account_runs_no_commands_any_more(lab: Lab, agent: Agent, setting: str) -> None:
    """No channel leads to the living far relay. The session waits, and `status` says why, until the setting is gone."""
    no_links = "AllowStreamLocalForwarding no"
    before = roaming(lab, agent, config=(no_links,))
    session, server = Session(lab), lab.servers[0]
    server.configure([no_links, setting])
    server.stop()  # the open connections stay
    server.start()
    lab.switch("home", "cafe")
    waits(agent, "relay-unreachable", before)
    assert "ForceCommand, MaxSessions and the login shell" in agent.cli("status").stdout
    server.configure([no_links])
    server.stop()
    server.start()
    lab.switch("cafe", "office")
    assert session.echoes()


@pytest.mark.parametrize("python", [True, False])
def test_the_next_login_is_in_a_container(lab: Lab, agent: Agent, python: bool) -> None:
    """The container has the same machine-id, but another boot id, home directory and sockets. The session waits.

    If the user ends it there, the far relay ends at a later login that sees it.
    """
    programs, switch, script = tools(lab), lab.files.root / "inside", lab.files.root / "container"
    home = f"env HOME={lab.files.root}/home2"
    login_with_boot_id(lab, programs, script, switch, f"{home} unshare -rmpnf --mount-proc")
    no_links = "AllowStreamLocalForwarding no"
    before = roaming(lab, agent, config=(f"SetEnv PATH={programs}", no_links, f"ForceCommand {script}"))
    session = Session(lab)
    pid = relays(lab)[0]["pid"]
    (lab.files.root / "home2").mkdir()
    switch.touch()
    python3 = (programs / "python3").readlink()
    if not python:
        (programs / "python3").unlink()
    lab.switch("home", "cafe")
    waits(agent, "relay-unreachable" if python else "no-python", before)
    assert alive(pid)
    if python:
        agent.cli("reconnect", "--now", HOST)
        assert session.ended() == 255
        until("it looked for the far relay", lambda: "was not ended" in said(agent), LONG_S)
        assert alive(pid)
        agent.kill9()
        switch.unlink()
        agent.start()
        until("the far relay ended", lambda: not alive(pid), LONG_S)
        return
    switch.unlink()
    (programs / "python3").symlink_to(python3)
    assert session.echoes()


def login_with_boot_id(lab: Lab, programs: Path, script: Path, switch: Path, unshare: str) -> None:
    """Write a ForceCommand that runs the user's command with another boot id while the file `switch` exists."""
    for name in ("unshare", "mount", "env"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    boot = lab.files.root / "boot"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    inside = f'mount --bind {boot} /proc/sys/kernel/random/boot_id && exec "$@"'
    script.write_text(
        f"#!/bin/sh\n[ -e {switch} ] && set -- {unshare} sh -c '{inside}' sh\n"
        'exec "$@" sh -c "${SSH_ORIGINAL_COMMAND:-bash}"\n'
    )
    script.chmod(0o755)


def on_another_machine(lab: Lab, *, clone: bool) -> str:
    """Return a ForceCommand that runs the user's command with another home directory, and another machine-id.

    `clone`: the machine-id is the same.
    """
    machine, home, script = (lab.files.root / name for name in ("other-id", "other-home", "other-machine"))
    machine.write_text("f" * 32 + "\n")
    home.mkdir(mode=0o700)
    if clone:
        machine.write_text((lab.files.root / "etc/machine-id").read_text())
    mount = f'mount --bind {machine} /etc/machine-id; HOME={home} exec sh -c "$SSH_ORIGINAL_COMMAND"'
    script.write_text(f"#!/bin/sh\nexec unshare -rm sh -c '{mount}'\n")
    script.chmod(0o755)
    return f"ForceCommand {script}"


@pytest.mark.parametrize("clone", [False, True])
def test_the_agent_returns_to_the_machine_with_the_sessions(lab: Lab, agent: Agent, clone: bool) -> None:
    """If the host's name leads to another machine, the agent connects to the first one's address.

    A clone has the same machine-id, but another host key.
    The other machine has neither program nor relay, and its answer ends nothing. If the first machine does not answer
    at its address, the sessions wait. Then the host is not up, so `reconnect --if-down` makes a new outer master.
    """
    first = lab.sshd()
    second = lab.sshd(OTHER, config=["AllowStreamLocalForwarding no", on_another_machine(lab, clone=clone)])
    names = lab.name_server({"cluster.example": SERVER})
    lab.files.known_hosts.write_text(f"cluster {first.host_key}\ncluster {second.host_key}\n")
    lab.ssh_config({HOST: {**OPTIONS, "HostName": "cluster.example", "HostKeyAlias": "cluster"}})
    lab.join("home")
    agent.start(ROAMS)
    before = roams(agent)
    session = Session(lab)
    names.knows({"cluster.example": OTHER})
    lab.switch("home", "cafe")
    assert session.echoes()
    assert said(agent).count("code=other-machine") == 1
    assert roams(agent)["peer"] == before["peer"]
    if clone:
        return
    first.stop()
    lab.switch("cafe", "office")
    until("it waits", lambda: (agent.host(HOST) or {})["state"] == "waiting", LONG_S)
    assert (agent.host(HOST) or {})["problem"]["code"] == "other-machine"
    first.start()
    names.knows({"cluster.example": SERVER})
    done = agent.cli("reconnect", "--if-down", HOST)
    assert (done.returncode, done.stdout.split(" in ")[0]) == (0, f"{HOST}: connected"), done.stdout
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == before["roaming"]["pid"]
    assert session.end() == 0


_TOOLS = "sh bash cat true sha256sum mkdir mv rm wc id ps grep readlink uname python3"


def tools(lab: Lab) -> Path:
    """Return a directory with the few programs that the server's users find."""
    folder = lab.files.root / "tools"
    folder.mkdir()
    for name in _TOOLS.split():
        found = next((p / name for p in map(Path, ("/usr/bin", "/bin")) if (p / name).exists()), None)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


def test_python_is_removed_and_the_relay_ended(lab: Lab, agent: Agent) -> None:
    """The far relay is proven gone, so the sessions end, and the host works as without roaming.

    Another far relay of the account runs there, which proves nothing about this one.
    """
    programs = tools(lab)
    roaming(lab, agent, config=(f"SetEnv PATH={programs}",))
    session = Session(lab)
    (relay,) = relays(lab)
    lab.server.run(["sh", "-c", f"cd && echo {new_token()} | ({FAR} serve {SERVER} 22 60 other)"])
    (other,) = [one["pid"] for one in relays(lab) if one["pid"] != relay["pid"]]
    (programs / "python3").unlink()
    os.kill(relay["pid"], signal.SIGTERM)
    assert session.ended() == 255
    os.kill(other, signal.SIGTERM)
    until("it is a plain host", lambda: (agent.host(HOST) or {})["roaming"] is None)
    assert Session(lab).end() == 0
    until("the reason is said", lambda: "The server has no python3" in agent.cli("status").stdout)


def test_python_is_removed_while_the_relay_runs(lab: Lab, agent: Agent) -> None:
    """The sessions wait, `status` says why and what to do, and they continue when python3 is there again."""
    programs = tools(lab)
    before = roaming(lab, agent, config=(f"SetEnv PATH={programs}", "AllowStreamLocalForwarding no"))
    session = Session(lab)
    python = (programs / "python3").readlink()
    (programs / "python3").unlink()
    lab.switch("home", "cafe")
    until("it waits", lambda: (agent.host(HOST) or {})["state"] == "waiting", LONG_S)
    host = agent.host(HOST) or {}
    assert host["problem"]["code"] == "no-python"
    assert host["roaming"]["pid"] == before["roaming"]["pid"]
    assert "trayagent reconnect --now web01" in agent.cli("status").stdout
    (programs / "python3").symlink_to(python)
    assert session.echoes()


def test_a_server_that_ends_processes_at_logout_keeps_a_plain_connection(lab: Lab, agent: Agent) -> None:
    """With KillUserProcesses and without a user manager, `status` gives that as the reason."""
    programs = tools(lab)
    for name, script in (("busctl", "echo 'b true'"), ("systemd-run", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    lab.join("home")
    lab.sshd(config=(f"SetEnv PATH={programs}",))
    lab.ssh_config({HOST: OPTIONS})
    agent.start(ROAMS)
    until("the reason is said", lambda: "KillUserProcesses" in agent.cli("status").stdout)
    assert Session(lab).end() == 0


@pytest.mark.parametrize("how", [f"ssh -O stop {HOST}", "rm ~/.ssh/cm-*"])
def test_another_ssh_takes_the_control_path(lab: Lab, agent: Agent, how: str) -> None:
    """The open sessions continue without the control path, also after a move and with the next agent.

    `status` counts them, and `disconnect` and `stop --masters` end them with their far relay.
    """
    before = roaming(lab, agent, 'local = ["9000:localhost:8000"]\n')
    lab.ssh_config({HOST: {**OPTIONS, "ControlMaster": "auto"}})
    old = Session(lab)
    lab.laptop.run(["sh", "-c", how])
    new = Session(lab)
    until("the agent adopts it", lambda: (agent.host(HOST) or {})["pid"] != before["pid"])
    assert old.echoes()
    assert new.echoes()
    until("it is counted", lambda: [one["sessions"] for one in drains(agent)] == [1])
    if how.startswith("rm"):
        agent.kill9()
        agent.start()
        until(
            "it is found again", lambda: [one["pid"] for one in drains(agent)] == [before["roaming"]["pid"]]
        )
        assert old.echoes()
        lab.switch("home", "cafe")
        assert old.echoes()
        assert roams(agent)["roaming"]["pid"] != before["roaming"]["pid"]
        lab.switch("cafe", "office")
        assert old.echoes()
        assert not alive(before["pid"])
        until("no other far relay is left", lambda: len(relays(lab)) == 2, LONG_S)
        assert "no direct link" not in said(agent)
        agent.cli("disconnect", HOST)
    else:
        assert agent.cli("stop", "--masters").stdout == "The agent stops; it ended 2 masters.\n"
        agent.wait_end()
        assert new.echoes()
        assert not alive(before["roaming"]["pid"])
        assert not alive(before["pid"])
    assert old.ended() == 255
    until("no far relay is left", lambda: not relays(lab), LONG_S)


def test_a_stopped_listener_is_no_disconnect(lab: Lab, agent: Agent) -> None:
    """After `ssh -O stop` the inner master ends with its last session. Its host is connected and roams again."""
    before = roaming(lab, agent)
    session = Session(lab)
    assert lab.laptop.run(["ssh", "-O", "stop", HOST]).returncode == 0
    assert session.end() == 0
    after = roams_anew(agent, before)
    assert not after["held"]
    assert Session(lab).end() == 0


def test_a_disconnect_while_a_host_begins_to_roam_leaves_nothing(lab: Lab, agent: Agent) -> None:
    """If the user disconnects while a far relay starts, or while the inner master logs in, the far relay ends at once.

    The next connection roams immediately.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(ROAMS)
    program = lab.files.far_home / ".cache/trayagent/far_relay.py"

    def started() -> list[dict[str, Any]]:
        return relays(lab) if program.exists() else []

    for number, begun in enumerate((lambda: said(agent).count("roaming-begins") == 1, started)):
        until("it begins to roam", begun, LONG_S)
        agent.cli("disconnect", HOST)
        until("the connection ended", lambda: (agent.host(HOST) or {})["pid"] is None)
        assert not started(), number
        assert not agent.records()["roaming"]
        assert agent.cli("reconnect", HOST).returncode == 0
    assert roams(agent)
    assert len(relays(lab)) == 1


def test_the_far_relay_of_an_earlier_connection_ends_with_the_next_link(lab: Lab, agent: Agent) -> None:
    """The earlier connection ended while the laptop was away. Its host roams, and ends its far relay after the move."""
    inner = roaming(lab, agent)["roaming"]["pid"]
    lab.ssh_config({HOST: {**OPTIONS, "ControlMaster": "auto"}})
    old = Session(lab)
    lab.laptop.run(["sh", "-c", "rm ~/.ssh/cm-*"])
    assert Session(lab).end() == 0
    until("it roams again", lambda: len(relays(lab)) == 2 and roams(agent)["roaming"]["pid"] != inner)
    lab.leave("home")
    os.kill(inner, signal.SIGKILL)
    assert old.ended() == 255
    lab.join("cafe")
    until("one far relay is left", lambda: len(relays(lab)) == 1)
    until("its record, too", lambda: len(agent.records()["roaming"]) == 1)


def test_another_agent_ends_no_inner_master(lab: Lab, agent: Agent) -> None:
    """A second agent of the user adopts the inner master. It never ends it, since only the first can attach it."""
    inner = roaming(lab, agent)["roaming"]["pid"]
    session = Session(lab)
    with Agent(lab, name="agent2") as other:
        other.start(ROAMS)
        assert other.wait_state(HOST, "connected")["pid"] == inner
        agent.stop()
        lab.switch("home", "cafe")
        other.cli("status", "--json")
        assert other.wait_state(HOST, "connected")["pid"] == inner
        time.sleep(1.0)  # before, it had ended the inner master by now
        assert alive(inner)
        agent.start()
        assert session.echoes()
    assert session.end() == 0


def drains(agent: Agent) -> list[dict[str, Any]]:
    """Return the draining masters of the host."""
    return list((agent.host(HOST) or {})["draining"])
