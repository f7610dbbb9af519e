"""Make the TCP connection of a new master while ssh starts, and hand it to ssh through its helper.

The connection is usually established by the time ssh needs it. The agent sets TCP_NODELAY before the first packet. ssh
sets it only after the login, so Nagle's algorithm and delayed acknowledgements would hold back packets of the login.
The agent tries several addresses of a name in parallel (RFC 8305). ssh would try the next address only after the first
one times out.

The agent also bounds the kernel's back-off (tcp(7), from Linux 6.15). Without this bound, a healthy connection that
sends data during an outage of 45 s stays silent for up to 30 s afterwards, and looks stale.

The connection may use Multipath TCP (`mptcp_socket`). If that gets no answer, plain TCP follows beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
import threading
from asyncio.staggered import staggered_race
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

from trayagent.core.facts.mptcp import MptcpTry, Outcome
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.master import fdpass
from trayagent.ssh.master.helper_pipes import HelperPipes, shell_command
from trayagent.ssh.master.mptcp_socket import IPPROTO_MPTCP, connect, speaks_mptcp, tcp_socket
from trayagent.ssh.master.quick_acknowledgements import QuickAcknowledgements
from trayagent.ssh.os.copied_connection import mute
from trayagent.ssh.os.descriptor_of_process import send_to_output

STAGGER_S = 0.25
"""How long to wait for an address before trying the next one in parallel: RFC 8305, section 5."""

_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
# TCP_RTO_MAX_MS (linux/tcp.h) bounds the time between two retransmissions. The option also shortens the time after
# which the kernel gives up, because the kernel counts retransmissions. So TCP_USER_TIMEOUT restores 15 minutes.
_TCP_RTO_MAX_MS = 44
_RTO_MAX_MS = 1_500
_GIVE_UP_MS = 900_000
_NO_MPTCP = {errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL, errno.EPERM, errno.EACCES}
"""The errors of a machine that offers no Multipath TCP, or forbids it."""
_HASTE_S = (
    1.0  # how long the quick acknowledgements continue after the login, for the first forwards and sessions
)

_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Established = Callable[[str, str, frozenset[str], Outcome | None], None]
"""Receives the local address of a connection, the address that it reached, all addresses of the name, and how
Multipath TCP went."""
_Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]]


def words_of(path: str) -> list[str]:
    """Return the ProxyCommand that fetches the connection from the socket at this path."""
    return [sys.executable, "-I", "-S", str(Path(fdpass.__file__)), path]


def command_of(path: str) -> str:
    """Return the ProxyCommand with which ssh itself fetches the connection from a PreconnectedSocket at this path.

    ssh must run it in a POSIX shell.
    """
    python = " ".join(words_of(path))
    return shell_command(path, python) if sys.platform == "linux" else python


class PreconnectedSocket:
    """One TCP connection that the agent makes for an ssh.

    ssh's helper requests the connection (see `command_of`, `words_of`). With `at_once` False, the agent connects only
    at this request, because an ssh that uses another master needs no connection. The agent calls `established` with the
    addresses. It tries the address `first` before the other addresses of the name. `mptcp`: use Multipath TCP in this
    way, None for plain TCP. With `interface`, the connection is bound to that interface, and the agent keeps a copy of
    it until `close`, so that `mute` works. `helper_came`: the helper has requested the connection. `why_not` is the
    reason that the helper got instead of a connection, or "".
    """

    def __init__(
        self,
        resolved: Resolved,
        timeout_s: float,
        *,
        at_once: bool = True,
        established: Established = lambda _local, _peer, _addresses, _mptcp: None,
        first: str | None = None,
        mptcp: MptcpTry | None = None,
        interface: str | None = None,
    ) -> None:
        self.helper_came = False
        self.why_not = ""
        self._at_once = at_once
        self._established = established
        self._first = first
        self._mptcp = mptcp
        self._mptcp_dropped = False  # whether plain TCP worked where Multipath TCP did not
        self._interface = interface
        self._copy: socket.socket | None = None
        self._outcome: asyncio.Future[socket.socket | str] | None = None
        self._races: set[asyncio.Task[socket.socket | str]] = set()
        self._connecting_routes: set[tuple[_Address, str]] = set()
        self._released = asyncio.Event()
        self._released.set()
        self._resolved = resolved
        self._timeout_s = timeout_s
        self._haste = QuickAcknowledgements()
        self._established_sockets: list[socket.socket] = []
        self._over = False
        self._pipes: HelperPipes | None = None
        self._addresses: set[str] = set()

    @contextlib.asynccontextmanager
    async def offered(self, path: Path) -> AsyncIterator[None]:
        """Make the connection. While the context is open, give it to the helper that connects to `path`."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.setblocking(False)
            listener.bind(str(path))
            listener.listen(1)
            if sys.platform == "linux" and self._at_once:
                self._pipes = HelperPipes(path, self._shell_came)
            if self._at_once:
                self._begin()
            loop.add_reader(listener, self._accept, listener)
            try:
                yield
            except BaseException:
                self.close()
                raise
            finally:
                loop.remove_reader(listener)
                for race in self._races:
                    race.cancel()
                if self._outcome is not None:
                    self._outcome.cancel()
                self._over = True
                for one in self._established_sockets:
                    one.close()
                path.unlink(missing_ok=True)
                if self._pipes is not None:
                    self._pipes.close()
        loop.call_later(_HASTE_S, self._haste.close)

    async def made(self) -> socket.socket | str:
        """Make the connection and return it, or the reason for the failure. Use this in the place of `offered`."""
        return await self._begin()

    def hold(self) -> None:
        """Hold the connection back until `release`, even if it is established earlier."""
        self._released.clear()

    def release(self) -> None:
        """Give the connection to ssh's helper as soon as the connection is established."""
        self._released.set()

    def close(self) -> None:
        """Close the agent's copies of a connection that ssh has.

        This happens automatically soon after the login, unless the connection is bound to an interface.
        """
        self._haste.close()
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def mute(self, *, muted: bool = True) -> bool:
        """Keep the kernel from sending packets of this connection, or let it send.

        Return False if there is no copy of the connection.
        """
        for one in (self._copy, *self._established_sockets):
            if one is not None and one.fileno() >= 0:
                with contextlib.suppress(OSError):
                    mute(one, muted=muted)
        return self._copy is not None

    def again(self) -> None:
        """Begin a second connection if the first is not established yet. Call this when another route appears.

        The name is resolved again. The first connection to be established wins, as among the addresses of a name.
        """
        if self._outcome is not None and not self._outcome.done():
            self._race()

    def _begin(self) -> asyncio.Future[socket.socket | str]:
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            self._race()
        return self._outcome

    def _race(self) -> None:
        race = asyncio.get_running_loop().create_task(self._make())
        self._races.add(race)
        race.add_done_callback(self._raced)

    def _raced(self, race: asyncio.Task[socket.socket | str]) -> None:
        self._races.discard(race)
        if race.cancelled() or self._outcome is None:
            return
        made = race.result()
        if self._outcome.done():
            if isinstance(made, socket.socket):  # two connections were established at the same moment
                made.close()
            return
        if isinstance(made, str):
            if not self._races:  # wait while another connection may succeed
                self._outcome.set_result(made)
            return
        for other in self._races:
            other.cancel()
        self._established(*_ends(made), frozenset(self._addresses), self._went(made))
        self._outcome.set_result(made)

    def _went(self, made: socket.socket) -> Outcome | None:
        """Return how Multipath TCP went on the connection that was made first, None if it was not tried."""
        if made.proto != IPPROTO_MPTCP:
            return "dropped" if self._mptcp_dropped else None
        return "answered" if speaks_mptcp(made) else "fell-back"

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            helper, _ = listener.accept()
            self.helper_came = True
            self._begin().add_done_callback(partial(self._hand_over, helper))

    def _shell_came(self, pid: int) -> None:
        self.helper_came = True
        self._begin().add_done_callback(partial(self._send_through_shell, pid))

    def _send_through_shell(self, pid: int, making: asyncio.Future[socket.socket | str]) -> None:
        """Send the connection to ssh through its helper, or tell the helper why there is none."""
        if making.cancelled() or self._pipes is None:
            return
        made = making.result()
        if isinstance(made, str):
            self.why_not = made
            self._pipes.release(made.encode())
        elif send_to_output(pid, made):
            self._pipes.release()
            self._handed_over(made)
        else:
            self._pipes.use_fdpass()

    def _hand_over(self, helper: socket.socket, making: asyncio.Future[socket.socket | str]) -> None:
        """Send the connection, or the reason why there is none, to ssh's helper."""
        with helper, contextlib.suppress(OSError):
            if making.cancelled():
                return
            made = making.result()
            if isinstance(made, str):
                self.why_not = made
                helper.sendall(made.encode())
                return
            socket.send_fds(helper, [b"\0"], [made.fileno()])
            self._handed_over(made)

    def _handed_over(self, made: socket.socket) -> None:
        if self._interface is not None:
            self._copy = made.dup()
        self._haste.begin(made)

    async def _make(self) -> socket.socket | str:
        """Return the first established connection, or the reason for the failure, worded like ssh's own."""
        host, port = self._resolved.hostname, self._resolved.port
        try:
            found = await _resolve(host, port, _FAMILIES.get(self._resolved.address_family, socket.AF_UNSPEC))
        except socket.gaierror as error:
            return f"ssh: Could not resolve hostname {host}: {error.strerror}"
        self._addresses.update(_address(one[4]) for one in found)
        found = sorted(found, key=lambda one: one[4][0] != self._first)  # keeps the order of the others
        new = [one for one in found if (one[4], _source_to(one[0], one[4])) not in self._connecting_routes]
        attempts = [partial(self._connect_by_either, one[0], one[4]) for one in new]
        connected, _, failed = await staggered_race(attempts, STAGGER_S)
        await self._released.wait()
        if isinstance(connected, socket.socket):
            return connected
        last = next((e for e in reversed(failed) if isinstance(e, OSError)), TimeoutError())
        reason = os.strerror(last.errno) if last.errno else "Connection timed out"
        return f"ssh: connect to host {host} port {port}: {reason}"

    async def _connect_by_either(self, family: socket.AddressFamily, address: _Address) -> socket.socket:
        """Connect, first by Multipath TCP if that is to be tried. Plain TCP follows if it gets no answer in time."""
        source = _source_to(family, address)
        route = (address, source)
        self._connecting_routes.add(route)
        try:
            if self._mptcp is None or source in self._mptcp.plain_from:
                return await self._connect(family, address)
            return await self._race_plain(family, address, self._mptcp.plain_after_s)
        finally:
            self._connecting_routes.discard(route)

    async def _race_plain(
        self, family: socket.AddressFamily, address: _Address, after_s: float
    ) -> socket.socket:
        attempts = [partial(self._connect, family, address, mptcp=mptcp) for mptcp in (True, False)]
        connected, _, failed = await staggered_race(attempts, after_s)
        if isinstance(connected, socket.socket):
            unsupported = any(isinstance(e, OSError) and e.errno in _NO_MPTCP for e in failed)
            self._mptcp_dropped = connected.proto != IPPROTO_MPTCP and not unsupported
            return connected
        raise next((e for e in reversed(failed) if isinstance(e, OSError)), TimeoutError())

    async def _connect(
        self, family: socket.AddressFamily, address: _Address, *, mptcp: bool = False
    ) -> socket.socket:
        one = tcp_socket(family, mptcp=mptcp)
        one.setblocking(False)
        if self._interface is not None:
            _bind_to(one, self._interface)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._resolved.tcp_keep_alive:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connect(one, address)
            if self._over:
                raise ConnectionAbortedError
        except BaseException:
            # Close the socket only after the loop has forgotten it, because a new socket may get its number at once.
            one.close()
            raise
        self._established_sockets.append(one)
        _bound_back_off(one)
        one.setblocking(True)
        return one


def _ends(connected: socket.socket) -> tuple[str, str]:
    peer = ""
    with contextlib.suppress(OSError):  # the server has reset the connection already
        peer = _address(connected.getpeername())
    return _address(connected.getsockname()), peer


def _address(name: _Address) -> str:
    return str(name[0]).partition("%")[0]


def _bind_to(one: socket.socket, interface: str) -> None:
    """Bind a new socket to an interface, which needs no privilege from Linux 5.7 on. Raise OSError."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, f"{interface}\0".encode())  # type: ignore[attr-defined, unused-ignore]  # Linux only


def _bound_back_off(one: socket.socket) -> None:
    """Bound the back-off of an established connection, if this kernel can."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # Linux before 6.15, or a multipath connection
        one.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _RTO_MAX_MS)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP_MS)


def _source_to(family: socket.AddressFamily, address: _Address) -> str:
    """Return the source address that the kernel would use now for this destination, or "" without a route."""
    with socket.socket(family, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
        one.connect(address)  # for a UDP socket, this sends nothing
        return str(one.getsockname()[0])
    return ""


async def _resolve(host: str, port: int, family: socket.AddressFamily) -> _Found:
    """Return a name's addresses in the system's order. Raise socket.gaierror.

    A separate thread waits for the name server. The agent does not wait for this thread when the agent ends.
    """
    name = host.encode(errors="surrogateescape")  # as ssh does, without IDNA
    with contextlib.suppress(socket.gaierror):  # raised if the host is a name, not an address
        return socket.getaddrinfo(name, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Found] = loop.create_future()

    def resolved(found: _Found | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def run_resolver() -> None:
        try:
            found: _Found | OSError = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
        except OSError as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(resolved, found)

    threading.Thread(target=run_resolver, daemon=True).start()
    return await answer
