from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import FakeAgent, host
from tests.cli.shells import Shell
from trayagent.cli import command_descriptions as described
from trayagent.cli import main

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SCRIPTS = Path(__file__).parents[2] / "installers" / "completions"

START = {
    "bash": (["bash", "--norc", "-i"], [f"source '{SCRIPTS}/trayagent.bash'"]),
    "zsh": (["zsh", "-f", "-i"], [f"fpath=('{SCRIPTS}' $fpath)", "autoload -Uz compinit", "compinit -u -D"]),
}


@pytest.fixture
def typing_env(cli_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return an environment whose `trayagent` is the program under test."""
    program = tmp_path / "bin" / "trayagent"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m trayagent "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{cli_env['PATH']}"
    here = {"HOME": str(tmp_path), "INPUTRC": "/dev/null", "TERM": "dumb", "PS1": "$ "}
    return cli_env | here | {"PATH": path, "PYTHONPATH": str(main.__file__).rsplit("/", 3)[0]}


def needs(name: str) -> None:
    """If a shell is not installed, skip, but fail in CI."""
    if shutil.which(name) is None:
        assert not os.environ.get("CI"), f"{name} is missing"
        pytest.skip(f"{name} is not installed")


@pytest.fixture(params=sorted(START))
def shell(request: pytest.FixtureRequest, typing_env: dict[str, str]) -> Iterator[Shell]:
    """Run the test with each shell that can be driven by keys."""
    needs(request.param)
    words, setup = START[request.param]
    with Shell(words, typing_env, setup) as started:
        yield started


def test_a_shell_completes_commands_options_and_hosts(shell: Shell, agent: FakeAgent, tmp_path: Path) -> None:
    """One TAB completes unambiguous words, also names with : and @, and a file for an option that takes one."""
    agent.view["hosts"].append(host("me@far.example:2222", "connected", listed=False))
    (tmp_path / "my-config.toml").touch()
    assert shell.completed("trayagent unin") == ["trayagent", "uninstall"]
    assert shell.completed("trayagent status --js") == ["trayagent", "status", "--json"]
    assert shell.completed("trayagent why we") == ["trayagent", "why", "web01"]
    assert shell.completed("trayagent status web01 n") == ["trayagent", "status", "web01", "nas"]
    assert shell.completed("trayagent why me@far.example:2") == ["trayagent", "why", "me@far.example:2222"]
    file = shell.completed(f"trayagent run --config {tmp_path}/my-c")
    assert file == ["trayagent", "run", "--config", f"{tmp_path}/my-config.toml"]


def test_fish_shows_each_offer_with_its_meaning(
    typing_env: dict[str, str], agent: FakeAgent, tmp_path: Path
) -> None:
    """The shell's own `complete -C` answers as the TAB key would."""
    needs("fish")
    agent.view["hosts"].append(host("me@far.example:2222", "connected", listed=False))
    (tmp_path / "my-config.toml").touch()

    def complete(line: str) -> list[str]:
        script = f"source {SCRIPTS}/trayagent.fish; complete -C '{line}'"
        command = ["fish", "--no-config", "-c", script]
        done = subprocess.run(
            command, env=typing_env, capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path
        )
        return done.stdout.splitlines()

    assert complete("trayagent unin") == ["uninstall\tno longer start the agent at login"]
    assert complete("trayagent why we") == ["web01\tconnected"]
    assert complete("trayagent why me@far.example:2") == ["me@far.example:2222\tconnected"]
    assert complete("trayagent run --config my-c") == ["my-config.toml"]
    assert [line.partition("\t")[0] for line in complete("trayagent status --j")] == ["--json"]


@pytest.fixture
def offered(run: Run) -> Callable[..., dict[str, str]]:
    """Return a function that returns the offers for the last of the words."""

    def offered(*words: str, **env: str) -> dict[str, str]:
        done = run("complete", "--", *words, **env)
        assert (done.returncode, done.stderr) == (0, "")
        return dict(line.partition("\t")[::2] for line in done.stdout.splitlines())

    return offered


Offered = Callable[..., dict[str, str]]


def test_every_command_is_offered_with_its_help_and_complete_itself_is_not(offered: Offered) -> None:
    """Every command is offered with its help, except `complete`. The list comes from the parser."""
    assert list(offered("")) == list(main.MODULES)
    assert all(offered("").values())


@pytest.mark.parametrize("name", list(main.MODULES))
def test_every_option_of_a_command_is_offered(name: str, offered: Offered) -> None:
    """The options in the help are offered, except those already on the line."""
    command = described.command(name)
    assert command is not None
    flags = {flag for option in command.options for flag in option.flags}
    assert set(offered(name, "-")) == flags
    assert set(offered(name, "--help", "-")) == flags - {"-h", "--help"}
    assert offered(name, "--", "-") == {}


def test_an_option_that_takes_a_value_gets_values(offered: Offered) -> None:
    """Times and files are offered as values. After the value, other words are offered again."""
    assert "30m" in offered("pause", "--for", "")
    assert offered("install", "--config", "") == {":files": ""}
    assert offered("--config", "") == {":files": ""}
    assert "status" in offered("--config", "some file", "st")


def test_hosts_come_from_the_agent_with_their_states(offered: Offered, agent: FakeAgent) -> None:
    """Hosts are offered with their states, but not twice, and only one for a command that takes one host."""
    assert agent.view
    assert offered("status", "") == {"web01": "connected", "db": "failed", "nas": "waiting"}
    assert offered("pause", "db", "--for", "2h", "") == {"web01": "connected", "nas": "waiting"}
    assert offered("why", "db", "") == {}
    assert offered("stop", "") == {}


def test_without_an_agent_hosts_come_from_the_files(offered: Offered, tmp_path: Path) -> None:
    """Listed hosts are offered, and for a command that can begin a connection also the names of ssh_config."""
    config = tmp_path / "config.toml"
    config.touch(mode=0o600)
    config.write_text("[hosts.web01]\n[hosts.db]\n")
    (tmp_path / "ssh_config").write_text("Host db nas *.example !other\nHost .host machine/.host\n")
    env = {"TRAYAGENT_SSH_CONFIG": str(tmp_path / "ssh_config")}
    assert offered("status", "", **env) == {"web01": "listed", "db": "listed"}
    assert offered("reconnect", "", **env) == {"web01": "listed", "db": "listed", "nas": "in ssh_config"}


def test_what_cannot_be_read_offers_nothing_and_says_nothing(offered: Offered, tmp_path: Path) -> None:
    """If a file cannot be read, no completion is offered and no error is printed."""
    (tmp_path / "config.toml").write_text("not [ toml")
    assert offered("status", "") == {}
    assert offered("no-such-command", "") == {}


def test_a_name_cannot_command_the_terminal(offered: Offered, agent: FakeAgent) -> None:
    """Control characters in a host's name are replaced."""
    agent.view["hosts"] = [host("we\x1b[2Jb", "connected")]
    assert list(offered("why", "")) == ["we\N{REPLACEMENT CHARACTER}[2Jb"]
