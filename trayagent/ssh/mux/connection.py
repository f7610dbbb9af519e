"""The order of things on one control connection, seen from the client; bytes in, events out, no I/O.

Theory of operation
-------------------
We greet, then the master's greeting is taken (it does not wait for ours, so it may lie there already).
Then one question at a time: a master reads no further packet of a client whose answer is still open,
so there is no pipelining worth having. A session or a stdio forward makes the connection its own: after
it is open nothing more can be asked, the master tells how it ended and closes.

`_MAY_COME` holds all of it: what the master may say in each state, and where that leads. While an answer
is open, the question is the state. What we may say follows: our greeting first of all, and a question
of the table when READY.

The end of the bytes is an event like any other (`Ended`), legal everywhere: masters die. A message of
a type that we do not know changes nothing and is passed on. What the table does not allow raises:
LocalProtocolError when we would send it (a bug), RemoteProtocolError when it came, and then the
connection is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

from trayagent.ssh.mux import answers, requests
from trayagent.ssh.mux.base import Message, Numbered
from trayagent.ssh.mux.errors import LocalProtocolError, RemoteProtocolError
from trayagent.ssh.mux.messages import VERSION, Hello, Unknown, decode, encode
from trayagent.ssh.mux.wire import MAX_PACKET

BUFFER_BOUND = 4 + MAX_PACKET
"""One whole packet with its length field is kept, at most: a master sends answers of under a hundred
bytes, one for each question, so more than a packet that nobody fetched is not a master."""


class State(Enum):
    """Where a control connection stands."""

    SILENT = auto()  # nothing was said; what comes waits for our greeting
    GREETED = auto()  # ours is out, the master's is awaited
    READY = auto()  # a question may be asked
    ASKED = auto()  # the answer to one question is open
    IN_SESSION = auto()  # the connection belongs to its session
    ENDED = auto()  # the bytes ended, or the peer broke the rules


_REFUSALS: dict[type[Message], State] = {
    answers.Failure: State.READY,
    answers.PermissionDenied: State.READY,
}
_MAY_COME: dict[State | type[Message], dict[type[Message], State]] = {
    State.GREETED: {Hello: State.READY},
    State.READY: {},
    requests.AliveCheck: {answers.Alive: State.READY, **_REFUSALS},
    requests.Terminate: {answers.Ok: State.READY, **_REFUSALS},
    requests.StopListening: {answers.Ok: State.READY, **_REFUSALS},
    requests.OpenForward: {answers.Ok: State.READY, answers.RemotePort: State.READY, **_REFUSALS},
    requests.CloseForward: {answers.Ok: State.READY, **_REFUSALS},
    requests.NewSession: {answers.SessionOpened: State.IN_SESSION, **_REFUSALS},
    requests.NewStdioForward: {answers.SessionOpened: State.IN_SESSION, **_REFUSALS},
    State.IN_SESSION: {answers.ExitMessage: State.IN_SESSION, answers.TtyAllocFail: State.IN_SESSION},
}


@dataclass(frozen=True, slots=True)
class Ended:
    """The master closed the connection; `midway` when that cut a packet in two."""

    midway: bool


Event = Message | Unknown | Ended


class Connection:
    """One control connection: what may be said now, and what the bytes mean."""

    def __init__(self) -> None:
        self._state = State.SILENT
        self._question: Numbered | None = None  # set while ASKED
        self._session: int | None = None  # set while IN_SESSION
        self._buffer = bytearray()
        self._at_eof = False

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._state

    @property
    def buffered(self) -> int:
        """How many bytes wait for `next_event`; never more than BUFFER_BOUND."""
        return len(self._buffer)

    def send(self, message: Hello | Numbered) -> bytes:
        """Return the bytes that say it; raises LocalProtocolError when it may not be said now."""
        greeting = isinstance(message, Hello)
        if not greeting and type(message) not in _MAY_COME:
            raise LocalProtocolError(f"a client does not send {type(message).__name__}")
        if self._state is not (State.SILENT if greeting else State.READY):
            raise LocalProtocolError(f"{type(message).__name__} may not be sent while {self._state.name}")
        data = encode(message)
        if isinstance(message, Hello):
            self._state = State.GREETED
        else:
            self._state, self._question = State.ASKED, message
        return data

    def receive_data(self, data: bytes) -> None:
        """Take what was read, b"" for the end; raises RemoteProtocolError when it overflows.

        Fetch events until there is none after each call: the buffer holds one packet.
        """
        if self._state is State.ENDED:
            return
        if not data:
            self._at_eof = True
        if len(self._buffer) + len(data) > BUFFER_BOUND:
            self._fail(f"more than {BUFFER_BOUND} unrequested bytes")
        self._buffer += data

    def next_event(self) -> Event | None:
        """Return what was said next, None when more bytes are needed; raises RemoteProtocolError."""
        if self._state in {State.SILENT, State.ENDED}:
            return None
        payload = self._next_payload()
        if payload is None:
            return self._end() if self._at_eof else None
        try:
            message = decode(payload)
        except RemoteProtocolError as error:
            self._fail(error.title)
        if not isinstance(message, Unknown):
            self._came(message)
        return message

    def _next_payload(self) -> bytes | None:
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 4 <= length <= MAX_PACKET:
            self._fail(f"a packet of {length} bytes")
        if len(self._buffer) < 4 + length:
            return None
        payload = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        return payload

    def _came(self, message: Message) -> None:
        """Go where the table leads."""
        now = type(self._question) if self._question is not None else self._state
        leads_to = _MAY_COME[now].get(type(message))
        if leads_to is None:
            self._fail(f"{type(message).__name__} in answer to {getattr(now, '__name__', now)}")
        self._check_numbers(message)
        self._state, self._question = leads_to, None
        if isinstance(message, answers.SessionOpened):
            self._session = message.number

    def _check_numbers(self, message: Message) -> None:
        """See that it speaks our version, of our question, of our session."""
        if isinstance(message, Hello):
            said, ours = message.version, VERSION
        elif isinstance(message, Numbered):
            said, ours = message.request_id, self._question.request_id if self._question else -1
        elif isinstance(message, (answers.ExitMessage, answers.TtyAllocFail)):
            said, ours = message.session_id, self._session if self._session is not None else -1
        else:
            return
        if said != ours:
            self._fail(f"{type(message).__name__} with number {said} instead of {ours}")

    def _end(self) -> Ended:
        midway = bool(self._buffer)
        self._buffer.clear()
        self._state = State.ENDED
        return Ended(midway)

    def _fail(self, why: str) -> NoReturn:
        self._state = State.ENDED
        self._buffer.clear()
        raise RemoteProtocolError(f"not an ssh master, or a broken one: {why}")
