"""Installs the far relay's program on a server, through a living master.

docs/roaming.md describes the files on the server.
"""

from __future__ import annotations

import hashlib
import os

from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.roaming.near_client import FAR_RELAY
from trayagent.ssh.remote import run_script

INSTALL_S = 60.0  # the program has about 50 kB, and the line may be slow
ABSENT, NO_PYTHON = "TRAY-ABSENT", "TRAY-NO-PYTHON"

# If the hash of the installed file cannot be computed, install the file again.
_CHECK = f"""command -v python3 >/dev/null || {{ echo {NO_PYTHON}; exit; }}
h=$({{ sha256sum || shasum -a 256; }} 2>/dev/null <~/.cache/trayagent/far_relay.py)
case $h in %s*) ;; *) echo {ABSENT}; exit ;; esac
"""

# Compare the length: if the connection is lost during the copy, the server sees only the end of the input.
_INSTALL = """umask 077
mkdir -p ~/.cache/trayagent && cd ~/.cache/trayagent || exit
cat >.far_relay.$$ && [ "$(wc -c <.far_relay.$$)" -eq %d ] && mv -f .far_relay.$$ far_relay.py && echo installed
rm -f .far_relay.$$
"""


async def install(control_path: str) -> None:
    """Write the program to the server. Another version there is replaced atomically. Raise FarError."""
    file = os.open(FAR_RELAY, os.O_RDONLY | os.O_CLOEXEC)
    try:
        script = _INSTALL % FAR_RELAY.stat().st_size
        lines = await run_script.run(control_path, script, stdin=file, timeout_s=INSTALL_S)
    finally:
        os.close(file)
    if lines is None:
        raise FarError("no-shell")
    if "installed" not in lines:
        raise FarError("not-installed")


async def install_if_missing(control_path: str) -> bool:
    """Install the program if it is missing or outdated; report whether it was installed.

    Raise FarError, or MuxError if the master does not answer.
    """
    if ABSENT not in (await run_script.run(control_path, check_script()) or []):
        return False
    await install(control_path)
    return True


def check_script() -> str:
    """Return the script that exits with a marker word unless this version of the far relay is installed."""
    return _CHECK % hashlib.sha256(FAR_RELAY.read_bytes()).hexdigest()
