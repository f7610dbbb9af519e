"""Calls of ssh are found in shell text without running a shell."""

from __future__ import annotations

import contextlib
import plistlib
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.init import launchd
from trayagent.init.found_on_machine import Found, Machine, Skipped
from trayagent.init.shell_calls import calls
from trayagent.init.shell_files import lines

VARIABLES = {"HOME": "/home/me"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh -N 'my host'", "ssh -N 'my host'"),
        ("sleep 30 && autossh -N h >/dev/null 2>&1 &", "autossh -N h"),
        ("while true; do ssh -N h; sleep 5; done", "ssh -N h"),
        ("if ! pgrep autossh; then autossh -N h; fi", "autossh -N h"),
        ("H=web OPTS='-N -p 22'; ssh $OPTS \"${H}01\"", "ssh -N -p 22 web01"),
        ("ssh -N '$H' # and \"a quote", "ssh -N '$H'"),
        ("H=web; ssh -N '$H' \"\\$H\"", "ssh -N '$H' '$H'"),
        ("nohup env -u X A=b nice -n 5 /usr/bin/ssh -N h", "/usr/bin/ssh -N h"),
        ("exec -a tunnel ssh -N h", "ssh -N h"),
        ("timeout -k 5 1h ssh -N h", "ssh -N h"),
        ("flock -n /tmp/lock autossh -N h", "autossh -N h"),
        ("bash -lc 'ssh -N h; true'", "ssh -N h"),
        ("sh -c \"sh -c 'ssh -N h'\"", "ssh -N h"),
        ("screen -dmS tunnel autossh -N h", "autossh -N h"),
        ("screen -L -dmS tunnel autossh -N h", "autossh -N h"),
        ("sshpass -phunter2d ssh -N h", "ssh -N h"),
        ("sshpass -f/etc/passfiled ssh -N h", "ssh -N h"),
        ("systemd-run --user --unit tun --property=Restart=always ssh -N h", "ssh -N h"),
        ("systemd-run -t -u tun ssh -N h", "ssh -N h"),
        ("timeout --signal KILL 5 ssh -N h", "ssh -N h"),
        ("env -i -S 'A=b ssh -N \"my host\"'", "ssh -N 'my host'"),
        ("env -vS'ssh -N' h", "ssh -N h"),
        ("env '--split-string=ssh -N' h", "ssh -N h"),
        ("ssh -i ~/.ssh/key -N h", "ssh -i /home/me/.ssh/key -N h"),
        ("ssh -N $(cat 'a b') h", "ssh -N '$(cat '\"'a b'\"')' h"),
        ("ssh -N \\\n  -L 1:b:1 h", "ssh -N -L 1:b:1 h"),
        ("(cd /x; ssh -N h)", "ssh -N h"),
        ("echo ssh -N h; sshd -D; myssh -N h", ""),
        ("ssh-add; scp a b", ""),
        ("", ""),
    ],
)
def test_the_call_is_found(text: str, words: str) -> None:
    """Calls are found after lists, loops, redirections, wrappers and nested shells, and variables are replaced."""
    found = [call.words for call in calls(text, VARIABLES)]
    assert found == ([shlex.split(words)] if words else [])


def test_what_is_set_for_a_call_comes_with_it() -> None:
    """Assignments, export and env are collected, and a call as another user is marked."""
    [call] = calls("export AUTOSSH_POLL=5; AUTOSSH_GATETIME=0 env AUTOSSH_PORT=0 autossh h", {})
    assert call.env == {"AUTOSSH_POLL": "5", "AUTOSSH_GATETIME": "0", "AUTOSSH_PORT": "0"}
    assert not call.as_other
    for text in ("sudo -u bob ssh -N h", "su - bob -c 'ssh -N h'", "sudo sh -c 'ssh -N h'"):
        [call] = calls(text, {})
        assert (call.words, call.as_other) == (["ssh", "-N", "h"], True)


@given(st.text(alphabet="ssh -N'\"$(){}`\\;&|<>#=\na~", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Parsing any text ends, and raises no exception but ValueError."""
    with contextlib.suppress(ValueError):
        list(calls(text, VARIABLES))


def machine(home: Path) -> Machine:
    """Return a machine with this home directory."""
    return Machine("me", 1000, home, {}, root=home / "root")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("alias t='ssh -N h'", "alias t", "ssh -N h"),
        ('alias t="ssh -N -L \\"1:b:1\\" h"', "alias t", "ssh -N -L 1:b:1 h"),
        ("alias t 'ssh -N h'", "alias t", "ssh -N h"),
        ("abbr -a -g t ssh -N h", "abbr t", "ssh -N h"),
        ("t() { ssh -N h; }", "function t", "ssh -N h"),
        ("function t {\n  ssh -N \"$@\" h\n}\nalias x='ssh h'", "function t", "ssh -N h"),
        ("a() {\n true\n}\nssh -f -N h", "a command", "ssh -f -N h"),
        ("f=\"-L 1:b:1\"\nalias t='ssh -N $f h'", "alias t", "ssh -N -L 1:b:1 h"),
        ("t() {\n  ssh -N h -L '1:\n2'\n}", "function t", "ssh -N h -L '1:\n2'"),
    ],
)
def test_aliases_and_functions_are_named(tmp_path: Path, text: str, name: str, words: str) -> None:
    """Aliases and functions of sh, csh and fish are found, in one line or several."""
    [found] = lines(machine(tmp_path), tmp_path / ".bashrc", text)
    assert isinstance(found, Found)
    assert found.where.startswith(f"{name.replace('abbr', 'alias')} (~/.bashrc line ")
    assert found.words == tuple(shlex.split(words))
    assert found.by_hand


def test_a_quote_that_never_ends_spoils_one_line_only(tmp_path: Path) -> None:
    """A line with a quote that never ends is reported, and the next alias is found."""
    text = "alias a='ssh -N h\n" + "x=1\n" * 40 + "alias b='ssh -N g'\n"
    broken, fine = lines(machine(tmp_path), tmp_path / ".bashrc", text)
    assert isinstance(broken, Skipped)
    assert broken.where == "~/.bashrc line 1"
    assert isinstance(fine, Found)
    assert fine.words == ("ssh", "-N", "g")


@pytest.mark.parametrize("words", [["sh", "-c", "ssh -N 'h"], ["env", "-S", "ssh -N 'h"]])
def test_a_quote_that_never_ends_spoils_one_launch_agent_only(tmp_path: Path, words: list[str]) -> None:
    """A launch agent with a quote that never ends is reported, and the next launch agent is found."""
    folder = tmp_path / "Library/LaunchAgents"
    folder.mkdir(parents=True)
    for label, program in (("a", words), ("my b", ["ssh", "-N", "g"])):
        (folder / f"{label}.plist").write_bytes(plistlib.dumps({"Label": label, "ProgramArguments": program}))
    broken, fine = launchd.find(machine(tmp_path))
    assert isinstance(broken, Skipped)
    assert broken.where.startswith("a ")
    assert isinstance(fine, Found)
    assert fine.switch_off == "launchctl bootout 'gui/1000/my b'; launchctl disable 'gui/1000/my b'"
    assert fine.words == ("ssh", "-N", "g")
