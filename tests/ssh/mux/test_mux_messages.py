"""The exact bytes of every message, and the properties of all messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh.mux import answers, requests, wire
from trayagent.ssh.mux.base import Message
from trayagent.ssh.mux.errors import LocalProtocolError, RemoteProtocolError
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward
from trayagent.ssh.mux.messages import Hello, Unknown, decode, encode

# Length and type, then the body. These bytes are written by hand from the protocol's table, not made by `encode`.
GOLDEN: dict[str, tuple[Message, str]] = {
    "hello": (Hello(), "00000008 00000001 00000004"),
    "hello with information (10.3)": (
        Hello(4, (("info", b"0"),)),
        "00000015 00000001 00000004 00000004 696e666f 00000001 30",
    ),
    "alive check": (requests.AliveCheck(1), "00000008 10000004 00000001"),
    "terminate": (requests.Terminate(2), "00000008 10000005 00000002"),
    "stop listening": (requests.StopListening(3), "00000008 10000009 00000003"),
    "open a local forward": (
        requests.OpenForward(4, MuxForward("local", "", 8080, "localhost", 80)),
        "00000025 10000006 00000004 00000001 00000000 00001f90 00000009 6c6f63616c686f7374 00000050",
    ),
    "open a remote forward to a path": (
        requests.OpenForward(5, MuxForward("remote", "*", 0, "/s", UNIX_PATH)),
        "0000001f 10000006 00000005 00000002 00000001 2a 00000000 00000002 2f73 fffffffe",
    ),
    "close a dynamic forward": (
        requests.CloseForward(6, MuxForward("dynamic", "::1", 1080)),
        "00000024 10000007 00000006 00000003 00000003 3a3a31 00000438 00000005 736f636b73 00000000",
    ),
    "session": (
        requests.NewSession(7, "ls", tty=True, agent=True, term="vt", env=("A=b",)),
        """00000033 10000002 00000007 00000000 00000001 00000000 00000001 00000000 ffffffff
        00000002 7674 00000002 6c73 00000003 413d62""",
    ),
    "stdio forward": (
        requests.NewStdioForward(8, "::1", 22),
        "00000017 10000008 00000008 00000000 00000003 3a3a31 00000016",
    ),
    "ok": (answers.Ok(9), "00000008 80000001 00000009"),
    "permission denied": (answers.PermissionDenied(10, "no"), "0000000e 80000002 0000000a 00000002 6e6f"),
    "failure": (answers.Failure(11, "no"), "0000000e 80000003 0000000b 00000002 6e6f"),
    "exit": (answers.ExitMessage(2, 255), "0000000c 80000004 00000002 000000ff"),
    "alive": (answers.Alive(12, 4242), "0000000c 80000005 0000000c 00001092"),
    "session opened": (answers.SessionOpened(13, 2), "0000000c 80000006 0000000d 00000002"),
    "remote port": (answers.RemotePort(14, 40000), "0000000c 80000007 0000000e 00009c40"),
    "no terminal": (answers.TtyAllocFail(2), "00000008 80000008 00000002"),
}
EACH = pytest.mark.parametrize(("message", "golden"), GOLDEN.values(), ids=GOLDEN)

U32 = st.integers(0, 0xFFFFFFFF)
TEXT = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
FORWARDS = st.builds(MuxForward, st.sampled_from(["local", "remote", "dynamic"]), TEXT, U32, TEXT, U32)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, U32, st.lists(st.tuples(TEXT, st.binary(max_size=9)), max_size=3).map(tuple)),
    st.builds(requests.AliveCheck, U32),
    st.builds(requests.Terminate, U32),
    st.builds(requests.StopListening, U32),
    st.builds(requests.OpenForward, U32, FORWARDS),
    st.builds(requests.CloseForward, U32, FORWARDS),
    st.builds(
        requests.NewSession, U32, TEXT, st.booleans(), st.booleans(), st.booleans(), st.booleans(), U32, TEXT,
        st.lists(TEXT, max_size=3).map(tuple),
    ),
    st.builds(requests.NewStdioForward, U32, TEXT, U32),
    st.builds(answers.Ok, U32),
    st.builds(answers.PermissionDenied, U32, TEXT),
    st.builds(answers.Failure, U32, TEXT),
    st.builds(answers.ExitMessage, U32, U32),
    st.builds(answers.Alive, U32, U32),
    st.builds(answers.SessionOpened, U32, U32),
    st.builds(answers.RemotePort, U32, U32),
    st.builds(answers.TtyAllocFail, U32),
)  # fmt: skip


@EACH
def test_a_message_encodes_to_its_golden_bytes(message: Message, golden: str) -> None:
    """`encode` returns the bytes in the protocol's table."""
    assert encode(message).hex() == bytes.fromhex(golden).hex()


@EACH
def test_golden_bytes_decode_to_their_message(message: Message, golden: str) -> None:
    """`decode` returns the message for its golden bytes."""
    assert decode(bytes.fromhex(golden)[4:]) == message


@EACH
def test_a_truncated_message_is_the_peers_error(message: Message, golden: str) -> None:
    """A truncated message raises RemoteProtocolError, except a greeting that only lacks its extensions."""
    payload = bytes.fromhex(golden)[4:]
    for length in range(len(payload)):
        try:
            decoded = decode(payload[:length])
        except RemoteProtocolError:
            continue
        assert isinstance(message, Hello | requests.NewSession)
        assert encode(decoded)[4:] == payload[:length] if not isinstance(decoded, Unknown) else False


@given(MESSAGES)
def test_an_encoded_message_decodes_to_itself(message: Message) -> None:
    """Every encoded message decodes to an equal one, even with paths that are not UTF-8."""
    assert decode(encode(message)[4:]) == message


@given(st.binary(max_size=80), st.sampled_from([m.TYPE for m, _ in GOLDEN.values()]))
def test_any_bytes_decode_or_raise_a_remote_protocol_error(body: bytes, message_type: int) -> None:
    """Any body of a known type decodes or raises RemoteProtocolError. A decoded message encodes to the same bytes."""
    payload = wire.u32(message_type) + body
    try:
        message = decode(payload)
    except RemoteProtocolError:
        return
    assert not isinstance(message, Unknown)
    # Flags are numbers in the protocol and booleans here. The reserved string is dropped.
    if not isinstance(message, requests.NewSession | requests.NewStdioForward):
        assert encode(message)[4:] == payload


def test_a_message_of_an_unknown_type_keeps_its_bytes() -> None:
    """A message of an unknown type, as a later OpenSSH may send, keeps its bytes."""
    assert decode(bytes.fromhex("90000001 0001 02")) == Unknown(0x90000001, bytes.fromhex("000102"))


@pytest.mark.parametrize(
    "message",
    [
        requests.NewStdioForward(1, "a\0b", 1),
        requests.NewStdioForward(1, "\ud800", 1),
        requests.NewStdioForward(1, "a", -1),
        requests.NewStdioForward(1, "a", 1 << 32),
        requests.NewSession(1, "x" * wire.MAX_PACKET),
    ],
)
def test_a_message_that_cannot_be_encoded_is_our_error(message: Message) -> None:
    """`encode` raises LocalProtocolError for a message that the protocol cannot carry."""
    with pytest.raises(LocalProtocolError):
        encode(message)


def test_an_unknown_kind_of_forward_is_the_peers_error() -> None:
    """A forward of a kind other than 1, 2 and 3 raises RemoteProtocolError."""
    body = wire.u32(requests.OpenForward.TYPE) + wire.u32(1) + wire.u32(4) + bytes(16)
    with pytest.raises(RemoteProtocolError, match="unknown kind of forward 4"):
        decode(body)
