"""The Ansible role for many machines, run by the real Ansible over a real sshd in the sandbox."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trayagent import __version__
from trayagent.config.load_file import load
from trayagent.desktop.autostart.linux_systemd import Systemd
from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Lab
from trayagent.sandbox.network_map import SERVER

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "installers" / "fleet" / "roles" / "trayagent"
CONFIG: dict[str, Any] = {
    "agent": {"notify": "none", "history": "30d"},
    "hosts": {"control.example.net": {"remote": ["22221:localhost:22"], "reap": True}, "böx": {}},
    "vpns": {"corp": {"interface": "tun*", "sign_in": ["true", "a 'b' \\c"]}},
    "hooks": {"connected": ["/bin/true"]},
}  # fmt: skip

# Ansible and pip need more than a minute of processor time.
pytestmark = [pytest.mark.lab, pytest.mark.long]
needs_ansible = pytest.mark.skipif(
    shutil.which("ansible-playbook") is None, reason="`make fleet-check` gets Ansible and runs this"
)


class Boxes:
    """One machine that is managed from the laptop. All its files are in the sandbox's directory."""

    def __init__(self, lab: Lab, wheels: Path) -> None:
        self.lab = lab
        self._folder = lab.files.home
        self.home = lab.files.far_home
        self.root = self.home / ".local" / "share" / "trayagent"
        (self._folder / "boxes.ini").write_text(f"web01 ansible_python_interpreter={sys.executable}\n")
        self.vars: dict[str, Any] = {
            "trayagent_wheels": str(wheels),
            "trayagent_python": os.path.realpath(sys.executable),
            "trayagent_manage_system": False,
            "trayagent_config": CONFIG,
            "trayagent_textfile_folder": "/var/lib/node exporter",
            "trayagent_known_hosts": [
                {"name": "control.example.net", "key": f"control.example.net {_key()}"}
            ],
        }

    def play(self, **changed: Any) -> dict[str, int]:
        """Run the role. Return the number of tasks for each result."""
        self.vars |= changed
        return self._play({"roles": [{"role": str(ROLE)}]})

    def play_service(self, manager: Path, **changed: Any) -> dict[str, int]:
        """Run the role's part for the service manager, with the `systemctl` script of this folder."""
        self.vars |= changed
        tasks: list[dict[str, Any]] = [
            {"set_fact": {"service_mgr": "systemd", "cacheable": True}},
            {"include_role": {"name": str(ROLE), "tasks_from": "service.yml"}},
        ]
        return self._play({"tasks": tasks, "environment": {"PATH": f"{manager}:{os.environ['PATH']}"}})

    def _play(self, play: dict[str, Any]) -> dict[str, int]:
        book = self._folder / "book.json"
        book.write_text(json.dumps([{"hosts": "all", "vars": self.vars} | play]))
        path = f"{shutil.which('ansible-playbook')}"
        env = {
            "PATH": f"{Path(path).parent}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            "ANSIBLE_SSH_ARGS": f"-F {self.lab.files.ssh / 'config'} -o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_PIPELINING": "1",
        }
        words = [path, "-i", str(self._folder / "boxes.ini"), str(book)]
        done = self.lab.laptop.run(words, env=env, deadline_s=300)
        assert done.returncode == 0, done.stdout + done.stderr
        [recap] = re.findall(r"^web01 +: (.*)$", done.stdout, re.MULTILINE)
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", recap)}

    def trayagent(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the installed program on the box."""
        return self.lab.server.run([str(self.home / ".local/bin/trayagent"), *words])


def _key() -> str:
    return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHhoc3Rha2V5b2ZhdGVzdHRoYXRuYW1lc25vYm9keTAx"


@pytest.fixture
def boxes(wheels: Path) -> Iterator[Boxes]:
    """Start a box, and copy the wheels for it."""
    try:
        lab = Lab()
    except TrayagentError as error:
        if error.code in UNAVAILABLE:
            pytest.skip(str(error))
        raise
    with lab:
        own = lab.files.home / "wheels"
        shutil.copytree(wheels, own)
        lab.join("home")
        lab.sshd()
        lab.ssh_config({"web01": {"HostName": SERVER}})
        yield Boxes(lab, own)


@needs_ansible
def test_the_role_installs_then_changes_nothing_and_completes_an_interrupted_run(boxes: Boxes) -> None:
    """The machine runs the agent with the given configuration.

    A second run changes nothing, and a later one completes the rest.
    """
    first = boxes.play()
    assert first["failed"] == 0
    assert boxes.trayagent("--version").stdout.startswith("trayagent ")
    written = load(boxes.home / ".config/trayagent/config.toml")
    assert set(written.hosts) == set(CONFIG["hosts"])
    assert written.vpns["corp"].sign_in == ("true", "a 'b' \\c")
    assert written.agent.history == "30d"
    units = boxes.home / ".config/systemd/user"
    assert (units / "default.target.wants/trayagent.service").resolve() == units / "trayagent.service"
    assert (units / "timers.target.wants/trayagent-metrics.timer").exists()
    if shutil.which("systemd-analyze"):
        verified = boxes.lab.server.run(
            ["systemd-analyze", "--user", "verify", str(units / "trayagent-metrics.timer")]
        )
        assert "error" not in verified.stderr.lower()

    assert boxes.play()["changed"] == 0

    [whole] = boxes.root.glob("venv-*/installed-whole")
    whole.unlink()  # as if the run had been interrupted before its last step
    (whole.parent / "bin" / "trayagent").unlink()
    assert boxes.play()["changed"] > 0
    assert boxes.trayagent("--version").returncode == 0

    fewer = boxes.play(trayagent_config={"hosts": {"control.example.net": {"connect": "never"}}})
    assert fewer["changed"] == 1
    _runs(boxes)
    _rejects_an_invalid_configuration(boxes)


def _rejects_an_invalid_configuration(boxes: Boxes) -> None:
    """Check that the role fails and names the invalid key, and that the previous file stays."""
    config = boxes.home / ".config/trayagent/config.toml"
    before = config.read_text()
    with pytest.raises(AssertionError, match="there is no such key") as failed:
        boxes.play(trayagent_config={"hosts": {"web": {"colour": "blue"}}})
    assert "Traceback" not in str(failed.value)
    assert config.read_text() == before


def _runs(boxes: Boxes) -> None:
    """Check that the agent starts with the unit's command, and has its host."""
    agent = boxes.lab.server.popen([str(boxes.home / ".local/bin/trayagent"), "run", "--no-tray"])
    try:
        limit = time.monotonic() + 30
        while (done := boxes.trayagent("status", "--json")).returncode:
            assert time.monotonic() < limit, done.stderr
        assert [host["name"] for host in json.loads(done.stdout)["hosts"]] == ["control.example.net"]
    finally:
        agent.terminate()
        agent.wait(10)


@needs_ansible
def test_the_box_runs_the_version_in_the_folder(boxes: Boxes) -> None:
    """The machine runs the version in the folder: newer, older, or with another dependency.

    Unused versions are removed.
    """
    older = Path(boxes.vars["trayagent_wheels"])
    assert boxes.play()["failed"] == 0
    boxes.play(trayagent_wheels=str(_newer(older)))
    assert boxes.trayagent("--version").stdout == "trayagent 9.9.9\n"
    boxes.play(trayagent_wheels=str(older))
    assert boxes.trayagent("--version").stdout == f"trayagent {__version__}\n"
    [before] = boxes.root.glob("venv-*")

    [dependency] = older.glob("platformdirs-*.whl")
    with zipfile.ZipFile(dependency, "a") as wheel:
        wheel.comment = b"another one"
    boxes.play()
    [after] = boxes.root.glob("venv-*")
    assert after != before
    assert boxes.trayagent("--version").returncode == 0
    assert len(list(boxes.root.glob("wheels*"))) == 1
    assert boxes.play()["changed"] == 0


def _newer(wheels: Path) -> Path:
    """Return a folder with the same wheels, but a higher version of trayagent."""
    folder = wheels.with_name("newer")
    shutil.copytree(wheels, folder)
    [old] = folder.glob("trayagent-*.whl")
    with (
        zipfile.ZipFile(old) as before,
        zipfile.ZipFile(old.with_name(old.name.replace(__version__, "9.9.9")), "w") as after,
    ):
        for name in before.namelist():
            content = before.read(name)
            if ".dist-info/" in name or name == "trayagent/__init__.py":
                content = content.replace(__version__.encode(), b"9.9.9")
            after.writestr(name.replace(f"-{__version__}.", "-9.9.9."), content)
    old.unlink()
    return folder


@needs_ansible
def test_without_metrics_no_timer_wakes_the_box(boxes: Boxes) -> None:
    """Without metrics there is no timer.

    A fake systemctl records its calls, and the program recognizes the unit as its own.
    """
    config, manager = boxes.home / ".config", boxes.lab.files.home / "manager"
    units = config / "systemd" / "user"
    for folder in (manager, units / "default.target.wants", units / "timers.target.wants"):
        folder.mkdir(parents=True)
    asked, stop = manager / "asked", "--user stop trayagent-metrics.timer"
    script = f"#!/bin/sh\necho \"$@\" >>'{asked}'\necho LoadState=loaded\necho ActiveState=active\n"
    (manager / "systemctl").write_text(script)
    (manager / "systemctl").chmod(0o755)
    boxes.play_service(manager)
    assert (units / "timers.target.wants/trayagent-metrics.timer").exists()
    assert stop not in asked.read_text()

    boxes.play_service(manager, trayagent_textfile_folder="")
    assert stop in asked.read_text().splitlines()
    assert list(units.rglob("*metrics*")) == []
    assert Systemd(config, manager, manager).enabled()
    assert boxes.play_service(manager)["changed"] == 0
