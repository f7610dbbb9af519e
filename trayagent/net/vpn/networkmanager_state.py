"""Collect what NetworkManager has reported, and derive facts from it; pure.

Signals update what was read at the start. An active connection exists as long as its object. When it ends, `Picture`
keeps the reason by UUID, until that connection starts again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from trayagent.core.facts.network_manager import Link, ManagerFacts, NetworkName, VpnConnection
from trayagent.net.captive_portal import connectivity
from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_parse import Complain, Properties, Reader

NO_PATH = ("", "/")


class Question(Struct, frozen=True):
    """What to query about an active connection: its interface and, for Wi-Fi, its SSID.

    A new query is sent if the question differs from the last answered one. If `configs` is None, the interface is that
    of the first of `devices`. Otherwise it is that of the device with one of these IP configurations.
    """

    path: str
    devices: tuple[str, ...]
    configs: frozenset[str] | None = None
    access_point: str = ""


class _Ending(Struct):
    """How a connection ended. `path` identifies the plug-in that may still report the reason."""

    path: str
    name: str
    reason: int
    login_failed: bool
    kind: str


class _Active(Struct):
    properties: dict[str, Any] = field(default_factory=dict)
    login_failed: bool = False
    answered: Question | None = None
    interface: str | None = None
    ssid: str | None = None
    metered: int = words.METERED_UNKNOWN


class Picture:
    """The state of one run of NetworkManager."""

    def __init__(self, complain: Complain) -> None:
        self.complain = complain
        self.read = Reader(complain)
        self._root: dict[str, Any] = {}
        self._active: dict[str, _Active] = {}
        self._endings: dict[str, _Ending] = {}

    # -- reports ------------------------------------------------------------------------------------

    def root_changed(self, properties: Properties) -> None:
        """Store properties of the manager itself."""
        self._root.update(properties)

    def active_changed(self, path: str, properties: Properties) -> None:
        """Store properties of an active connection, known or new."""
        self._active.setdefault(path, _Active()).properties.update(properties)

    def active_state(self, path: str, state: int, reason: int) -> None:
        """Store the signal StateChanged of an active connection."""
        active = self._active.get(path)
        if active is None:
            return
        active.properties["State"] = state
        uuid = self.read.text(active.properties, "Uuid")
        if state in {words.DEACTIVATING, words.DEACTIVATED}:
            self._end(path, active, reason)
        elif self._is_vpn(active):
            self._endings.pop(uuid, None)

    def active_removed(self, path: str) -> None:
        """Drop an active connection whose object is gone. Without a reported reason it is simply down."""
        self._active.pop(path, None)

    def login_failed(self, path: str | None) -> None:
        """Store that the VPN server refused the login for this active connection, as its plug-in reported.

        `path` is None for an older plug-in, which serves one connection at a time and does not name it.
        """
        for own, active in self._active.items():
            connecting = self._is_vpn(active) and self._state(active) == words.ACTIVATING
            if own == path or (path is None and connecting):
                active.login_failed = True
        for ending in self._endings.values():
            if ending.path == path:
                ending.login_failed = True

    def metered_changed(self, device: str, properties: Properties) -> None:
        """Store whether the traffic of a device costs money."""
        for active in self._active.values():
            if active.answered is not None and active.answered.devices[:1] == (device,):
                active.metered = self.read.number(properties, "Metered")

    def answer(self, question: Question, interface: str | None, ssid: str | None, metered: int) -> None:
        """Store the answer for an active connection."""
        active = self._active.get(question.path)
        if active is not None:
            active.answered, active.interface, active.ssid = question, interface, ssid
            active.metered = metered

    # -- conclusions --------------------------------------------------------------------------------

    def active_paths(self) -> tuple[str, ...]:
        """Return the paths of all active connections."""
        return self.read.texts(self._root, "ActiveConnections")

    def open_questions(self) -> list[Question]:
        """Return the questions that need an answer now."""
        found = []
        for path, active in self._active.items():
            if self._is_loopback(active) or self._state(active) != words.ACTIVATED:
                continue
            question = self._question(path, active)
            if question != active.answered:
                found.append(question)
        return found

    def facts(self) -> ManagerFacts:
        """Return all facts."""
        living = [self._living(active) for active in self._active.values() if self._is_vpn(active)]
        shown = [vpn for vpn in living if vpn is not None]
        known = {vpn.uuid for vpn in shown}
        shown += [self._ended(uuid, end) for uuid, end in self._endings.items() if uuid not in known]
        return ManagerFacts(
            running=True,
            connectivity=connectivity(self.read.number(self._root, "Connectivity")),
            network=self._network(),
            vpns=tuple(sorted(shown, key=lambda vpn: (vpn.name, vpn.uuid))),
            links=tuple(sorted(self._links(), key=lambda link: link.interface)),
        )

    def _links(self) -> Iterator[Link]:
        """Yield the interfaces with an active connection that is no VPN."""
        for active in self._active.values():
            name, interface = self.read.text(active.properties, "Id"), active.interface
            if self._is_vpn(active) or not name or not interface or self._state(active) != words.ACTIVATED:
                continue
            known = active.metered != words.METERED_UNKNOWN
            metered = active.metered not in words.UNMETERED if known else None
            yield Link(interface, NetworkName(name, active.ssid, interface), metered)

    def _living(self, active: _Active) -> VpnConnection | None:
        """Return the VPN of an active connection if it is up or connecting, None if it has ended."""
        state, uuid = self._state(active), self.read.text(active.properties, "Uuid")
        name = self.read.text(active.properties, "Id")
        if not uuid or state not in {words.ACTIVATING, words.ACTIVATED}:
            return None
        if state == words.ACTIVATED:
            return VpnConnection(name, uuid, "up", active.interface)
        needs_secret = self.read.number(active.properties, "VpnState") == words.NEED_AUTH
        return VpnConnection(name, uuid, "connecting", needs_secret=needs_secret)

    def _ended(self, uuid: str, end: _Ending) -> VpnConnection:
        state = words.how_it_ended(end.reason, login_failed=end.login_failed)
        by_user = words.ended_by_user(end.kind, end.reason)
        return VpnConnection(end.name, uuid, state, reason=end.reason, by_user=by_user)

    def _network_path(self) -> str:
        """Return the path of the connection that carries the default route; for a VPN, that of its underlay."""
        path = self.read.text(self._root, "PrimaryConnection")
        seen = {path}
        while (active := self._active.get(path)) and self.read.text(active.properties, "Type") == "vpn":
            path = self.read.text(active.properties, "SpecificObject")
            if path in seen:  # the paths form a ring
                return ""
            seen.add(path)
        return path

    def _network(self) -> NetworkName | None:
        active = self._active.get(self._network_path())
        name = self.read.text(active.properties, "Id") if active else ""
        return NetworkName(name, active.ssid, active.interface) if active and name else None

    def _question(self, path: str, active: _Active) -> Question:
        properties, kind = active.properties, self.read.text(active.properties, "Type")
        if kind != "vpn":
            point = self.read.text(properties, "SpecificObject") if kind == words.WIFI else ""
            return Question(path, self.read.texts(properties, "Devices"), access_point=point)
        # The connection's devices are its underlay, not the plug-in's tunnel. The tunnel is the device with the
        # connection's IP configuration. Once the tunnel is found, other devices may come and go.
        configs = {self.read.text(properties, key) for key in ("Ip4Config", "Ip6Config")}
        found = active.answered if active.interface is not None else None
        devices = self.read.texts(self._root, "Devices") if found is None else found.devices
        return Question(path, devices, frozenset(configs.difference(NO_PATH)))

    def _is_loopback(self, active: _Active) -> bool:
        return self.read.text(active.properties, "Type") == words.LOOPBACK

    def _is_vpn(self, active: _Active) -> bool:
        return self.read.text(active.properties, "Type") in words.VPN_TYPES

    def _state(self, active: _Active) -> int:
        return self.read.number(active.properties, "State")

    def _end(self, path: str, active: _Active, reason: int) -> None:
        """Store how a VPN ended; of two signals about one end (deactivating, deactivated) the last one counts."""
        uuid = self.read.text(active.properties, "Uuid")
        if uuid and self._is_vpn(active):
            name = self.read.text(active.properties, "Id")
            kind = self.read.text(active.properties, "Type")
            self._endings[uuid] = _Ending(path, name, reason, active.login_failed, kind)
