from __future__ import annotations

import errno
import os
import plistlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trayagent.desktop import autostart as login
from trayagent.desktop.autostart import choose as start
from trayagent.desktop.autostart import linux_autostart, linux_systemd, macos_launchd, write_files
from trayagent.desktop.scopes import linux_unit
from trayagent.errors import TrayagentError
from trayagent.exit_statuses import ALREADY_RUNNING

WITHIN_S = 20.0
NO_USER = 4_242_424
"""The uid of no user, so /run/user has no directory of that name."""
COMMAND = ("/opt/trayagent/bin/trayagent", "run")
ODD = [
    "run",
    "a b",
    "",
    "$HOME",
    "%h",
    "50%",
    "c;d",
    "back\\slash",
    "two\\\\",
    "'one'",
    '"two"',
    "`tick`",
    "é",
    "#x",
    "{x}",
]
"""A command whose words are easy to quote wrongly."""


def needs(tool: str) -> str:
    """Return the tool's path. If it is missing, skip the test, but fail in CI."""
    path = shutil.which(tool)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is missing")
        pytest.skip(f"{tool} is missing")
    return path


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return an environment with its own directories, and with a fake systemctl that records its calls."""
    tools = tmp_path / "bin"
    tools.mkdir()
    asked, sees = tmp_path / "asked", tmp_path / "sees"
    sees.touch()
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {asked}\ntest -e {sees}\n')
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (tmp_path / "run").mkdir(mode=0o700)
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


@pytest.fixture
def manager(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a socket at the path where systemd's user manager listens."""
    folder = Path(env["XDG_RUNTIME_DIR"]) / "systemd"
    folder.mkdir()
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("private")
        yield


def unit_of(env: dict[str, str]) -> Path:
    return Path(env["XDG_CONFIG_HOME"]) / "systemd" / "user" / "trayagent.service"


def entry_of(env: dict[str, str]) -> Path:
    return Path(env["XDG_CONFIG_HOME"]) / "autostart" / "trayagent.desktop"


def asked(tmp_path: Path) -> list[str]:
    note = tmp_path / "asked"
    return note.read_text().splitlines() if note.exists() else []


def everything_in(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


@pytest.mark.usefixtures("manager")
def test_with_a_user_manager_it_is_a_unit_and_the_manager_reloads(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """With a user manager, `enable` writes the unit and the link of `systemctl enable`, and reloads once."""
    assert not login.enabled(env)
    outcome = login.enable(COMMAND, env)
    assert (outcome.paths, outcome.changed) == ((unit_of(env),), True)
    assert login.enabled(env)
    link = unit_of(env).parent / "default.target.wants" / "trayagent.service"
    assert link.readlink() == unit_of(env)
    # the usual mode of a unit, which contains no secret
    assert stat.S_IMODE(unit_of(env).stat().st_mode) == 0o644
    assert asked(tmp_path) == ["--user daemon-reload", "--user is-enabled trayagent.service"]
    assert not entry_of(env).exists()
    assert any("loginctl enable-linger" in note for note in outcome.notes)


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("beside", [[], [4242]])
def test_masters_that_depend_on_the_unit_are_reported_before_it_goes(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, beside: list[int]
) -> None:
    """`uninstall` reports masters that would end with the unit, because the manager did not move them to scopes."""
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho 77\n")
    asked_for = []

    def in_unit(main_pid: int, unit: str) -> list[int]:
        asked_for.append((main_pid, unit, unit_of(env).exists()))
        return beside

    monkeypatch.setattr(linux_unit, "in_unit", in_unit)
    login.enable(COMMAND, env)
    outcome = login.disable(env)
    assert outcome.changed
    assert not unit_of(env).exists()
    assert set(asked_for) == {(77, "trayagent.service", True)}
    assert [note for note in outcome.notes if "4242" in note] == list(outcome.notes)
    assert bool(outcome.notes) is bool(beside)


def test_without_a_user_manager_it_is_an_autostart_entry(tmp_path: Path, env: dict[str, str]) -> None:
    """Without a user manager, `enable` writes an autostart entry and runs no systemctl."""
    outcome = login.enable(COMMAND, env)
    assert (outcome.paths, outcome.changed) == ((entry_of(env),), True)
    assert login.enabled(env)
    assert not unit_of(env).exists()
    assert asked(tmp_path) == []


@pytest.mark.parametrize("with_manager", [True, False])
def test_a_second_call_changes_nothing(
    env: dict[str, str], request: pytest.FixtureRequest, with_manager: bool
) -> None:
    """A second `enable` changes nothing and reports that. `disable` leaves no file."""
    if with_manager:
        request.getfixturevalue("manager")
    assert login.enable(COMMAND, env).changed
    before = everything_in(env["XDG_CONFIG_HOME"])
    assert not login.enable(COMMAND, env).changed
    assert everything_in(env["XDG_CONFIG_HOME"]) == before
    assert login.disable(env).changed
    assert not login.enabled(env)
    assert login.disable(env) == login.Outcome((), False)
    assert everything_in(env["XDG_CONFIG_HOME"]) == {}


def test_a_program_that_moved_is_written_again(env: dict[str, str]) -> None:
    """If the program moved, `enable` writes the file again, because the file contains the old path."""
    login.enable(COMMAND, env)
    assert login.enable(("/new/trayagent", "run"), env).changed
    assert "/new/trayagent run" in entry_of(env).read_text()


@pytest.mark.parametrize("with_manager", [True, False])
def test_a_file_of_an_older_version_is_written_again_with_its_command(
    tmp_path: Path, env: dict[str, str], request: pytest.FixtureRequest, with_manager: bool
) -> None:
    """`renew` keeps the command, with its quotes, and turns on nothing that is off."""
    if with_manager:
        request.getfixturevalue("manager")
    assert not login.renew(env).changed
    login.enable(ODD, env)
    file = unit_of(env) if with_manager else entry_of(env)
    current = file.read_bytes()
    assert not login.renew(env).changed
    file.write_bytes(re.sub(rb"(?m)^(SuccessExitStatus|Comment)=.*\n", b"", current))
    assert file.read_bytes() != current
    assert login.renew(env) == login.Outcome((file,), True)
    assert file.read_bytes() == current
    assert [call for call in asked(tmp_path) if "reload" in call] == [
        "--user daemon-reload"
    ] * 2 * with_manager
    login.disable(env)
    assert not login.renew(env).changed
    assert everything_in(env["XDG_CONFIG_HOME"]) == {}


def test_without_polkit_only_root_may_keep_the_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is suggested works on a fresh machine without a desktop, too."""
    monkeypatch.setattr(linux_systemd, "POLKIT", tmp_path / "polkit")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert linux_systemd.linger_command("me") == "sudo loginctl enable-linger me"
    (tmp_path / "polkit").touch()
    assert linux_systemd.linger_command("me") == "loginctl enable-linger me"


def test_an_entry_that_the_desktop_switched_off_is_left_as_it_is(env: dict[str, str]) -> None:
    """The desktop's settings switch an entry off inside the file, so `renew` does not write it."""
    login.enable(COMMAND, env)
    entry_of(env).write_text(entry_of(env).read_text() + "Hidden=true\n")
    before = entry_of(env).read_bytes()
    assert not login.renew(env).changed
    assert entry_of(env).read_bytes() == before


def test_a_launchagent_of_an_older_version_is_written_again(tmp_path: Path) -> None:
    """The new file has the command of the old one."""
    agent = macos_launchd.LaunchAgent(tmp_path)
    assert not agent.renew()
    agent.enable(ODD)
    current = agent.path.read_bytes()
    old = plistlib.loads(current)
    del old["ProcessType"]
    agent.path.write_bytes(plistlib.dumps(old))
    assert agent.renew()
    assert agent.path.read_bytes() == current
    agent.path.write_bytes(write_files.MARK.encode())
    assert not agent.renew(), "the file is damaged"


def test_it_is_started_in_one_way_only(env: dict[str, str], request: pytest.FixtureRequest) -> None:
    """The unit replaces an autostart entry from a time without a user manager. `disable` removes both."""
    login.enable(COMMAND, env)
    entry = entry_of(env).read_bytes()
    request.getfixturevalue("manager")
    login.enable(COMMAND, env)
    assert unit_of(env).exists()
    assert not entry_of(env).exists()
    entry_of(env).write_bytes(entry)
    assert set(login.disable(env).paths) == {unit_of(env), entry_of(env)}


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("masked", [True, False])
def test_a_file_that_trayagent_did_not_write_is_left_alone(env: dict[str, str], masked: bool) -> None:
    """A unit that the user wrote, or a masked one, causes an error that names it, and stays."""
    unit_of(env).parent.mkdir(parents=True)
    if masked:
        unit_of(env).symlink_to("/dev/null")
    else:
        unit_of(env).write_text("[Service]\nExecStart=/mine\n")
    with pytest.raises(TrayagentError, match="was not written by trayagent") as raised:
        login.enable(COMMAND, env)
    assert raised.value.code == "not-ours"
    assert not login.enabled(env)
    assert not login.disable(env).changed
    assert unit_of(env).is_symlink() if masked else "/mine" in unit_of(env).read_text()


@pytest.mark.usefixtures("manager")
def test_a_link_that_leads_nowhere_is_cleared_away(env: dict[str, str]) -> None:
    """A link whose unit was removed by hand is deleted."""
    login.enable(COMMAND, env)
    unit_of(env).unlink()
    assert not login.enabled(env)
    assert login.disable(env).changed
    assert [*(unit_of(env).parent / "default.target.wants").iterdir()] == []


@pytest.mark.usefixtures("manager")
def test_a_unit_switched_off_with_systemctl_is_not_enabled(env: dict[str, str]) -> None:
    """A unit that was switched off with systemctl has no link, so it is not enabled. `enable` restores the link."""
    login.enable(COMMAND, env)
    (unit_of(env).parent / "default.target.wants" / "trayagent.service").unlink()
    assert not login.enabled(env)
    assert login.enable(COMMAND, env).changed
    assert login.enabled(env)


@pytest.mark.usefixtures("manager")
def test_a_manager_that_does_not_see_the_unit_is_an_error(tmp_path: Path, env: dict[str, str]) -> None:
    """If the manager does not see the unit after a reload, `enable` fails immediately, not only the next login."""
    (tmp_path / "bin" / "systemctl").write_text('#!/bin/sh\ntest "$2" = daemon-reload\n')
    with pytest.raises(TrayagentError, match="does not see") as raised:
        login.enable(COMMAND, env)
    assert "XDG_CONFIG_HOME" in raised.value.hint


@pytest.mark.usefixtures("manager")
def test_a_manager_that_cannot_be_reached_does_not_matter(tmp_path: Path, env: dict[str, str]) -> None:
    """If no manager can be reached, `enable` still succeeds, because the manager reads the file at the next login."""
    (tmp_path / "sees").unlink()
    assert login.enable(COMMAND, env).changed
    assert login.enabled(env)


@pytest.mark.parametrize("line", ["Hidden=true", "X-GNOME-Autostart-enabled=false"])
def test_an_entry_switched_off_in_the_desktops_settings_is_not_enabled(
    env: dict[str, str], line: str
) -> None:
    """An autostart entry that the desktop's settings switched off is not enabled. `enable` removes that line."""
    login.enable(COMMAND, env)
    entry_of(env).write_text(f"{entry_of(env).read_text()}{line}\n")
    assert not login.enabled(env)
    assert login.enable(COMMAND, env).changed
    assert login.enabled(env)


def test_a_folder_that_cannot_be_written_is_reported(env: dict[str, str]) -> None:
    """The error has the path and the reason, and no temporary file is left."""
    Path(env["XDG_CONFIG_HOME"]).write_text("a file where a folder should be")
    with pytest.raises(TrayagentError, match=re.escape(str(entry_of(env)))):
        login.enable(COMMAND, env)


def test_a_relative_config_home_counts_for_nothing(env: dict[str, str]) -> None:
    """A relative XDG_CONFIG_HOME is ignored, as the specification requires: it would be another directory at login."""
    outcome = login.enable(COMMAND, env | {"XDG_CONFIG_HOME": "here"})
    assert outcome.paths == (Path(env["HOME"]) / ".config" / "autostart" / "trayagent.desktop",)


@pytest.mark.usefixtures("manager")
def test_the_packages_unit_counts_and_is_switched_off_like_ours(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`systemctl --user enable` links the package's unit. `uninstall` removes the link, and `install` replaces it.

    After the package was removed, the link points to no unit, and `uninstall` still removes the link.
    """
    packaged = tmp_path / "packaged.service"
    packaged.touch()
    monkeypatch.setattr(linux_systemd, "PACKAGED", packaged)
    link = unit_of(env).parent / "default.target.wants" / "trayagent.service"
    link.parent.mkdir(parents=True)
    link.symlink_to(packaged)
    assert login.enabled(env)
    assert login.disable(env).changed
    assert not link.is_symlink()
    assert not login.enabled(env)
    link.symlink_to(packaged)
    packaged.unlink()
    assert not login.enabled(env)
    assert login.disable(env).changed
    link.symlink_to(packaged)
    assert login.enable(COMMAND, env).changed
    assert link.readlink() == unit_of(env)


@pytest.mark.parametrize("booted", [True, False])
def test_a_manager_of_another_user_is_not_used(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, booted: bool
) -> None:
    """Another user's manager is not used: after su, the runtime directory may still belong to the first user."""
    monkeypatch.setattr(os, "getuid", lambda: NO_USER)
    monkeypatch.setattr(linux_systemd, "BOOTED", tmp_path if booted else tmp_path / "booted")
    (tmp_path / "sees").unlink()
    assert login.enable(COMMAND, env).paths == (unit_of(env) if booted else entry_of(env),)
    assert login.start_command(env) is None


def test_without_a_login_it_is_the_unit_that_the_next_login_starts(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`su -` starts no user manager, but if systemd is process 1, the next login does.

    An autostart entry would start nothing on a machine without a desktop.
    """
    monkeypatch.setattr(os, "getuid", lambda: NO_USER)
    monkeypatch.setattr(linux_systemd, "BOOTED", tmp_path)
    (tmp_path / "sees").unlink()  # systemctl reaches no manager
    del env["XDG_RUNTIME_DIR"]
    outcome = login.enable(COMMAND, env)
    assert (outcome.paths, outcome.changed) == ((unit_of(env),), True)
    assert not entry_of(env).exists()
    [note] = outcome.notes
    assert note.startswith("It starts with your next login. ")
    assert re.search(r"loginctl enable-linger \S+$", note)
    method = login.method_in_use(env)
    assert method is not None
    assert (method.was_started(), method.start_command()) == (False, None)


@pytest.mark.usefixtures("manager")
def test_a_link_that_cannot_be_removed_is_reported(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the link cannot be removed, the error has the path and the reason."""
    login.enable(COMMAND, env)
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.is_symlink():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(
        TrayagentError, match=r"default\.target\.wants/trayagent\.service cannot be removed: Perm"
    ):
        login.disable(env)


@pytest.mark.usefixtures("manager")
def test_the_manager_is_contacted_by_its_own_socket(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager's own socket is used, not this session's bus, which under sudo or su is another user's."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    note = tmp_path / "bus"
    (tmp_path / "bin" / "systemctl").write_text(
        f'#!/bin/sh\necho "${{DBUS_SESSION_BUS_ADDRESS-none}}" >> {note}\n'
    )
    login.enable(COMMAND, env)
    assert set(note.read_text().split()) == {"none"}


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the unit, with words that are hard to quote."""
    analyze = needs("systemd-analyze")
    program = tmp_path / "a $b%h" / "trayagent"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "trayagent.service"
    unit.write_text(linux_systemd.unit([str(program), *ODD]))
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        [analyze, "verify", "--user", "--man=no", "--recursive-errors=no", str(unit)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["/usr/bin/trayagent", "run"], "/usr/bin/trayagent run"),
        (["/a b/$x/t", "run", "--config", "/$HOME/%h"], '"/a b/$x/t" run --config "/$$HOME/%%h"'),
        (["/t", "", 'q"', "b\\", "n\n"], '/t "" "q\\"" "b\\\\" "n\\n"'),
        (["/odd's/t", "run"], '/usr/bin/env "/odd\'s/t" run'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(command: list[str], line: str) -> None:
    """Source: systemd.service(5), *Command lines*; tried with a real user manager of systemd 252."""
    assert linux_systemd.command_line(command) == line


def test_the_unit_leaves_the_masters_alone_and_restarts_only_what_a_restart_helps() -> None:
    """The unit's end kills no master, and systemd does not restart the agent because of an invalid configuration."""
    lines = linux_systemd.unit(COMMAND).splitlines()
    assert {"KillMode=process", "Restart=on-failure", "RestartPreventExitStatus=2"} <= set(lines)
    assert f"SuccessExitStatus={ALREADY_RUNNING}" in lines
    assert "WantedBy=default.target" in lines


def test_a_desktop_starts_the_entry_with_exactly_these_words(tmp_path: Path) -> None:
    """GLib, which GNOME, Xfce and others use to start entries, reads the words back unchanged."""
    gio = needs("gio")
    program, told = tmp_path / 'a $b%h "c"' / "trayagent", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {told}.part\nmv {told}.part {told}\n")
    program.chmod(0o755)
    entry = tmp_path / "trayagent.desktop"
    entry.write_text(linux_autostart.entry([str(program), *ODD]), encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    subprocess.run([gio, "launch", str(entry)], env=env, check=True, capture_output=True, timeout=WITHIN_S)
    deadline = time.monotonic() + WITHIN_S
    while not told.exists():
        assert time.monotonic() < deadline, "it was not started"
        time.sleep(0.01)
    assert told.read_text(encoding="utf-8").split("\n")[:-1] == ODD


def test_the_launch_agent_is_what_launchd_reads(tmp_path: Path) -> None:
    """The launch agent starts at login and after a crash, and the masters outlive it.

    It can be switched on and off repeatedly.
    """
    agent = macos_launchd.LaunchAgent(tmp_path)
    assert agent.enable(COMMAND)
    assert not agent.enable(COMMAND)
    assert agent.enabled()
    assert agent.path == tmp_path / "Library" / "LaunchAgents" / "trayagent.plist"
    told = plistlib.loads(agent.path.read_bytes())
    assert told["Label"] == agent.path.stem
    assert told["ProgramArguments"] == [*COMMAND]
    assert told["RunAtLoad"] is True
    assert told["KeepAlive"] == {"SuccessfulExit": False}
    assert told["AbandonProcessGroup"] is True
    [note] = macos_launchd.LaunchAgent(tmp_path / "my home").notes()
    assert note.endswith(f" '{tmp_path}/my home/Library/LaunchAgents/trayagent.plist'")
    assert agent.disable()
    assert not agent.disable()
    assert not agent.enabled()
    assert [type(way) for way in start._methods({"HOME": str(tmp_path)}, "darwin")] == [
        macos_launchd.LaunchAgent
    ]


def test_the_program_is_named_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has the path of the program's link, which survives updates, or else the package's interpreter."""
    real, link = tmp_path / "v1" / "trayagent", tmp_path / "bin" / "trayagent"
    for folder in (real.parent, link.parent):
        folder.mkdir()
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    link.symlink_to(real)
    monkeypatch.chdir(tmp_path)
    assert login.own_command(argv0="bin/trayagent") == (str(link), "run")
    named = login.own_command(Path("c.toml"), argv0=str(link))
    assert named == (str(link), "run", "--config", str(tmp_path / "c.toml"))
    module = (sys.executable, "-P", "-m", "trayagent", "run")
    assert login.own_command(argv0=str(tmp_path / "trayagent" / "__main__.py")) == module
    assert login.own_command(argv0=str(tmp_path / "nowhere" / "trayagent")) == module


def test_our_files_can_be_distinguished_from_others(tmp_path: Path) -> None:
    """Each method's file contains the mark by which trayagent recognizes its own files."""
    for text in (
        linux_systemd.unit(COMMAND),
        linux_autostart.entry(COMMAND),
        macos_launchd.plist(COMMAND).decode(),
    ):
        path = tmp_path / "file"
        path.write_text(text)
        assert write_files.is_ours(path)
    path.write_text("something else")
    assert not write_files.is_ours(path)


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path, env: dict[str, str]) -> Cli:
    """Return a function that runs the real command."""

    def cli(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TRAYAGENT_")}
        return subprocess.run(
            [sys.executable, "-m", "trayagent", *words],
            env=plain | env | {"LC_ALL": "C.UTF-8"} | more,
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_S,
            check=False,
        )

    return cli


def test_install_and_uninstall_report_what_they_did(cli: Cli, env: dict[str, str]) -> None:
    """`install` and `uninstall` print one line: what was done and how to undo it.

    A second run succeeds, without an agent.
    """
    path = entry_of(env)
    note = "  It starts with your next desktop session, and with no other login.\n"
    for already in ("", " already"):
        done = cli("install")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"Starts at login{already}: {path} (undo: trayagent uninstall)\n{note}"
    assert path.exists()
    for said in (
        f"No longer starts at login: removed {path}\n",
        "Nothing to remove: the agent does not start at login.\n",
    ):
        done = cli("uninstall")
        goes_on = "A running agent and its masters continue. To end both: trayagent stop --masters\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, said + goes_on, "")


def test_an_unusual_configuration_is_used_at_login_too(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    """The start at login uses an unusual configuration, too, although no variable is set at login."""
    for words, more in (
        (["install", "--config", "c.toml"], {}),
        (["--config", "c.toml", "install"], {}),
        (["install"], {"TRAYAGENT_CONFIG": str(tmp_path / "c.toml")}),
    ):
        assert cli(*words, **more).returncode == 0
        assert f"trayagent run --config {tmp_path / 'c.toml'}\n" in entry_of(env).read_text()
    usual = f"{env['XDG_CONFIG_HOME']}/trayagent/config.toml"
    assert cli("install", "--config", usual).returncode == 0
    assert "--config" not in entry_of(env).read_text()


def test_install_fails_with_1_and_a_reason(cli: Cli, env: dict[str, str]) -> None:
    """If another program's file is at the path, `install` exits with 1 and the reason."""
    entry_of(env).parent.mkdir(parents=True)
    entry_of(env).write_text("[Desktop Entry]\n")
    done = cli("install")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"trayagent: {entry_of(env)} was not written by trayagent")
