"""Checks the agent: whether it runs, and whether its version is the installed one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from trayagent import __version__
from trayagent.desktop import autostart as login
from trayagent.desktop.autostart.macos_launchd import LABEL
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case

RESTART = "trayagent stop; trayagent run"
RESTART_UNIT = "systemctl --user restart trayagent"
LAUNCHD = f"gui/{os.getuid()}/{LABEL}"


async def check(case: Case) -> Iterable[Finding]:
    """Report whether an agent runs and answers."""
    if case.view is None:
        return [_absent(case)]
    agent, found = case.view["agent"], []
    if agent["version"] != __version__:
        title = f"Trayagent {agent['version']} is running, {__version__} is installed"
        why = "The update takes effect when you restart the agent. The masters stay."
        found.append(advice("agent-outdated", title, why, "Restart it:", _restart(case)))
    if agent["paused"]:
        until = f" until {agent['paused_until']}" if agent["paused_until"] else ""
        why = "Meanwhile the agent does not make or end connections and shows no notifications."
        found.append(
            advice("agent-paused", f"Everything is paused{until}", why, "End it:", "trayagent resume")
        )
    return found or [ok(f"{agent['version']}, pid {agent['pid']}, since {agent['started']}")]


def _absent(case: Case) -> Finding:
    error = case.agent_error
    if error is not None and error.code != "no-agent":
        why = "Commands and the menu cannot reach the agent."
        return problem("agent-silent", error.title, why, error.hint)
    why = "It keeps your connections only while it runs."
    method = login.method_in_use(case.env)
    if method is not None and not method.was_started():
        why = "It starts at the next login and does not keep your connections until then."
        start = method.start_command() or "trayagent run"
        return advice("agent-absent", "No agent is running", why, "Start it now:", start)
    if _by_manager(case):
        remedy = "See why it ended, and start it:"
        lines = ("systemctl --user status trayagent", "systemctl --user start trayagent")
        if sys.platform == "darwin":
            lines = (f"launchctl print {LAUNCHD}", f"launchctl kickstart {LAUNCHD}")
        return problem("agent-ended", "No agent is running, though it starts at login", why, remedy, *lines)
    if method is not None:
        why = "It starts with the next desktop session and does not keep your connections until then."
    return advice("agent-absent", "No agent is running", why, "Start it:", "trayagent run")


def _restart(case: Case) -> str:
    if not _by_manager(case):
        return RESTART
    return f"launchctl kickstart -k {LAUNCHD}" if sys.platform == "darwin" else RESTART_UNIT


def _by_manager(case: Case) -> bool:
    """Report whether a service manager (systemd, launchd) starts the agent at login. If so, it can also restart it."""
    method = login.method_in_use(case.env)
    return method is not None and method.name != "autostart"
