"""One ssh connection in the near relay: its token, its attaches, and the server's machine."""

from __future__ import annotations

import json
import socket

from trayagent.roaming.far_relay_and_resend_buffer import (
    ATTACH,
    ATTACHED,
    EARLY_MAX,
    HELLO,
    LINE_MAX,
    MAGIC,
    MARKER,
    OLDEST,
    VERSION,
    WELCOME,
    Budget,
    Link,
    LinkError,
    Loop,
    Seal,
    Session,
    Stream,
    Wire,
    clock,
)

TYPE_CHECKING = False  # importing typing would need memory in a process that always runs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NOISE_MAX = 64 * 1024  # bytes that a shell's start-up files may print before the marker
# Buffer for what ssh wrote and the relay has not read yet. Linux doubles this number. That is Linux's own default, but
# some systems set a larger one. With 32 KiB, a key during an upload on 1 or 4 Mbit/s came no sooner, because ssh keeps
# about 128 KiB itself, and a fast upload caused twice as many wake-ups.
INNER_BUFFER = 104 * 1024
# If data is not acknowledged for this long, report that once. On a slow line, this may happen without a fault.
STALLED_S = 3.0
ATTACH_S = 60.0  # the longest wait for the answer to an attach; enough even for a slow line
NO_SECRET = "0" * 32
_MARKER = MARKER.encode() + b" "


class NearLink(Link):
    """The near relay's end of a link. It sends the attach; the far end first reports its machine."""

    def __init__(
        self, stream: Stream, name: str, secret: str, machine: str | None, seal: Seal | None = None
    ) -> None:
        super().__init__(stream, seal)
        self.machine = machine  # the server's machine, None before the first attach
        self.said: dict[str, Any] | None = None
        self.noise = 0
        stream.counter += 1
        self.counter = stream.counter
        hello = HELLO.pack(MAGIC, VERSION, OLDEST, 0, self.counter, name.encode(), secret.encode())
        self.acked = stream.delivered
        self.control.append(self.framed(ATTACH, self.acked, hello))
        self.at = min(stream.base, stream.next)
        self.early = self.at + EARLY_MAX
        self.pending = stream.held.copy()

    def receive(self, data: memoryview, now: float) -> int:
        """Find the marker first, then process frames as every link does. Return how many bytes were processed."""
        used = 0
        if self.said is None:
            used = self._find_marker(bytes(data))
            if self.said is None:
                return used
        return used + super().receive(data[used:], now)

    def _find_marker(self, data: bytes) -> int:
        at = data.find(_MARKER)
        if at < 0:
            used = max(0, len(data) - len(_MARKER))
            self.noise += used
            if self.noise > NOISE_MAX:
                raise LinkError("no-marker")
            return used
        stop = data.find(b"\n", at, at + LINE_MAX)
        if stop < 0:
            if len(data) - at >= LINE_MAX:
                raise LinkError("no-marker")
            return at
        self._hear(data[at + len(_MARKER) : stop])
        return stop + 1

    def _hear(self, words: bytes) -> None:
        try:
            said = json.loads(words)
            self.said = {key: str(said[key])[:100] for key in ("machine", "boot")}
            error = said.get("error")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise LinkError("no-marker") from None
        if self.machine is not None and self.said["machine"] != self.machine:
            raise LinkError("other-machine")
        if error is not None:
            raise LinkError(str(error)[:60])

    def handshake(self, kind: int, offset: int, payload: bytes) -> None:
        """Process the far relay's answer to the attach."""
        if kind != ATTACHED or len(payload) != WELCOME.size:
            raise LinkError("malformed")
        version, *_, counter = WELCOME.unpack(payload)
        if not OLDEST <= version <= VERSION or counter != self.counter:
            raise LinkError("malformed")
        self.version = version
        self.go_live(offset)


class NearPortLink(NearLink):
    """The near relay's end of a link over the far relay's TCP port. `said`: what is known of its machine.

    The far relay sends no marker there. The tag of its answer proves which relay it is. The secret is not sent.
    """

    def __init__(self, stream: Stream, name: str, seal: Seal, said: dict[str, Any]) -> None:
        super().__init__(stream, name, NO_SECRET, None, seal)
        self.said = said


class NearSession(Session):
    """A connection that roams, from `start` to its end.

    `tell` receives each event as a JSON object. `answers` has a function for each attach that was not answered yet.
    """

    def __init__(
        self, loop: Loop, budget: Budget, order: dict[str, Any], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(loop, Stream(budget))
        self.name: str = order["id"]
        self.secret: str = order["secret"]
        self.host: str = order["host"]
        self.roam_for_s: float = order["roam_for"]
        self.tell = tell
        self.machine: str | None = None
        self.boot: str | None = None
        self.trouble: str | None = None  # why the last link ended
        self.stalled: tuple[int, float] | None = None  # the last `Link.timed` that was reported as stalled
        self.answers: dict[Wire, Callable[[dict[str, Any]], None]] = {}
        self.seal: Seal | None = None  # for links on the far relay's TCP port

    def open(self) -> socket.socket:
        """Return the socket that ssh will use as its connection."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, INNER_BUFFER)
        self.set_inner(ours.detach())
        self.pump()
        return theirs

    def attach(
        self, incoming: int, outgoing: int, keep: tuple[int, ...], answer: Callable[[dict[str, Any]], None]
    ) -> None:
        """Begin a link on these descriptors. Keep a live link until the new one is live."""
        self._drop_waiting()
        link = NearLink(self.stream, self.name, self.secret, self.machine)
        self._begin(Wire(link, incoming, outgoing, keep), answer)

    def attach_port(self, fd: int, answer: Callable[[dict[str, Any]], None]) -> None:
        """Begin a link on a TCP connection to the far relay's port. Keep a live link until the new one is live.

        The connection must have been attached by a channel before. Raise ImportError if Python cannot make tags.
        """
        if self.seal is None:
            self.seal = Seal(f"{self.name}.{self.secret}".encode())
        self._drop_waiting()
        said = {"machine": self.machine, "boot": self.boot}
        self._begin(Wire(NearPortLink(self.stream, self.name, self.seal, said), fd, fd), answer)

    def _drop_waiting(self) -> None:
        """Drop the links that are not live yet."""
        for wire in list(self.wires):
            if not wire.link.live:
                self.drop(wire, "replaced")

    def _begin(self, wire: Wire, answer: Callable[[dict[str, Any]], None]) -> None:
        self.answers[wire] = answer
        self.add(wire)

    def link_live(self, wire: Wire) -> None:
        """Answer the attach with success. From now on, only the machine that this link reported is accepted."""
        link = wire.link
        if isinstance(link, NearLink) and link.said:
            self.machine, self.boot = link.said["machine"], link.said["boot"]
            # The attach took at least one round trip. Without this, data that waits for the link would hide it.
            link.min_rtt_s = clock() - wire.since
        self.trouble = None
        where = {
            "id": self.name,
            "machine": self.machine,
            "boot": self.boot,
            "counter": self.stream.counter,
            "by": way(link),
            "rtt_s": round(link.min_rtt_s, 4),
        }
        if answer := self.answers.pop(wire, None):
            answer({"ok": True, **where})
        self.tell({"event": "attached", "host": self.host, **where})

    def link_lost(self, wire: Wire, why: str) -> None:
        """Answer a failed attach, or report that the connection has no link any more."""
        link = wire.link
        said = (link.said if isinstance(link, NearLink) else None) or {"machine": None, "boot": None}
        answer = self.answers.pop(wire, None)
        if answer:
            answer({"ok": False, "error": why, "id": self.name, **said})
        if self.finished is None and self.stream.link is None:
            self.trouble = why
            if not answer:
                self.tell({"event": "away", "id": self.name, "host": self.host, "why": why})

    def done(self) -> None:
        """End a connection that was never attached. Any other waits for the far relay's goodbye."""
        if not self.stream.counter:
            self.finish("unused")

    def pump(self) -> None:
        """Move bytes. If ssh ended before the first attach, end the connection."""
        if self.stream.closed and not self.stream.counter:
            self.finish("unused")
        super().pump()

    def finish(self, why: str) -> None:
        """End the connection, and report its end to the clients and through a live link to the far relay."""
        if self.finished is not None:
            return
        for wire in self.wires:
            if wire.link.live and not wire.link.over:
                self.farewell(wire, why, final=True)
        super().finish(why)
        self.tell({"event": "ended", "id": self.name, "host": self.host, "why": why})

    # -- time ---------------------------------------------------------------------------------------

    @property
    def _stalled_at(self) -> float | None:
        """When to report that the far relay is silent. None: no acknowledgement is due, or the report was made."""
        timed = self.stream.link.timed if self.stream.link is not None else None
        return timed[1] + STALLED_S if timed is not None and timed != self.stalled else None

    @property
    def deadline(self) -> float | None:
        """When `tick` is due, None if no time is set."""
        at, stalled_at = super().deadline, self._stalled_at
        if self.stream.link is not None and len(self.wires) == 1:  # the most frequent case
            return stalled_at if at is None or (stalled_at is not None and stalled_at < at) else at
        times = [at, stalled_at]
        if self.away_since is not None:
            times.append(self.away_since + self.roam_for_s)
        if len(self.wires) > 1 or self.stream.link is None:  # otherwise the only link is live
            times += [wire.since + ATTACH_S for wire in self.wires if not wire.link.live]
        return min((at for at in times if at is not None), default=None)

    def tick(self, now: float) -> None:
        """Act on each deadline that has passed."""
        stalled_at = self._stalled_at
        if stalled_at is not None and now >= stalled_at and self.stream.link is not None:
            self.stalled = self.stream.link.timed
            self.tell({"event": "stalled", "id": self.name, "host": self.host})
        for wire in list(self.wires):
            if not wire.link.live and now >= wire.since + ATTACH_S:
                self.drop(wire, "silent")
        if self.away_since is not None and now >= self.away_since + self.roam_for_s:
            self.finish("expired")
        else:
            super().tick(now)

    def report(self) -> dict[str, Any]:
        """Return the connection as `status` shows it."""
        stream, attaching = self.stream, any(not wire.link.live for wire in self.wires)
        state = (
            "attached" if stream.link else "attaching" if attaching else "away" if stream.counter else "new"
        )
        return {
            "id": self.name,
            "host": self.host,
            "state": state,
            "ending": stream.closed,
            "away_s": None if self.away_since is None else round(clock() - self.away_since, 1),
            "machine": self.machine,
            "boot": self.boot,
            "counter": stream.counter,
            "sent": stream.next,
            "received": stream.got,
            "unconfirmed": stream.unconfirmed,
            "trouble": self.trouble,
            "by": way(stream.link),
        }


def way(link: Link | None) -> str | None:
    """Return how a link reaches the far relay: "channel" or "port", None for no link."""
    return None if link is None else "channel" if link.seal is None else "port"
