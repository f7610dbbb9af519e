"""Other participants on the laptop: other users, containers of its user, and masters that misbehave."""

from __future__ import annotations

import os
from dataclasses import replace  # noqa: TID251  # a Node is no Struct, because the sandbox needs no packages
from typing import Literal

from trayagent.errors import TrayagentError
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.lab_tools import search_path, tool
from trayagent.sandbox.namespaces import system_python
from trayagent.sandbox.node import Node

Manner = Literal["claims", "silent", "endless", "huge", "agrees"]


def other_user(laptop: Node, uid: int) -> Node:
    """Return a node that acts as another user of the laptop.

    Raises TrayagentError (sandbox-usage) unless root calls this.
    """
    if os.getuid() != 0:
        raise TrayagentError("only root can act for another user", code="sandbox-usage")
    rights = (tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    return replace(laptop, env={"HOME": "/", "PATH": search_path()}, through=rights)


def container(laptop: Node, network: str | None, *, mounts: bool) -> Node:
    """Return a node that acts as a container of the laptop's user, on `network` or (None) in the laptop's namespace."""
    words: tuple[str, ...] = ()
    if mounts:
        mapped = () if os.getuid() == 0 else ("--user", "--map-current-user")
        words = (tool("unshare"), *mapped, "--mount")
    return replace(laptop, name=network or laptop.name, through=words)


def hostile_mux(node: Node, path: str, how: Manner, *, pid: int, ambush: bool) -> Program:
    """Start a program that listens like a master. Its first line contains the path."""
    words = (path, how, str(pid), *(["ambush"] if ambush else []))
    return Program(node, "hostile_mux", *words, python=system_python(), inline=True)
