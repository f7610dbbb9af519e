"""The parser of unit files, which reads real files as systemd does, without a service manager."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.init import systemd, systemd_text
from trayagent.init.found_on_machine import Found, Machine, Skipped


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine whose root and home directory are empty."""
    (tmp_path / "home").mkdir()
    return Machine("me", 1000, tmp_path / "home", {}, root=tmp_path)


def put(root: Path, path: str, text: str) -> None:
    """Write a file below the root, with its directories."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def found(machine: Machine, *running: str) -> list[Found | Skipped]:
    """Return the findings in the machine's units."""
    return list(systemd.find(machine, frozenset(running)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ssh -N h", ["ssh", "-N", "h"]),
        ("ssh  -o 'A B' -o\"C D\"", ["ssh", "-o", "A B", "-oC D"]),
        (r"ssh a\x20b \"q\" '\t' \101", ["ssh", "a b", '"q"', "\t", "A"]),
        ("ssh ''", ["ssh", ""]),
    ],
)
def test_words_are_split_as_systemd_does(value: str, words: list[str]) -> None:
    """Quotes and C escapes are handled as in systemd.service(5), *Command lines*."""
    assert systemd_text.words(value) == words


def test_variables_and_specifiers_are_put_in() -> None:
    """${A} within a word, $A as separate words, $$, %% and the prefixes `:` and `@` work as in systemd."""
    unit = systemd_text.parse(
        "[Service]\nEnvironment='A=x y' B=%i\n"
        "ExecStart=ssh -N ${A} $A $$ %%h %n ${B} ; true\n"
        "ExecStart=:ssh ${A}\n"
        "ExecStart=-@ssh shown -N\n"
    )
    table = systemd_text.specifiers("t@web-1.service", {})
    env = systemd_text.environment(unit, [], table)
    assert list(systemd_text.commands(unit, env, table)) == [
        ["ssh", "-N", "x y", "x", "y", "$", "%h", "t@web-1.service", "web-1"],
        ["true"],
        ["ssh", "${A}"],
        ["ssh", "-N"],
    ]
    assert table["I"] == "web/1"


def test_a_system_unit_is_ours_only_if_it_runs_as_this_user(machine: Machine) -> None:
    """A system unit counts only if its User= is this user. The command to switch it off uses sudo."""
    put(machine.root, "etc/systemd/system/a.service", "[Service]\nUser=me\nExecStart=ssh -N a\n")
    put(machine.root, "etc/systemd/system/b.service", "[Service]\nExecStart=ssh -N b\n")
    put(machine.root, "lib/systemd/system/c.service", "[Service]\nUser=autossh\nExecStart=ssh -N c\n")
    mine, root, other = found(machine)
    assert isinstance(mine, Found)
    assert mine.switch_off == "sudo systemctl disable --now a.service"
    assert isinstance(root, Skipped)
    assert "root" in root.why
    assert isinstance(other, Skipped)
    assert "autossh" in other.why


def test_the_first_folder_wins_and_a_mask_hides(machine: Machine) -> None:
    """A user's unit replaces the machine's unit with the same name. A link to /dev/null hides the unit."""
    put(machine.root, "usr/lib/systemd/user/a.service", "[Service]\nExecStart=ssh -N far\n")
    put(machine.home, ".config/systemd/user/a.service", "[Service]\nExecStart=ssh -N near\n")
    put(machine.root, "usr/lib/systemd/user/b.service", "[Service]\nExecStart=ssh -N b\n")
    (machine.home / ".config/systemd/user/b.service").symlink_to("/dev/null")
    [one] = found(machine)
    assert isinstance(one, Found)
    assert one.words == ("ssh", "-N", "near")


def test_a_template_counts_by_its_instances(machine: Machine) -> None:
    """Linked and running instances of a template are found. A template alone is only reported."""
    put(machine.home, ".config/systemd/user/t@.service", "[Service]\nExecStart=ssh -N %i\n")
    [lonely] = found(machine)
    assert isinstance(lonely, Skipped)
    (machine.home / ".config/systemd/user/x.target.wants").mkdir()
    (machine.home / ".config/systemd/user/x.target.wants/t@one.service").symlink_to("../t@.service")
    both = found(machine, "t@two.service")
    assert [one.words for one in both if isinstance(one, Found)] == [
        ("ssh", "-N", "one"),
        ("ssh", "-N", "two"),
    ]


def test_drop_ins_come_in_the_order_of_their_names(machine: Machine) -> None:
    """Drop-ins of the unit, of its name's prefixes and of all services apply in the order of their names."""
    put(machine.home, ".config/systemd/user/my-tun.service", "[Service]\nExecStart=ssh -N a\n")
    for number, folder in enumerate(("service.d", "my-.service.d", "my-tun.service.d")):
        text = f"[Service]\nEnvironment=V={number}\nExecStart=\nExecStart=ssh -N ${{V}}\n"
        put(machine.home, f".config/systemd/user/{folder}/{number}.conf", text)
    [one] = found(machine)
    assert isinstance(one, Found)
    assert one.words[-1] == "2"


def test_a_unit_that_nothing_starts_is_not_active(machine: Machine) -> None:
    """A unit with [Install] but without a link is inactive.

    A link, a running process or a missing [Install] makes it active.
    """
    install = "[Install]\nWantedBy=default.target\n"
    put(machine.home, ".config/systemd/user/a.service", f"[Service]\nExecStart=ssh -N a\n{install}")
    [one] = found(machine)
    assert isinstance(one, Found)
    assert not one.active
    [one] = found(machine, "a.service")
    assert isinstance(one, Found)
    assert one.active


def test_what_starts_a_service_is_switched_off_with_it(machine: Machine) -> None:
    """A timer, path or socket with the unit's name is also switched off, because it would start the unit again."""
    put(machine.home, ".config/systemd/user/a.service", "[Service]\nExecStart=ssh -N a\n")
    put(machine.home, ".config/systemd/user/b.timer", "[Timer]\nOnBootSec=1\n")
    put(machine.root, "usr/lib/systemd/user/a.timer", "[Timer]\nOnBootSec=1\n")
    put(machine.root, "etc/systemd/user/a.socket", "[Socket]\nListenStream=1\n")
    put(machine.root, "etc/systemd/system/t@.path", "[Path]\nPathExists=/\n")
    [one] = found(machine)
    assert isinstance(one, Found)
    assert one.switch_off == "systemctl --user disable --now a.timer a.socket a.service"
    of_system = systemd.disable(machine, "t@x.service", system=True)
    assert of_system == "sudo systemctl disable --now t@x.path t@x.service"


def test_a_timer_may_start_a_service_of_another_name(machine: Machine) -> None:
    """Unit= of a timer that is enabled makes the service, also an instance, active; a timer of its own name does not.

    The command to switch the service off names the timer that starts it.
    """
    user = ".config/systemd/user"
    put(machine.home, f"{user}/tunnel@.service", "[Service]\nExecStart=ssh -N %i\n[Install]\nWantedBy=x\n")
    put(machine.home, f"{user}/a.service", "[Service]\nExecStart=ssh -N a\n[Install]\nWantedBy=x\n")
    put(machine.home, f"{user}/a.timer", "[Timer]\nOnBootSec=1\nUnit=other.service\n")
    put(machine.home, f"{user}/each-morning@.timer", "[Timer]\nOnCalendar=8:00\nUnit=tunnel@%i.service\n")
    put(machine.home, f"{user}/timers.target.wants/each-morning@db.timer", "")
    a, db = found(machine)
    assert isinstance(a, Found)
    assert (a.active, a.switch_off) == (False, "systemctl --user disable --now a.service")
    assert isinstance(db, Found)
    assert (db.where, db.active) == ("tunnel@db.service", True)
    assert db.switch_off == "systemctl --user disable --now each-morning@db.timer tunnel@db.service"


def test_the_name_of_a_unit_can_be_pasted(machine: Machine) -> None:
    """Escapes in the name are quoted, because a shell would remove the backslash."""
    put(machine.home, ".config/systemd/user/t@.service", "[Service]\nExecStart=ssh -N %I\n")
    [one] = found(machine, r"t@web\x2d01.service")
    assert isinstance(one, Found)
    assert one.switch_off == r"systemctl --user disable --now 't@web\x2d01.service'"


@given(st.text(alphabet="[Service]\nExecStart=ssh -N\\'\"$%{};:@x2", max_size=80))
def test_any_text_is_a_unit_or_refused(text: str) -> None:
    """Parsing any text raises no exception but ValueError."""
    unit = systemd_text.parse("[Service]\nExecStart=ssh " + text)
    table = systemd_text.specifiers("a@b.service", {})
    with contextlib.suppress(ValueError):
        list(systemd_text.commands(unit, systemd_text.environment(unit, [text], table), table))
