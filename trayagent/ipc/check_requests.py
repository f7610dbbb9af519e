"""Check requests against the table of operations and their arguments. Only the agent imports this."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from trayagent.ipc import messages
from trayagent.ipc.errors import BadRequest

LONGEST_PAUSE_S = 3650 * 86400.0  # ten years; a pause must end before 9999, Python's last year


class Request(Struct, frozen=True):
    """A request whose operation exists and whose arguments are complete and have the right types."""

    op: str
    args: dict[str, Any]
    env: dict[str, str]


class Argument(Struct, frozen=True):
    """The rule for an argument. `description` completes the error message. `default` None: it is required."""

    fits: Callable[[Any], bool]
    description: str
    default: Callable[[], Any] | None = None


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _some_names(value: Any) -> bool:
    return _names(value) and bool(value)


def _a_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _a_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _a_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -128 < value < 256


def _a_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= LONGEST_PAUSE_S)


def _a_choice(value: Any) -> bool:
    return isinstance(value, bool)


HOSTS = Argument(_names, "a list of host names", list)
SOME_HOSTS = Argument(_some_names, "a list of at least one host name")
HOST = Argument(_a_name, "a host name")
A_PID = Argument(_a_count, "a process id")
AN_ATTEMPT = Argument(_a_count, "the number of an attempt")
A_STATUS = Argument(_a_status, "an exit status")
NOW = Argument(_a_choice, "true or false", bool)
IF_DOWN = Argument(_a_choice, "true or false", bool)
MASTERS = Argument(_a_choice, "true or false", bool)
FOR_S = Argument(_a_time, "a number of seconds above 0, or null", lambda: None)

OPERATIONS: Mapping[str, Mapping[str, Argument]] = {
    "status": {"hosts": HOSTS},
    "watch": {"hosts": HOSTS},
    "events": {},
    "reconnect": {"hosts": HOSTS, "if_down": IF_DOWN, "now": NOW},
    "disconnect": {"hosts": SOME_HOSTS},
    "pause": {"hosts": HOSTS, "for_s": FOR_S},
    "resume": {"hosts": HOSTS},
    "why": {"host": HOST},
    "attached": {"host": HOST},
    "check-mptcp": {"host": HOST},
    "login": {"host": HOST, "pid": A_PID},
    "logged-in": {"host": HOST, "attempt": AN_ATTEMPT, "status": A_STATUS},
    "login-inner": {"host": HOST, "pid": A_PID},
    "logged-in-inner": {"login": AN_ATTEMPT, "status": A_STATUS},
    "stop": {"masters": MASTERS},
}


def parse(data: bytes) -> Request:
    """Return the request on a line. Raises BadRequest with a description of the problem."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request is not JSON.") from error
    if not isinstance(message, dict):
        raise BadRequest("The request is not a JSON object.")
    if message.get("v") != messages.VERSION:
        raise BadRequest(
            f"The request has version {message.get('v')!r:.20}, this agent speaks {messages.VERSION}.",
            code="wrong-version",
            hint="Restart the agent after an update: trayagent stop && trayagent run",
        )
    op = message.get("op")
    if not isinstance(op, str) or op not in OPERATIONS:
        raise BadRequest(f"There is no operation {op!r:.40}.", code="unknown-op")
    return Request(op, _arguments(op, message.get("args", {})), _environment(message.get("env", {})))


def _arguments(op: str, given: Any) -> dict[str, Any]:
    known = OPERATIONS[op]
    if not isinstance(given, dict):
        raise BadRequest(f'"args" of {op} is not an object.')
    for name in given:
        if name not in known:
            raise BadRequest(f'{op} takes no argument "{name:.40}".')
    taken = {}
    for name, argument in known.items():
        if name not in given and argument.default is not None:
            taken[name] = argument.default()
        elif name in given and argument.fits(given[name]):
            taken[name] = given[name]
        else:
            raise BadRequest(f'"{name}" of {op} must be {argument.description}.')
    return taken


def _environment(given: Any) -> dict[str, str]:
    """Return those of a client's environment variables that the agent accepts."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadRequest('"env" is not an object of strings.')
    return {name: given[name] for name in messages.PASSED_ENV if given.get(name)}
