"""Checks the configuration file: whether it is valid, and whether it lists any host."""

from __future__ import annotations

from collections.abc import Iterable

from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, shown


async def check(case: Case) -> Iterable[Finding]:
    """Report whether the file can be used."""
    file, config = case.file_paths.config_file, case.config
    if case.config_error is not None:
        runs = case.view is not None
        why = "The agent keeps its previous configuration." if runs else "The agent does not start with it."
        return [problem("config-invalid", case.config_error.title, why, case.config_error.hint)]
    if not file.exists():
        why = "The agent adopts masters that you start, but keeps no host connected."
        remedy = "Create one from the ssh connections that you use:"
        return [
            advice(
                "config-absent",
                f"There is no configuration yet: {shown(file)}",
                why,
                remedy,
                "trayagent init",
            )
        ]
    if not config.hosts and not config.agent.adopt:
        why = "The agent connects no host and ignores the masters that you start."
        remedy = f"List a host in {shown(file)}, or remove adopt = false."
        return [advice("config-idle", "The configuration lists no host, and adopt is false", why, remedy)]
    return [ok(f"hosts: {len(config.hosts)}, VPNs: {len(config.vpns)}, in {shown(file)}")]
