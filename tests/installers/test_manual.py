from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import tomllib
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
import pytest

from installers.manual.make_manual import manual
from trayagent.cli import command_descriptions as described
from trayagent.cli import main
from trayagent.config.model import EVENTS, Agent, Config, Host, Vpn

PAGE = manual(dt.date(2026, 1, 2))
TABLES: dict[str, Any] = {"[agent]": Agent, "[hosts.NAME]": Host, "[vpns.NAME]": Vpn}


@pytest.fixture(scope="module")
def rendered() -> str:
    """Return the page as a terminal of 80 columns shows it, without bold and underlined text."""
    if shutil.which("groff") is None:
        assert not os.environ.get("CI"), "groff is missing"
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-mandoc", "-Tutf8", "-ww", "-P-cbou", "-rLL=78n", "-"],
        input=PAGE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def subsection(title: str) -> str:
    """Return the source of a subsection."""
    return PAGE.split(f".Ss {title}\n")[1].split("\n.S")[0]


def test_the_page_causes_no_warning_and_no_line_is_too_long(rendered: str) -> None:
    """There is no warning from groff, and no line is too long."""
    assert "@" not in re.sub(r"@host|user@", "", rendered)
    assert max(map(len, rendered.splitlines())) <= 80
    assert "January 2, 2026" in rendered


def test_each_command_has_a_paragraph_with_all_its_options(rendered: str) -> None:
    """Each command has a paragraph with all its options, in the order of the help.

    Options of argparse itself appear once.
    """
    text = rendered.split("\nCOMMANDS\n")[1].split("\nCONFIGURATION\n", maxsplit=1)[0]
    margin = text[: text.index(text.lstrip(" "))]  # 5 columns with groff 1.22, 7 with 1.23
    listed = text.split("Options before the command")[0]
    assert re.findall(rf"^{margin}([a-z]+)\b", listed, re.MULTILINE) == list(main.MODULES)
    for command in described.commands():
        shown = re.split(rf"^{margin}{command.name}\b", text, maxsplit=1, flags=re.MULTILINE)[1]
        shown = re.split(rf"^{margin}[a-z]+", shown, maxsplit=1, flags=re.MULTILINE)[0]
        flags = {max(option.flags, key=len) for option in command.options} - {"--help"}
        _, _, explained = shown.partition("\n")
        assert flags <= set(re.findall(r"--[a-z-]+", shown)), command.name
        assert flags <= set(re.findall(r"^ {10,}(?:-\w, )?(--[a-z-]+)", explained, re.MULTILINE)), (
            command.name
        )


@pytest.mark.parametrize("title", list(TABLES))
def test_each_key_of_the_configuration_is_there_with_its_default(title: str) -> None:
    """The table lists exactly the existing keys, with their defaults, or an example if there is none."""
    found = dict(re.findall(r"^\.It Cm (\w+) No = Li (.*)$", subsection(title), re.MULTILINE))
    fields = {field.name: field for field in msgspec.structs.fields(TABLES[title])}
    assert list(found) == list(fields)
    for name, shown in found.items():
        default = fields[name].default
        if default not in (None, ()):
            assert tomllib.loads("x = " + shown.replace(r"\(dq", '"'))["x"] == default, name


def test_every_table_and_every_event_is_there() -> None:
    """The page has every table and event of the configuration."""
    tables = {field.name for field in msgspec.structs.fields(Config)}
    assert {
        re.sub(r"\W.*", "", title) for title in re.findall(r"^\.Ss \[(.*)\]$", PAGE, re.MULTILINE)
    } == tables
    assert all(event.replace("-", r"\-") in subsection("[hooks]") for event in EVENTS)


def test_choices_of_a_key_are_all_named() -> None:
    """Each word that a key allows is in its paragraph."""
    for title, table in TABLES.items():
        for field in msgspec.structs.fields(table):
            paragraph = re.split(rf"^\.It Cm {field.name} ", subsection(title), flags=re.MULTILINE)[1].split(
                ".It"
            )[0]
            for word in words_of(field.type):
                assert word.replace("-", r"\-") in paragraph, f"{field.name}: {word}"


def words_of(kind: Any) -> list[str]:
    """Return the words that a type allows."""
    if get_origin(kind) is UnionType:
        return [word for part in get_args(kind) for word in words_of(part)]
    return [word for word in get_args(kind) if isinstance(word, str)]


def test_the_commands_of_the_examples_are_valid(rendered: str) -> None:
    """The parser accepts each example line that begins with trayagent."""
    examples = re.split(r"^[A-Z ]+$", rendered.split("\nEXAMPLES\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = re.findall(r"^ +trayagent (.*?)(?: &&.*)?$", examples, re.MULTILINE)
    shown = [line.split() for line in lines]
    assert len(shown) == 4
    for words in shown:
        assert main.parser(words[0]).parse_args(words).carry_out
