"""The errors of a control connection; the class says which side is at fault."""

from __future__ import annotations

from typing import Literal

from trayagent.errors import TrayagentError

GoneReason = Literal["absent", "deaf", "unreachable", "foreign", "ended"]
"""absent: no such file; deaf: a socket file without a listener; unreachable: connect() failed for another
reason (permission, a path too long); foreign: another user listens there; ended: the master closed the
connection."""


class MuxError(TrayagentError):
    """Communication with a master failed."""


class LocalProtocolError(MuxError):
    """A bug in trayagent: a message that may not be sent now, or that the protocol cannot encode."""


class RemoteProtocolError(MuxError):
    """The peer is at fault: it sent something that is not the mux protocol, or not allowed now."""


class Refused(MuxError):  # noqa: N818  # not only an error: the answer proves life
    """The master refused the request. `text` is its reason, word for word."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the ssh master refused: {text}")
        self.text = text


class Gone(MuxError):  # noqa: N818  # a state of the master, not a mistake
    """No master listens, or the master closed the connection; `reason` says how the agent detected that."""

    def __init__(self, title: str, *, reason: GoneReason = "ended") -> None:
        super().__init__(title)
        self.reason: GoneReason = reason


class Timeout(MuxError):  # noqa: N818  # the deadline passed; that proves nothing about the master
    """The master did not answer in time."""
