"""The laboratory's folder: homes, keys and the few system files that replace the machine's own.

ssh takes `~` from /etc/passwd and not from HOME. So the laptop and the server have their own /etc/passwd, in
which the user's home is the laboratory's. Plain `ssh web` then finds the laboratory's ~/.ssh, and never the
user's own keys and configuration. The sessions of sshd start in a separate home.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.lab_tools import REQUIRED, missing, search_path, tool

# Variables of the terminal and the display, but none that leads to the user's own ssh-agent or session bus.
PASSED_ON = ("TERM", "COLORTERM", "DISPLAY", "XAUTHORITY")

_SAME_EVERYWHERE = ("hosts", "resolv.conf", "nsswitch.conf", "machine-id")
_MACHINES_JOBS = ("/etc/systemd", "/etc/cron.d")

# The laboratory is in /tmp, because that path is short on every machine. The server has its own /tmp.
TMP = "/tmp"  # noqa: S108 - only mkdtemp creates something in it


class Files:
    """Paths below one short folder, because a control path must fit into the 108 bytes of a Unix socket's address."""

    def __init__(self) -> None:
        self.user = _user_name()
        self.root = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
        self.home = self.root / "home"
        self.ssh = self.home / ".ssh"
        self.runtime = self.root / "run"
        self.far_home = self.root / "far"
        self.far = self.root / "sshd"
        self.far_tmp = self.root / "tmp"
        self.key = self.ssh / "id_ed25519"
        self.authorized_keys = self.far / "authorized_keys"
        self.known_hosts = self.ssh / "known_hosts"
        self._lacking = self.root / "lacking"

    def write(self) -> None:
        """Create the folders, the user's key pair and the system files."""
        etc = self.root / "etc"
        for folder in (self.home, self.ssh, self.runtime, self.far_home, self.far, self.far_tmp, etc):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.far_tmp.chmod(0o1777)
        keygen(self.key)
        shutil.copy(self.key.with_suffix(".pub"), self.authorized_keys)
        self.known_hosts.touch(mode=0o600)
        (etc / "passwd-laptop").write_text(_passwd(self.home))
        (etc / "passwd-far").write_text(_passwd(self.far_home))
        (etc / "group").write_text(_groups())
        (etc / "shadow").write_text(f"{self.user}:*:19000:0:99999:7:::\n")
        names = {"127.0.0.1": "localhost", "::1": "localhost", **plan.HOSTS}
        (etc / "hosts").write_text("".join(f"{ip} {name}\n" for ip, name in names.items()))
        (etc / "resolv.conf").write_text(f"nameserver {plan.NAME_SERVER}\noptions timeout:1 attempts:1\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (etc / "ssh_config").write_text("")
        self._lacking.mkdir()
        for name in _lacking():
            (self._lacking / name).touch()
        (etc / "pam.d").mkdir(exist_ok=True)  # without a file there, PAM accepts no login

    def laptop_mounts(self) -> list[list[str]]:
        """Return the mount steps of the laptop. The machine's units and crontabs are hidden from it."""
        emptied = [["tmpfs", "lab", folder] for folder in _MACHINES_JOBS if Path(folder).is_dir()]
        return [["sysfs", "lab", "/sys"], *self._covers("passwd-laptop"), *emptied]

    def far_mounts(self) -> list[list[str]]:
        """Return the mount steps of every other node.

        The other nodes get a private /tmp (for tmux and sshd's agent sockets), /run (sshd's folder, utmp) and
        /var/log (lastlog, wtmp), so that the machine's folders stay unchanged. Of the machine's /tmp, they
        see only the laboratory, our source, our Python and our tools.
        """
        seen: list[list[str]] = []
        for path in (str(self.root), *_programs_below(TMP)):
            inside = str(self.far_tmp) + path.removeprefix(TMP)
            seen += [["mkdir", "", inside], ["bind", path, inside]]
        return [
            *seen,
            ["bind", str(self.far_tmp), TMP],
            ["tmpfs", "lab", "/var/log"],
            ["tmpfs", "lab", "/run"],
            ["mkdir", "", "/run/sshd"],
            ["sysfs", "lab", "/sys"],
            *self._covers("passwd-far"),
            ["bind", self._etc("group"), "/etc/group"],
            ["bind", self._etc("shadow"), "/etc/shadow"],
            ["bind", self._etc("pam.d"), "/etc/pam.d"],
        ]

    def _covers(self, passwd: str) -> list[list[str]]:
        return [
            *([["overlay", str(self._lacking), "/etc"]] if _lacking() else []),
            ["bind", self._etc(passwd), "/etc/passwd"],
            # ssh_config includes files of root. A user namespace does not map that owner, and ssh refuses
            # such files.
            ["bind", self._etc("ssh_config"), "/etc/ssh/ssh_config"],
            *(["bind", self._etc(name), f"/etc/{name}"] for name in _SAME_EVERYWHERE),
        ]

    def _etc(self, name: str) -> str:
        return str(self.root / "etc" / name)

    def laptop_env(self) -> dict[str, str]:
        """Return the environment of the laptop's user."""
        return {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **self._env(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
        }

    def far_env(self) -> dict[str, str]:
        """Return the environment of programs on the server."""
        return self._env(self.far_home)

    def _env(self, home: Path) -> dict[str, str]:
        return {
            "HOME": str(home),
            "USER": self.user,
            "LOGNAME": self.user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": search_path(),
        }


def _groups() -> str:
    """Return the machine's groups without `tty`.

    sshd gives a session's terminal to that group, but a user namespace does not map it, and sshd ends the session. If
    there is no such group, sshd uses the user's own.
    """
    lines = Path("/etc/group").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("tty:"))


def _lacking() -> list[str]:
    """Return the files that the machine lacks and that the laboratory therefore cannot cover.

    A bare Debian has no hosts and no machine-id.
    """
    return [name for name in _SAME_EVERYWHERE if not Path("/etc", name).exists()]


def _programs_below(folder: str) -> list[str]:
    """Return our source, Python and tool folders that are below a folder, without those inside another of them."""
    paths = [Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)]
    paths += [Path(tool(name)).parent.parent for name in REQUIRED if name not in missing()]
    found: list[Path] = []
    for path in sorted({path.resolve() for path in paths}):
        # sorted: a folder comes before the folders inside it
        if path.is_relative_to(folder) and not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return [str(path) for path in found]


def keygen(path: Path) -> None:
    """Create an ed25519 key pair without a passphrase."""
    words = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # ssh-keygen -C: it would look up the user, who may have no name in a container
        return "user"


def _passwd(home: Path) -> str:
    """Return the machine's accounts, with the user's home, shell and locked password replaced."""
    uid, gid = os.getuid(), os.getgid()
    rows = [f"{_user_name()}:x:{uid}:{gid}:laboratory:{home}:/bin/bash"]
    others = (entry for entry in pwd.getpwall() if entry.pw_uid != uid and entry.pw_name != "sshd")
    rows += [":".join(map(str, entry)) for entry in others]
    # An sshd that runs as root drops its rights to this account.
    rows.append("sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin")
    return "\n".join(rows) + "\n"
