"""Everything that the documents name exists: files, headings, commands, options, keys, codes, states and events."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.cli.test_readme import words_of
from tests.test_architecture import MAY_IMPORT
from trayagent.cli import command_descriptions as described
from trayagent.cli import main
from trayagent.config import key_descriptions as keys
from trayagent.config.load_file import load
from trayagent.config.model import EVENTS
from trayagent.core.display_state import DisplayState
from trayagent.core.facts.problems import CODES
from trayagent.history.outages import Outage
from trayagent.init import obsolete_settings as explained

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs/**/*.md", ".github/**/*.md", "installers/**/*.md", "*.md")
PAGES = sorted({page for pattern in FOLDERS for page in ROOT.glob(pattern)})
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
CODE = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("trayagent/**/*.py")))
SIMULATION = "".join(
    (ROOT / "tests" / name).read_text(encoding="utf-8")
    for name in (
        "lab/agent/test_chaos_kills.py",
        "sim/test_simulation.py",
        "roaming/test_roaming_histories.py",
        "roaming/test_roaming_ssh.py",
        "roaming/test_roaming_fuzz.py",
        "lab/roaming/test_roaming_chaos.py",
        "lab/roaming/test_roaming_moves.py",
    )
)
STATES = get_args(DisplayState)

# Words of other programs that look like codes of trayagent.
FOREIGN = {"accept-new", "keyboard-interactive"}
# The words with which a command on a page may begin.
COMMANDS = {
    "trayagent",
    "make",
    "ansible-playbook",
    "python3",
    "installers/linux/install.sh",
    "sudo",
    "systemctl",
}

every_page = pytest.mark.parametrize("name", TEXTS)


def blocks(name: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[name], re.MULTILINE | re.DOTALL)


def spans(name: str) -> list[str]:
    """Return the texts in backquotes within the prose."""
    prose = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def lines(name: str) -> Iterator[str]:
    """Yield the command lines of a page: in its blocks, without comments, and in its prose."""
    for block in blocks(name, "sh"):
        yield from (
            re.sub(r"\s+#.*", "", line).strip() for line in block.replace("\\\n", " ").splitlines() if line
        )
    yield from spans(name)


def anchor(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_page
def test_each_link_leads_somewhere(name: str) -> None:
    """Each link leads to a file of the project or a heading in it, and no picture is loaded from elsewhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), target
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXTS[name]):
        assert "://" not in picture


@every_page
def test_each_trayagent_line_is_accepted_by_the_program(name: str) -> None:
    """The program accepts each `trayagent` line, so that no page can name `trayagent FOO --bar`."""
    for line in lines(name):
        if not line.startswith("trayagent ") or "COMMAND" in line:
            continue
        words = words_of(re.split(r" > |; | && | \| ", line)[0].replace("…", ""))[1:]
        words = [re.sub(r"\[(.*)\]", r"\1", word) for word in words]
        assert words[0] in main.MODULES, line
        if words == line.split()[1:2] or words[1:] == ["--help"]:
            continue  # a command's name alone is no complete call
        assert main.parser(words[0]).parse_args(words).carry_out, line


@every_page
def test_each_other_command_is_known_here(name: str) -> None:
    """The blocks of a page run only programs of the project or of a known list."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in lines(name):
        if re.match(r"make [a-z]", line):
            assert line.split()[1] in targets, line
    for block in blocks(name, "sh"):
        for line in filter(None, block.replace("\\\n", " ").splitlines()):
            assert shlex.split(line, comments=True)[0] in COMMANDS, line


@every_page
def test_each_option_of_ours_exists(name: str) -> None:
    """An option that a page names without a command belongs to a trayagent command."""
    ours = {flag for command in described.commands() for option in command.options for flag in option.flags}
    ours |= {flag for option in described.global_options() for flag in option.flags}
    for span in spans(name):
        if span.startswith("--"):
            assert span.split()[0] in ours, span


@every_page
def test_each_word_with_a_hyphen_is_a_code_of_the_product(name: str) -> None:
    """Each word with a hyphen is a state, a code, an event, or a string in the code."""
    known = {*CODES, *STATES, *EVENTS, *FOREIGN}
    for span in spans(name):
        if re.fullmatch(r"[a-z]+(-[a-z]+)+", span) and span not in known:
            assert f'"{span}"' in CODE or (ROOT / "bin" / span).exists() or span in _PROGRAMS, span


# Programs, packages and units that the pages name.
_PROGRAMS = {"ssh-add", "ssh-keygen", "ssh-agent", "python3-venv", "openssh-client", "systemd-analyze"}


@every_page
def test_each_table_of_the_configuration_can_be_loaded(name: str, tmp_path: Path) -> None:
    """Each TOML block can be loaded separately."""
    if name == "docs/configuration.md":
        return  # tests/config checks it
    for block in blocks(name, "toml"):
        path = tmp_path / "config.toml"
        path.touch(mode=0o600)
        path.write_text(block)
        load(path)


@every_page
def test_each_key_that_is_set_in_the_prose_exists(name: str) -> None:
    """Each key in the prose, as in `reap = false` or `[agent] notify`, exists and has valid TOML."""
    known = {key.name for table in keys.TABLES for key in table.keys}
    for span in spans(name):
        if re.fullmatch(r"[a-z_]+ = (true|false|\".*\"|\[.*\])", span):
            [(key, _)] = tomllib.loads(span).items()
            assert key in known, span
        if found := re.match(r"\[(agent|hosts\.\w+|vpns\.\w+)\] (\w+)", span):
            assert found[2] in known, span


@every_page
def test_each_path_of_the_project_that_is_named_exists(name: str) -> None:
    """Each path of the project that a page names exists, relative to the project or the package."""
    for span in spans(name):
        if re.fullmatch(r"[a-z_]+(/[a-z_]+)*(/|/[a-z_-]+\.(py|md|sh))", span) and "HOST" not in span:
            assert span == "dist/" or (ROOT / span).exists() or (ROOT / "trayagent" / span).exists(), span


@every_page
def test_each_variable_of_ours_is_used(name: str) -> None:
    """Each `TRAYAGENT_` variable that a page names is read by the code or given to hooks."""
    hooks = {"TRAYAGENT_AT", "TRAYAGENT_EVENT", "TRAYAGENT_REASON", "TRAYAGENT_HOST", "TRAYAGENT_TOOK_MS",
             "TRAYAGENT_EVIDENCE", "TRAYAGENT_FORWARD"}  # fmt: skip
    for variable in set(re.findall(r"TRAYAGENT_[A-Z_]*[A-Z]", TEXTS[name])) - hooks:
        assert f'"{variable}"' in CODE or f'"{variable}"' in SIMULATION, variable


def test_every_state_and_every_code_is_in_the_troubleshooting() -> None:
    """The troubleshooting explains every state and every code."""
    first = re.findall(r"^\|([^|]+)\|", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    rows = set(re.findall(r"`([a-z-]+)`", " ".join(first)))
    assert {*STATES, *CODES} <= rows


def _packages(heading: str) -> set[str]:
    """Return the packages in the table below a heading of the architecture, with slashes between their names."""
    table = TEXTS["docs/architecture.md"].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_/]+)/` \|", table, re.MULTILINE))


def test_every_package_is_in_the_architecture_and_no_other() -> None:
    """The page lists the packages that tests/test_architecture.py checks."""
    assert {name.replace("/", ".") for name in _packages("Packages")} == set(MAY_IMPORT)


def test_every_sub_package_of_the_large_packages_is_in_the_architecture() -> None:
    """The page lists the sub-packages of agent, core and ssh, and no others."""
    there = {
        f"{package}/{folder.parent.name}"
        for package in ("agent", "core", "ssh")
        for folder in (ROOT / "trayagent" / package).glob("*/__init__.py")
    }
    assert _packages("Sub-packages") == there


def test_every_setting_of_autossh_is_in_the_page_for_those_who_move() -> None:
    """The page names exactly the autossh variables that `init` explains."""
    named = set(re.findall(r"AUTOSSH_[A-Z_]+", TEXTS["docs/moving-from-autossh.md"]))
    assert named == set(explained._AUTOSSH)


def test_every_page_is_in_the_index() -> None:
    """The README links to every page, and the index of decisions to every decision."""
    linked = set(re.findall(r"\]\((docs/(?:guides/)?[a-z-]+\.md)", TEXTS["README.md"]))
    assert linked == {name for name in TEXTS if re.fullmatch(r"docs/(guides/)?[^/]+", name)}
    decisions = set(re.findall(r"\]\(([a-z0-9-]+\.md)", TEXTS["docs/decisions/README.md"]))
    assert decisions == {Path(name).name for name in TEXTS if name.startswith("docs/decisions/")} - {
        "README.md"
    }


def test_every_key_of_the_view_is_in_the_page_for_scripts() -> None:
    """The page for scripts names every key of the view and of an outage."""
    source = (ROOT / "trayagent" / "core" / "view.py").read_text(encoding="utf-8")
    written = {
        key.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    named = set(re.findall(r"`(\w+)`", TEXTS["docs/scripting.md"]))
    assert written | {field.name for field in msgspec.structs.fields(Outage)} <= named


def test_the_metrics_to_watch_are_printed() -> None:
    """The monitor gets every metric that the page names."""
    source = (ROOT / "trayagent" / "cli" / "openmetrics.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"trayagent_[a-z_]+", TEXTS["docs/scripting.md"])):
        assert f'"{name}"' in source, name


def test_each_page_and_heading_that_the_code_refers_to_exists() -> None:
    """Each reference in the code, as docs/architecture.md, *Words*, leads to a page and a heading."""
    for page, heading in re.findall(r"\b([\w/-]+\.md)\b(?:, \*([^*]+)\*)?", CODE):
        assert page in TEXTS, page
        if heading:
            assert heading in re.findall(r"^#+ (.*)$", TEXTS[page], re.MULTILINE), heading
