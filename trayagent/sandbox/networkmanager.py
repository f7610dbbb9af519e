"""A real NetworkManager in the laptop: it configures addresses, and brings VPNs up and down."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.lab import Lab
from trayagent.sandbox.lab_tools import search_path, tool
from trayagent.sandbox.openvpn import OpenVpn

OPENVPN_PLUGIN = "nm-openvpn-service"
PLUGIN_DESCRIPTIONS = "/usr/lib/NetworkManager/VPN"
PLUGIN_FOLDERS = ("/usr/lib/NetworkManager", "/usr/libexec")  # of Debian 12, and of Debian 13
READY_DEADLINE_S = 30.0

CONFIG = """[main]
plugins=keyfile
dns=none
rc-manager=unmanaged
hostname-mode=none
auth-polkit=false
no-auto-default=*
[connectivity]
{connectivity}
[logging]
domains=ALL,VPN:DEBUG
"""
LAN_PROFILE = """[connection]
id={name}
uuid={uuid}
type=ethernet
interface-name={interface}
autoconnect=false
[ipv4]
method=manual
address1={address}/{prefix_len},{gateway}
route-metric={metric}
[ipv6]
method=disabled
"""
VPN_PROFILE = """[connection]
id={name}
uuid={uuid}
type=vpn
autoconnect=false
[vpn]
service-type=org.freedesktop.NetworkManager.openvpn
connection-type=password
remote={remote}
ca={ca}
username={user}
password-flags={flags}
{secrets}[ipv4]
method=auto
never-default=true
[ipv6]
method=disabled
"""
# NM_SETTING_SECRET_FLAG_NOT_SAVED: NetworkManager requests the password from a secret agent each time
NOT_SAVED = 2


class NetworkManager:
    """A NetworkManager with its own system bus, in a laboratory's laptop.

    Use its `join` instead of the laboratory's. NetworkManager ends with the laboratory. Raises
    TrayagentError: tool-missing; sandbox-forbidden where the required mounts are not allowed; sandbox-broken.
    """

    def __init__(self, lab: Lab, *, portal_url: str | None = None) -> None:
        """Start NetworkManager.

        It checks with `portal_url` whether the internet is reachable, or not at all if that is None.
        """
        for name in ("dbus-daemon", "NetworkManager", "nmcli"):
            tool(name)
        self._lab = lab
        self.folder = lab.files.root / "nm"
        self.bus_address = f"unix:path={self.folder}/bus"
        self._profiles = self.folder / "NetworkManager" / "system-connections"
        self._profiles.mkdir(parents=True, mode=0o700)
        check = f"uri={portal_url}\nresponse=online\ninterval=5" if portal_url else "enabled=false"
        (self.folder / "NetworkManager" / "NetworkManager.conf").write_text(CONFIG.format(connectivity=check))
        unpacked = [folder] if (folder := _unpacked()) else []
        self._describe_plugins(*(Path(f"{root}{PLUGIN_DESCRIPTIONS}") for root in ("", *unpacked)))
        words = [str(self.folder), *unpacked]
        self._program = Program(lab.laptop, "networkmanager", *words, admin=True)
        if "error" in self._program.first:
            raise TrayagentError(
                f"NetworkManager cannot have folders of its own: {self._program.first['error']}",
                code="sandbox-forbidden",
            )
        self._wait_ready()

    def nmcli(self, *words: str, deadline_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run nmcli in the laptop and return its output, whatever its exit status is."""
        return self._lab.laptop.run(
            ["nmcli", *words],
            admin=True,
            env={"DBUS_SYSTEM_BUS_ADDRESS": self.bus_address},
            deadline_s=deadline_s,
        )

    def check(self, *words: str) -> str:
        """Run nmcli, which must succeed, and return its output."""
        done = self.nmcli(*words)
        if done.returncode != 0:
            what = f"`nmcli {' '.join(words)}` failed: {done.stderr.strip()}"
            raise TrayagentError(what, code="sandbox-broken", hint=self.log()[-2000:])
        return done.stdout

    def join(self, network: str, *, interface: str = "wlan0") -> str:
        """Plug into a network and make NetworkManager bring it up; return the connection's name."""
        place, name = plan.NETWORKS[network], f"{network} network"
        self._lab.plug(network, interface=interface)
        self._add(
            name,
            LAN_PROFILE.format(
                name=name,
                uuid=uuid.uuid4(),
                interface=interface,
                address=place.laptop,
                prefix_len=place.prefix_len,
                gateway=place.gateway,
                metric=plan.METRICS[interface],
            ),
        )
        self.check("connection", "up", name)
        return name

    def add_vpn(self, name: str, server: OpenVpn, *, password: str | None) -> str:
        """Add a VPN connection and return its uuid.

        If `password` is None, a secret agent has to provide the password.
        """
        if not any(Path(folder, OPENVPN_PLUGIN).exists() for folder in PLUGIN_FOLDERS):
            tool(OPENVPN_PLUGIN)
        made = str(uuid.uuid4())
        secrets = "" if password is None else f"[vpn-secrets]\npassword={password}\n"
        profile = VPN_PROFILE.format(
            name=name,
            uuid=made,
            remote=server.remote,
            ca=server.ca,
            user=server.user,
            flags=NOT_SAVED if password is None else 0,
            secrets=secrets,
        )
        self._add(name, profile)
        return made

    def up(self, name: str, *, password: str | None = None) -> subprocess.CompletedProcess[str]:
        """Bring a connection up, as a user would. A `password` comes from a secret agent (nmcli's own)."""
        if password is None:
            return self.nmcli("connection", "up", name)
        given = self.folder / "given"
        given.write_text(f"vpn.secrets.password:{password}\n")
        return self.nmcli("connection", "up", name, "passwd-file", str(given))

    def down(self, name: str) -> None:
        """Take a connection down, as a user would."""
        self.check("connection", "down", name)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the daemon (with SIGKILL: as in a crash) and return when it is gone. The bus stays."""
        self._program.ask({"signal": number})

    def start(self) -> None:
        """Start the daemon again, and return when it answers."""
        self._program.ask({"start": True})
        self._wait_ready()

    def log(self) -> str:
        """Return the daemon's log."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _describe_plugins(self, *folders: Path) -> None:
        """Copy the descriptions of NetworkManager's VPN plug-ins, if there are any.

        NetworkManager accepts only files of root. In the laboratory, the files of the ordinary user appear as
        root's, but the machine's files do not.
        """
        for folder in folders:
            if folder.is_dir():
                shutil.copytree(folder, self.folder / "NetworkManager" / "VPN", dirs_exist_ok=True)

    def _add(self, name: str, profile: str) -> None:
        path = self._profiles / f"{name}.nmconnection"
        path.touch(mode=0o600)
        path.write_text(profile)
        self.check("connection", "load", f"/etc/NetworkManager/system-connections/{path.name}")

    def _wait_ready(self) -> None:
        limit = time.monotonic() + READY_DEADLINE_S
        while (output := self.nmcli("-t", "-f", "RUNNING", "general")).stdout.strip() != "running":
            if time.monotonic() > limit:
                what = f"NetworkManager does not answer: {output.stderr.strip() or output.stdout.strip()}"
                raise TrayagentError(what, code="sandbox-broken", hint=self.log()[-2000:])
            time.sleep(0.02)


def _unpacked() -> str | None:
    """Return the folder with unpacked programs, or None if all of them are installed."""
    for name in ("NetworkManager", OPENVPN_PLUGIN):
        found = shutil.which(name, path=search_path())
        if found is not None and not found.startswith("/usr/"):
            return str(Path(found).parent.parent)
    return None
