"""Keeps accounts from being locked: a login that was refused for one host is not repeated for another; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from math import inf

from msgspec import Struct

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.derived import derived_once
from trayagent.core.facts.host_table import once
from trayagent.core.facts.hosts import Hop, Host
from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import LET_IN_LATELY_S, NEVER, REFUSED_MAX, REFUSED_WINDOW_S
from trayagent.core.find_jump_host import last_jump
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS

Hosts = Mapping[str, Host]
Account = tuple[str, str]
"""An account that a server may lock: the server (its name, its address or a host key) and the user."""


class Login(Struct, frozen=True, dict=True):
    """A login to an account. `keys` are the credentials that ssh would offer: files, certificates, agents.

    `host_keys` ("TYPE SHA256:…") and `addresses` ("IP:PORT") show that one server has several names or ports. They
    serve only to count logins, and prove nothing. `hops` are accounts of other machines that may refuse this login.
    """

    server: str
    user: str
    keys: tuple[str, ...] = ()
    host_keys: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    hops: frozenset[Account] = frozenset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Login) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[object, ...]:
        return self.server, self.user, self.keys

    # The accounts are computed once, because they are compared very often.

    @cached_property
    def own_accounts(self) -> frozenset[Account]:
        """The account at the server, once under the server's name and once under each host key and address."""
        marks = (self.server, *self.host_keys, *self.addresses)
        return frozenset((mark, self.user) for mark in marks)

    @cached_property
    def accounts(self) -> frozenset[Account]:
        """All accounts for which a refusal of this login may count."""
        return self.own_accounts | self.hops

    @cached_property
    def key_types(self) -> frozenset[str]:
        """The types of the known host keys."""
        return frozenset(key.partition(" ")[0] for key in self.host_keys)

    def same(self, other: Login) -> bool:
        """Report whether both offer the same credentials to the same account."""
        return self.keys == other.keys and not self.own_accounts.isdisjoint(other.own_accounts)


class LetIn(Struct, frozen=True):
    """When a login last succeeded without the user, and from which network."""

    at: float
    origin: Origin


def let_in_lately(let_in: Mapping[Login, LetIn], origin: Origin, now: float) -> frozenset[Login]:
    """Return the logins that succeeded from this network within the last minute."""
    return frozenset(
        login
        for login, last in let_in.items()
        if now - last.at < LET_IN_LATELY_S and last.origin.same(origin)
    )


@derived_once("addresses", "known_keys", "login", "resolved")
def at_target(host: Host) -> Login | None:
    """Return the login at the host itself, or None while `ssh -G` has no result."""
    resolved = host.resolved
    if resolved is None:
        return None
    server, through = f"{resolved.hostname}:{resolved.port}", resolved.proxy_jump or resolved.proxy_command
    server = f"{server} through {through}" if through else server
    seen = {key for key in (host.login.host_key, host.login.refusing_key) if key is not None}
    as_jump_host = frozenset({(host.name, ""), (host.name, resolved.user)})
    reached = frozenset() if through else _addresses(host, resolved.port)
    return Login(server, resolved.user, resolved.keys, host.known_keys | seen, reached, as_jump_host)


@derived_once("addresses", "hop", "later_hops", "resolved")
def at_jump(host: Host) -> Login | None:
    """Return the login at the host's jump hosts or ProxyCommand, or None for a host without them.

    Any jump host of a chain may refuse the login. So the login counts for each jump host, under its address, its host
    keys and its name in ProxyJump.
    """
    resolved = host.resolved
    if resolved is None:
        return None
    if not resolved.jumps:
        return Login(resolved.proxy_command, "") if resolved.proxy_command is not None else None
    chain = (*(() if host.hop is None else (host.hop,)), *host.later_hops)
    reached = _addresses(host, host.hop.port) if host.hop is not None else frozenset[str]()
    names = frozenset((jump.host, jump.user) for jump in resolved.jumps)
    if len(chain) == len(resolved.jumps) == 1:
        (hop,) = chain
        return Login(_server(hop), hop.user, hop.keys, hop.known_keys, reached, names)
    at_hops = {(mark, hop.user) for hop in chain for mark in (_server(hop), *hop.known_keys)}
    at_first = {(address, host.hop.user) for address in reached} if host.hop is not None else set()
    server = " and ".join(map(_server, chain)) or str(resolved.proxy_jump)
    first = chain[0] if chain else Hop("", 0)
    return Login(server, first.user, first.keys, hops=names.union(at_hops, at_first))


def _server(hop: Hop) -> str:
    return f"{hop.hostname}:{hop.port}"


def _addresses(host: Host, port: int) -> frozenset[str]:
    """Return the addresses of the machine to which the host's connection goes first."""
    return frozenset(f"{address}:{port}" for address in host.addresses)


def is_carried(host: Host, hosts: Hosts) -> bool:
    """Report whether a living master of the jump host carries the host's next connection."""
    carrier = last_jump(hosts, host)
    return carrier is not None and carrier.master is not None and not carrier.suspect


def at_risk(host: Host, hosts: Hosts) -> tuple[Login, ...]:
    """Return the logins that the host's next connection makes. A jump host with a living master needs no login."""
    found = (at_target(host), None if is_carried(host, hosts) else at_jump(host))
    return tuple(login for login in found if login is not None)


def made_by(host: Host, attempt: Attempt) -> tuple[Login, ...]:
    """Return the logins that an attempt makes. The first one is the login at the host itself."""
    found = (at_target(host), None if attempt.carried else at_jump(host))
    return tuple(login for login in found if login is not None)


def refused_login(host: Host) -> Login | None:
    """Return the refused login of a host, or None if its last failure was not a refusal."""
    if host.retry.kind not in REFUSED_KINDS:
        return None
    return at_jump(host) if host.retry.by_jump else at_target(host)


def refused_alike(host: Host, hosts: Hosts, now: float) -> Host | None:
    """Return another host whose refused login equals a login that this host would make, or None."""
    others = (hosts[name] for name in refused_hosts(hosts) if name != host.name)
    refused = [other for other in others if not other.retry.due(now)]
    if not refused:
        return None
    logins = at_risk(host, hosts)
    return next((other for other in refused if refused_login(other) in logins), None)


def account_free_at(host: Host, hosts: Hosts, now: float, lately: Collection[Login] = ()) -> float | None:
    """Return when the host may log in, even if that login is refused, without the risk that an account gets locked.

    At most `now` means at once, None means after a login to the same account has ended. Logins in progress count,
    because they may still be refused. So an account gets two logins at a time, but only one until a login has
    succeeded. If this first login is refused, one more login is left for the key that the user fixes. Two names may
    belong to one server if one of them never accepted a login, and their known host keys have no type in common.
    `lately` are logins that just succeeded (`let_in_lately`). Until the next refusal, only the server's limit applies
    to them.
    """
    at, turn = now, True
    under_way = list(_under_way(host, hosts))
    for login in at_risk(host, hosts):
        trusted = any(login.same(other) for other in lately)
        first: list[tuple[Login, ...]] | None = None
        for one in (login, *_may_be_any_of(login, under_way, hosts)):
            refused = sorted(_refusals(one, hosts, now))
            if len(refused) >= REFUSED_MAX:
                at = max(at, refused[-REFUSED_MAX] + REFUSED_WINDOW_S)
            elif turn and (not trusted or refused):
                busy = [logins for logins in under_way if _touch(logins, one)]
                if first is None:
                    first = [logins for logins in under_way if any(_may_be(o, login, hosts) for o in logins)]
                limit = REFUSED_MAX if one is not login or _proven(one, hosts) else 1 + len(refused)
                both = sum(logins in busy or logins in first for logins in under_way)
                turn = len(refused) + len(busy) < limit and len(refused) + both < REFUSED_MAX
    return at if turn or at > now else None


def unread_login_at(host: Host, hosts: Hosts, now: float) -> float | None:
    """Return when the agent last ended a login to an account of the host unread, None if no such login counts."""
    accounts = frozenset(account for login in at_risk(host, hosts) for account in login.accounts)
    times = (
        at
        for other in hosts.values()
        if now < other.login.unread_at + REFUSED_WINDOW_S
        for at, refusing in refused_accounts(other)
        if at == other.login.unread_at and not refusing.isdisjoint(accounts)
    )
    return max(times, default=None)


def refusing_host(host: Host, hosts: Hosts, now: float) -> str | None:
    """Return the host whose refused logins hold this one back because its server may be the same one.

    Return None if the account of this host itself refused too many logins.
    """
    logins = at_risk(host, hosts)
    if any(_too_many_refused(login, hosts, now) for login in logins):
        return None
    for other in hosts.values():
        asked = [login for login in _both(other) if login is not None] if other.login.refused else []
        if any(
            _may_be(login, one, hosts) and _too_many_refused(one, hosts, now)
            for one in asked
            for login in logins
        ):
            return other.name
    return None


def _too_many_refused(login: Login, hosts: Hosts, now: float) -> bool:
    return sum(1 for _ in _refusals(login, hosts, now)) >= REFUSED_MAX


def is_counted(host: Host, hosts: Hosts, at: float) -> bool:
    """Report whether a refusal at exactly this time counts for an account of the host."""
    return any(at in _refusals(login, hosts, at) for login in at_risk(host, hosts))


def may_log_in_beside(host: Host, hosts: Hosts, lately: Collection[Login] = ()) -> bool:
    """Report whether few enough logins to the host's accounts are in progress. Earlier refusals do not count."""
    under_way = list(_under_way(host, hosts))
    logins = at_risk(host, hosts) if len(under_way) >= REFUSED_MAX else ()
    return all(
        sum(_touch(others, login) for others in under_way) < REFUSED_MAX
        for login in logins
        if not any(login.same(other) for other in lately) or any(_refusals(login, hosts, NEVER))
    )


def inner_login_free_at(host: Host, hosts: Hosts, now: float) -> float | None:
    """Return when a host may make the inner login with which it begins to roam (at most `now`: at once).

    None means after another inner login has ended. The inner login comes from the server's own address, so the success
    of an outer login says nothing about it. Until an inner login to the account succeeds, the agent makes only one at a
    time, and none for REFUSED_WINDOW_S after a refusal.
    """
    login = at_target(host)
    if login is None:
        return now
    alike = [other for other in hosts.values() if _is_account_of(other, login)]
    refused = max(
        (*(other.roaming_start.refused_at for other in alike), *_refusals(login, hosts, now)), default=NEVER
    )
    if now < refused + REFUSED_WINDOW_S:
        return refused + REFUSED_WINDOW_S
    proven = any(other.roaming is not None for other in alike)
    busy = any(other.roaming_start.through is not None for other in alike)
    return None if busy and not proven else now


def _is_account_of(host: Host, login: Login) -> bool:
    own = at_target(host)
    return own is not None and not own.own_accounts.isdisjoint(login.own_accounts)


def refused_accounts(host: Host) -> Iterator[tuple[float, frozenset[Account]]]:
    """Yield the times of the host's refused logins, each with the accounts for which the refusal counts."""
    target, jump = at_target(host), at_jump(host)
    for at in host.login.refused:
        asked = jump if at in host.login.refused_by_jump else target
        yield at, asked.accounts if asked is not None else frozenset()
    for at, key in host.login.refused_elsewhere:
        yield at, frozenset({(key, target.user)}) if target is not None else frozenset()


def refused_hosts(hosts: Hosts) -> tuple[str, ...]:
    """Return the names of the hosts whose last login was refused."""
    return once(hosts, _refused, of=("retry",))


def _refused(hosts: Hosts) -> tuple[str, ...]:
    return tuple(host.name for host in hosts.values() if host.retry.kind in REFUSED_KINDS)


def next_refusal_forgotten_at(hosts: Hosts, now: float) -> float:
    """Return when the next refusal stops counting; inf if there is none."""
    times = (at + REFUSED_WINDOW_S for at, _ in _refusals_of_all(hosts))
    return min((at for at in times if at > now), default=inf)


def _refusals(login: Login, hosts: Hosts, now: float) -> Iterator[float]:
    for at, refusing in _refusals_of_all(hosts):
        if now < at + REFUSED_WINDOW_S and not refusing.isdisjoint(login.accounts):
            yield at


def _refusals_of_all(hosts: Hosts) -> tuple[tuple[float, frozenset[Account]], ...]:
    return once(hosts, _all_refusals, of=_LOGIN)


_LOGIN = ("addresses", "hop", "known_keys", "later_hops", "login", "resolved")
"""The fields of hosts that tell which logins they make, and which were refused."""


def _all_refusals(hosts: Hosts) -> tuple[tuple[float, frozenset[Account]], ...]:
    return tuple(
        refusal for host in hosts.values() if host.login.was_refused for refusal in refused_accounts(host)
    )


def login_facts(hosts: Hosts) -> tuple[object, object, object]:
    """Return the facts about the logins of all hosts on which `account_free_at` depends, apart from the time."""
    return once(hosts, _all_under_way), _refusals_of_all(hosts), _proven_of_all(hosts)


def _touch(logins: Collection[Login], login: Login) -> bool:
    return any(not other.accounts.isdisjoint(login.accounts) for other in logins)


def _may_be(unknown: Login, login: Login, hosts: Hosts) -> bool:
    """Report whether `unknown`, a login to a server that never accepted one, may be to the account of `login`.

    A server has one host key of each type. So two names may be one server if their known keys have no type in common.
    The login of a ProxyCommand has no user, so it is never the same account.
    """
    same_user = bool(login.user) and unknown.user == login.user
    return same_user and unknown.key_types.isdisjoint(login.key_types) and not _proven(unknown, hosts)


def _may_be_any_of(login: Login, under_way: Collection[tuple[Login, ...]], hosts: Hosts) -> Iterator[Login]:
    """Yield the refused and pending logins that may be to the account of `login`, if that never accepted a login."""
    if not login.user or _proven(login, hosts):
        return
    refused = (asked for host in hosts.values() if host.login.refused for asked in _both(host))
    for other in (*refused, *(one for logins in under_way for one in logins)):
        if other is not None and other.server != login.server and _may_be(login, other, hosts):
            yield other


def _proven(login: Login, hosts: Hosts) -> bool:
    """Report whether the account has accepted a login before."""
    return not _proven_of_all(hosts).isdisjoint(login.accounts)


def _proven_of_all(hosts: Hosts) -> frozenset[Account]:
    return once(hosts, _proven_accounts, of=(*_LOGIN, "master", "reached"))


def _proven_accounts(hosts: Hosts) -> frozenset[Account]:
    worked = (
        h for h in hosts.values() if h.login.worked_at != NEVER or h.master is not None or h.reached.networks
    )
    logins = (asked for host in worked for asked in _both(host) if asked is not None)
    return frozenset(account for login in logins for account in login.accounts)


def _both(host: Host) -> tuple[Login | None, Login | None]:
    return at_target(host), at_jump(host)


def _under_way(host: Host, hosts: Hosts) -> Iterator[tuple[Login, ...]]:
    """Yield, for each other login in progress, the logins at the machines that may refuse it."""
    for name, logins, another in once(hosts, _all_under_way):
        if another or name != host.name:
            yield logins


def _all_under_way(hosts: Hosts) -> tuple[tuple[str, tuple[Login, ...], bool], ...]:
    """Return each login in progress: its host, the logins at the machines that may refuse it, and a mark.

    The mark is true for a login that is not the host's attempt: a trial, the login of a spare master, or
    an attempt that the agent ended.
    """
    found = []
    for other in hosts.values():
        attempt, trial = other.attempt, other.trial.running is not None
        asking = attempt is not None and not attempt.bare and attempt.positive_at is None
        by_user = attempt is not None and (attempt.at_terminal or attempt.refused is not None)
        if (asking and not by_user) or trial:
            found.append((other.name, at_risk(other, hosts), trial))
        found.extend((other.name, at_risk(other, hosts), True) for _ in other.login.cut)
        if other.standby.attempt is not None:
            found.append((other.name, at_risk(other, hosts), True))
        if other.roaming_start.through is not None and (inner := at_target(other)) is not None:
            found.append((other.name, (inner,), False))
    return tuple(found)
