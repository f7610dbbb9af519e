"""Reports which servers speak Multipath TCP, and the command that turns it on at the others.

The agent makes the connections, because it knows the networks and uses what they show. The script of the check
"server" reports what listens for ssh on the server.
"""

from __future__ import annotations

from collections.abc import Mapping

from trayagent.doctor.deadlines import aside
from trayagent.doctor.findings import Finding, ok
from trayagent.doctor.gather_facts import Case
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client

_ANSWER_WITHIN_S = 2.5
_RESTART = "&& sudo systemctl restart"
_SOCKET_PROTOCOL = 257
"""The version of systemd from which SocketProtocol=mptcp works (systemd.socket(5))."""

# Prints whether the kernel offers it, the version of systemd, and what listens for ssh: a socket or a service.
SCRIPT = r"""
echo "mptcp enabled $(cat /proc/sys/net/mptcp/enabled 2>/dev/null)"
echo "mptcp systemd $(systemctl --version 2>/dev/null | sed -n 's/^systemd \([0-9]*\).*/\1/p')"
for one in ssh.socket sshd.socket ssh.service sshd.service; do
    systemctl is-active --quiet $one 2>/dev/null && { echo "mptcp unit $one"; break; }
done
"""


async def ask(case: Case, name: str) -> str:
    """Return the agent's answer about a host's server, "" without one. See `agent/masters/check_mptcp.py`."""
    if case.view is None or not case.config.agent.mptcp:
        return ""
    args = {"host": name}
    try:
        answer = await aside(
            lambda: blocking_client.call(case.file_paths.ipc_socket, "check-mptcp", args, _ANSWER_WITHIN_S)
        )
    except TrayagentError:  # an older agent, or one that is busy
        return ""
    return str(answer["mptcp"])


def findings(name: str, answer: str, server: Mapping[str, str]) -> list[Finding]:
    """Return what the agent's answer means. `server` is what the script printed, empty without a shell; pure."""
    if answer == "speaks":
        why = "New connections move to another network with their sessions."
        return [ok(f"{name}: its server speaks Multipath TCP", why, host=name, code="mptcp")]
    if answer == "dropped":
        why = "Connections from here are plain TCP. A router or firewall on the way is the cause."
        return [ok(f"{name}: this network drops Multipath TCP", why, host=name, code="mptcp-dropped")]
    line = line_for(server)
    if answer != "plain" or line is None:
        return []
    why = f"Its connections are plain TCP, and end with their network. To turn it on at the server: {line}"
    return [ok(f"{name}: its server does not speak Multipath TCP", why, host=name, code="mptcp-plain")]


def line_for(server: Mapping[str, str]) -> str | None:
    """Return the command that makes a server speak Multipath TCP, None if it cannot or nothing shows how; pure."""
    version, unit = server.get("systemd", ""), server.get("unit", "")
    if server.get("enabled") not in {"0", "1"} or not version.isdecimal() or not unit:
        return None
    service, _, kind = unit.partition(".")
    if kind == "socket" and int(version) >= _SOCKET_PROTOCOL:
        setting = r"printf '[Socket]\nSocketProtocol=mptcp\n' | sudo systemctl edit --stdin"
        return f"{setting} {unit} {_RESTART} {unit}"
    if kind == "socket":
        return None  # mptcpize works only where sshd itself listens
    return f"sudo mptcpize enable {service}.service {_RESTART} {service}.service"
