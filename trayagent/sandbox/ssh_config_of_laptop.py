"""The laptop user's ~/.ssh: configuration and known hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trayagent.sandbox.lab_files import Files
from trayagent.sandbox.namespaces import script
from trayagent.sandbox.sshd import Sshd

Options = Mapping[str, str | int | list[str]]


def write_config(files: Files, hosts: Mapping[str, Options], everywhere: Options) -> Path:
    """Write ~/.ssh/config and return its path.

    `hosts` maps a Host pattern to its options (a list repeats the keyword). `everywhere` contains options for
    all hosts. They go into the last block, before the options that every login in the laboratory needs.
    """
    blocks = [_block(name, options) for name, options in hosts.items()]
    common: Options = {
        "User": files.user,
        "IdentityFile": str(files.key),
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(files.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",  # known_hosts stays as the laboratory wrote it
    }
    path = files.ssh / "config"
    # Replace the file atomically, so that a program that watches it never reads half of it.
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text("".join([*blocks, _block("*", {**everywhere, **common})]))
    fresh.replace(path)
    return path


def make_known(files: Files, server: Sshd, *names: str) -> None:
    """Add the server's host key to known_hosts, under its address and other names."""
    with files.known_hosts.open("a") as known:
        known.write(f"{','.join((server.known_as, *names))} {server.host_key}\n")


def over_mptcp() -> list[str]:
    """Return the options that make ssh use a Multipath TCP socket."""
    connect = " ".join(script("mptcp", "connect", "%h", "%p"))
    return ["-o", f"ProxyCommand={connect}", "-o", "ProxyUseFdpass=yes"]


def _block(name: str, options: Options) -> str:
    lines = [f"Host {name}"]
    for key, value in options.items():
        lines += [f"    {key} {one}" for one in (value if isinstance(value, list) else [value])]
    return "\n".join(lines) + "\n"
