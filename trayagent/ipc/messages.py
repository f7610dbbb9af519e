"""Encode and decode the lines of the IPC socket.

Theory of operation. Each line is one JSON object in UTF-8, without a newline inside.

    client  {"v":1,"op":OP,"args":{…},"env":{"SSH_AUTH_SOCK":…}}
    agent   {"ok":true,"result":{…}}
         or {"ok":false,"exit":1|2,"error":{"code":…,"title":…,"hint":…}}

The agent answers a streaming operation (`watch`, `events`) with an ok line and then one `{"item":{…}}` line
for each item; an error line in between ends the stream. A client may send more requests on the same
connection, but not after a streaming operation. Requests are answered in order. The agent answers an
invalid line with an error and closes the connection.

The agent and the CLI share this module, so it imports nothing that slows the start.
"""

from __future__ import annotations

import json

from trayagent.exit_statuses import FAILED, WRONG_USAGE
from trayagent.ipc.errors import AgentSilent, Refused

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    from trayagent.errors import TrayagentError

VERSION = 1
LONGEST_REQUEST = 64 * 1024
"""Bytes of a client's line. A thousand host names fit, and a client that writes without end is stopped early."""
LONGEST_REPLY = 16 * 1024 * 1024
"""Bytes of an agent's line. A view of ten thousand hosts fits."""

STREAMS = frozenset({"watch", "events"})
PASSED_ENV = ("SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY")


def line(message: dict[str, Any]) -> bytes:
    """Return the message as one line of JSON. A value that has no JSON type becomes its text."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "replace") + b"\n"


def request(op: str, args: dict[str, Any], env: dict[str, str]) -> bytes:
    """Return the line that requests an operation."""
    return line({"v": VERSION, "op": op, "args": args, "env": env})


def success(result: dict[str, Any]) -> bytes:
    """Return the line that answers a request."""
    return line({"ok": True, "result": result})


def item(value: dict[str, Any]) -> bytes:
    """Return one line of a stream."""
    return line({"item": value})


def failure(error: TrayagentError) -> bytes:
    """Return the line with an error, which refuses a request or ends a stream."""
    fields = {"code": error.code, "title": error.title, "hint": error.hint}
    return line(
        {"ok": False, "exit": WRONG_USAGE if error.exit_status == WRONG_USAGE else FAILED, "error": fields}
    )


def read_reply(data: bytes, kind: str) -> dict[str, Any]:
    """Return the content of a line from the agent. `kind` is the expected content: "result" or "item".

    Raises Refused for an error line, AgentSilent for an unexpected one.
    """
    try:
        message = json.loads(data)
        if message.get("ok") is False:
            error, status = message["error"], 2 if message["exit"] == 2 else 1
            fields = {key: str(error[key]) for key in ("title", "code", "hint")}
        else:
            carried: dict[str, Any] = message[kind]
            if not isinstance(carried, dict):
                raise TypeError(kind)
            return carried
    except (ValueError, AttributeError, KeyError, TypeError) as wrong:
        hint = "The agent may have another version. Restart it: trayagent stop && trayagent run"
        raise AgentSilent("The agent's answer is invalid.", code="bad-reply", hint=hint) from wrong
    raise Refused(fields["title"], code=fields["code"], hint=fields["hint"], exit_status=status)
