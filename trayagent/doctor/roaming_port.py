"""Checks the TCP port on which a host's far relay is to listen: whether it is free, and whether a firewall blocks it.

If the host roams by now, its far relay has a port. If the host cannot roam, a short script listens on the server in its
place. In both cases this machine tries to connect, which proves nothing to the far relay and costs the server one
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from trayagent.config.model import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import each
from trayagent.doctor.findings import Finding, advice, ok
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.servers import ANSWER_WITHIN_S, BEGIN_S
from trayagent.dotted_key import dotted
from trayagent.ssh.mux.errors import MuxError
from trayagent.ssh.remote import run_script
from trayagent.ssh.remote.quote_script import quoted

_AT_ONCE = 8
_LISTENS_S = 1.0
_CONNECT_S = 1.0
_AGAIN_S = 0.1
_PORTS_TRIED = 8  # the script takes the first free one, which is usually the first

# Prints the first free port of a range, and waits for a connection to it. Prints `reached` if one came.
_LISTEN = f"""
import socket, sys
address = sys.argv[1]
for port in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
        sock.listen(16)
    except OSError:
        continue
    print("port", port)
    sock.settimeout({_LISTENS_S})
    try:
        sock.accept()
        print("reached")
    except OSError:
        pass
    break
else:
    print("taken")
"""


async def check(case: Case) -> Iterable[Finding]:
    """Check the ports of all hosts with `roam_port`."""
    hosts = [one for one in case.wanted() if one[1].roam_port is not None and one[1].roam is not False]

    async def one(host: tuple[str, Host, Resolved]) -> list[Finding]:
        return [*await _examine(case, *host)]

    found, _ = await each(hosts, one, at_once=_AT_ONCE, within_s=BEGIN_S)
    return [finding for findings in found for finding in findings]


async def _examine(case: Case, name: str, host: Host, resolved: Resolved) -> Iterable[Finding]:
    """Check the port of a host that is connected. Return nothing if its server runs no python3."""
    if not resolved.plain_connect:
        return [_indirect(name)] if resolved.proxy_jump or resolved.proxy_command else []
    view = next((one for one in (case.view or {}).get("hosts", []) if one["name"] == name), None)
    if view is None or view["state"] != "connected":
        return []
    roaming = view.get("roaming")
    address = _address(view) or resolved.hostname
    if roaming is not None and roaming.get("no_port") == "taken":
        return judged(name, str(host.roam_port), None, reached=False)
    if roaming is not None and roaming.get("port"):
        reached = await _answers(address, roaming["port"])
        return judged(name, str(host.roam_port), roaming["port"], reached=reached)
    if roaming is None and view.get("no_roaming") is None:
        return []  # it is about to roam: its far relay may have taken the port, or may need it now
    lines = await _listened(case.control_path(name), address, str(host.roam_port))
    if not lines:
        return []
    port = next((int(line.split()[1]) for line in lines if line.startswith("port ")), None)
    return judged(name, str(host.roam_port), port, reached="reached" in lines)


async def _listened(control_path: str, address: str, ports: str) -> list[str]:
    """Run the script on the server, and try to connect meanwhile. Return what it printed."""
    first, _, last = ports.partition("-")
    program = quoted(_LISTEN)
    script = f'set -- $SSH_CONNECTION\npython3 -s -S -E -c {program} "$3" {first} {last or first} 2>/dev/null'
    tries = range(int(first), min(int(last or first), int(first) + _PORTS_TRIED - 1) + 1)
    connecting = [asyncio.ensure_future(_connect_until_cancelled(address, port)) for port in tries]
    try:
        lines = await run_script.run(control_path, script, timeout_s=ANSWER_WITHIN_S)
    except MuxError:
        return []
    finally:
        for one in connecting:
            one.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
    return lines or []


async def _connect_until_cancelled(address: str, port: int) -> None:
    while not await _answers(address, port):  # noqa: ASYNC110  # no event reports when the script listens
        await asyncio.sleep(_AGAIN_S)


async def _answers(address: str, port: int) -> bool:
    """Report whether a TCP connection to the port can be made."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True
    return False


def _address(view: dict[str, Any]) -> str | None:
    """Return the server's address without its port, None if no master reaches it."""
    peer: str | None = view.get("peer")
    return peer.rpartition(":")[0].strip("[]") if peer else None


def judged(name: str, ports: str, port: int | None, *, reached: bool) -> list[Finding]:
    """Return what a user should know about a port, None if all of the range are taken; pure."""
    return [*_judged(name, ports, port, reached=reached)]


def _judged(name: str, ports: str, port: int | None, *, reached: bool) -> Iterator[Finding]:
    if port is None:
        title = f"{name}: other programs on its server have all ports of its roam_port ({ports})"
        why = "Its sessions move over ssh: not before the next login is complete."
        first = int(ports.partition("-")[0])
        wider = f"{first}-{first + 99}" if first + 99 <= 65_535 else f"{first - 99}-{first}"
        remedy = "Each connection that roams needs a port of its own. Set a wider range:"
        table = f"[{dotted('hosts', name)}]"
        yield advice("roaming-port-taken", title, why, remedy, table, f'roam_port = "{wider}"', host=name)
    elif not reached:
        title = f"{name}: port {port} of its server does not answer on this network"
        why = "A firewall blocks it, at the server or on this network. Here, its sessions move over ssh."
        remedy = "If that is so on each network, allow the ports in the server's firewall, for example:"
        yield advice(
            "roaming-port-blocked", title, why, remedy, f"ufw allow {ports.replace('-', ':')}/tcp", host=name
        )
    else:
        yield ok(f"{name}: port {port} of its server answers: sessions move without a login", host=name)


def _indirect(name: str) -> Finding:
    title = f"{name}: its roam_port has no effect behind a jump host or a ProxyCommand"
    why = "The port needs a direct connection. Its sessions move over ssh."
    table = f"[{dotted('hosts', name)}]"
    return advice("roaming-port-indirect", title, why, "Remove it from the configuration:", table, host=name)
