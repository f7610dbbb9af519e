"""The report for users, and the JSON for scripts."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.cli.test_cli_status import on_a_terminal
from tests.doctor.patient import Patient
from trayagent import __version__
from trayagent.cli import doctor_text
from trayagent.cli.doctor import JSON_SHAPE
from trayagent.presentation.states import PLAIN_SIGNS

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def long_path(patient: Patient) -> str:
    """Return a control path that is too long for a socket and for a line of the report."""
    return f"{patient.sockets}/{'x' * 80}"


def make_ill(patient: Patient) -> None:
    """Cause problems and advice, one of them with a long word."""
    patient.ssh(ControlMaster="yes", LocalForward="8102 localhost:80", ControlPath=long_path(patient))
    patient.configure('[hosts.box]\nlocal = ["8102:other:80"]\n')


def test_the_report_fits_into_eighty_columns(patient: Patient) -> None:
    """The report fits into 80 columns: prose wraps.

    Commands and lines of files do not wrap, so that they can be copied.
    """
    make_ill(patient)
    status, seen = on_a_terminal(["doctor"], patient.env | {"TERM": "xterm-256color"}, columns=80)
    lines = COLOUR.sub("", seen).replace("\r", "").splitlines()
    assert status == 1
    assert re.match(r"2 problems · \d pieces of advice · \d+ fine$", lines[0])
    assert COLOUR.search(seen)
    long = [line for line in lines if len(line) > 80 and " " in line.strip()[:60]]
    assert not long, long
    assert f"  {long_path(patient)}" in lines
    assert "        Host box" in lines
    assert "            ControlMaster auto" in lines


def test_problems_come_first_and_what_is_well_last(patient: Patient) -> None:
    """Each problem is followed by its reason and its remedy, and a pipe gets no colour."""
    make_ill(patient)
    done = patient.command("doctor")
    assert not COLOUR.search(done.stdout)
    signs = re.findall(r"^([✗▲✓]) ", done.stdout, re.MULTILINE)
    assert signs == sorted(signs, key="✗▲✓".index)
    assert set(signs) == set("✗▲✓")
    block = done.stdout.partition("✗ box: -L 8102")[2].partition("\n\n")[0]
    assert "Only one of them can be open" in block
    assert "Remove one of them." in block


def test_the_same_finding_for_several_hosts_is_shown_once() -> None:
    """Findings with the same reason are grouped: first their titles, then reason and remedy, then each host's lines."""

    def unknown(host: str) -> dict[str, object]:
        lines = [f"Host {host}", "    ForwardAgent yes"]
        return {
            "topic": "hosts", "level": "advice", "code": "agent-not-forwarded", "host": host,
            "title": f"{host}: no agent", "why": "It is so.", "remedy": "Add:", "lines": lines,
        }  # fmt: skip

    other = unknown("nas") | {"why": "For another reason."}
    told = [line.plain for line in doctor_text.lines([unknown("web"), other, unknown("db")], 80, PLAIN_SIGNS)]
    assert told[2:12] == [
        f"{PLAIN_SIGNS['needs-sign-in']} web: no agent",
        f"{PLAIN_SIGNS['needs-sign-in']} db: no agent",
        "    It is so.",
        "    Add:",
        "        Host web",
        "            ForwardAgent yes",
        "        Host db",
        "            ForwardAgent yes",
        "",
        f"{PLAIN_SIGNS['needs-sign-in']} nas: no agent",
    ]
    assert told.count("            ForwardAgent yes") == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_plain_terminal_gets_plain_signs(patient: Patient, encoding: str) -> None:
    """The signs are ASCII, and a character that the terminal cannot show causes no traceback."""
    make_ill(patient)
    done = patient.command("doctor", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.match(r"2 problems - ", done.stdout)


def test_a_name_cannot_command_a_terminal(patient: Patient) -> None:
    """Text from files is printed without control characters."""
    patient.ssh(IdentityFile="/gone\x1b]0;owned\x07")
    done = patient.command("doctor")
    assert "its IdentityFile is not there" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_the_json_has_the_shape_that_the_help_describes(patient: Patient) -> None:
    """Every finding has every key."""
    told = patient.examine().told
    assert list(told) == ["schema", "version", "ok", "counts", "findings"]
    assert (told["schema"], told["version"]) == (1, __version__)
    for finding in told["findings"]:
        assert list(finding) == ["topic", "level", "code", "host", "title", "why", "remedy", "lines"]
        assert all(f'"{key}"' in JSON_SHAPE for key in finding)
    help_text = " ".join(patient.command("doctor", "--help").stdout.split())
    assert textwrap.shorten(JSON_SHAPE, 60, placeholder="") in help_text


def test_doctor_changes_nothing(patient: Patient) -> None:
    """`doctor` creates and touches no file.

    An open state directory is no finding: the agent closes it at its next start.
    """

    def everything() -> dict[str, tuple[int, int]]:
        found = sorted(patient.folder.rglob("*"))
        return {str(p): (p.lstat().st_mode, p.lstat().st_mtime_ns) for p in found}

    patient.state.chmod(0o755)
    before = everything()
    report = patient.examine(PYTHONDONTWRITEBYTECODE="1")
    assert everything() == before
    assert report.well("files")
