"""What can go wrong on a control connection; who is to blame is in the class."""

from __future__ import annotations

from typing import Literal

from trayagent.errors import TrayagentError

GoneReason = Literal["absent", "deaf", "unreachable", "foreign", "ended"]
"""absent: no such file; deaf: a socket file where nobody listens; unreachable: connect() failed
otherwise (permission, a path too long); foreign: another user listens there; ended: the
master closed the connection."""


class MuxError(TrayagentError):
    """Something went wrong between us and a master."""


class LocalProtocolError(MuxError):
    """We are wrong: a message that may not be sent now, or that no wire can carry. A bug."""


class RemoteProtocolError(MuxError):
    """The peer is wrong: what it sent is not the mux protocol, or not now."""


class Refused(MuxError):  # noqa: N818  # it is an answer, and a proof of life, before it is an error
    """The master answered: no. `text` is its reason, word for word."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the ssh master refused: {text}")
        self.text = text


class Gone(MuxError):  # noqa: N818  # a state of the master, not a mistake
    """There is no master to talk to (any more); `reason` says how that was seen."""

    def __init__(self, title: str, *, reason: GoneReason = "ended") -> None:
        super().__init__(title)
        self.reason: GoneReason = reason


class Timeout(MuxError):  # noqa: N818  # the deadline passed; that proves nothing about the master
    """The master did not answer in time."""
