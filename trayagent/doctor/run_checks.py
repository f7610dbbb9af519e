"""Runs all checks at the same time, each with a deadline. A check that fails or times out gives a finding."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping

from trayagent.config.file_paths import FilePaths
from trayagent.doctor import (
    agent,
    configuration,
    control_paths,
    forward_targets,
    forwards,
    hosts,
    keys,
    known_hosts,
    network,
    own_files,
    ports,
    roaming,
    roaming_port,
    ssh_program,
    vpns,
)
from trayagent.doctor import autostart as login
from trayagent.doctor import desktop as desk
from trayagent.doctor import servers as far_side
from trayagent.doctor.findings import Finding, Result, advice
from trayagent.doctor.gather_facts import Case, gather
from trayagent.netlink.errors import NetlinkError
from trayagent.presentation.translation import to_translate

Check = Callable[[Case], Awaitable[Iterable[Finding]]]

CHECK_S = 4.0
"""Time limit for one check in seconds. With `gather` before the checks, everything is reported within 10 s."""

# The checks in the order of the report. If one topic depends on another, the other comes first.
CHECKS: tuple[tuple[str, Check], ...] = (
    (to_translate("configuration"), configuration.check),
    (to_translate("agent"), agent.check),
    (to_translate("ssh"), ssh_program.check),
    (to_translate("hosts"), hosts.check),
    (to_translate("control paths"), control_paths.check),
    (to_translate("forwards"), forwards.check),
    (to_translate("ports"), ports.check),
    (to_translate("keys"), keys.check),
    (to_translate("known hosts"), known_hosts.check),
    (to_translate("server"), far_side.check),
    (to_translate("targets"), forward_targets.check),
    (to_translate("roaming"), roaming.check),
    (to_translate("roaming port"), roaming_port.check),
    (to_translate("desktop"), desk.check),
    (to_translate("network"), network.check),
    (to_translate("VPNs"), vpns.check),
    (to_translate("start at login"), login.check),
    (to_translate("files"), own_files.check),
)


async def examine(file_paths: FilePaths, env: Mapping[str, str] = os.environ) -> list[Result]:
    """Return the results of all checks in the order of CHECKS, within 10 s; never raises."""
    case = await gather(file_paths, env)
    found = await asyncio.gather(*(carry_out(topic, check, case) for topic, check in CHECKS))
    return _without_duplicates(found)


async def carry_out(topic: str, check: Check, case: Case, deadline_s: float = CHECK_S) -> Result:
    """Return the findings of one check, or a finding that the check failed or took too long."""
    try:
        async with asyncio.timeout(deadline_s):
            return Result(topic, tuple(await check(case)))
    except TimeoutError:
        finding = advice(
            "check-late",
            f"“{topic}” could not be checked within {deadline_s:g} s",
            "A bus, a file system or a server that the check needs does not answer.",
            "Run `trayagent doctor` again. The other checks are not affected.",
        )
    except NetlinkError as error:
        finding = advice(
            "check-blind",
            f"“{topic}” could not be checked: the kernel does not report listening sockets",
            f"{error}.",
            "Let trayagent use AF_NETLINK: RestrictAddressFamilies of its unit, or the sandbox around it.",
        )
    except Exception as error:  # a bug in one check must not stop the others
        finding = advice(
            "check-failed",
            f"“{topic}” could not be checked: {type(error).__name__}: {error}",
            "This is a bug in trayagent, not in your setup. The other checks are not affected.",
            "Please report it, with this line.",
        )
    return Result(topic, (finding,))


def _without_duplicates(results: list[Result]) -> list[Result]:
    """Drop a finding from the agent's view of a host if a check found the same problem: the check has more detail."""
    exact = {(f.host, f.code) for r in results if r.topic != "hosts" for f in r.findings if f.host}
    return [
        Result(r.topic, tuple(f for f in r.findings if r.topic != "hosts" or (f.host, f.code) not in exact))
        for r in results
    ]
