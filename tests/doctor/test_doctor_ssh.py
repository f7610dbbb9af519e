"""What stands in the configuration and in ssh_config, and the program that reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.patient import Patient, keygen, no_root, script
from tests.lab.matrix import alive

# As a master does: bound to a name with 16 more characters, which is renamed.
SSH_LISTENER = (
    "import os, socket, sys; path = sys.argv[1]; bound = path + '.0123456789abcdef'; s = socket.socket(socket.AF_UNIX);"
    "s.bind(bound); s.listen(); os.rename(bound, path); print('listens', flush=True); sys.stdin.read()"
)


def test_a_well_patient_is_told_so(patient: Patient) -> None:
    """Nothing but that no agent runs yet; what is well is told in short."""
    report = patient.examine()
    assert report.status == 0
    assert report.ailing == {"agent-absent", "login-off"}
    assert report.well("hosts")["title"] == "ssh knows the listed host"
    assert report.well("known hosts")["title"].startswith("every server's key is known")
    assert report.told["schema"] == 1
    assert sum(report.told["counts"].values()) == len(report.findings)


# Configuration.


def test_a_configuration_that_cannot_be_used_is_a_problem(patient: Patient) -> None:
    """In the loader's own words, with the valid choices."""
    patient.configure('[hosts.box]\nconect = "always"\n')
    found = patient.examine().one("config-invalid", "problem", "configuration")
    assert "hosts.box.conect" in found["title"]
    assert 'Did you mean "connect"?' in found["remedy"]


def test_a_configuration_that_others_may_write_is_a_problem(patient: Patient) -> None:
    """With the command that takes the right away."""
    patient.config.chmod(0o666)
    found = patient.examine().one("config-invalid", "problem", "configuration")
    assert f"chmod go-w {patient.config}" in found["remedy"]


def test_no_configuration_leads_to_init(patient: Patient) -> None:
    """It is no problem: masters are adopted without one."""
    patient.config.unlink()
    report = patient.examine()
    assert report.one("config-absent", "advice", "configuration")["lines"] == ["trayagent init"]
    assert report.status == 0


def test_a_configuration_that_wants_nothing_is_named(patient: Patient) -> None:
    """No host, and nothing adopted."""
    patient.configure("[agent]\nadopt = false\n")
    patient.examine().one("config-idle", "advice", "configuration")


def test_another_configuration_can_be_checked(patient: Patient) -> None:
    """By --config, before it is put in place."""
    other = patient.folder / "other.toml"
    other.touch(mode=0o600)
    other.write_text("[host.box]\n")
    done = patient.command("doctor", "--config", str(other))
    assert done.returncode == 1
    assert f"{other}: host: there is no such key" in " ".join(done.stdout.split())


# The program.


def test_a_missing_ssh_is_one_problem(patient: Patient) -> None:
    """Not another one for each host; nothing is claimed of what ssh knows."""
    report = patient.examine(TRAYAGENT_SSH="/nonexistent/ssh")
    report.one("ssh-missing", "problem", "ssh")
    assert report.ailing == {"ssh-missing", "agent-absent", "login-off"}
    assert not [found["title"] for found in report.findings if found["topic"] == "hosts"]


def test_an_ssh_of_another_make_is_a_problem(patient: Patient) -> None:
    """It has no masters that can be spoken to."""
    other = script(patient.folder / "ssh", 'echo "Dropbear v2022.83" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(other)).one("ssh-unknown", "problem", "ssh")
    assert "Dropbear v2022.83" in found["title"]


def test_an_ssh_that_is_too_old_is_a_problem(patient: Patient) -> None:
    """8.7 is the first that can keep a master in the foreground."""
    old = script(patient.folder / "ssh", '[ "$1" = -V ] || exec ssh "$@"; echo "OpenSSH_8.4p1, OpenSSL" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(old)).one("ssh-too-old", "problem", "ssh")
    assert "OpenSSH 8.4p1 is too old" in found["title"]


@pytest.mark.parametrize(("version", "noted"), [("9.2p1", True), ("9.4p1", False), ("10.2p1", False)])
def test_what_the_version_changes_is_said(patient: Patient, version: str, noted: bool) -> None:
    """Before 9.4 a plain ssh waits for ever for a stuck master."""
    ssh = script(patient.folder / "ssh", f'[ "$1" = -V ] || exec ssh "$@"; echo "OpenSSH_{version}, SSL" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(ssh)).well("ssh")
    assert f"OpenSSH {version}" in found["title"]
    assert ("Before 9.4" in found["why"]) == noted


# Hosts.


def test_a_host_that_ssh_refuses_is_a_problem(patient: Patient) -> None:
    """In ssh's own words, with the line."""
    patient.ssh(NoSuchOption="yes")
    found = patient.examine().one("config-error", "problem", "hosts")
    assert (found["host"], "line 3: Bad configuration option" in found["title"]) == ("box", True)


def test_a_match_exec_that_hangs_is_a_problem_and_holds_up_nothing(patient: Patient) -> None:
    """It is named, ended with everything that it started, and the other host is looked at."""
    pid_file = patient.folder / "pid"
    patient.configure("[hosts.box]\n[hosts.slow]\n")
    patient.ssh(first=f'Match originalhost slow exec "echo $$ > {pid_file}; sleep 60"\n')
    report = patient.examine()
    found = report.one("config-error", "problem", "hosts")
    assert (found["host"], "Match exec" in found["remedy"]) == ("slow", True)
    assert report.well("known hosts")
    assert not alive(int(pid_file.read_text()))


def test_an_agent_socket_without_a_forwarded_agent_is_named(patient: Patient) -> None:
    """With the lines for ssh_config."""
    patient.configure('[hosts.box]\nagent_socket = "~/.ssh/agent.sock"\n')
    found = patient.examine().one("agent-not-forwarded", "advice", "hosts")
    assert found["lines"] == ["Host box", "    ForwardAgent yes"]
    patient.ssh(ForwardAgent="yes")
    assert "agent-not-forwarded" not in patient.examine().ailing


# Control paths.


def test_a_control_path_that_is_too_long_is_a_problem(patient: Patient) -> None:
    """Even ssh says so only when the login is over."""
    patient.ssh(ControlPath=f"{patient.sockets}/{'x' * 80}")
    found = patient.examine().one("control-path-too-long", "problem", "control paths")
    assert "no more than 90 fit" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_the_missing_folder_of_a_control_path_is_a_problem(patient: Patient) -> None:
    """With the command that makes it."""
    missing = patient.folder / "not here"
    patient.ssh(ControlPath=f'"{missing}/%C"')
    found = patient.examine().one("control-path-folder", "problem", "control paths")
    (line,) = found["lines"]
    subprocess.run(["sh", "-c", line], check=True)
    assert "control-path-folder" not in patient.examine().ailing


def test_a_folder_of_control_paths_that_others_may_write_is_named(patient: Patient) -> None:
    """With the command that closes it."""
    patient.sockets.chmod(0o777)
    found = patient.examine().one("control-path-open", "advice", "control paths")
    subprocess.run(["sh", "-c", found["lines"][0]], check=True)
    assert "control-path-open" not in patient.examine().ailing


def test_a_folder_of_control_paths_where_others_may_add_files_is_named(patient: Patient) -> None:
    """The sticky bit keeps what is there; whoever listens first gets what ssh sends. One of one's own is better."""
    patient.sockets.chmod(0o1777)
    found = patient.examine().one("control-path-open", "advice", "control paths")
    assert "may create files" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_a_relative_control_path_is_named(patient: Patient) -> None:
    """The agent and the user's shell are in different folders."""
    patient.ssh(ControlPath="cm-%C")
    patient.examine().one("control-path-relative", "advice", "control paths")


def test_a_control_path_that_another_program_has_is_a_problem(patient: Patient) -> None:
    """With that program's name and pid."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    with patient.listener("unix", str(path)) as (pid, _):
        found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert f"(pid {pid}) listens on its ControlPath {path}" in found["title"]
    assert found["lines"] == [f"ps -fp {pid}"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make the namespaces without a user namespace")
@pytest.mark.parametrize("kind", ["--mount", "--net"])
def test_a_control_path_that_a_container_has_is_a_problem(patient: Patient, kind: str) -> None:
    """A process in another mount or network namespace keeps it: the agent would not touch that."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    under = ["unshare", kind]
    if kind == "--net":  # only an ssh is looked for there, by the name that it binds
        program = patient.folder / "ssh"
        program.symlink_to(sys.executable)
        under += [str(program), "-I", "-c", SSH_LISTENER, str(path)]
    with patient.listener("unix", str(path), under) as (pid, _):
        found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert f"(pid {pid}) listens on its ControlPath {path} from a container" in found["title"]
    assert found["lines"] == [f"ps -fp {pid}"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_a_control_path_that_another_user_has_is_a_problem(patient: Patient) -> None:
    """Nobody else's file is removed: another path is the remedy."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    path.touch()
    os.chown(path, 65534, 65534)
    found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert "another user (uid 65534)" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_hosts_without_a_control_path_get_the_lines_that_let_ssh_share(patient: Patient) -> None:
    """In one finding; with these lines, ssh and the agent mean the same place."""
    patient.configure("[hosts.box]\n[hosts.two]\n")
    patient.ssh(ControlPath="none", last=f"Host two\n    IdentityFile {patient.key}")
    found = patient.examine().one("control-path-none", "advice", "control paths")
    assert "box and two" in found["title"]
    assert found["lines"] == ["Host box two", "    ControlPath ~/.ssh/cm-%C"]
    patient.ssh(first="\n".join(found["lines"]))
    assert "control-path-none" not in patient.examine().ailing


@pytest.mark.parametrize("word", ["yes", "ask"])
def test_a_control_master_that_shares_nothing_is_named(patient: Patient, word: str) -> None:
    """Each ssh would want to be the master; auto and autoask use the one that is there."""
    patient.ssh(ControlMaster=word)
    found = patient.examine().one("control-master", "advice", "control paths")
    assert found["lines"] == ["Host box", "    ControlMaster auto"]
    patient.ssh(ControlMaster=word.replace("yes", "auto").replace("ask", "autoask"))
    assert "control-master" not in patient.examine().ailing


def test_two_names_of_one_account_are_named(patient: Patient) -> None:
    """They are one connection: only one of them can have the master."""
    patient.configure("[hosts.box]\n[hosts.same]\n")
    patient.ssh(first="Host same\n    HostName box.example\nHost box same")
    text = patient.ssh_config.read_text().replace("\nHost box\n", "\n")
    patient.ssh_config.write_text(text)
    found = patient.examine().one("control-path-same", "advice", "control paths")
    assert "box and same are one connection" in found["title"]


def test_two_servers_on_one_control_path_are_a_problem(patient: Patient) -> None:
    """A session for one would open on the other."""
    patient.configure("[hosts.box]\n[hosts.other]\n")
    path = patient.sockets / "all"
    patient.ssh(
        ControlPath=str(path), last=f"Host other\n    ControlPath {path}\n    IdentityFile {patient.key}"
    )
    found = patient.examine().one("control-path-shared", "problem", "control paths")
    assert f"box and other share the ControlPath {path}" in found["title"]


def test_a_control_path_that_every_host_has_is_a_problem(patient: Patient) -> None:
    """Also where only one host is listed: any other `ssh` would land on it."""
    path = patient.sockets / "all"
    patient.ssh(first=f"Host *\n    ControlPath {path}")
    found = patient.examine().one("control-path-shared", "problem", "control paths")
    assert "Every host has the ControlPath of box" in found["title"]


def test_a_folder_of_control_paths_that_one_may_not_write_is_a_problem(patient: Patient) -> None:
    """No master can listen there."""
    patient.sockets.chmod(0o500)
    patient.examine(under=no_root()).one("control-path-folder", "problem", "control paths")


# Forwards.


def test_forwards_in_ssh_config_are_moved_to_the_agent(patient: Patient) -> None:
    """With the lines for the configuration; what stands there already is left as it is."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n')
    patient.ssh(LocalForward="8102 [::1]:80\n    RemoteForward 8103 localhost:22\n    DynamicForward 8104")
    found = patient.examine().one("forwards-in-ssh-config", "advice", "forwards")
    assert found["lines"] == [
        "[hosts.box]",
        'local = ["8101:localhost:80", "8102:[::1]:80"]',
        'remote = ["8103:localhost:22"]',
        'dynamic = ["8104"]',
    ]
    patient.configure("\n".join(found["lines"]))
    again = patient.examine().one("forwards-in-ssh-config", "advice", "forwards")
    assert (again["lines"], "stand in" in again["remedy"]) == ([], True)
    patient.ssh()
    assert "4 wanted" in patient.examine().well("forwards")["title"]


def test_two_forwards_at_one_end_are_a_problem(patient: Patient) -> None:
    """One in the configuration, another in ssh_config: one of them fails each time."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n')
    patient.ssh(LocalForward="localhost:8101 db:5432")
    found = patient.examine().one("forward-conflict", "problem", "forwards")
    assert "8101:localhost:80" in found["title"]
    assert "localhost:8101:db:5432" in found["title"]


def test_two_hosts_that_want_one_port_are_a_problem(patient: Patient) -> None:
    """Whoever comes first has it."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n[hosts.two]\ndynamic = ["8101"]\n')
    patient.ssh(last=f"Host two\n    IdentityFile {patient.key}\n    ControlPath {patient.sockets}/%C")
    found = patient.examine().one("forward-twice", "problem", "forwards")
    assert "box and two both want to listen on port 8101" in found["title"]


# Host keys.


def test_an_unknown_host_key_is_a_problem(patient: Patient) -> None:
    """Nobody could compare it at an automatic login; hashed names, other ports and aliases are understood."""
    known = patient.known_hosts.read_text()
    patient.known_hosts.write_text("")
    found = patient.examine().one("host-key-unknown", "problem", "known hosts")
    assert found["lines"] == ["trayagent login box"]
    patient.known_hosts.write_text(known)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", patient.known_hosts], check=True, capture_output=True)
    assert patient.examine().well("known hosts")
    patient.known_hosts.write_text(known.replace("box.example", "[box.example]:2222"))
    patient.ssh(Port="2222")
    assert patient.examine().well("known hosts")
    patient.ssh(Port="2222", HostKeyAlias="other")
    assert "host-key-unknown" in patient.examine().ailing


@pytest.mark.parametrize(
    "option", [("StrictHostKeyChecking", "accept-new"), ("KnownHostsCommand", "/bin/true")]
)
def test_a_key_that_comes_from_elsewhere_is_not_missed(patient: Patient, option: tuple[str, str]) -> None:
    """The first login accepts it, or a program knows it."""
    patient.known_hosts.write_text("")
    patient.ssh(**dict([option]))
    assert patient.examine().well("known hosts")


def test_a_host_that_nobody_checks_is_named(patient: Patient) -> None:
    """With what follows from it in other networks."""
    patient.ssh(StrictHostKeyChecking="no")
    found = patient.examine().one("host-key-unchecked", "advice", "known hosts")
    assert "only where it was reached before" in found["why"]
    assert found["lines"] == ["Host box", "    StrictHostKeyChecking accept-new"]


# Key files.


def test_a_key_file_that_is_open_to_others_is_a_problem(patient: Patient) -> None:
    """Such a key is not used; the command closes it."""
    key = keygen(patient.folder / "open key")
    key.chmod(0o640)
    patient.ssh(IdentityFile=f'"{key}"')
    found = patient.examine().one("key-open", "problem", "keys")
    assert "mode 640" in found["title"]
    subprocess.run(["sh", "-c", found["lines"][0]], check=True)
    assert "key-open" not in patient.examine().ailing


def test_a_key_file_that_is_not_there_is_named(patient: Patient) -> None:
    """But not one that only has a public half (the ssh-agent has the other)."""
    missing = patient.folder / "gone"
    patient.ssh(IdentityFile=f"{missing}\n    IdentityFile {patient.key}")
    found = patient.examine().one("key-missing", "advice", "keys")
    assert str(missing) in found["title"]
    Path(f"{missing}.pub").write_text("ssh-ed25519 AAAA test\n")
    assert "key-missing" not in patient.examine().ailing
