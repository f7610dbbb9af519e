"""Checks which sources of network changes are available: the kernel, logind, NetworkManager."""

from __future__ import annotations

from collections.abc import Iterable

from trayagent.doctor.findings import Finding, advice, ok
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.system_bus import BusUnusableError, system_bus
from trayagent.net.choose_sources import look

LOGIND = "org.freedesktop.login1"
NETWORKMANAGER = "org.freedesktop.NetworkManager"


async def check(case: Case) -> Iterable[Finding]:
    """Report which sources are available, and which changes the agent notices late or never."""
    found: list[Finding] = []
    here = look()
    if here.platform.startswith("linux") and not here.netlink:
        why = "The agent checks for changes from time to time instead of learning of them at once."
        remedy = "Allow AF_NETLINK where the agent runs: RestrictAddressFamilies of its unit, or the sandbox around it."
        found.append(advice("no-netlink", "The kernel does not report network changes", why, remedy))
    if here.platform == "darwin":
        return [ok("the kernel's routing socket, which also shows a wake")]
    no_logind = (
        "The agent detects a wake from sleep by the clock, a little later. Everything else works the same."
    )
    if not here.logind:
        return found or [
            ok("the kernel reports changes; there is no system bus for logind and NetworkManager", no_logind)
        ]
    try:
        async with system_bus(case.env) as bus:
            logind = await bus.owner(LOGIND) is not None
            manager = await bus.owner(NETWORKMANAGER) is not None
    except BusUnusableError as error:
        title = f"The system bus cannot be used: {error}"
        remedy = "To see what is wrong:"
        found.append(advice("no-system-bus", title, no_logind, remedy, "systemctl status dbus"))
        return found
    present = [*(["logind"] if logind else []), *(["NetworkManager"] if manager else [])]
    absent = [*([] if logind else ["logind"]), *([] if manager else ["NetworkManager"])]
    title = f"the kernel, {', '.join(present)}" if present else "the kernel"
    if absent:
        title = f"{title} (not here: {' and '.join(absent)})"
    return found or [ok(title, "" if logind else no_logind)]
