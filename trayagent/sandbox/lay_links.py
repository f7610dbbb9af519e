"""Creates the links, addresses and routes in the empty namespaces."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.node import Node


def lay(nodes: Mapping[str, Node], *, nat: bool, ipv6: bool) -> None:
    """Create every link, address and route. Raises TrayagentError (sandbox-broken)."""
    world = nodes["air"].world
    nodes["air"].ip(*plan.links({name: world.netns(name) for name in nodes}))
    pipe = subprocess.PIPE
    running = []
    for name, node in nodes.items():  # in parallel, because each mostly waits for the kernel
        lines = plan.addresses(name, nat=nat, ipv6=ipv6)
        if lines:
            child = node.popen([tool("ip"), "-batch", "-"], admin=True, stdin=pipe, stderr=pipe)
            running.append((name, child, "\n".join(lines) + "\n"))
    for _, child, text in running:
        assert child.stdin  # noqa: S101 - it is a pipe
        child.stdin.write(text)
        child.stdin.close()
        child.stdin = None
    for name, child, text in running:
        _, complaint = child.communicate()
        if child.returncode != 0:
            raise TrayagentError(
                f"`ip` failed in {name}: {complaint.strip()}", code="sandbox-broken", hint=text
            )
