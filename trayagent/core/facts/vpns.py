"""A VPN as configured, and what was observed of it; frozen data."""

from __future__ import annotations

from msgspec import Struct


class Vpn(Struct, frozen=True):
    """A VPN as configured. `interface` is a glob, or None if only the network manager knows the VPN's state."""

    name: str
    interface: str | None
    networkmanager: str | None = None
    grace_s: float = 8.0


class VpnObservation(Struct, frozen=True):
    """What was observed of a VPN.

    `was_up`: it was up before. `missed_at`: since when it has been down on a working network. `connecting_at` is when
    it first tried to come up after `missed_at`, with its secret known. Later tries do not change that time.
    `needs_secret`: the network manager waits for the secret. `sign_in_failure` explains why the last sign-in failed.
    """

    was_up: bool = False
    missed_at: float | None = None
    connecting_at: float | None = None
    needs_secret: bool = False
    sign_in_failure: str = ""
