"""The findings about the configuration, ssh_config and the ssh program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.patient import Patient, keygen, no_root, script
from tests.lab.matrix import alive

# A master binds its socket to a name with 16 more characters, and then renames it.
SSH_LISTENER = (
    "import os, socket, sys; path = sys.argv[1]; bound = path + '.0123456789abcdef'; s = socket.socket(socket.AF_UNIX);"
    "s.bind(bound); s.listen(); os.rename(bound, path); print('listens', flush=True); sys.stdin.read()"
)


def test_a_healthy_setup_is_reported_as_such(patient: Patient) -> None:
    """For a healthy setup, the only advice is to start the agent. The checks that passed are summarized."""
    report = patient.examine()
    assert report.status == 0
    assert report.ailing == {"agent-absent", "login-off"}
    assert report.well("hosts")["title"] == "`ssh -G` works for the listed host"
    assert report.well("known hosts")["title"].startswith("every server's key is known")
    assert report.told["schema"] == 1
    assert sum(report.told["counts"].values()) == len(report.findings)


# Configuration.


def test_a_configuration_that_cannot_be_used_is_a_problem(patient: Patient) -> None:
    """The finding has the loader's message with the valid choices."""
    patient.configure('[hosts.box]\nconect = "always"\n')
    found = patient.examine().one("config-invalid", "problem", "configuration")
    assert "hosts.box.conect" in found["title"]
    assert 'Did you mean "connect"?' in found["remedy"]


def test_a_configuration_that_others_may_write_is_a_problem(patient: Patient) -> None:
    """The hint has the command that removes the permission."""
    patient.config.chmod(0o666)
    found = patient.examine().one("config-invalid", "problem", "configuration")
    assert f"chmod go-w {patient.config}" in found["remedy"]


def test_no_configuration_leads_to_init(patient: Patient) -> None:
    """Without a configuration, `init` is suggested. That is no problem, because masters are adopted anyway."""
    patient.config.unlink()
    report = patient.examine()
    assert report.one("config-absent", "advice", "configuration")["lines"] == ["trayagent init"]
    assert report.status == 0


def test_a_configuration_without_any_effect_is_reported(patient: Patient) -> None:
    """A configuration without hosts and with adopt = false is reported, because it has no effect."""
    patient.configure("[agent]\nadopt = false\n")
    patient.examine().one("config-idle", "advice", "configuration")


def test_another_configuration_can_be_checked(patient: Patient) -> None:
    """--config checks a file before it replaces the configuration."""
    other = patient.folder / "other.toml"
    other.touch(mode=0o600)
    other.write_text("[host.box]\n")
    done = patient.command("doctor", "--config", str(other))
    assert done.returncode == 1
    assert f"{other}: host: there is no such key" in " ".join(done.stdout.split())


# The program.


def test_a_missing_ssh_is_one_problem(patient: Patient) -> None:
    """A missing ssh is one problem, without further findings for each host."""
    report = patient.examine(TRAYAGENT_SSH="/nonexistent/ssh")
    report.one("ssh-missing", "problem", "ssh")
    assert report.ailing == {"ssh-missing", "agent-absent", "login-off"}
    assert not [found["title"] for found in report.findings if found["topic"] == "hosts"]


def test_an_ssh_that_is_not_openssh_is_a_problem(patient: Patient) -> None:
    """Another ssh has no masters that the agent can use."""
    other = script(patient.folder / "ssh", 'echo "Dropbear v2022.83" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(other)).one("ssh-unknown", "problem", "ssh")
    assert "Dropbear v2022.83" in found["title"]


def test_an_ssh_that_is_too_old_is_a_problem(patient: Patient) -> None:
    """8.7 is the first version that can keep a master in the foreground."""
    old = script(patient.folder / "ssh", '[ "$1" = -V ] || exec ssh "$@"; echo "OpenSSH_8.4p1, OpenSSL" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(old)).one("ssh-too-old", "problem", "ssh")
    assert "OpenSSH 8.4p1 is too old" in found["title"]


@pytest.mark.parametrize(("version", "noted"), [("9.2p1", True), ("9.4p1", False), ("10.2p1", False)])
def test_the_report_says_what_the_version_changes(patient: Patient, version: str, noted: bool) -> None:
    """The report says that before 9.4 a plain ssh waits forever for a stuck master."""
    ssh = script(patient.folder / "ssh", f'[ "$1" = -V ] || exec ssh "$@"; echo "OpenSSH_{version}, SSL" >&2')
    found = patient.examine(TRAYAGENT_SSH=str(ssh)).well("ssh")
    assert f"OpenSSH {version}" in found["title"]
    assert ("Before 9.4" in found["why"]) == noted


# Hosts.


def test_a_host_that_ssh_refuses_is_a_problem(patient: Patient) -> None:
    """The finding has ssh's message with the line number."""
    patient.ssh(NoSuchOption="yes")
    found = patient.examine().one("config-error", "problem", "hosts")
    assert (found["host"], "line 3: Bad configuration option" in found["title"]) == ("box", True)


def test_a_match_exec_that_hangs_is_a_problem_and_holds_up_nothing(patient: Patient) -> None:
    """A Match exec that hangs is reported and killed with its children. A slow one is waited for."""
    pid_file = patient.folder / "pid"
    patient.configure("[hosts.box]\n[hosts.slow]\n[hosts.hangs]\n")
    hangs = f'Match originalhost hangs exec "echo $$ > {pid_file}; sleep 60"\n'
    patient.ssh(first=f'{hangs}Match originalhost slow exec "sleep 2.5"\n')
    report = patient.examine()
    found = report.one("config-error", "problem", "hosts")
    assert (found["host"], "Match exec" in found["remedy"]) == ("hangs", True)
    assert report.one("host-key-unknown", "problem", "known hosts")["host"] == "slow", "its answer was used"
    assert not alive(int(pid_file.read_text()))


def test_an_agent_socket_without_a_forwarded_agent_is_reported(patient: Patient) -> None:
    """The finding has the lines for ssh_config."""
    patient.configure('[hosts.box]\nagent_socket = "~/.ssh/agent.sock"\n')
    found = patient.examine().one("agent-not-forwarded", "advice", "hosts")
    assert found["lines"] == ["Host box", "    ForwardAgent yes"]
    patient.ssh(ForwardAgent="yes")
    assert "agent-not-forwarded" not in patient.examine().ailing


# Control paths.


def test_a_control_path_that_is_too_long_is_a_problem(patient: Patient) -> None:
    """A control path that is too long is a problem, which ssh itself would report only after the login."""
    patient.ssh(ControlPath=f"{patient.sockets}/{'x' * 80}")
    found = patient.examine().one("control-path-too-long", "problem", "control paths")
    assert "at most 90 are possible" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_the_missing_folder_of_a_control_path_is_a_problem(patient: Patient) -> None:
    """If the folder of a control path is missing, the finding has the command that creates it."""
    missing = patient.folder / "not here"
    patient.ssh(ControlPath=f'"{missing}/%C"')
    found = patient.examine().one("control-path-folder", "problem", "control paths")
    (line,) = found["lines"]
    subprocess.run(["sh", "-c", line], check=True)
    assert "control-path-folder" not in patient.examine().ailing


def test_a_folder_of_control_paths_that_others_may_write_is_reported(patient: Patient) -> None:
    """If others may write to the folder of control paths, the finding has the command that prevents that."""
    patient.sockets.chmod(0o777)
    found = patient.examine().one("control-path-open", "advice", "control paths")
    subprocess.run(["sh", "-c", found["lines"][0]], check=True)
    assert "control-path-open" not in patient.examine().ailing


def test_a_folder_of_control_paths_where_others_may_add_files_is_reported(patient: Patient) -> None:
    """The sticky bit protects existing sockets, but another user may listen first. A private directory is better."""
    patient.sockets.chmod(0o1777)
    found = patient.examine().one("control-path-open", "advice", "control paths")
    assert "may create files" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_a_relative_control_path_is_reported(patient: Patient) -> None:
    """A relative control path is reported, because the agent and the user's shell run in different directories."""
    patient.ssh(ControlPath="cm-%C")
    patient.examine().one("control-path-relative", "advice", "control paths")


def test_a_control_path_that_another_program_has_is_a_problem(patient: Patient) -> None:
    """The finding has the program's name and pid."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    with patient.listener("unix", str(path)) as (pid, _):
        found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert f"(pid {pid}) listens on its ControlPath {path}" in found["title"]
    assert found["lines"] == [f"ps -fp {pid}"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make the namespaces without a user namespace")
@pytest.mark.parametrize("kind", ["--mount", "--net"])
def test_a_control_path_that_a_container_has_is_a_problem(patient: Patient, kind: str) -> None:
    """A process in another mount or network namespace keeps the path, and the agent would not touch it."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    under = ["unshare", kind]
    if kind == "--net":  # in another network namespace only an ssh is found, by the name that it binds
        program = patient.folder / "ssh"
        program.symlink_to(sys.executable)
        under += [str(program), "-I", "-c", SSH_LISTENER, str(path)]
    with patient.listener("unix", str(path), under) as (pid, _):
        found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert f"(pid {pid}) listens on its ControlPath {path} from a container" in found["title"]
    assert found["lines"] == [f"ps -fp {pid}"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_a_control_path_that_another_user_has_is_a_problem(patient: Patient) -> None:
    """If another user has the control path, the remedy is another path, because the file cannot be removed."""
    path = patient.sockets / "taken"
    patient.ssh(ControlPath=str(path))
    path.touch()
    os.chown(path, 65534, 65534)
    found = patient.examine().one("control-path-taken", "problem", "control paths")
    assert "another user (uid 65534)" in found["title"]
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%C"]


def test_hosts_without_a_control_path_get_the_lines_that_let_ssh_share(patient: Patient) -> None:
    """All hosts are in one finding. With its lines, ssh and the agent use the same control path."""
    patient.configure("[hosts.box]\n[hosts.two]\n")
    patient.ssh(ControlPath="none", last=f"Host two\n    IdentityFile {patient.key}")
    found = patient.examine().one("control-path-none", "advice", "control paths")
    assert "box and two" in found["title"]
    assert found["lines"] == ["Host box two", "    ControlPath ~/.ssh/cm-%C"]
    patient.ssh(first="\n".join(found["lines"]))
    assert "control-path-none" not in patient.examine().ailing


def test_two_ssh_programs_that_compute_different_control_paths_are_reported(
    patient: Patient, tmp_path: Path
) -> None:
    """If TRAYAGENT_SSH is another ssh, doctor asks both programs for the control path of each host."""
    newer = script(tmp_path / "ssh-new", f'exec ssh -o "ControlPath={patient.sockets}/%n-%r" "$@"')
    found = patient.examine(TRAYAGENT_SSH=str(newer)).one("control-path-program", "advice", "control paths")
    assert found["title"].startswith("/")
    assert found["title"].endswith(f" computes another ControlPath than {newer} for: box")
    assert found["lines"] == ["Host box", "    ControlPath ~/.ssh/cm-%n"]
    same = script(tmp_path / "ssh-same", 'exec ssh "$@"')
    assert "control-path-program" not in patient.examine(TRAYAGENT_SSH=str(same)).ailing


@pytest.mark.parametrize("word", ["yes", "ask"])
def test_a_control_master_that_shares_nothing_is_reported(patient: Patient, word: str) -> None:
    """Each ssh would try to become the master; auto and autoask use the existing one."""
    patient.ssh(ControlMaster=word)
    found = patient.examine().one("control-master", "advice", "control paths")
    assert found["lines"] == ["Host box", "    ControlMaster auto"]
    patient.ssh(ControlMaster=word.replace("yes", "auto").replace("ask", "autoask"))
    assert "control-master" not in patient.examine().ailing


def test_two_names_of_one_account_are_reported(patient: Patient) -> None:
    """Two names of one account are reported, because only one of them can have the master."""
    patient.configure("[hosts.box]\n[hosts.same]\n")
    patient.ssh(first="Host same\n    HostName box.example\nHost box same")
    text = patient.ssh_config.read_text().replace("\nHost box\n", "\n")
    patient.ssh_config.write_text(text)
    found = patient.examine().one("control-path-same", "advice", "control paths")
    assert "box and same share one connection" in found["title"]


def test_two_routes_on_one_control_path_are_a_problem(patient: Patient) -> None:
    """A jump host leads to another connection. The lines give each name a control path of its own."""
    patient.configure("[hosts.box]\n[hosts.far]\n")
    path = patient.sockets / "all"
    patient.ssh(first="Host far\n    HostName box.example\n    ProxyJump gate", ControlPath=str(path))
    text = patient.ssh_config.read_text().replace("\nHost box\n", "\nHost box far\n")
    patient.ssh_config.write_text(text)
    found = patient.examine().one("control-path-shared", "problem", "control paths")
    assert "by different routes" in found["title"]
    assert found["lines"] == ["Host box far", "    ControlPath ~/.ssh/cm-%C-%n"]


def test_two_servers_on_one_control_path_are_a_problem(patient: Patient) -> None:
    """Two servers with the same control path are a problem: a session for one server would open on the other."""
    patient.configure("[hosts.box]\n[hosts.other]\n")
    path = patient.sockets / "all"
    patient.ssh(
        ControlPath=str(path), last=f"Host other\n    ControlPath {path}\n    IdentityFile {patient.key}"
    )
    found = patient.examine().one("control-path-shared", "problem", "control paths")
    assert f"box and other share the ControlPath {path}" in found["title"]


def test_a_control_path_that_every_host_has_is_a_problem(patient: Patient) -> None:
    """A control path without the host's name is a problem: any other `ssh` would use the listed host's master."""
    path = patient.sockets / "all"
    patient.ssh(first=f"Host *\n    ControlPath {path}")
    found = patient.examine().one("control-path-shared", "problem", "control paths")
    assert "Every host has the ControlPath of box" in found["title"]


def test_a_folder_of_control_paths_that_one_may_not_write_is_a_problem(patient: Patient) -> None:
    """A folder of control paths that the user may not write to is a problem, because no master can listen there."""
    patient.sockets.chmod(0o500)
    patient.examine(under=no_root()).one("control-path-folder", "problem", "control paths")


# Forwards.


def test_forwards_in_ssh_config_are_moved_to_the_agent(patient: Patient) -> None:
    """Forwards in ssh_config should be in the configuration. The finding has the lines, with the existing forwards."""
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
    assert (again["lines"], "already" in again["remedy"]) == ([], True)
    patient.ssh()
    assert "4 configured" in patient.examine().well("forwards")["title"]


def test_two_forwards_at_one_end_are_a_problem(patient: Patient) -> None:
    """Two forwards with one listening end, in the configuration and in ssh_config, are a problem: one of them fails."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n')
    patient.ssh(LocalForward="localhost:8101 db:5432")
    found = patient.examine().one("forward-conflict", "problem", "forwards")
    assert "8101:localhost:80" in found["title"]
    assert "localhost:8101:db:5432" in found["title"]


def test_two_hosts_that_want_one_port_are_a_problem(patient: Patient) -> None:
    """Only one of them can have the port."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n[hosts.two]\ndynamic = ["8101"]\n')
    patient.ssh(last=f"Host two\n    IdentityFile {patient.key}\n    ControlPath {patient.sockets}/%C")
    found = patient.examine().one("forward-twice", "problem", "forwards")
    assert "box and two both have a forward on port 8101" in found["title"]


# Host keys.


def test_an_unknown_host_key_is_a_problem(patient: Patient) -> None:
    """An automatic login cannot compare the key. Hashed names, other ports and aliases are understood."""
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
    """An unknown host key is no problem if the first login accepts it or KnownHostsCommand provides it."""
    patient.known_hosts.write_text("")
    patient.ssh(**dict([option]))
    assert patient.examine().well("known hosts")


def test_a_host_whose_key_is_not_checked_is_reported(patient: Patient) -> None:
    """For a host whose key is not checked, the finding explains the effect on other networks."""
    patient.ssh(StrictHostKeyChecking="no")
    found = patient.examine().one("host-key-unchecked", "advice", "known hosts")
    assert "only on networks where it reached the host before" in found["why"]
    assert found["lines"] == ["Host box", "    StrictHostKeyChecking accept-new"]


# Key files.


def test_a_key_file_that_is_open_to_others_is_a_problem(patient: Patient) -> None:
    """A key file that others may read is a problem, because ssh refuses it.

    The finding has the command that fixes this.
    """
    key = keygen(patient.folder / "open key")
    key.chmod(0o640)
    patient.ssh(IdentityFile=f'"{key}"')
    found = patient.examine().one("key-open", "problem", "keys")
    assert "mode 640" in found["title"]
    subprocess.run(["sh", "-c", found["lines"][0]], check=True)
    assert "key-open" not in patient.examine().ailing


def test_a_key_file_that_is_not_there_is_reported(patient: Patient) -> None:
    """A file of which only the public half exists is fine: the ssh-agent has the private one."""
    missing = patient.folder / "gone"
    patient.ssh(IdentityFile=f"{missing}\n    IdentityFile {patient.key}")
    found = patient.examine().one("key-missing", "advice", "keys")
    assert str(missing) in found["title"]
    Path(f"{missing}.pub").write_text("ssh-ed25519 AAAA test\n")
    assert "key-missing" not in patient.examine().ailing
