"""Which answers of a server prove that a far relay is gone."""

from __future__ import annotations

from typing import Any

import pytest

from trayagent.agent.roaming.far_relay_commands import FarAnswer
from trayagent.agent.roaming.far_relay_is_gone import judge, note_view
from trayagent.agent.state.record_types import KeptRoaming

FOLDER = "/home/me/.cache/trayagent/m"
LINUX = {"pid_ns": "pid:[1]", "net_ns": "net:[2]"}
PLAIN = {"pid_ns": "none", "net_ns": "none"}
NOWHERE = {"pid_ns": "", "net_ns": ""}
GONE = {"socket": False, "folders": {FOLDER: "8:15"}, "unsafe": [], "listed": False}
UNTOLD = {**GONE, "listed": None}


def found(began: dict[str, str], answer: dict[str, Any], boot: str = "b", machine: str = "m") -> str:
    """Return what an answer proves about a far relay that began with these namespaces."""
    kept = KeptRoaming("web", "0" * 16, "near", "here", "/cm", machine="m", far_boot="b")
    served = {"path": f"{FOLDER}/{'0' * 16}.roam", "folder": "8:15", **began} if began else {}
    note_view(kept, FarAnswer("m", "b", served))
    return judge(kept, FarAnswer(machine, boot, answer))


@pytest.mark.parametrize(
    ("began", "answer", "expected"),
    [
        (LINUX, {**LINUX, **GONE}, "far-relay-lost"),
        (
            LINUX,
            {**LINUX, **GONE, "folders": {FOLDER: ""}},
            "far-relay-lost",
        ),  # the directory was deleted, too
        (LINUX, {**LINUX, **GONE, "unsafe": [FOLDER]}, "far-relay-lost"),
        (LINUX, {**LINUX, **GONE, "listed": True}, "far-relay-unreachable"),
        (LINUX, {**LINUX, **GONE, "listed": True, "unsafe": [FOLDER]}, "unsafe-folder"),
        (LINUX, {**LINUX, **UNTOLD}, "far-relay-unseen"),
        (LINUX, {**LINUX, **GONE, "folders": {"/root/.cache/trayagent/m": "8:16"}}, "far-relay-unseen"),
        (LINUX, {**LINUX, **GONE, "net_ns": "net:[3]"}, "far-relay-unseen"),
        (LINUX, {**LINUX, **GONE, "pid_ns": "pid:[3]"}, "far-relay-unseen"),
        (LINUX, {**LINUX, **GONE, "socket": True}, "far-relay-found"),
        (LINUX, GONE, "far-relay-unseen"),
        (LINUX, LINUX, "far-relay-unseen"),
        (NOWHERE, {**NOWHERE, **GONE}, "far-relay-unseen"),
        ({}, {**LINUX, **GONE}, "far-relay-unseen"),  # a record of an earlier version
        (PLAIN, {**PLAIN, **UNTOLD}, "far-relay-lost"),
        (PLAIN, {**PLAIN, **UNTOLD, "folders": {FOLDER: "8:16"}}, "far-relay-unseen"),
        (PLAIN, {**PLAIN, **UNTOLD, "folders": {FOLDER: ""}}, "far-relay-unseen"),
    ],
)
def test_what_proves_that_a_far_relay_is_gone(
    began: dict[str, str], answer: dict[str, Any], expected: str
) -> None:
    """The login must see what the far relay saw, and no longer its socket."""
    assert found(began, answer) == expected


@pytest.mark.parametrize(
    ("began", "pid_ns", "boot", "machine", "expected"),
    [
        (LINUX, "pid:[1]", "b2", "m", "server-rebooted"),
        (PLAIN, "none", "b2", "m", "server-rebooted"),
        (LINUX, "pid:[3]", "b2", "m", "far-relay-unseen"),  # a container with a boot ID of its own
        (LINUX, "", "b2", "m", "far-relay-unseen"),
        (NOWHERE, "", "b2", "m", "far-relay-unseen"),
        (LINUX, "pid:[1]", "", "m", "far-relay-unseen"),
        (LINUX, "pid:[1]", "b2", "m2", "far-relay-unseen"),
        ({}, "pid:[1]", "b2", "m", "far-relay-unseen"),
    ],
)
def test_what_proves_a_reboot(
    began: dict[str, str], pid_ns: str, boot: str, machine: str, expected: str
) -> None:
    """Another boot ID proves a reboot only in the PID namespace in which the far relay started."""
    answer = {**GONE, "pid_ns": pid_ns, "net_ns": "net:[9]"}
    assert found(began, answer, boot, machine) == expected
