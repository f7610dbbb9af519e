"""Watch NetworkManager over the system bus: its VPNs, the network's name, and internet connectivity."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from trayagent.core.facts.network_manager import ManagerFacts
from trayagent.net.hints import Hint, NetworkManagerChanged
from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_activate import activate, vpn_profiles
from trayagent.net.vpn.networkmanager_bus import Bus
from trayagent.net.vpn.networkmanager_hints import ManagerHints
from trayagent.net.vpn.networkmanager_query import answer, load
from trayagent.net.vpn.networkmanager_signals import Plugins, apply
from trayagent.net.vpn.networkmanager_state import Picture

if TYPE_CHECKING:
    from dbus_fast import Message

log = logging.getLogger(__name__)

# The bus dies during an upgrade or a shutdown of the machine. Retry soon at first, then rarely.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0


class NetworkManager:
    """Watches NetworkManager; without a bus or NetworkManager it sends no hints, and `problem` says why.

    If a working bus dies, the watcher reconnects with a back-off. If there never was a bus, it gives up. When
    NetworkManager ends, the watcher reports facts with `running` False. When NetworkManager is back, the watcher reads
    the facts again.
    """

    def __init__(self, bus_address: str | None = None, *, first_retry_s: float = FIRST_RETRY_S) -> None:
        self.problem: str | None = None
        self.listening = asyncio.Event()
        """Set while signals are received."""
        self._address, self._first_retry_s = bus_address, first_retry_s
        self._hint: Callable[[Hint], None] = lambda _: None
        self._watching: asyncio.Task[None] | None = None
        self._querying: asyncio.Task[None] | None = None
        self._hints = ManagerHints(self._facts, lambda facts: self._hint(NetworkManagerChanged(facts)))
        self._bus: Bus | None = None
        self._owner: str | None = None
        self._loaded = False
        self._picture: Picture | None = None
        self._plugins = Plugins()
        self._complaints: set[str] = set()

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch on the running loop; never raises, because it connects later."""
        self._hint = hint
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="NetworkManager watch")
        self._watching.add_done_callback(self._ended)

    def close(self) -> None:
        """Stop watching."""
        self._hint = lambda _: None
        for task in (self._watching, self._querying):
            if task is not None:
                task.cancel()
        self._hints.put_off()
        self._watching = self._querying = None

    async def activate(self, name: str, *, restart: bool = False) -> None:
        """Have NetworkManager bring up the VPN connection with this name or UUID, and change nothing else.

        `restart`: first take down a connection that is up or connecting, because its session at the server may
        be dead.

        Return when NetworkManager has begun; the outcome arrives as a hint. If a secret is missing, NetworkManager asks
        the user's own secret agent. Raises TrayagentError: networkmanager-missing, vpn-unknown, vpn-active,
        vpn-refused.
        """
        await activate(self._bus if self._owner is not None else None, name, restart=restart)

    async def vpn_names(self) -> tuple[str, ...]:
        """Return the names of all VPN connections that this user may see.

        Raises TrayagentError: networkmanager-missing.
        """
        profiles = await vpn_profiles(self._bus if self._owner is not None else None)
        return tuple(sorted(profile.name for profile in profiles))

    # -- the bus ------------------------------------------------------------------------------------

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"{task.get_name()} failed: {error!r}"
            log.error("%s", self.problem)

    async def _watch(self) -> None:
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

        was_there, retry_s = False, self._first_retry_s
        while True:
            try:
                self._bus = await Bus.open(self._address, self._hear)
                was_there, retry_s = True, self._first_retry_s
                self.problem = None
                self._owned_by(await self._bus.owner(words.NAME))
                self.listening.set()
                await self._bus.died()
                self.problem = "the system bus went away"
            except (OSError, EOFError, AuthError, DBusError, InvalidAddressError, TimeoutError) as e:
                self.problem = f"no system bus: {e}" if not was_there else f"the system bus went away: {e}"
            finally:
                self._disconnected()
            if not was_there:
                return
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _disconnected(self) -> None:
        self.listening.clear()
        if self._bus is not None:
            self._bus.close()
            self._bus = None
        self._forget()

    def _owned_by(self, owner: str | None) -> None:
        """Begin a new `Picture` for a NetworkManager that appeared. Without an owner, drop the picture."""
        if owner == self._owner and owner is not None:
            return
        self._forget()
        self._owner = owner
        if owner is None:
            self.problem = "NetworkManager is not running"
            return
        self.problem = None
        self._picture = Picture(self._complain)
        self._query()

    def _forget(self) -> None:
        if self._querying is not None:
            self._querying.cancel()
        self._owner = self._picture = self._querying = None
        self._loaded = False
        self._plugins = Plugins()
        self._hints.news()

    # -- signals and queries ------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        from dbus_fast import MessageType
        from dbus_fast.unpack import unpack_variants

        if message.message_type is not MessageType.SIGNAL:
            return
        body = unpack_variants(message.body)
        if message.member == "NameOwnerChanged":
            if message.sender == "org.freedesktop.DBus" and message.signature == "sss":
                self._owner_changed(*body)
            return
        # Any process may send a signal directly to us, so accept only those of NetworkManager and its
        # plug-ins.
        of_plugin = message.interface == words.PLUGIN
        known = self._plugins.knows(message.sender) if of_plugin else message.sender == self._owner
        if known and self._picture is not None and apply(message, body, self._picture, self._plugins):
            self._query()
            self._hints.news()

    def _owner_changed(self, name: str, old: str, new: str) -> None:
        if name == words.NAME:
            self._owned_by(new or None)
        else:
            self._plugins.owner_changed(name, old, new)

    def _query(self) -> None:
        """Query what the signals do not contain, unless a query is in progress."""
        picture, bus = self._picture, self._bus
        if self._querying is not None or picture is None or bus is None:
            return
        if self._loaded and not picture.open_questions():
            return
        querying = self._answers(bus, picture)
        self._querying = asyncio.get_running_loop().create_task(querying, name="NetworkManager answers")
        self._querying.add_done_callback(self._answered)
        self._hints.put_off()  # the next report waits for the answer
        self._hints.news(awaiting_answer=True)

    async def _answers(self, bus: Bus, picture: Picture) -> None:
        with contextlib.suppress(EOFError, OSError):  # the bus died; the watch notices that too
            if not self._loaded:
                await load(bus, picture, self._plugins)
                self._loaded = True
            while questions := picture.open_questions():
                for question in questions:
                    await answer(bus, picture, question)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._ended(task)
        if task is not self._querying:
            return  # the answer is from a NetworkManager that has ended
        self._querying = None
        self._hints.put_off()
        self._hints.news()
        self._query()  # query again, because new questions may have come since the last check

    def _facts(self) -> ManagerFacts | None:
        if self._picture is None:
            return ManagerFacts(running=False)
        return self._picture.facts() if self._loaded else None

    def _complain(self, about: str, what: str) -> None:
        """Log a fault in NetworkManager's answers, once for each subject `about`."""
        if about not in self._complaints:
            self._complaints.add(about)
            log.warning("NetworkManager: %s", what)
