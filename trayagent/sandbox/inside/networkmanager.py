"""A program that runs a separate NetworkManager for the laptop: a bus, the daemon, private system folders.

Usage: networkmanager.py FOLDER [UNPACKED]

FOLDER holds `NetworkManager/` (configuration and profiles); the bus listens on FOLDER/bus. UNPACKED is a
folder whose usr/ has the programs, if the machine itself lacks them. Prints {} when the bus listens and the
daemon was started, or {"errno", "error"}. Obeys JSON lines on stdin: {"signal": NUMBER} sends the daemon a
signal, {"start": true} starts it again after it ended. The daemon's output is appended to FOLDER/log. At the
end of stdin, the program ends the daemon and the bus.

The program has its own mount namespace. There the bus and the VPN plug-in's helper are at their usual paths,
because openvpn clears the environment that could name other paths.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18,
)  # fmt: skip
END_DEADLINE_S = 5.0
# By default, the VPN plug-in runs openvpn with an account and in a folder that only an installed package
# creates.
NO_OTHER_USER = {"NM_OPENVPN_USER": "", "NM_OPENVPN_GROUP": "", "NM_OPENVPN_CHROOT": ""}

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <listen>unix:path={folder}/bus</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
"""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount; raises OSError that names the target."""
    words = [word.encode() if word is not None else None for word in (source, target, kind, data)]
    if _libc.mount(*words[:3], flags, words[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def show_own_folders(folder: Path, unpacked: str | None) -> None:
    """Enter a mount namespace in which the system's folders that NetworkManager uses are private."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount namespace: {os.strerror(number)}")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    if unpacked is not None:
        # The machine's own files come first: only missing ones are added.
        mount("lab", "/usr", "overlay", MS_RDONLY, f"lowerdir=/usr:{unpacked}/usr")
    if not Path("/etc/NetworkManager").is_dir():
        skeleton = folder / "etc"
        (skeleton / "NetworkManager").mkdir(parents=True)
        mount("lab", "/etc", "overlay", MS_RDONLY, f"lowerdir=/etc:{skeleton}")
    mount(str(folder / "NetworkManager"), "/etc/NetworkManager", None, MS_BIND)
    for target in ("/run", "/var/lib"):
        mount("lab", target, "tmpfs", MS_NOSUID | MS_NODEV)
    for name in ("/run/dbus", "/run/NetworkManager", "/var/lib/NetworkManager"):
        Path(name).mkdir()
    # From a read-only /sys, NetworkManager concludes that no udev will announce its links.
    try:
        mount("lab", "/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:  # some containers forbid a second sysfs
        mount("none", "/sys", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def start_bus(folder: Path) -> subprocess.Popen[bytes]:
    """Start the bus, and return when it listens."""
    config = folder / "bus.conf"
    config.write_text(BUS_CONFIG.format(folder=folder))
    words = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
    bus = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert bus.stdout  # noqa: S101 - it is a pipe
    if not bus.stdout.readline():
        raise OSError(0, "dbus-daemon ended before it listened")
    return bus


def start_daemon(folder: Path) -> subprocess.Popen[bytes]:
    """Start NetworkManager."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["NetworkManager", "--debug"],  # --debug: stay in the foreground and log to stderr
            env={**os.environ, **NO_OTHER_USER},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def obey(folder: Path, daemon: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Carry out orders until stdin ends; return the last daemon."""
    for line in sys.stdin:
        order = json.loads(line)
        if "signal" in order:
            daemon.send_signal(order["signal"])
            daemon.wait()
        if order.get("start"):
            daemon = start_daemon(folder)
        os.write(1, b"{}\n")
    return daemon


def main() -> None:
    """Build the folders, start the programs, obey orders, and end the programs."""
    folder = Path(sys.argv[1])
    running: list[subprocess.Popen[bytes]] = []
    try:
        show_own_folders(folder, sys.argv[2] if len(sys.argv) > 2 else None)
        running.append(start_bus(folder))
        running.append(start_daemon(folder))
    except OSError as error:
        os.write(1, json.dumps({"errno": error.errno, "error": str(error)}).encode() + b"\n")
    else:
        os.write(1, b"{}\n")
        running[1] = obey(folder, running[1])
    for child in reversed(running):
        # end the daemon before the bus, because it needs the bus to take its VPNs down
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_DEADLINE_S)
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()
