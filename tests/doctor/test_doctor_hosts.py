from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Literal

import pytest

from trayagent.config import file_paths
from trayagent.config.model import Agent, Config, Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor import control_paths, forwards, hosts
from trayagent.doctor.findings import Finding
from trayagent.doctor.gather_facts import Case
from trayagent.errors import TrayagentError


def run_program(**facts: Any) -> Finding:
    """Return the only finding about the hosts of a case with these facts."""
    (finding,) = asyncio.run(hosts.check(Case(file_paths.find(), {}, **facts)))
    return finding


@pytest.mark.parametrize(
    ("state", "level", "why"),
    [
        ("connected", "advice", "is still connected"),
        ("failed", "problem", "is not connected until this is fixed"),
        ("needs-sign-in", "problem", "is not connected: it waits for you"),
        ("needs-vpn", "advice", "is not connected: it waits for its VPN"),
        ("waiting", "advice", "is not connected"),
    ],
)
def test_the_meaning_of_a_problem_depends_on_the_hosts_state(state: str, level: str, why: str) -> None:
    """The finding contains what the host waits for, and whether the agent continues automatically."""
    told = {"code": "unknown", "title": "It is so", "hint": "Fix it."}
    view = {"hosts": [{"name": "box", "state": state, "problem": told, "forwards": []}]}
    finding = run_program(view=view)
    assert (finding.level, finding.why) == (level, f"box {why}.")


@pytest.mark.parametrize(
    ("names", "title", "why"),
    [
        (["a"], "for a", "Nothing else about the host was checked."),
        (["a", "b"], "for 2 hosts, first a", "Nothing else about these hosts was checked."),
    ],
)
def test_hosts_that_were_not_resolved_in_time_are_one_finding(names: list[str], title: str, why: str) -> None:
    """The finding names one of the hosts."""
    late = TrayagentError("Too late", code=hosts.LATE)
    finding = run_program(unresolved=dict.fromkeys(names, late))
    assert (finding.title, finding.why) == (f"ssh -G did not answer in time {title}", why)


@pytest.mark.parametrize(("state", "level"), [("connected", "advice"), ("failed", "problem")])
def test_a_slow_match_exec_is_no_reason_why_a_connected_host_cannot_connect(state: str, level: str) -> None:
    """If ssh -G takes too long for doctor, the finding does not say that the agent cannot connect the host."""
    late = TrayagentError("ssh -G box took longer than 5 s", code="config-error", hint="Is it slow?")
    late.__cause__ = TimeoutError()
    view: dict[str, Any] = {"hosts": [{"name": "box", "state": state, "problem": None, "forwards": []}]}
    finding = run_program(view=view, unresolved={"box": late})
    assert (finding.level, "cannot connect" in finding.why) == (level, False)


@pytest.mark.parametrize("beside", ["show", "end"])
def test_sessions_beside_a_master_are_reported_unless_the_agent_ends_them(
    beside: Literal["show", "end"],
) -> None:
    """The finding names the sessions and the setting with which the agent ends them once they are dead."""
    session = {"pid": 7, "terminal": "pts/3", "program": "git", "stale": True}
    view = {
        "hosts": [{"name": "box", "state": "connected", "problem": None, "forwards": [], "beside": [session]}]
    }
    config = Config(agent=Agent(beside=beside))
    found = [*asyncio.run(hosts.check(Case(file_paths.find(), {}, config, view=view)))]
    expected = "box: 1 ssh session beside the master: pts/3 git (its address is gone)"
    assert [(one.code, one.title) for one in found] == (
        [("ssh-beside", expected)] if beside == "show" else []
    )


def test_inner_and_draining_masters_are_the_agents() -> None:
    """`doctor` recognizes each master of the agent by its pid, so that it never suggests killing one."""
    web = {"name": "web", "pid": 1, "roaming": {"pid": 2}, "draining": [{"pid": 3}]}
    view = {"hosts": [web, {"name": "db", "pid": None, "roaming": None, "draining": []}]}
    case = Case(file_paths.find(), {}, view=view)
    assert case.agents_masters() == {1: "web", 2: "web", 3: "web"}


def test_a_link_leads_to_the_master_of_a_control_path(tmp_path: Path) -> None:
    """After a change of ControlPath, the path is a link to the socket of the living master."""
    path, link = tmp_path / "old", tmp_path / "new"
    link.symlink_to(path)
    case = Case(
        file_paths.find(), {}, resolved={"web": Resolved("web", "example.org", control_path=str(link))}
    )
    assert case.master("web") is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert case.master("web") == os.getpid()


def one_account(*names: str) -> dict[str, Resolved]:
    """Return names of ssh_config that lead to one account, without a ControlPath."""
    return {name: Resolved(name, "server.example", "alice") for name in names}


def test_the_control_path_for_two_names_of_one_account_is_not_shared() -> None:
    """Doctor's lines give each name a control path of its own, so that the next doctor finds no shared one."""
    config = Config(hosts={"box": Host(), "same": Host()})
    case = Case(file_paths.find(), {}, config, resolved=one_account("box", "same"))
    found = asyncio.run(control_paths.check(case))
    lines = [one.lines for one in found if one.code == "control-path-none"]
    assert lines == [("Host box same", "    ControlPath ~/.ssh/cm-%C-%n")]


@pytest.mark.parametrize(
    ("other", "remedy"),
    [("1:b:1", "They are names of the same account"), ("1:b:2", "Give one of them another port.")],
)
def test_one_forward_of_two_names_of_one_account_needs_no_other_port(other: str, remedy: str) -> None:
    """Doctor says to remove a forward that two names of one account have."""
    config = Config(hosts={"box": Host(local=("1:b:1",)), "same": Host(local=(other,))})
    case = Case(file_paths.find(), {}, config, resolved=one_account("box", "same"))
    found = asyncio.run(forwards.check(case))
    (twice,) = [one for one in found if one.code == "forward-twice"]
    assert twice.remedy.startswith(remedy)
