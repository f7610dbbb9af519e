"""Read from a master's log which forwards its clients requested and canceled; pure.

A client is, for example, `ssh -L`, or an `ssh -O forward` that ended long ago. mux.c logs each request with all its
fields.

A server must not be able to add a forward, because a remote forward would lead into this machine. But a server can put
text into the log: why it refuses a channel, or why it disconnects. This text may contain newlines and lines that look
like ssh's own. Each message begins with ssh's words and is at most 1,023 bytes long (MSGBUFSIZ in log.c). So a line
counts only if no line within that distance before it can contain text of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, cast

from msgspec import Struct

from trayagent.core.facts.forward_spec import parse, unparse
from trayagent.core.facts.forwards import End, Forward, ForwardKind

LOG_FORWARDS = ",".join(
    f"mux.c:{function}():*"
    for function in (
        "mux_master_process_open_fwd",
        "mux_master_process_close_fwd",
        "mux_confirm_remote_forward",
    )
)
"""The part of a master's LogVerbose that logs each forward that a client requests, and each result."""

LOG_EXIT = "mux.c:mux_master_process_terminate():*,mux.c:mux_master_process_stop_listening():*"
"""The part of a master's LogVerbose that logs `ssh -O exit` and `ssh -O stop`."""

LOG_USE = "channels.c:channel_post_mux_listener():*,channels.c:channel_post_port_listener():*"
"""The part of a master's LogVerbose that logs each client and each connection to a forward, when it begins."""

NEW_CLIENT = b"channel_post_mux_listener()"
NEW_CONNECTION = b"channel_post_port_listener()"

LONGEST_MESSAGE = 1024

_KEY_LINE = r"(?:debug[123]: )?%s\(\):\d+ \((?:bin=.*, )?pid=\d+\): %s"
_WHERE = r"(?:debug[123]: )?mux\.c:%s\(\):\d+ \((?:bin=.*, )?pid=\d+\): "
_REQUEST = re.compile(
    _WHERE % "mux_master_process_(?P<what>open|close)_fwd"
    + r"channel \d+: request (?:cancel )?(?P<forward>(?:local|remote|dynamic) forward .+ -> .+)"
)
_FAILED = re.compile(
    _WHERE % "mux_master_process_open_fwd"
    + r"requested (?P<forward>(?:local|dynamic) forward .+ -> .+) failed"
)
_REMOTE_FAILED = re.compile(
    _WHERE % "mux_confirm_remote_forward" + r"failure for: listen (?P<port>-?\d+), connect (?P<target>.*)"
)
_FORWARD = re.compile(
    r"(?P<kind>local|remote|dynamic) forward (?P<listen>.+):(?P<port>-?\d+) -> (?P<target>.+)"
)
_TARGET = re.compile(r"(?P<host>.+):(?P<port>-?\d+)")
# The kinds of lines that cannot contain text of the server.
_SAFE = re.compile(
    "|".join(
        (
            _WHERE % "mux_[a-z_]+" + r".*",
            _WHERE.replace("mux", "channels") % "channel_post_(?:mux|port)_listener" + r".*",
            _KEY_LINE % (r"kex\.c:kex_input_newkeys", "SSH2_MSG_NEWKEYS received"),
            _KEY_LINE % (r"sshconnect\.c:verify_host_key", r"Server host key: \S+ SHA256:\S+"),
            r'Authenticated to [^ ]+ \((?:\[[^ \]]+\]:\d+|via proxy)\) using "[a-z-]+"\.',
            r"bind \[[^\]]*\]:\d+: [A-Za-z ]+",
            r"channel_setup_fwd_listener_tcpip: cannot listen to port: \d+",
            r"unix_listener: .*",
            "",
        )
    )
)
_PATH_PORT = -2  # PORT_STREAMLOCAL: this end of the forward is the path of a Unix socket
_LONGEST_FIELD = 200  # ssh cuts longer texts in the log
_DEFAULT_HOST = "LOCALHOST"


class Request(Struct, frozen=True):
    """A client's request to open or close a forward. If ssh fails to open one, that counts as a request to close it."""

    what: Literal["open", "close"]
    forward: Forward


def requests(log: str, start: int = 0) -> Iterator[Request]:
    """Yield the requests in a log from its character `start` on, in their order.

    Earlier lines only serve to check whether a line may contain text of the server.
    """
    at, unsafe_until = 0, 0
    opened: list[Forward] = []
    for line in log.splitlines(keepends=True):
        words = line.rstrip("\r\n")
        if not _SAFE.fullmatch(words):
            unsafe_until = at + LONGEST_MESSAGE
        elif at >= max(start, unsafe_until) and (found := _request(words, opened)) is not None:
            if found.what == "open":
                opened.append(found.forward)
            yield found
        at += len(line)


def _request(line: str, opened: list[Forward]) -> Request | None:
    """Return the request in a line, or None. `opened` are the forwards that earlier lines requested."""
    if (failed := _REMOTE_FAILED.fullmatch(line)) is not None:
        for forward in reversed(opened):
            if forward.kind == "remote" and _ends_in_log(forward) == (failed["port"], failed["target"]):
                return Request("close", forward)
        return None
    found = _REQUEST.fullmatch(line)
    if found is not None:
        described = _described(found["forward"])
        return Request("open" if found["what"] == "open" else "close", described) if described else None
    refused = _FAILED.fullmatch(line)
    described = _described(refused["forward"]) if refused is not None else None
    return Request("close", described) if described is not None else None


def _described(text: str) -> Forward | None:
    """Return the forward in a text that format_forward() of mux.c wrote.

    Return None if the text is no forward, or if ssh cut it or escaped a byte with a backslash.
    """
    found = _FORWARD.fullmatch(text)
    if found is None or max(len(found["listen"]), len(found["target"])) >= _LONGEST_FIELD or "\\" in text:
        return None
    kind = cast("ForwardKind", found["kind"])
    listen = _end(found["listen"], int(found["port"]))
    target: End | None = None
    if kind != "dynamic" and found["target"] != "socks:0":
        ends = _TARGET.fullmatch(found["target"])
        if ends is None:
            return None
        target = _end(ends["host"], int(ends["port"]))
    try:
        return parse(kind, unparse(listen, target))
    except ValueError:
        return None


def _end(host: str, port: int) -> End:
    if port == _PATH_PORT:
        return End(path=host)
    return End("" if host == _DEFAULT_HOST else host, port)


def _ends_in_log(forward: Forward) -> tuple[str, str]:
    """Return a remote forward's port and target as mux_confirm_remote_forward() logs them."""
    port = _PATH_PORT if forward.listen.path is not None else forward.listen.port
    target = forward.target
    if target is None:
        return str(port), "socks:0"
    return str(
        port
    ), f"{target.path}:{_PATH_PORT}" if target.path is not None else f"{target.host}:{target.port}"
