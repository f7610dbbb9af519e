"""The combination of findings into a proposal, and the parsing of system crontabs and control groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from trayagent.core.facts import forward_spec
from trayagent.init import cron, processes
from trayagent.init.found_on_machine import Found, Machine, Skipped
from trayagent.init.interpret_ssh_call import Meaning
from trayagent.init.propose_hosts import SSH_CONFIG, Understood, propose
from trayagent.ssh.command_line import parse


def seen(where: str, host: str, *specs: str, line: str = "autossh -N h", **more: bool) -> Understood:
    """Return a finding with local forwards."""
    forwards = tuple(forward_spec.parse("local", spec) for spec in specs)
    kind = "shell" if more.get("by_hand") else "unit"
    found = Found(kind, where, tuple(line.split()), **more)  # type: ignore[arg-type]  # the kind is a plain string here
    return Understood(found, parse(found.words), Meaning(host, forwards))


def test_what_runs_gets_a_port_before_what_does_not() -> None:
    """If two tunnels have the same port, the running one gets it. The other is reported with a hint."""
    hosts, skipped = propose([seen("a", "x", "80:b:1", active=False), seen("b", "y", "80:b:2")])
    assert [(h.name, h.wish, len(h.forwards)) for h in hosts] == [("y", "always", 1), ("x", "leave", 0)]
    assert [p.where for p in skipped] == ["-L 80:b:1 (a)"]
    assert "another port" in skipped[0].why


def in_ssh_config(host: str, *specs: str) -> Understood:
    """Return the finding of a host that has forwards in ssh_config."""
    given = tuple(forward_spec.parse("local", spec) for spec in specs)
    return Understood(Found("ssh_config", SSH_CONFIG, alias=host), None, Meaning(host, given=given))


def test_a_port_that_two_hosts_have_in_ssh_config_is_named_with_both() -> None:
    """If two hosts have the same port in ssh_config, the second is not proposed, unless a tunnel keeps it connected."""
    hosts, skipped = propose([in_ssh_config("x", "1:b:1"), in_ssh_config("y", "1:b:2", "3:b:3")])
    assert [(h.name, h.wish, h.clash) for h in hosts] == [
        ("x", "on-use", ""),
        ("y", "leave", "x has the same port or socket"),
    ]
    assert [(p.where, "x has the same port" in p.why) for p in skipped] == [("-L 1:b:2 (y)", True)]
    unit = seen("a", "y", "2:b:2")
    both = replace(unit, meaning=replace(unit.meaning, given=in_ssh_config("y", "1:b:2").meaning.given))
    hosts, skipped = propose([in_ssh_config("x", "1:b:1"), both])
    assert [(h.name, h.wish, h.clash) for h in hosts] == [
        ("y", "always", ""),
        ("x", "leave", "y has the same port or socket"),
    ]
    assert [p.where for p in skipped] == ["-L 1:b:1 (x)"]


def test_two_names_of_one_connection_have_one_forward_without_a_conflict() -> None:
    """If two names share a connection and its forward in ssh_config, nothing is skipped."""
    found = [in_ssh_config("x", "1:b:1"), seen("a", "y"), in_ssh_config("y", "1:b:1")]
    alike = [
        replace(one, meaning=replace(one.meaning, shares=("s", 22, "u"), given=found[0].meaning.given))
        for one in found
    ]
    hosts, skipped = propose(alike)
    assert not skipped
    assert [(h.name, h.also, h.clash) for h in hosts] == [("y", ("x",), "")]


def test_a_socket_that_two_hosts_have_is_not_called_a_port() -> None:
    """Two forwards in ssh_config may conflict at a Unix socket."""
    hosts, skipped = propose([in_ssh_config("x", "/run/s:b:1"), in_ssh_config("y", "/run/s:b:2")])
    assert hosts[1].clash == "x has the same port or socket"
    assert skipped[0].why.startswith("x has the same port or socket, ")


def test_a_remote_port_is_given_to_one_host_of_a_server() -> None:
    """Two hosts on one server cannot listen on the same port there. On two servers they can."""

    def call(where: str, host: str, server: str) -> Understood:
        one = seen(where, host)
        remote = (forward_spec.parse("remote", "9999:localhost:22"),)
        return replace(one, meaning=replace(one.meaning, forwards=remote, server=server))

    hosts, skipped = propose([call("a", "x", "web:22"), call("b", "y", "web:22"), call("c", "z", "db:22")])
    assert [(h.name, len(h.forwards)) for h in hosts] == [("x", 1), ("y", 0), ("z", 1)]
    assert [(p.where, "of x already listens there" in p.why) for p in skipped] == [
        ("-R 9999:localhost:22 (b)", True)
    ]


def test_two_names_of_one_host_are_proposed_once() -> None:
    """If ssh_config has two names for the same account and key of a machine, only the first is proposed.

    A name with a forward of its own is a host of its own.
    """
    cluster, login1, other, data = (
        replace(one, meaning=replace(one.meaning, leads_to=("hostname h", f"user {user}")))
        for one, user in (
            (in_ssh_config("cluster", "1:b:1"), "me"),
            (in_ssh_config("login1", "1:b:1"), "me"),
            (in_ssh_config("other", "1:b:1"), "you"),
            (in_ssh_config("data", "2:b:2"), "me"),
        )
    )
    hosts, skipped = propose([cluster, login1, data])
    assert [(h.name, h.wish, h.also) for h in hosts] == [
        ("cluster", "on-use", ("login1",)),
        ("data", "on-use", ()),
    ]
    assert skipped == []
    hosts, _ = propose([cluster, other])
    assert [(h.name, h.wish, h.also) for h in hosts] == [("cluster", "on-use", ()), ("other", "leave", ())]


def test_names_that_share_a_connection_are_listed_once_with_all_forwards() -> None:
    """Of the names with one control path, the one with the most certain finding is listed. None loses a forward."""
    web, gw, other = (
        replace(one, meaning=replace(one.meaning, shares=(path,), server="web:22"))
        for one, path in (
            (in_ssh_config("web", "1:b:1", "2:b:2"), "cm-1"),
            (seen("ssh with pid 7", "gw", "3:b:3"), "cm-1"),
            (in_ssh_config("other", "4:b:4"), "cm-2"),
        )
    )
    hosts, skipped = propose([web, gw, other])
    assert [(h.name, h.wish, h.also) for h in hosts] == [("gw", "always", ("web",)), ("other", "on-use", ())]
    assert [f.spec for f in hosts[0].forwards] == ["3:b:3", "1:b:1", "2:b:2"]
    assert skipped == []


def test_a_disabled_unit_adds_nothing_to_a_host_that_is_kept() -> None:
    """A disabled unit of a host that is kept adds no forward, and is only reported."""
    hosts, skipped = propose([seen("old", "x", "1:b:1", active=False), seen("new", "x", "2:b:2")])
    assert [f.spec for f in hosts[0].forwards] == ["2:b:2"]
    assert [p.where for p in skipped] == ["old"]


def test_the_same_forward_twice_is_one() -> None:
    """If two units of one host have the same forward, it is listed once."""
    hosts, skipped = propose([seen("a", "x", "1:b:1"), seen("b", "x", "1:b:1", "2:b:2")])
    assert [(h.because, [f.spec for f in h.forwards]) for h in hosts] == [(("a", "b"), ["1:b:1", "2:b:2"])]
    assert not skipped


@pytest.mark.parametrize(
    ("line", "wish", "session"),
    [
        ("autossh -N h", "always", None),
        ("ssh -N h", "on-use", None),
        ("autossh -t h tmux attach", "on-use", "tmux"),
        ("autossh -t h /usr/bin/screen -DR", "on-use", "screen"),
    ],
)
def test_an_alias_is_kept_if_it_was_meant_to_last(line: str, wish: str, session: str | None) -> None:
    """A shell alias with autossh is proposed as always, one with ssh as on-use.

    One with a terminal session uses attach.
    """
    [host], _ = propose([seen("alias", "h", line=line, by_hand=True)])
    assert (host.wish, host.session) == (wish, session)


def test_a_system_crontab_has_a_column_for_the_user() -> None:
    """A system crontab has a column for the user. Lines of other users are skipped."""
    machine = Machine("me", 1000, Path("/home/me"), {})
    text = (
        "MAILTO=''\n@reboot me ssh -N a%input\n@daily me ssh -N b\\%%input\n0 1 * * * root ssh -N b\n0 2\tX\n"
    )
    mine, escaped, other = cron.lines(machine, "/etc/cron.d/t", text, with_user=True)
    assert isinstance(mine, Found)
    assert mine.words == ("ssh", "-N", "a")
    assert isinstance(escaped, Found)
    assert escaped.words == ("ssh", "-N", "b%")
    assert isinstance(other, Skipped)
    assert other.where == "/etc/cron.d/t line 4"


@pytest.mark.parametrize(
    "line", ["* * * * *\tme\tssh -N a", "* * * * * me\t ssh -N a", "@reboot me  ssh -N a"]
)
def test_the_columns_of_a_system_crontab_may_be_parted_by_tabs(line: str) -> None:
    """Tabs separate columns, as in cron itself. A line that ends after the user has no command."""
    machine = Machine("me", 1000, Path("/home/me"), {})
    [found] = cron.lines(machine, "/etc/crontab", line, with_user=True)
    assert isinstance(found, Found)
    assert found.words == ("ssh", "-N", "a")
    [other] = cron.lines(machine, "/etc/crontab", "@daily\tssh", with_user=True)
    assert isinstance(other, Skipped)


def test_the_unit_of_a_process_is_read_from_its_control_group() -> None:
    """The control group shows units of the user's and the system's manager. A terminal's scope is no unit."""
    machine = Machine("me", 1000, Path("/home/me"), {})
    of_user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/tunnel@db.service\n"
    assert processes.unit_of(of_user) == "tunnel@db.service"
    assert processes.disable("t.service", of_user, machine) == "systemctl --user disable --now t.service"
    of_system = "12:pids:/system.slice/t.service\n0::/system.slice/t.service\n"
    assert processes.unit_of(of_system) == "t.service"
    assert processes.disable("t.service", of_system, machine) == "sudo systemctl disable --now t.service"
    escaped = processes.disable(r"t@web\x2d01.service", of_system, machine)
    assert escaped == r"sudo systemctl disable --now 't@web\x2d01.service'"
    scope = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n"
    assert processes.unit_of(scope) == ""
