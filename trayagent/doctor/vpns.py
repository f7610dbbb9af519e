"""The configured VPNs: that somebody can tell their state, and that signing in can be started."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from trayagent.config.model import Vpn
from trayagent.doctor.context import Case
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.system_bus import BusUnusableError, system_bus
from trayagent.errors import TrayagentError
from trayagent.net.choose import look
from trayagent.net.vpn.networkmanager_activate import Profile, vpn_profiles


async def check(case: Case) -> Iterable[Finding]:
    """Say which VPN's state nobody can tell, and which cannot be signed in to."""
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
                title = f"VPN {name}: nothing says how to sign in to it"
                why = "When it asks for you, the menu and the message have no button."
                line = f'sign_in = ["…"]   # in [vpns.{name}]'
                yield advice("sign-in-none", title, why, "Name the program that brings it up:", line)
        elif shutil.which(str(Path(vpn.sign_in[0]).expanduser())) is None:
            # Only the program: what follows it may be a secret.
            title = f"VPN {name}: the program of sign_in is not there: {vpn.sign_in[0]}"
            yield problem("sign-in-missing", title, "“Sign in” fails.", "Install it, or correct the name.")


async def _known(case: Case) -> list[Finding]:
    """Compare the names with NetworkManager's own."""
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
    remedy = "Start it, or give the VPN's table `interface` and `sign_in` instead:"
    line = "sudo systemctl start NetworkManager"
    if vpn.interface is not None:
        why = "Its interface still tells whether it is up; who signs in to it is not known."
        return advice("networkmanager-missing", title, why, remedy, line)
    return problem("networkmanager-missing", title, "Nothing tells whether it is up.", remedy, line)


def _unknown(name: str, vpn: Vpn, profiles: list[Profile]) -> Finding:
    title = f'VPN {name}: NetworkManager has no VPN connection "{vpn.networkmanager}"'
    known = ", ".join(sorted(f'"{profile.name}"' for profile in profiles)) or "none"
    why = "Nothing tells whether it is up." if vpn.interface is None else "“Sign in” cannot start it."
    return problem("vpn-unknown", title, why, f"Correct `networkmanager` in [vpns.{name}]. It has: {known}")
