"""An upgrade of the agent to the next version, with relays of the present version: no session ends."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import trayagent
from tests.lab.masters.test_drain import Session
from tests.lab.matrix import until
from tests.lab.roaming.test_roaming_losses import HOST, LONG_S, OPTIONS, ROAMS, roams
from trayagent.roaming.far_relay_and_resend_buffer import VERSION
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.roaming_relays import FAR, marked

SECOND = "web02"


def next_version(folder: Path) -> Path:
    """Copy this program with the next version number in each relay protocol, and return the copy's path."""
    shutil.copytree(
        Path(trayagent.__file__).parent, folder / "trayagent", ignore=shutil.ignore_patterns("__pycache__")
    )
    changed = 0
    for path in (folder / "trayagent/roaming").glob("*.py"):
        text, count = re.subn(r"^VERSION = (\d+)$", _next, path.read_text(), flags=re.MULTILINE)
        path.write_text(text)
        changed += count
    assert changed == 3, "far relay, near relay and its client"
    return folder


def _next(line: re.Match[str]) -> str:
    return f"VERSION = {int(line[1]) + 1}"


def far_relays(lab: Lab) -> dict[str, Any]:
    """Return the version and the far relays that the program on the server lists."""
    return marked(lab.server.run(["sh", "-c", f"cd && {FAR} list"]).stdout)


def test_the_next_version_continues_the_sessions_of_this_one(lab: Lab, agent: Agent) -> None:
    """The new agent uses the running relays, and starts a far relay of its own version for another host."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS, SECOND: OPTIONS})
    agent.start(ROAMS)
    inner = roams(agent)["roaming"]["pid"]
    session = Session(lab)
    assert far_relays(lab)["v"] == VERSION
    agent.kill9()
    agent.env["PYTHONPATH"] = str(next_version(lab.files.root / "next"))
    agent.start(f"{ROAMS}[hosts.{SECOND}]\nroam = true\n")
    until(
        "the second host roams",
        lambda: ((agent.host(SECOND) or {}).get("roaming") or {}).get("attached"),
        LONG_S,
    )
    found = far_relays(lab)
    assert (found["v"], len(found["relays"])) == (VERSION + 1, 2), json.dumps(found)
    events = agent.events()
    lab.switch("home", "cafe")
    moved = {events.wait("moved", deadline_s=LONG_S)["host"] for _ in range(2)}
    assert moved == {HOST, SECOND}
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == inner
    assert session.end() == 0
