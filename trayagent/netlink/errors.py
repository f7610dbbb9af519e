"""Define the errors of netlink."""

from __future__ import annotations

import errno as codes
import os

from trayagent.errors import TrayagentError


class NetlinkError(TrayagentError):
    """The kernel refused a request, or sent an unreadable answer. For an unreadable answer, `errno` is 0."""

    def __init__(self, doing: str, errno: int = 0) -> None:
        text = f"{doing}: {os.strerror(errno)}" if errno else doing
        super().__init__(text, code="netlink")
        self.errno = errno


def means_no_route(error: NetlinkError) -> bool:
    """Report whether a route query failed because there is no route.

    The kernel answers EINVAL for a blackhole route, for a source address that is gone and for a link-local
    peer without a scope. It answers EACCES for a prohibit route, ENODEV and ENXIO for a vanished scope, and
    EAGAIN for a throw route.
    """
    return error.errno in {
        codes.ENETUNREACH,
        codes.EHOSTUNREACH,
        codes.ENETDOWN,
        codes.EINVAL,
        codes.EACCES,
        codes.ENODEV,
        codes.ENXIO,
        codes.EAGAIN,
        codes.EADDRNOTAVAIL,
    }
