"""Keeps accounts from being locked: a login that was refused for one host is not repeated for another; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from trayagent.core.facts.attempts import Attempt
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import LET_IN_LATELY_S, NEVER, REFUSED_MAX, REFUSED_WINDOW_S
from trayagent.core.policy.retry import REFUSED_KINDS
from trayagent.core.proxy_jump import last_jump

Hosts = Mapping[str, Host]
Account = tuple[str, str]
"""A server and a user: what a server would lock."""


@dataclass(frozen=True, slots=True)
class Login:
    """One way to log in. `keys` are the credentials that ssh would offer: files, certificates, agents."""

    server: str
    user: str
    keys: tuple[str, ...] = ()

    @property
    def account(self) -> Account:
        """The account that a server would lock."""
        return (self.server, self.user)


@dataclass(frozen=True, slots=True)
class LetIn:
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


def at_target(host: Host) -> Login | None:
    """Return the login at the host itself, None while its configuration is not known."""
    resolved = host.resolved
    if resolved is None:
        return None
    server, through = f"{resolved.hostname}:{resolved.port}", resolved.proxy_jump or resolved.proxy_command
    return Login(f"{server} through {through}" if through else server, resolved.user, resolved.keys)


def at_jump(host: Host) -> Login | None:
    """Return the login at the host's jump hosts, None if it has none."""
    resolved, hop = host.resolved, host.hop
    if resolved is None:
        return None
    if resolved.jumps and hop is not None:
        rest = ",".join(map(str, resolved.jumps[1:]))
        server = f"{hop.hostname}:{hop.port}"
        return Login(f"{server} and {rest}" if rest else server, hop.user, hop.keys)
    if resolved.proxy_command is not None:
        return Login(resolved.proxy_command, "")
    return None


def is_carried(host: Host, hosts: Hosts) -> bool:
    """Report whether a living master of the jump host carries the host's next connection."""
    carrier = last_jump(hosts, host)
    return carrier is not None and carrier.master is not None and not carrier.suspect


def at_risk(host: Host, hosts: Hosts) -> tuple[Login, ...]:
    """Return the logins that the host's next connection makes. None is needed at a jump host with a living master."""
    found = (at_target(host), None if is_carried(host, hosts) else at_jump(host))
    return tuple(login for login in found if login is not None)


def made_by(host: Host, attempt: Attempt) -> tuple[Login, ...]:
    """Return the logins that an attempt makes, the one at the host itself first."""
    found = (at_target(host), None if attempt.carried else at_jump(host))
    return tuple(login for login in found if login is not None)


def refused_login(host: Host) -> Login | None:
    """Return the refused login of a host, None if its last failure was not a refusal."""
    if host.retry.kind not in REFUSED_KINDS:
        return None
    return at_jump(host) if host.retry.by_jump else at_target(host)


def refused_alike(host: Host, hosts: Hosts, now: float) -> Host | None:
    """Return another host whose refused login is exactly the one that this host would make, or None."""
    refused = [
        other
        for other in hosts.values()
        if other.retry.kind in REFUSED_KINDS and not other.retry.due(now) and other.name != host.name
    ]
    if not refused:
        return None
    logins = at_risk(host, hosts)
    return next((other for other in refused if refused_login(other) in logins), None)


def account_free_at(host: Host, hosts: Hosts, now: float, lately: Collection[Login] = ()) -> float | None:
    """Return when one more refused login would not lock an account (at most `now`: at once).

    None: once a login to the same account has ended. Logins under way count, because they may yet be refused: two at
    a time, or one at a time until one has succeeded. A refusal then leaves one login for the key that the user fixes.
    `lately` are logins that just succeeded (`let_in_lately`). Until the next refusal, only the server's limit applies
    to them.
    """
    at, turn = now, True
    for login in at_risk(host, hosts):
        refused = sorted(_refusals(login.account, hosts, now))
        under_way = sum(login.account in accounts for accounts in _under_way(host, hosts))
        if len(refused) >= REFUSED_MAX:
            at = max(at, refused[-REFUSED_MAX] + REFUSED_WINDOW_S)
        elif login not in lately or refused:
            limit = REFUSED_MAX if _proven(login, hosts) else 1 + len(refused)
            turn = turn and len(refused) + under_way < limit
    return at if turn or at > now else None


def may_log_in_beside(host: Host, hosts: Hosts, lately: Collection[Login] = ()) -> bool:
    """Report whether few enough logins to the host's accounts are under way, whatever was refused before."""
    under_way = list(_under_way(host, hosts))
    logins = at_risk(host, hosts) if len(under_way) >= REFUSED_MAX else ()
    return all(
        sum(login.account in accounts for accounts in under_way) < REFUSED_MAX
        for login in logins
        if login not in lately or any(_refusals(login.account, hosts, NEVER))
    )


def refused_accounts(host: Host) -> Iterator[tuple[float, Account | None]]:
    """Yield the times of the host's refused logins, each with the account that refused it."""
    target, jump = at_target(host), at_jump(host)
    for at in host.login.refused:
        asked = jump if at in host.login.refused_by_jump else target
        yield at, asked.account if asked is not None else None


def _refusals(account: Account, hosts: Hosts, now: float) -> Iterator[float]:
    for host in hosts.values():
        for at, refusing in refused_accounts(host) if host.login.refused else ():
            if refusing == account and now < at + REFUSED_WINDOW_S:
                yield at


def _proven(login: Login, hosts: Hosts) -> bool:
    """Report whether the account has accepted a login before."""
    worked = (
        h for h in hosts.values() if h.login.worked_at != NEVER or h.master is not None or h.reached.networks
    )
    return any(asked is not None and asked.account == login.account for h in worked for asked in _both(h))


def _both(host: Host) -> tuple[Login | None, Login | None]:
    return at_target(host), at_jump(host)


def _under_way(host: Host, hosts: Hosts) -> Iterator[set[Account]]:
    """Yield, for each other login under way, the accounts that may refuse it."""
    for other in hosts.values():
        attempt = other.attempt
        asking = attempt is not None and not attempt.bare and attempt.positive_at is None
        by_person = attempt is not None and (attempt.at_terminal or attempt.refused is not None)
        if (asking and not by_person and other.name != host.name) or other.trial.running is not None:
            yield {login.account for login in at_risk(other, hosts)}
