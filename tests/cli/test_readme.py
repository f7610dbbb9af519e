"""The README and the page of commands agree with the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from trayagent.cli import main
from trayagent.config.load_file import load
from trayagent.sandbox.demo import hostile_story, main_story, roaming_story

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table() -> dict[str, str]:
    """Return the first column of the table of commands by the command's name."""
    rows = re.findall(r"^\| `trayagent ([a-z]+)([^`]*)` \|", COMMANDS, re.MULTILINE)
    return {name: f"{name}{rest}" for name, rest in rows}


LINES = [line.strip() for block in blocks("sh") for part in block.splitlines() for line in part.split("&&")]
INLINE = re.findall(r"`((?:make|trayagent) [^`]+)`", README + COMMANDS)
OURS = sorted({line for line in LINES + INLINE if "COMMAND" not in line})


def words_of(example: str) -> list[str]:
    """Return an example's words, with a name for each HOST and optional part."""
    return shlex.split(re.sub(r"\[?HOST…?\]?", "web01", example).replace("[NAME]", "main"))


@pytest.mark.parametrize("line", [line for line in OURS if line.startswith("trayagent ")])
def test_each_trayagent_line_is_one_that_the_program_takes(line: str) -> None:
    """Each line is accepted as written, and its command has a help."""
    words = words_of(line)[1:]
    args = main.parser(words[0]).parse_args(words)
    assert args.carry_out
    with pytest.raises(SystemExit) as ended:
        main.entry([words[0], "--help"])
    assert ended.value.code == 0


@pytest.mark.parametrize("line", [line for line in OURS if line.startswith("make ")])
def test_each_make_line_names_a_target(line: str) -> None:
    """The Makefile has the target."""
    target = line.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_shell_lines_use_only_what_is_checked_or_needs_no_check() -> None:
    """A new kind of line in the README needs its own test."""
    known = {
        "git",
        "cd",
        "make",
        "trayagent",
        "installers/linux/install.sh",
        "systemctl",
    }  # tests/installers runs install.sh, `make systemd` starts the unit
    assert {line.split()[0] for line in LINES} <= known


def test_the_table_has_every_command_and_no_other() -> None:
    """The table has the existing commands in the order of the help."""
    assert list(table()) == list(main.MODULES)


def test_each_option_in_the_table_is_one_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Options in the explanation are options of the command, too."""
    rows = re.findall(r"^\| `trayagent ([a-z]+)(.*) \|$", COMMANDS, re.MULTILINE)
    assert len(rows) == len(main.MODULES)
    for name, rest in rows:
        with pytest.raises(SystemExit):
            main.entry([name, "--help"])
        assert set(re.findall(r"--[a-z]+", rest)) <= set(re.findall(r"--[a-z]+", capsys.readouterr().out))


def test_the_configuration_can_be_loaded(tmp_path: Path) -> None:
    """The README's configuration loads, with the meaning that its comments describe."""
    text, roaming = blocks("toml")
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    path.write_text(roaming)
    assert load(path).hosts["web01"].roam
    path.write_text(text)
    config = load(path)
    assert config.hosts["web01"].connect == "always"
    assert [f.kind for f in config.hosts["web01"].forwards] == ["local", "remote", "dynamic"]
    assert config.hosts["db"].connect == "on-use"
    assert config.hosts["db"].vpn == "corp"


def test_every_file_that_is_shown_or_linked_is_there() -> None:
    """Pictures and links inside the project exist."""
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if "://" not in t]
    assert "docs/pictures/demo.svg" in targets
    for target in targets:
        assert (ROOT / target.partition("#")[0]).exists(), target


def test_the_picture_of_the_lying_cafe_is_of_this_demo() -> None:
    """The picture loads no external file, and shows the current texts of the demo."""
    text = (ROOT / "docs" / "pictures" / "hostile.svg").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"' <)]+", text) == ["http://www.w3.org/2000/svg"]
    shown = " ".join("".join(ET.fromstring(text).itertext()).split())  # noqa: S314  # our own file
    for heading in re.findall(r"screen\.heading\(f?\"([^\"]+)\"\)", Path(hostile_story.__file__).read_text()):
        assert heading.replace("{FORGED}", hostile_story.FORGED).replace("  ", " ") in shown
    assert "same: 2 of 2. Refused logins counted: 0." in shown
    assert "The open session goes on." in shown


def test_the_picture_of_the_session_that_survives_is_of_this_demo() -> None:
    """The picture loads no external file, and shows the current texts of the demo."""
    text = (ROOT / "docs" / "pictures" / "roaming.svg").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"' <)]+", text) == ["http://www.w3.org/2000/svg"]
    shown = " ".join("".join(ET.fromstring(text).itertext()).split())  # noqa: S314  # our own file
    for *_, title in roaming_story.MOVES:
        assert f"{title}, while rsync runs".replace("  ", " ") in shown
    assert "rsync succeeded after" in shown
    assert "rsync still waits at" in shown


def test_the_picture_is_self_contained_and_of_this_demo() -> None:
    """The picture loads no external file, and shows the current texts of the demo."""
    text = (ROOT / "docs" / "pictures" / "demo.svg").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"' <)]+", text) == ["http://www.w3.org/2000/svg"]
    shown = " ".join("".join(ET.fromstring(text).itertext()).split())  # noqa: S314  # our own file
    for heading in re.findall(r"screen\.heading\(f?\"([^\"]+)\"\)", Path(main_story.__file__).read_text()):
        assert heading.replace("{AWAY_S:g}", f"{main_story.AWAY_S:g}").replace("  ", " ") in shown
    assert "first byte through the forward" in shown
    assert "Master running" in shown
