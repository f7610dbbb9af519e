"""What can go wrong between the kernel and us."""

from __future__ import annotations

import errno as codes
import os

from trayagent.errors import TrayagentError


class NetlinkError(TrayagentError):
    """The kernel refused a request, or sent what we cannot read; `errno` is 0 for the latter."""

    def __init__(self, doing: str, errno: int = 0) -> None:
        text = f"{doing}: {os.strerror(errno)}" if errno else doing
        super().__init__(text, code="netlink")
        self.errno = errno


def means_no_way(error: NetlinkError) -> bool:
    """Report whether a route look-up failed because no packet can go that way.

    EINVAL is the answer of a blackhole route, of a source address that is gone and of a link-local
    peer without a scope; EACCES of a prohibit route; ENODEV and ENXIO of a vanished scope; EAGAIN of a
    throw route.
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
