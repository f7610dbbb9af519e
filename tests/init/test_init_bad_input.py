"""Unreadable or unusable input is reported and skipped; an existing file is never overwritten."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.init.conftest import Init, furnish
from trayagent.config.load_file import load
from trayagent.errors import TrayagentError
from trayagent.init import write_config as written
from trayagent.sandbox import Agent, Lab

pytestmark = pytest.mark.lab

UNIT = "[Service]\nExecStart=/usr/bin/ssh -N -L 8080:localhost:80 h4711\n"


def ssh_folder(home: Path) -> Path:
    """Create ~/.ssh."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    return folder


def a_unit(home: Path) -> None:
    """Put a unit that runs ssh into the home directory."""
    folder = home / ".config/systemd/user"
    folder.mkdir(parents=True)
    (folder / "t.service").write_text(UNIT)


def test_an_existing_configuration_stays_as_it_is(home: Path, init: Init) -> None:
    """The command ends with status 1 and a hint before it prints anything, also for an empty file and a dead link."""
    furnish(home, "jump-host")
    folder = home / ".config/trayagent"
    folder.mkdir()
    for dead_link in (False, True):
        if dead_link:
            (folder / "config.toml").symlink_to("/nowhere")
        else:
            (folder / "config.toml").touch()
        for done in (init("--yes"), init()):
            assert (done.returncode, done.stdout) == (1, "")
            assert "exists already" in done.stderr
            assert "--print" in done.stderr
        assert init("--print").returncode == 0
        assert [entry.name for entry in folder.iterdir()] == ["config.toml"]
        (folder / "config.toml").unlink()


def test_without_a_terminal_it_only_shows(home: Path, init: Init) -> None:
    """Without a terminal the command prints the configuration, and says how to write it."""
    furnish(home, "jump-host")
    done = init()
    assert done.returncode == 0
    assert done.stdout == init("--print").stdout
    assert "trayagent init --yes" in done.stderr
    assert not (home / ".config/trayagent").exists()


def test_an_empty_machine_gets_a_configuration_to_start_from(home: Path, init: Init) -> None:
    """If `init` finds no tunnel, the comments of the configuration contain an example."""
    done = init("--yes")
    assert done.returncode == 0
    assert not load(home / ".config/trayagent/config.toml").hosts
    assert "# [hosts.web01]" in (home / ".config/trayagent/config.toml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"Include config\n", "Too many recursive configuration includes"),
        (b"\x7fELF\x02\x01\0\0\x80\xff\nHost x\n", "config"),
        (b'Host "open\n', "config"),
    ],
)
def test_a_configuration_that_ssh_refuses_stops_it(home: Path, init: Init, text: bytes, said: str) -> None:
    """Loops, binary data and an open quote give ssh's own error and status 1, and nothing is written."""
    a_unit(home)
    (ssh_folder(home) / "config").write_bytes(text)
    done = init("--yes")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / ".config/trayagent").exists()


def test_files_that_are_none_stop_nothing(home: Path, init: Init) -> None:
    """`init` ignores a FIFO, a directory and a dead link in place of files."""
    furnish(home, "jump-host")
    units = home / ".config/systemd/user"
    os.mkfifo(units / "fifo.service")
    (units / "folder.service").mkdir()
    (units / "dead.service").symlink_to("/nowhere")
    os.mkfifo(home / ".bashrc")
    done = init("--yes")
    assert done.returncode == 0
    assert "[hosts.web01]" in (home / ".config/trayagent/config.toml").read_text()


def test_an_unreadable_file_is_named(home: Path, desk: Lab, env: Mapping[str, str]) -> None:
    """An unreadable unit or shell file is reported and skipped.

    With an unreadable Include, ssh itself rejects every host.
    """
    furnish(home, "jump-host")
    (home / ".bashrc").write_text("alias x='ssh -N h'\n")
    (home / ".bashrc").chmod(0)
    (home / ".config/systemd/user/b.service").touch(mode=0)
    # root can read every file, so drop that capability
    forbidden = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    words = [*forbidden, *Agent.command("init", "--print")]
    done = desk.laptop.run(words, env=env)
    assert done.returncode == 0
    assert "~/.bashrc: cannot be read: Permission denied" in done.stderr
    assert "~/.config/systemd/user/b.service: cannot be read: Permission denied" in done.stderr
    (home / ".ssh/locked").touch(mode=0)
    with (home / ".ssh/config").open("a") as config:
        config.write("Include locked\n")
    done = desk.laptop.run(words, env=env)
    assert done.returncode == 1
    assert ".ssh/locked: Permission denied" in done.stderr


def test_of_5000_hosts_only_the_proposed_ones_are_queried(home: Path, init: Init) -> None:
    """`ssh -G` runs a handful of times, however many hosts there are."""
    a_unit(home)
    (ssh_folder(home) / "config").write_text(
        "".join(
            f"Host h{n} alias{n}\n  HostName h{n}.example.net\n  LocalForward {n + 1} b:1\n"
            for n in range(5000)
        )
    )
    log = home / "asked"
    counting = home / "bin" / "counting-ssh"
    counting.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec ssh "$@"\n')
    counting.chmod(0o755)
    done = init("--yes", TRAYAGENT_SSH=str(counting))
    assert done.returncode == 0, done.stderr
    assert len(log.read_text().splitlines()) <= 3
    assert "9999 other hosts" in done.stdout
    assert "has forwards for 10000 hosts" in done.stdout
    assert list(load(home / ".config/trayagent/config.toml").hosts) == ["h4711"]


def test_progress_is_shown_when_it_takes_longer_than_a_moment(home: Path, init: Init) -> None:
    """If `init` takes longer than a moment, it shows progress. A stream that is not a terminal gets one line."""
    a_unit(home)
    slow = home / "bin" / "crontab"
    slow.write_text("#!/bin/sh\nsleep 1.1\nexit 1\n")
    done = init("--print")
    assert done.stderr.startswith("Reading ssh -G h4711 ...\n")
    assert done.stderr.count("Reading") == 1


def test_a_folder_that_others_may_write_is_refused(home: Path, init: Init) -> None:
    """`init` writes no file into a folder that others may write to, because the agent would reject that file."""
    folder = home / ".config/trayagent"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    done = init("--yes")
    assert done.returncode == 1
    assert f"chmod go-w {folder}" in done.stderr
    assert not list(folder.iterdir())


def test_the_command_that_closes_a_folder_can_be_pasted(tmp_path: Path) -> None:
    """In the command that closes the folder's permissions, a path with a space is quoted."""
    folder = tmp_path / "my config"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(TrayagentError) as caught:
        written.write(folder / "config.toml", "")
    assert caught.value.hint == f"Remove that right: chmod go-w '{folder}'"


def test_a_faster_writer_wins(tmp_path: Path) -> None:
    """A configuration that appears meanwhile is not replaced, and no temporary file is left."""
    place = tmp_path / "trayagent" / "config.toml"
    written.write(place, "[agent]\n")
    with pytest.raises(TrayagentError, match="exists already"):
        written._write(place, "[agent]\nadopt = false\n")
    assert place.read_text() == "[agent]\n"
    assert [entry.name for entry in place.parent.iterdir()] == ["config.toml"]


def test_the_file_can_be_another(home: Path, desk: Lab, env: Mapping[str, str]) -> None:
    """--config names another file."""
    words = Agent.command("--config", "~/own/agent.toml", "init", "--yes")
    done: subprocess.CompletedProcess[str] = desk.laptop.run(words, env=env)
    assert done.returncode == 0, done.stderr
    assert (home / "own/agent.toml").is_file()


def test_what_the_configuration_cannot_hold_is_named(home: Path, init: Init) -> None:
    """An alias with a space and an overlong socket path are reported."""
    a_unit(home)
    unit = home / ".config/systemd/user/t.service"
    unit.write_text(UNIT + f"[Service]\nExecStart=ssh -N -L 1:/{'x' * 120} h4711\n")
    (ssh_folder(home) / "config").write_text('Host "my box"\n  LocalForward 8081 localhost:80\n')
    done = init("--yes")
    assert done.returncode == 0, done.stderr
    assert '"my box" in ssh_config: a host\'s name cannot contain' in done.stdout
    assert "t.service: " in done.stdout
    assert "107 bytes" in done.stdout or "ssh reports" in done.stdout
    assert list(load(home / ".config/trayagent/config.toml").hosts) == ["h4711"]


def test_a_match_exec_that_hangs_is_not_waited_for_again_and_again(home: Path, init: Init) -> None:
    """After two time-outs of `ssh -G`, `init` does not try the other hosts, and the error names ssh_config."""
    (home / "bin" / "slow-ssh").write_text("#!/bin/sh\nsleep 60\n")
    (home / "bin" / "slow-ssh").chmod(0o755)
    a_unit(home)
    (ssh_folder(home) / "config").write_text(
        "".join(f"Host h{n}\n  LocalForward {n + 1} b:1\n" for n in range(20))
    )
    begin = time.monotonic()
    done = init("--yes", TRAYAGENT_SSH=str(home / "bin" / "slow-ssh"))
    assert time.monotonic() - begin < 30  # trying all hosts would take a minute
    assert done.returncode == 1
    assert "in time" in done.stderr
    assert not (home / ".config/trayagent").exists()
