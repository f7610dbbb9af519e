"""Check the order of messages on one control connection, for the client's side: bytes in, events out, no I/O.

Theory of operation ------------------- The client greets first, then reads the master's greeting. The master does not
wait for the client's greeting, so its own may already be there. Then the client sends one request at a time: a master
reads no further packet from a client while an answer is due, so pipelining would gain nothing. A session or a stdio
forward takes over the connection. Once it is open, no more requests are possible; the master reports how it ended and
closes.

`_MAY_COME` is the complete table: the messages that the master may send in each state, and the next state. While an
answer is due, the type of the request serves as the state. The client may send its greeting when SILENT, and a request
of the table when READY.

The end of the connection is an event (`Ended`) that is valid in every state, because masters may die at any time. A
message of an unknown type changes no state and is returned. A message that the table does not allow raises an error:
LocalProtocolError if the client would send it (a bug), RemoteProtocolError if the master sent it. The latter ends the
connection.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NoReturn

from msgspec import Struct

from trayagent.ssh.mux import answers, requests
from trayagent.ssh.mux.base import Message, Numbered
from trayagent.ssh.mux.errors import LocalProtocolError, RemoteProtocolError
from trayagent.ssh.mux.messages import VERSION, Hello, Unknown, decode, encode
from trayagent.ssh.mux.wire import MAX_PACKET

BUFFER_BOUND = 4 + MAX_PACKET
"""The most bytes that `Connection` keeps: one whole packet with its length field. A master sends one answer of under a
hundred bytes for each request, so a peer that sends more is not a master.
"""


class State(Enum):
    """The state of a control connection."""

    SILENT = auto()  # nothing was sent; received bytes wait for our greeting
    GREETED = auto()  # our greeting was sent, the master's is due
    READY = auto()  # a request may be sent
    REQUESTED = auto()  # the answer to one request is due
    IN_SESSION = auto()  # the connection belongs to a session
    ENDED = auto()  # the connection ended, or the peer broke the rules


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


class Ended(Struct, frozen=True):
    """The master closed the connection; `midway` is true if a packet was incomplete."""

    midway: bool


Event = Message | Unknown | Ended


class Connection:
    """One control connection: encodes the messages that may be sent now, and decodes the received bytes."""

    def __init__(self) -> None:
        self._state = State.SILENT
        self._question: Numbered | None = None  # set while REQUESTED
        self._session: int | None = None  # set while IN_SESSION
        self._buffer = bytearray()
        self._at_eof = False

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._state

    @property
    def buffered(self) -> int:
        """The number of bytes that wait for `next_event`; never more than BUFFER_BOUND."""
        return len(self._buffer)

    def send(self, message: Hello | Numbered) -> bytes:
        """Return the bytes of a message. Raise LocalProtocolError if it may not be sent now."""
        greeting = isinstance(message, Hello)
        if not greeting and type(message) not in _MAY_COME:
            raise LocalProtocolError(f"a client does not send {type(message).__name__}")
        if self._state is not (State.SILENT if greeting else State.READY):
            raise LocalProtocolError(f"{type(message).__name__} may not be sent while {self._state.name}")
        data = encode(message)
        if isinstance(message, Hello):
            self._state = State.GREETED
        else:
            self._state, self._question = State.REQUESTED, message
        return data

    def receive_data(self, data: bytes) -> None:
        """Take received bytes, b"" for the end. Raise RemoteProtocolError if the buffer overflows.

        After each call, call `next_event` until it returns None, because the buffer holds only one packet.
        """
        if self._state is State.ENDED:
            return
        if not data:
            self._at_eof = True
        if len(self._buffer) + len(data) > BUFFER_BOUND:
            self._fail(f"more than {BUFFER_BOUND} unrequested bytes")
        self._buffer += data

    def next_event(self) -> Event | None:
        """Return the next event, or None if more bytes are needed. Raise RemoteProtocolError."""
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
        """Change the state as the table says."""
        now = type(self._question) if self._question is not None else self._state
        leads_to = _MAY_COME[now].get(type(message))
        if leads_to is None:
            self._fail(f"{type(message).__name__} in answer to {getattr(now, '__name__', now)}")
        self._check_numbers(message)
        self._state, self._question = leads_to, None
        if isinstance(message, answers.SessionOpened):
            self._session = message.number

    def _check_numbers(self, message: Message) -> None:
        """Check that a message has our version, or the number of our request or session."""
        if isinstance(message, Hello):
            received, expected = message.version, VERSION
        elif isinstance(message, Numbered):
            received, expected = message.request_id, self._question.request_id if self._question else -1
        elif isinstance(message, (answers.ExitMessage, answers.TtyAllocFail)):
            received, expected = message.session_id, self._session if self._session is not None else -1
        else:
            return
        if received != expected:
            self._fail(f"{type(message).__name__} with number {received} instead of {expected}")

    def _end(self) -> Ended:
        midway = bool(self._buffer)
        self._buffer.clear()
        self._state = State.ENDED
        return Ended(midway)

    def _fail(self, why: str) -> NoReturn:
        self._state = State.ENDED
        self._buffer.clear()
        raise RemoteProtocolError(f"not an ssh master, or a broken one: {why}")
