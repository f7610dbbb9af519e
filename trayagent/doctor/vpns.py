"""Checks the configured VPNs: whether the agent can determine their state and can start a sign-in."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from trayagent.config.model import Vpn
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.system_bus import BusUnusableError, system_bus
from trayagent.dotted_key import dotted
from trayagent.errors import TrayagentError
from trayagent.net.choose_sources import look
from trayagent.net.vpn.networkmanager_activate import Profile, vpn_profiles


async def check(case: Case) -> Iterable[Finding]:
    """Report VPNs whose state cannot be determined, and VPNs without a working sign-in."""
    vpns = case.config.vpns
    if not vpns:
        return []
    found = [*_programs(vpns)]
    if any(vpn.networkmanager is not None for vpn in vpns.values()):
        found += await _known(case)
    return found or [ok(f"{', '.join(vpns)}: their state is known")]


def _programs(vpns: dict[str, Vpn]) -> Iterator[Finding]:
    for name, vpn in vpns.items():
        if vpn.sign_in is None:
            if vpn.networkmanager is None:
                title = f"VPN {name}: the configuration does not say how to sign in"
                why = "When it needs you to sign in, the menu and the notification have no button for that."
                line = f'sign_in = ["…"]   # in [{dotted("vpns", name)}]'
                yield advice("sign-in-none", title, why, "Add the program that connects it:", line)
        elif shutil.which(str(Path(vpn.sign_in[0]).expanduser())) is None:
            # Show only the program, because its arguments may hold a secret.
            title = f"VPN {name}: the program of sign_in is not there: {vpn.sign_in[0]}"
            yield problem("sign-in-missing", title, "“Sign in” fails.", "Install it, or correct the name.")


async def _known(case: Case) -> list[Finding]:
    """Check that NetworkManager knows the configured names."""
    wishes = {n: v for n, v in case.config.vpns.items() if v.networkmanager is not None}
    try:
        if not look().logind and "DBUS_SYSTEM_BUS_ADDRESS" not in case.env:
            raise BusUnusableError("there is no system bus")
        async with system_bus(case.env) as bus:
            profiles = await vpn_profiles(bus)
    except (BusUnusableError, TrayagentError) as error:
        return [_unasked(name, vpn, error) for name, vpn in wishes.items()]
    return [_unknown(n, v, profiles) for n, v in wishes.items() if not _is_among(v, profiles)]


def _is_among(vpn: Vpn, profiles: list[Profile]) -> bool:
    return any(vpn.networkmanager in (profile.name, profile.uuid) for profile in profiles)


def _unasked(name: str, vpn: Vpn, error: Exception) -> Finding:
    title = f"VPN {name}: NetworkManager does not answer: {getattr(error, 'title', error)}"
    remedy = "Start it, or set `interface` and `sign_in` for the VPN instead:"
    line = "sudo systemctl start NetworkManager"
    if vpn.interface is not None:
        why = "The agent detects by the interface whether this VPN is up, but cannot start a sign-in."
        return advice("networkmanager-missing", title, why, remedy, line)
    return problem(
        "networkmanager-missing", title, "The agent cannot detect whether this VPN is up.", remedy, line
    )


def _unknown(name: str, vpn: Vpn, profiles: list[Profile]) -> Finding:
    title = f'VPN {name}: NetworkManager has no VPN connection "{vpn.networkmanager}"'
    known = ", ".join(sorted(f'"{profile.name}"' for profile in profiles)) or "none"
    why = (
        "The agent cannot detect whether this VPN is up."
        if vpn.interface is None
        else "“Sign in” cannot start it."
    )
    table = dotted("vpns", name)
    return problem("vpn-unknown", title, why, f"Correct `networkmanager` in [{table}]. It has: {known}")
