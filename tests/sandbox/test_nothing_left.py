from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trayagent
from tests.sandbox.run_demo import DEMO, WITHIN_S
from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab, lab_tools
from trayagent.sandbox.inside import holder

pytestmark = pytest.mark.lab

# A program that builds a laboratory with a server and a master in the background.
SCRIPT = """
import json, os, sys
from trayagent.sandbox import Lab
lab = Lab(rtt_ms=5)
lab.join("home")
lab.sshd()
lab.ssh_config({"web": {"HostName": "203.0.113.10"}}, ControlPath="~/.ssh/cm", ControlPersist="yes")
lab.laptop.run(["ssh", "-MNf", "web"])
master = lab.laptop.run(["ssh", "-O", "check", "web"])
told = {"networks": list(map(list, lab.networks)), "folder": str(lab.files.root), "uid": os.getuid(),
        "login": lab.laptop.run(["ssh", "web", "id -u; cat /proc/self/status | grep CapEff"]).stdout,
        "caps": lab.laptop.run(["sh", "-c", "ip link set wlan0 down"]).returncode,
        "master": "Master running" in master.stderr}
print(json.dumps(told), flush=True)
sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], deadline_s: float = 15.0) -> None:
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit, "not in time"
        threading.Event().wait(0.02)


def is_gone(networks: list[list[int]], folder: str) -> bool:
    """Report whether no process is left in the namespaces and the folder is removed."""
    return not holder.processes_in({(a, b) for a, b in networks}) and not Path(folder).exists()


def named_namespaces() -> list[Path]:
    """Return the namespaces that `ip netns` would list."""
    folder = Path("/run/netns")
    return sorted(folder.iterdir()) if folder.exists() else []


def test_closing_leaves_no_process_no_folder_no_interface(lab: Lab) -> None:
    """After close() all processes, files and interfaces are gone, also detached processes.

    A second close does nothing.
    """
    before, named = socket.if_nameindex(), named_namespaces()
    lab.join("home")
    lab.sshd()
    lab.laptop.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"])
    assert lab.laptop.pids()
    networks, folder = [list(n) for n in lab.networks], str(lab.files.root)
    lab.close()
    assert is_gone(networks, folder)
    assert socket.if_nameindex() == before
    assert named_namespaces() == named
    lab.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_builder_leaves_nothing(number: signal.Signals) -> None:
    """A builder that dies without a chance to clean up leaves no process and no folder."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with child:
        assert child.stdout
        told = json.loads(child.stdout.readline())
        assert told["master"]
        assert not is_gone(told["networks"], told["folder"])
        child.send_signal(number)
        child.wait(10)
    wait_until(lambda: is_gone(told["networks"], told["folder"]))


def test_a_half_built_laboratory_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a step of building fails, the earlier steps are undone."""
    made: list[str] = []
    real = lab_tools.tool

    def broken(name: str) -> str:
        return "/bin/false" if name == "nft" else real(name)

    monkeypatch.setattr("trayagent.sandbox.firewall.tool", broken)
    monkeypatch.setattr(
        "trayagent.sandbox.namespaces.shutil.rmtree", lambda path, **_: made.append(str(path))
    )
    with pytest.raises(TrayagentError, match="failed in home"):
        Lab()
    assert made == []  # the holder had already removed it


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `ip` the error names the package that has it."""
    monkeypatch.setattr("trayagent.sandbox.lab_tools.search_path", lambda: "/nonexistent")
    with pytest.raises(TrayagentError, match="apt-get install iproute2") as caught:
        Lab()
    assert caught.value.code == "tool-missing"


def test_a_forbidding_kernel_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the kernel forbids namespaces, the error names the setting, and how to change it."""
    switch = tmp_path / "switch"
    switch.write_text("1\n")
    monkeypatch.setattr(lab_tools, "SWITCHES", ((str(switch), "1", "sudo sysctl -w one.switch=0"),))
    error = lab_tools.forbidden(1, "Operation not permitted")
    assert error.code == "sandbox-forbidden"
    assert "sudo sysctl -w one.switch=0" in error.hint


@pytest.mark.parametrize(
    ("release", "enforcing", "number", "remedy"),
    [
        pytest.param("4.4.0-19041-Microsoft", "0", errno.EINVAL, "wsl --set-version", id="WSL 1"),
        pytest.param("6.6.87.2-microsoft-standard-WSL2", "0", errno.EPERM, "--privileged", id="WSL 2"),
        pytest.param("6.1.0", "1", errno.EACCES, "ausearch -m avc", id="SELinux"),
        pytest.param("6.1.0", "0", errno.EPERM, "--privileged", id="a container"),
    ],
)
def test_each_system_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, enforcing: str, number: int, remedy: str
) -> None:
    """The error names what forbids namespaces on this system, and how to change it."""
    (tmp_path / "enforce").write_text(f"{enforcing}\n")
    monkeypatch.setattr(lab_tools, "SELINUX", str(tmp_path / "enforce"))
    monkeypatch.setattr(lab_tools, "SWITCHES", ())
    monkeypatch.setattr("platform.release", lambda: release)
    assert remedy in lab_tools.forbidden(number, os.strerror(number)).hint


@pytest.mark.usefixtures("possible")
def test_the_demo_names_the_limit_that_forbids_namespaces_to_a_user() -> None:
    """If a user may create no user namespace, the demo names the setting and the command that changes it."""
    # The limit belongs to a user namespace. In a new one it can be changed without an effect on the machine.
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    words = [
        "unshare",
        "--user",
        "--map-user=1",  # daemon, who exists everywhere: ssh-keygen refuses a uid without a name
        "--map-group=1",
        "--keep-caps",
        "sh",
        "-c",
        script,
        "-",
    ]
    done = subprocess.run([*words, *DEMO], capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 1, done.stderr
    assert "does not let a user create network namespaces" in done.stderr
    assert "sudo sysctl -w user.max_user_namespaces=15000" in " ".join(done.stderr.split())


@pytest.mark.usefixtures("possible")
def test_a_kernel_without_nf_tables_is_named_with_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel knows no nf_tables, the error names the modules to load."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # gateways have their own /tmp
        Path(folder).chmod(0o755)
        refusing = Path(folder, "nft")
        refusing.write_text(
            "#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n"
        )
        refusing.chmod(0o755)
        monkeypatch.setattr("trayagent.sandbox.firewall.tool", lambda _: str(refusing))
        with pytest.raises(TrayagentError, match="not supported") as caught:
            Lab()
    assert caught.value.code == "sandbox-forbidden"
    assert "modprobe -a nf_tables" in caught.value.hint


def test_other_package_managers_are_named_with_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On Fedora the error names dnf, and its name of the package."""
    (tmp_path / "dnf").touch(mode=0o755)
    monkeypatch.setattr(lab_tools, "search_path", lambda: str(tmp_path))
    assert lab_tools.how_to_install("ip", "sshd") == "sudo dnf install iproute openssh-server"


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user runs the whole suite as one")
def test_an_ordinary_user_has_the_same_laboratory() -> None:
    """For the unprivileged user `nobody`, networks, sshd, a login and a master work, without any capability."""
    python = next((p for p in (sys.executable, "/usr/bin/python3") if usable(p)), None)
    if python is None:
        pytest.skip("no Python that an ordinary user may run")
    if subprocess.run([*AS_NOBODY, "test", "-x", lab_tools.tool("sshd")], check=False).returncode:
        pytest.skip("the tools were unpacked where an ordinary user may not go")
    # Not pytest's folder, because only its owner may enter it.
    with tempfile.TemporaryDirectory(prefix="trayagent-copy-") as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "trayagent"
        shutil.copytree(Path(trayagent.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
        told = told_by_nobody(python, folder.parent)
    assert told["uid"] == 65534
    assert told["master"]
    assert told["login"].split() == ["65534", "CapEff:", "0000000000000000"]
    assert told["caps"] != 0
    wait_until(lambda: is_gone(told["networks"], told["folder"]))


def told_by_nobody(python: str, source: Path) -> dict[str, Any]:
    """Run the script as the user `nobody`, and return its report."""
    words = [*AS_NOBODY, "env", f"PYTHONPATH={source}", "PYTHONDONTWRITEBYTECODE=1", python, "-c", SCRIPT]
    # Use another working directory, so that Python imports the copy. The copy is in /tmp, because the server has its
    # own /tmp.
    done = subprocess.run(words, input="", capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def usable(python: str) -> bool:
    """Report whether an ordinary user can run this Python, and whether it is new enough."""
    words = [*AS_NOBODY, "env", python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
