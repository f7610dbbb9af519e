"""Finds out whether a far relay is gone on a server where python3 does not start, so that no far relay can answer.

The administrator may have removed python3 and ended the relay, or the server may have rebooted without it.
"""

from __future__ import annotations

from typing import Literal

from trayagent.agent.state.record_types import KeptRoaming
from trayagent.ssh.remote import run_script

# A relay binds its socket as `.ID.PID`, and Linux lists that name until the relay closes the socket, also if the file
# is renamed or deleted (serve in roaming/far_relay_and_resend_buffer.py). The bracket keeps this script from finding
# itself.
_SCRIPT = """[ "$(python3 -s -S -E -c 'print(1)' 2>/dev/null)" = 1 ] && exit
echo TRAY-NO-PYTHON
m=
for f in /etc/machine-id /var/lib/dbus/machine-id /etc/hostid; do [ -n "$m" ] || read -r m <$f; done 2>/dev/null
echo "TRAY-MACHINE ${m:-$(uname -n)}"
read -r b </proc/sys/kernel/random/boot_id && echo "TRAY-BOOT $b"
[ -r /proc/net/unix ] && [ -r /proc/self/cmdline ] || exit
grep -qF ' .%s.' /proc/net/unix && exit
for p in $(grep -ls 'far[_]relay' /proc/[0-9]*/cmdline); do
  [ "$(readlink "${p%%cmdline}ns/net")" = "$(readlink /proc/self/ns/net)" ] && exit
done
echo TRAY-GONE
"""

Found = Literal["far-relay-lost", "server-rebooted", "no-python", "other-machine"]


async def check(control_path: str, kept: KeptRoaming) -> Found | None:
    """Return what is known of a far relay on a server without a working python3, None if python3 works there.

    "far-relay-lost" and "server-rebooted" are proven: it is the same machine, and no such relay runs there. With
    "no-python" the relay may still run, but cannot be reached. Raise MuxError if the master does not answer.
    """
    lines = await run_script.run(control_path, _SCRIPT % kept.token[:16]) or []
    if "TRAY-NO-PYTHON" not in lines:
        return None
    words = dict(line.split(" ", 1) for line in lines if line.startswith(("TRAY-MACHINE ", "TRAY-BOOT ")))
    if words.get("TRAY-MACHINE") != kept.machine:
        return "other-machine"
    if "TRAY-BOOT" in words and kept.far_boot and words["TRAY-BOOT"] != kept.far_boot:
        return "server-rebooted"
    return "far-relay-lost" if "TRAY-GONE" in lines else "no-python"
