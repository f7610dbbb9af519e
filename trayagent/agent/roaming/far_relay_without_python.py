"""Finds out whether a far relay is gone on a server where python3 does not start, so that no far relay can answer.

The administrator may have removed python3 and ended the relay, or the server may have rebooted without it.
"""

from __future__ import annotations

from typing import Literal

from trayagent.agent.roaming.far_relay_is_gone import rebooted
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.ssh.remote import run_script

# A relay binds its socket as `.ID.PID`, and Linux lists that name until the relay closes the socket, also if the file
# is renamed or deleted (serve in roaming/far_relay_and_resend_buffer.py).
_SCRIPT = """[ "$(python3 -s -S -E -c 'print(1)' 2>/dev/null)" = 1 ] && exit
echo TRAY-NO-PYTHON
m=
for f in /etc/machine-id /var/lib/dbus/machine-id /etc/hostid; do [ -n "$m" ] || read -r m <$f; done 2>/dev/null
echo "TRAY-MACHINE ${m:-$(uname -n)}"
read -r b </proc/sys/kernel/random/boot_id && echo "TRAY-BOOT $b"
echo "TRAY-NAMESPACES $(readlink /proc/self/ns/pid) $(readlink /proc/self/ns/net)"
grep -q '^Num ' /proc/net/unix || exit
grep -qF ' .%s.' /proc/net/unix || echo TRAY-NOT-LISTED
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
    words = dict(line.split(" ", 1) for line in lines if line.startswith("TRAY-") and " " in line)
    if words.get("TRAY-MACHINE") != kept.machine:
        return "other-machine"
    boot, namespaces = words.get("TRAY-BOOT"), words.get("TRAY-NAMESPACES", "").split()
    if rebooted(kept, kept.machine, boot or "", next(iter(namespaces), "")):
        return "server-rebooted"
    # A container may have the same machine-id and boot, but does not list the sockets of its host.
    same = boot == kept.far_boot and namespaces == [kept.far_pid_ns, kept.far_net_ns] and all(namespaces)
    return "far-relay-lost" if same and "TRAY-NOT-LISTED" in lines else "no-python"
