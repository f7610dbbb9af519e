"""Which answers of a server prove that a far relay is gone."""

from __future__ import annotations

from typing import Any

import pytest

from trayagent.agent.roaming.far_relay_commands import FarAnswer
from trayagent.agent.roaming.far_relay_is_gone import note_view, why_unproven
from trayagent.agent.state.record_types import KeptRoaming

FOLDER = "/home/me/.cache/trayagent/m"
LINUX = {"pid_ns": "pid:[1]", "net_ns": "net:[2]"}
PLAIN = {"pid_ns": "none", "net_ns": "none"}
NOWHERE = {"pid_ns": "", "net_ns": ""}
GONE = {"socket": False, "folders": {FOLDER: "8:15"}, "unsafe": [], "listed": False}
UNTOLD = {**GONE, "listed": None}


def unproven(began: dict[str, str], answer: dict[str, Any], boot: str = "b") -> str | None:
    """Return why an answer proves nothing about a far relay that began with these namespaces."""
    kept = KeptRoaming("web", "0" * 16, "near", "here", "/cm", machine="m", far_boot="b")
    served = {"path": f"{FOLDER}/{'0' * 16}.roam", "folder": "8:15", **began} if began else {}
    note_view(kept, FarAnswer("m", "b", served))
    return why_unproven(kept, FarAnswer("m", boot, answer))


@pytest.mark.parametrize(
    ("began", "answer", "expected"),
    [
        (LINUX, {**LINUX, **GONE}, None),
        (LINUX, {**LINUX, **GONE, "folders": {FOLDER: ""}}, None),  # the directory was deleted, too
        (LINUX, {**LINUX, **GONE, "unsafe": [FOLDER]}, None),
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
        (PLAIN, {**PLAIN, **UNTOLD}, None),
        (PLAIN, {**PLAIN, **UNTOLD, "folders": {FOLDER: "8:16"}}, "far-relay-unseen"),
        (PLAIN, {**PLAIN, **UNTOLD, "folders": {FOLDER: ""}}, "far-relay-unseen"),
    ],
)
def test_what_proves_that_a_far_relay_is_gone(
    began: dict[str, str], answer: dict[str, Any], expected: str | None
) -> None:
    """The login must see what the far relay saw, and no longer its socket."""
    assert unproven(began, answer) == expected


def test_after_a_reboot_the_answer_proves_nothing_here() -> None:
    """Another boot is a proof of its own, with its own reason."""
    assert unproven(LINUX, {**LINUX, **GONE}, boot="b2") == "far-relay-unseen"
