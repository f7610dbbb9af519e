"""The whole package with the back ends of a Mac, on a machine that imitates one.

The parts that exist only on a Mac (the routing socket, AppKit, osascript) are not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trayagent

AS_MAC = Path(__file__).parent / "as_mac"
ROOT = Path(trayagent.__file__).parent

# Linux only: never imported on a Mac.
LINUX = ("sandbox", "linux_", "xembed_pystray")  # the last needs an X display at its import
DBUS = {
    "trayagent.desktop.tray." + name
    for name in ("status_notifier_item", "dbusmenu", "exported_objects", "pystray_linux")
}

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
assert sys.platform == "darwin"
"""


def as_mac(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on an imitated Mac."""
    env = {**os.environ, "PYTHONPATH": f"{AS_MAC}:{ROOT.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, check=False, timeout=120
    )


def modules() -> list[str]:
    """Return every module of the package that is not for Linux only."""
    found = [".".join(("trayagent", *p.relative_to(ROOT).with_suffix("").parts)) for p in ROOT.rglob("*.py")]
    names = {name.removesuffix(".__init__") for name in found} - DBUS - {"trayagent.__main__"}
    return sorted(name for name in names if not any(word in name for word in LINUX))


def test_every_module_is_imported_without_linux() -> None:
    """No module needs /proc, netlink, pidfds or D-Bus, or Linux's identifiers of processes and networks."""
    done = as_mac("-c", IMPORT_ALL, *modules())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
