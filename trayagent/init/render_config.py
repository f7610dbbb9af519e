"""Render the first configuration as TOML, with comments that name the source of each line; pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from trayagent.core.facts.forwards import ForwardKind
from trayagent.dotted_key import dotted
from trayagent.init.propose_hosts import HostProposal, option
from trayagent.presentation.text import clean

_WIDTH = 100
_HEAD = """\
# The configuration of trayagent, first written by `trayagent init`. The agent reads it again when it changes.
# A host is a name that you give to ssh; address, user, key and jump hosts stay in ~/.ssh/config.

[agent]
# adopt = true                  # also keep the masters of hosts that are not listed here
# keep_while_offline = "10m"    # how long a master may wait for its own network to return
# beside = "end"                # end an ssh with its own connection once a move made it stale: autossh restarts it
# notify = "problems"           # "all" | "problems" | "none"
# history = "90d"
# roam = true                   # open sessions survive a change of network; servers need python3
"""
_EXAMPLE = """
# Nothing was found that keeps a host connected. A host to be connected always:
# [hosts.web01]
# connect = "always"                   # "on-use": reconnect it if it was up
# local = ["8080:localhost:80"]        # the arguments of ssh -L, -R and -D
# remote = ["22221:localhost:22"]
# dynamic = ["1080"]
"""
_MEANS = {
    "always": "keep it connected",
    "on-use": "reconnect it if it was up",
}
_KINDS: tuple[ForwardKind, ...] = ("local", "remote", "dynamic")


def render(hosts: Sequence[HostProposal]) -> str:
    """Return the text of a configuration with the wanted hosts."""
    listed = [host for host in hosts if host.listed]
    return _HEAD + ("\n".join(["", *map(_host, listed)]) if listed else _EXAMPLE)


def _host(host: HostProposal) -> str:
    lines = list(comment("From " + ", ".join(host.because) + "."))
    if host.also:
        lines += comment(f"In ssh_config, this host is also called {' and '.join(host.also)}.")
    if host.lines:
        lines += comment(
            "ssh does not know this name yet. Put these lines into ~/.ssh/config, before its first Host line:"
        )
        lines += [f"#   {line}" for line in block(host.lines)]
    if host.more:
        lines += comment(
            "The commands that were found had more options. "
            f"If you still want them, put them into ~/.ssh/config under Host {host.name}:"
        )
        lines += [f"#   {line}" for line in host.more]
    lines += [f"[{dotted('hosts', host.name)}]", f'connect = "{host.wish}"  # {_MEANS[host.wish]}']
    for kind in _KINDS:
        specs = [forward.spec for forward in host.forwards if forward.kind == kind]
        if specs:
            lines.append(f"{kind} = {_list(specs)}")
    if host.given:
        lines += comment(f"also, from ssh_config: {', '.join(map(option, host.given))}")
    if host.session:
        lines.append(f'session = "{host.session}"  # for `trayagent attach {host.name}`')
    return "\n".join(lines) + "\n"


def block(lines: Sequence[str]) -> list[str]:
    """Return the lines of a Host block with the usual indentation."""
    return [lines[0], *(f"    {line}" for line in lines[1:])]


def comment(text: str) -> Iterator[str]:
    """Yield the text as comment lines. No character in the text can end the comment."""
    for line in textwrap.wrap(clean(text), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _list(specs: Sequence[str]) -> str:
    items = [json.dumps(spec, ensure_ascii=False) for spec in specs]
    joined = f"[{', '.join(items)}]"
    return joined if len(joined) < _WIDTH else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
