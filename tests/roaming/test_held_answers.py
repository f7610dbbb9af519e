"""Small answers to a bulk transfer: a relay sends them together with acknowledgements, and never late."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.roaming.ends import attached, received, written
from trayagent.roaming import far_relay_and_resend_buffer as far_relay
from trayagent.roaming.far_relay_and_resend_buffer import HOLD_S, KIB, MIB, Loop, Session, Wire

ANSWER = b"a small packet of sshd, 36 bytes long"


class Upload:
    """A far relay's session in this process, with the near end of its link, and a program in the place of sshd.

    The time is virtual: only `pass_time` makes it pass.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.near, far, relay = attached()
        self.near.window = MIB  # so that its data asks for few acknowledgements
        self.session = Session(Loop(), relay.stream)
        ours, self.program = socket.socketpair()
        link, self.channel = socket.socketpair()
        for one in (self.program, self.channel, link, ours):
            one.setblocking(False)
        self.session.set_inner(ours.detach())
        fd = link.detach()
        self.session.add(Wire(far, fd, fd))
        self.writes = 0  # how often the relay wrote to the channel

    def send(self, size: int) -> None:
        """Let a piece of the upload arrive, and the program read it. The relay handles what is readable then, once."""
        self.near.stream.take(bytes(size))
        self.channel.sendall(written(self.near, self.now))
        self.turn()
        assert len(self.program.recv(MIB)) == size

    def turn(self) -> None:
        """Let the relay's loop turn once, with what is due."""
        due = self.session.deadline
        if due is not None and self.now >= due:
            self.session.tick(self.now)
        self.session.loop.turn(self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass. What is due then happens."""
        self.now += seconds
        self.turn()

    def arrived(self) -> int:
        """Return how many bytes of answers the near end has received since the last call."""
        try:
            data = self.channel.recv(MIB)
        except BlockingIOError:
            return 0
        self.writes += 1
        self.near.receive(memoryview(data), self.now)
        return len(received(self.near.stream, self.now))

    def close(self) -> None:
        """Close everything."""
        self.session.finish("over")
        self.program.close()
        self.channel.close()


@pytest.fixture
def upload() -> Iterator[Upload]:
    """Return an upload whose clock the test controls."""
    found = Upload()
    with patch.object(far_relay, "clock", lambda: found.now):
        yield found
        found.close()


def test_small_answers_to_an_upload_go_with_its_acknowledgements(upload: Upload) -> None:
    """While an upload arrives without a pause, the relay writes once for each acknowledgement, and loses no answer."""
    arrived = 0
    for _ in range(160):
        upload.send(64 * KIB)
        upload.program.send(ANSWER)
        upload.now += 0.0003
        arrived += upload.arrived()
    assert upload.writes <= 10 * MIB // (256 * KIB)
    upload.pass_time(HOLD_S + 0.001)
    assert arrived + upload.arrived() == 160 * len(ANSWER)


def test_after_an_upload_each_answer_comes_at_once(upload: Upload) -> None:
    """An answer waits at most for the pause after the upload, and the answer to a key does not wait."""
    for _ in range(40):
        upload.send(64 * KIB)
        upload.arrived()
    upload.program.send(ANSWER)
    upload.turn()
    assert not upload.arrived()
    deadline = upload.session.deadline
    assert deadline is not None and deadline <= upload.now + HOLD_S
    upload.pass_time(HOLD_S)
    assert upload.arrived() == len(ANSWER)
    for _ in range(3):
        upload.send(40)
        upload.program.send(ANSWER)
        upload.turn()
        assert upload.arrived() == len(ANSWER)


def test_on_a_slow_line_no_answer_waits(upload: Upload) -> None:
    """If 64 KiB come each 20 ms, every answer comes at once, however long the upload lasts."""
    for _ in range(100):
        upload.send(64 * KIB)
        upload.program.send(ANSWER)
        upload.turn()
        assert upload.arrived() == len(ANSWER)
        upload.pass_time(0.02)


def test_a_program_that_waits_for_each_answer_soon_does_not_wait_for_the_relay(upload: Upload) -> None:
    """Of 256 messages of 64 KiB, each sent after the answer to the one before, the relay delays at most 7."""
    delayed = 0
    for _ in range(256):
        upload.send(64 * KIB)
        upload.program.send(ANSWER)
        upload.turn()
        if not upload.arrived():
            delayed += 1
            upload.pass_time(HOLD_S)
            assert upload.arrived() == len(ANSWER)
        upload.now += 0.0003
    assert delayed <= 7


def test_much_data_in_both_directions_does_not_wait(upload: Upload) -> None:
    """If as much data goes back as arrives, the relay delays at most 16 of 256 pieces, and loses nothing."""
    delayed = arrived = 0
    for _ in range(256):
        upload.send(32 * KIB)
        upload.program.send(bytes(32 * KIB))
        upload.turn()
        upload.turn()
        came = upload.arrived()
        delayed += not came
        arrived += came
        upload.now += 0.0003
    upload.pass_time(HOLD_S)
    assert arrived + upload.arrived() == 256 * 32 * KIB
    assert delayed <= 16


def test_data_that_waits_for_a_processor_is_no_pause(upload: Upload) -> None:
    """If the relay itself was not scheduled for long, and data is there, its loop goes on without a release."""
    for _ in range(40):
        upload.send(64 * KIB)
        upload.arrived()
    upload.program.send(ANSWER)
    upload.near.stream.take(bytes(64 * KIB))
    upload.channel.sendall(written(upload.near, upload.now))
    upload.pass_time(10 * HOLD_S)
    assert upload.session.holding and not len(received(upload.near.stream, upload.now))


def test_the_end_of_the_link_ends_the_wait(upload: Upload) -> None:
    """When the link is lost during an upload, the relay reads its program again at once."""
    for _ in range(40):
        upload.send(64 * KIB)
        upload.arrived()
    upload.program.send(ANSWER)
    upload.session.drop(upload.session.wires[0], "cut")
    upload.session.pump()
    upload.turn()
    assert upload.session.stream.next == len(ANSWER)
