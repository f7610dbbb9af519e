"""The order of messages on a control connection: what may be received and sent, and how much is buffered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh.mux import answers, requests, wire
from trayagent.ssh.mux.base import Message, Numbered
from trayagent.ssh.mux.errors import LocalProtocolError, RemoteProtocolError
from trayagent.ssh.mux.forward import MuxForward
from trayagent.ssh.mux.message_order import BUFFER_BOUND, Connection, Ended, Event, State
from trayagent.ssh.mux.messages import Hello, Unknown, encode

FORWARD = MuxForward("local", "", 8080, "localhost", 80)
QUESTIONS: dict[type[Numbered], Numbered] = {
    type(question): question
    for question in (
        requests.AliveCheck(1),
        requests.Terminate(1),
        requests.StopListening(1),
        requests.OpenForward(1, FORWARD),
        requests.CloseForward(1, FORWARD),
        requests.NewSession(1, "true"),
        requests.NewStdioForward(1, "localhost", 1),
    )
}
ANSWERS: dict[type[Message], Message] = {
    type(answer): answer
    for answer in (
        answers.Ok(1),
        answers.Alive(1, 42),
        answers.SessionOpened(1, 5),
        answers.RemotePort(1, 40000),
        answers.Failure(1, "no"),
        answers.PermissionDenied(1, "no"),
        answers.ExitMessage(5, 0),
        answers.TtyAllocFail(5),
        Hello(),
    )
}
REFUSALS = {answers.Failure, answers.PermissionDenied}
FITS: dict[type[Message], set[type[Message]]] = {
    requests.AliveCheck: {answers.Alive},
    requests.Terminate: {answers.Ok},
    requests.StopListening: {answers.Ok},
    requests.OpenForward: {answers.Ok, answers.RemotePort},
    requests.CloseForward: {answers.Ok},
    requests.NewSession: {answers.SessionOpened},
    requests.NewStdioForward: {answers.SessionOpened},
}


def events(connection: Connection) -> list[Event]:
    """Return all events in the bytes so far."""
    return list(iter(connection.next_event, None))


def hears(connection: Connection, *messages: Message) -> list[Event]:
    """Receive these messages from the master, and return the events."""
    connection.receive_data(b"".join(map(encode, messages)))
    return events(connection)


def ready() -> Connection:
    """Return a connection on which both sides have greeted."""
    connection = Connection()
    connection.send(Hello())
    hears(connection, Hello())
    assert connection.state is State.READY
    return connection


def in_session() -> Connection:
    """Return a connection that belongs to session 5."""
    connection = ready()
    connection.send(requests.NewSession(1, "true"))
    hears(connection, answers.SessionOpened(1, 5))
    assert connection.state is State.IN_SESSION
    return connection


def test_the_masters_greeting_waits_for_ours() -> None:
    """The master's greeting is handled only after ours. Then a request may be sent."""
    connection = Connection()
    assert hears(connection, Hello()) == []
    assert connection.send(Hello()) == encode(Hello())
    assert events(connection) == [Hello()]
    assert connection.state is State.READY


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda q: type(q).__name__)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=lambda a: type(a).__name__)
def test_a_request_accepts_only_its_own_answers(question: Numbered, answer: Message) -> None:
    """A request accepts its own answers and any refusal; every other message raises RemoteProtocolError."""
    connection = ready()
    assert connection.send(question) == encode(question)
    if type(answer) in FITS[type(question)] | REFUSALS:
        assert hears(connection, answer) == [answer]
        opened = isinstance(answer, answers.SessionOpened)
        assert connection.state is (State.IN_SESSION if opened else State.READY)
    else:
        with pytest.raises(RemoteProtocolError):
            hears(connection, answer)
        assert connection.state is State.ENDED


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda q: type(q).__name__)
def test_a_request_may_be_sent_only_when_ready(question: Numbered) -> None:
    """A request before the greeting, while another is open, or in a session raises LocalProtocolError."""
    silent, asked = Connection(), ready()
    asked.send(requests.AliveCheck(9))
    for connection in (silent, asked, in_session()):
        with pytest.raises(LocalProtocolError):
            connection.send(question)
    ready().send(question)


def test_a_second_greeting_is_an_error_of_its_sender() -> None:
    """A second greeting raises LocalProtocolError if we send it, and RemoteProtocolError if the master sends it."""
    with pytest.raises(LocalProtocolError):
        ready().send(Hello())
    with pytest.raises(RemoteProtocolError):
        hears(ready(), Hello())


def test_a_client_cannot_send_an_answer() -> None:
    """A client that sends an answer raises LocalProtocolError."""
    with pytest.raises(LocalProtocolError):
        ready().send(answers.Ok(1))


def test_an_answer_without_a_request_is_the_peers_error() -> None:
    """An answer without a request raises RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError):
        hears(ready(), answers.Ok(1))


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (Connection(), Hello(3)),
        (ready(), answers.Alive(2, 42)),
        (in_session(), answers.ExitMessage(6, 0)),
        (in_session(), answers.TtyAllocFail(6)),
    ],
    ids=["version", "request", "exit", "terminal"],
)
def test_a_wrong_number_is_the_peers_error(connection: Connection, message: Message) -> None:
    """An answer with another version, request number or session number raises RemoteProtocolError."""
    if connection.state is State.SILENT:
        connection.send(Hello())
    elif connection.state is State.READY:
        connection.send(requests.AliveCheck(1))
    with pytest.raises(RemoteProtocolError, match="instead of"):
        hears(connection, message)


def test_a_session_reports_how_it_ended() -> None:
    """A session reports the missing terminal, the exit status and the end in this order."""
    connection = in_session()
    said = (answers.TtyAllocFail(5), answers.ExitMessage(5, 3))
    assert hears(connection, *said) == [*said]
    connection.receive_data(b"")
    assert events(connection) == [Ended(midway=False)]


def test_the_end_is_an_event_and_says_whether_it_cut_a_packet() -> None:
    """The end of the connection is an event that says whether a packet was incomplete."""
    for data, midway in ((b"", False), (b"\0\0", True), (encode(answers.Ok(1))[:-1], True)):
        connection = ready()
        connection.send(requests.Terminate(1))
        for byte in data:
            connection.receive_data(bytes([byte]))
        assert events(connection) == []
        connection.receive_data(b"")
        assert events(connection) == [Ended(midway)]
        assert connection.state is State.ENDED


def test_an_answer_before_the_end_is_still_reported() -> None:
    """An answer that arrives together with the end is still reported."""
    connection = ready()
    connection.send(requests.Terminate(1))
    connection.receive_data(encode(answers.Ok(1)))
    connection.receive_data(b"")
    assert events(connection) == [answers.Ok(1), Ended(midway=False)]


def test_an_unknown_message_changes_nothing() -> None:
    """A message of an unknown type is returned, and the request stays open."""
    connection = ready()
    connection.send(requests.AliveCheck(1))
    connection.receive_data(wire.packet(0x90000001, b"news"))
    assert events(connection) == [Unknown(0x90000001, b"news")]
    assert hears(connection, answers.Alive(1, 42)) == [answers.Alive(1, 42)]


def test_single_bytes_give_the_same_events_as_all_at_once() -> None:
    """Bytes that arrive one by one give the same events as all at once."""
    said: tuple[Message, ...] = (
        answers.SessionOpened(1, 5),
        answers.TtyAllocFail(5),
        answers.ExitMessage(5, 7),
    )
    connection = ready()
    connection.send(requests.NewSession(1, "true"))
    heard: list[Event] = []
    for byte in b"".join(map(encode, said)):
        connection.receive_data(bytes([byte]))
        heard += events(connection)
    assert heard == [*said]


@pytest.mark.parametrize("length", [0, 3, wire.MAX_PACKET + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_rejected_before_its_bytes_arrive(length: int) -> None:
    """A packet shorter than its type or longer than 256 KiB is rejected from its length alone."""
    connection = ready()
    connection.receive_data(wire.u32(length))
    with pytest.raises(RemoteProtocolError, match="a packet of"):
        connection.next_event()


def test_the_largest_packet_fits() -> None:
    """A packet of exactly 256 KiB is accepted."""
    connection = ready()
    connection.receive_data(wire.packet(0x90000001, bytes(wire.MAX_PACKET - 4)))
    assert connection.buffered == BUFFER_BOUND
    assert connection.next_event() == Unknown(0x90000001, bytes(wire.MAX_PACKET - 4))


def test_more_bytes_than_one_packet_are_rejected() -> None:
    """More bytes than one packet raise RemoteProtocolError, and the buffer is empty afterwards."""
    connection = ready()
    connection.receive_data(bytes(BUFFER_BOUND))
    with pytest.raises(RemoteProtocolError, match="unrequested bytes"):
        connection.receive_data(b"x")
    connection.receive_data(b"x")
    assert connection.buffered == 0


CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([encode(message) for message in ANSWERS.values()]),
        st.binary(max_size=12).map(lambda body: wire.packet(0x80000003, body)),
    ),
    max_size=12,
)


@given(CHUNKS, st.sampled_from([None, *QUESTIONS.values()]))
def test_random_bytes_raise_only_remote_protocol_errors(
    chunks: list[bytes], question: Numbered | None
) -> None:
    """Random bytes give events, or one RemoteProtocolError and nothing after it, within the buffer's bound."""
    connection = ready()
    if question is not None:
        connection.send(question)
    for chunk in chunks:
        try:
            connection.receive_data(chunk)
            events(connection)
        except RemoteProtocolError:
            assert connection.state is State.ENDED
        assert connection.buffered <= BUFFER_BOUND
        if connection.state is State.ENDED:
            assert connection.next_event() is None
