"""Finds the laboratory's tools, and explains how to fix a missing tool or a kernel that forbids namespaces."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from pathlib import Path

from trayagent.errors import TrayagentError

PACKAGES = {
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "NetworkManager": "network-manager",
    "nmcli": "network-manager",
    "nm-openvpn-service": "network-manager-openvpn",
}
# Package managers of other systems, with the names that differ from Debian's. Only apt-get was tried.
OTHER_NAMES = {
    "dnf install": {
        "openssh-client": "openssh-clients",
        "iproute2": "iproute",
        "network-manager": "NetworkManager",
        "network-manager-openvpn": "NetworkManager-openvpn",
    },
    "zypper install": {
        "openssh-client": "openssh-clients",
        "network-manager": "NetworkManager",
        "network-manager-openvpn": "NetworkManager-openvpn",
    },
    "pacman -S": {
        "openssh-client": "openssh",
        "openssh-server": "openssh",
        "network-manager": "networkmanager",
        "network-manager-openvpn": "networkmanager-openvpn",
    },
}
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
REQUIRED = ("ssh", "ssh-keygen", "sshd", "ip", "nsenter")

# Settings that forbid namespaces to an ordinary user: the file, the forbidding value, and how to fix the setting.
SWITCHES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
)

SELINUX = "/sys/fs/selinux/enforce"


def search_path() -> str:
    """Return PATH with the folders of system tools, which a user's PATH on Debian lacks."""
    words = [*os.environ.get("PATH", os.defpath).split(":"), *SYSTEM_FOLDERS]
    return ":".join(dict.fromkeys(word for word in words if word))


def tool(name: str) -> str:
    """Return the absolute path of a tool. Raises TrayagentError (tool-missing) that names the package."""
    found = shutil.which(name, path=search_path())
    if found is None:
        raise TrayagentError(
            f"the sandbox needs `{name}`, which is not installed",
            code="tool-missing",
            hint=f"Install it: {how_to_install(name)}",
        )
    return found


def how_to_install(*names: str) -> str:
    """Return the command that installs these tools with this machine's package manager."""
    packages = {PACKAGES.get(name, name) for name in names}
    managers = ["apt-get install", *OTHER_NAMES]
    found = (one for one in managers if shutil.which(one.split()[0], path=search_path()))
    command = next(found, managers[0])
    own_names = OTHER_NAMES.get(command, {})
    packages = {own_names.get(package, package) for package in packages}
    return f"sudo {command} {' '.join(sorted(packages))}"


def missing() -> list[str]:
    """Return the names of the required tools that are not installed."""
    return [name for name in REQUIRED if shutil.which(name, path=search_path()) is None]


def forbidden(number: int, text: str) -> TrayagentError:
    """Return the error that explains why the kernel refused the namespaces, and how to fix it."""
    remedies = [remedy for path, value, remedy in SWITCHES if _reads(path, value)]
    if remedies:
        hint = f"Until the next boot this allows it: {'; '.join(remedies)} - or run this with sudo."
    elif platform.release().endswith("-Microsoft"):  # WSL 2 ends in -microsoft-standard-WSL2
        hint = "WSL 1 has no namespaces. In Windows, change to WSL 2: wsl --set-version DISTRIBUTION 2"
    elif number == errno.EACCES and _reads(SELINUX, "1"):
        hint = (
            "SELinux may forbid it to this user: `sudo ausearch -m avc -ts recent` shows the rule. "
            "Run this as an unconfined user, or with sudo."
        )
    elif number in (errno.EPERM, errno.ENOSPC, errno.EACCES):
        hint = "In a container, start the container with --privileged; elsewhere run this with sudo."
    else:
        hint = "The kernel needs user, network and mount namespaces."
    title = f"this machine does not let a user create network namespaces ({text})"
    return TrayagentError(title, code="sandbox-forbidden", hint=hint)


def _reads(path: str, value: str) -> bool:
    try:
        return Path(path).read_text().strip() == value
    except OSError:
        return False


def other_ssh_programs() -> list[str]:
    """Return the paths of other versions of ssh. TRAYAGENT_OTHER_SSH lists them, separated as in PATH."""
    return [path for path in os.environ.get("TRAYAGENT_OTHER_SSH", "").split(":") if path]
