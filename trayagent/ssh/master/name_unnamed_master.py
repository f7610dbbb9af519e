"""Make a name for an unnamed master: `user@host:port`, as far as these are known."""

from __future__ import annotations

import os
import pwd
import re

from trayagent.core.facts.masters import Master
from trayagent.ssh.command_line import server_names_of
from trayagent.ssh.os.process import Process

# The usual ControlPath forms: %r@%h:%p and Ansible's %h-%p-%r. A hashed path shows none of these.
_IN_PATH = re.compile(r"(?P<user>[\w.+-]+)@(?P<host>[\w.:-]*\w)[:-](?P<port>\d{1,5})$")
_NAME = re.compile(r"[^@]+@(?P<host>.+):\d+(?:#\d+)?")
_TARGET = re.compile(r"(?P<user>[\w.+-]+)@(?P<host>[\w.:-]+)$")


def unnamed_master_name(master: Master, process: Process | None) -> str:
    """Return `user@host:port` from the control path, the command line or the connection, in this order."""
    found = _IN_PATH.search(os.path.basename(master.control_path))  # noqa: PTH119  # a string, not a path to open
    if found is not None:
        return f"{found['user']}@{found['host']}:{found['port']}"
    user, host = _from_words(process)
    host = host or master.peer or "unknown"
    return f"{user or _login_name()}@{host}:{master.peer_port or 22}"


def host_of_name(name: str) -> str | None:
    """Return the host in a name that `unnamed_master_name` made, or None if the host is unknown."""
    found = _NAME.fullmatch(name)
    return None if found is None or found["host"] == "unknown" else found["host"]


def _from_words(process: Process | None) -> tuple[str | None, str | None]:
    names = server_names_of(process.argv) if process is not None else ()
    found = _TARGET.match(names[0]) if names else None
    return (found["user"], found["host"]) if found is not None else (None, None)


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
