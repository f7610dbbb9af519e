"""Checks that plain ssh finds the masters of another ssh program, which TRAYAGENT_SSH names."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from trayagent.doctor.deadlines import each
from trayagent.doctor.findings import Finding, advice
from trayagent.doctor.gather_facts import Case
from trayagent.errors import TrayagentError
from trayagent.ssh.resolve import resolve

_RESOLVE_S = 2.0
_BEGIN_S = 0.5
_AT_ONCE = 16


async def check(case: Case) -> Iterable[Finding]:
    """Report hosts whose control path the ssh on PATH computes differently, by the `ssh -G` of both programs."""
    plain, own = (shutil.which(name, path=case.env.get("PATH")) for name in ("ssh", case.file_paths.ssh))
    if plain is None or own is None or Path(plain).resolve() == Path(own).resolve():
        return []
    paths = {name: resolved.control_path for name, _, resolved in case.wanted() if resolved.control_path}

    async def other(name: str) -> str | None:
        config = case.file_paths.ssh_option_f
        try:
            found = await resolve(name, ssh=plain, config=config, timeout_s=_RESOLVE_S)
        except TrayagentError:
            return None
        return name if found.control_path != paths[name] else None

    names, _ = await each(paths, other, at_once=_AT_ONCE, within_s=_BEGIN_S)
    differing = [name for name in names if name is not None]
    if not differing:
        return []
    listed = ", ".join(differing)
    title = f"{plain} computes another ControlPath than {own} for: {listed}"
    why = (
        "So plain ssh does not find the agent's connection, and logs in beside it. ssh before 9.6 leaves the jump host "
        "out of %C."
    )
    remedy = f"Use one ssh program, or a ControlPath without %C, in {case.ssh_config}:"
    lines = (f"Host {' '.join(differing)}", "    ControlPath ~/.ssh/cm-%n")
    return [advice("control-path-program", title, why, remedy, *lines)]
