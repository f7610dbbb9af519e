"""Keeps accounts from being locked: a login that was refused to one host is not repeated by another; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trayagent.core.facts.hosts import NEVER, Host
from trayagent.core.facts.time_constants import REFUSED_MAX, REFUSED_WINDOW_S
from trayagent.core.jump_hosts import last_jump
from trayagent.core.policy.retry import REFUSED_KINDS

Hosts = Mapping[str, Host]


@dataclass(frozen=True, slots=True)
class Login:
    """One way to log in. `keys` are the credentials that ssh would offer: files, certificates, agents."""

    server: str
    user: str
    keys: tuple[str, ...] = ()

    @property
    def account(self) -> tuple[str, str]:
        """The account that a server would lock."""
        return (self.server, self.user)


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
    if resolved.proxy_jump is not None and hop is not None:
        rest = resolved.proxy_jump.partition(",")[2]
        server = f"{hop.hostname}:{hop.port}"
        return Login(f"{server} and {rest}" if rest else server, hop.user, hop.keys)
    if resolved.proxy_command is not None:
        return Login(resolved.proxy_command, "")
    return None


def at_risk(host: Host, hosts: Hosts) -> tuple[Login, ...]:
    """Return the logins that the host's next connection makes. None is needed at a jump host with a living master."""
    carrier = last_jump(hosts, host)
    carried = carrier is not None and carrier.master is not None and not carrier.suspect
    found = (at_target(host), None if carried else at_jump(host))
    return tuple(login for login in found if login is not None)


def refused_login(host: Host) -> Login | None:
    """Return the login that was refused to a host, None if its last failure was none."""
    if host.retry.kind not in REFUSED_KINDS:
        return None
    return at_jump(host) if host.retry.by_jump else at_target(host)


def refused_alike(host: Host, hosts: Hosts, now: float) -> Host | None:
    """Return another host that was refused exactly the login that this one would make, or None."""
    refused = [
        other
        for other in hosts.values()
        if other.retry.kind in REFUSED_KINDS
        and (other.retry.at is None or other.retry.at > now)
        and other.name != host.name
    ]
    if not refused:
        return None
    logins = at_risk(host, hosts)
    return next((other for other in refused if refused_login(other) in logins), None)


def account_free_at(host: Host, hosts: Hosts, now: float) -> float | None:
    """Return when one more refused login would not lock an account (at most `now`: at once).

    None: only after a login to the same account has ended. Logins under way count, because they may yet be refused.
    Until one has succeeded they run one at a time. A refusal then leaves one login for the key that the user fixes.
    """
    at: float | None = now
    for login in at_risk(host, hosts):
        refused = sorted(_refusals(login, hosts, now))
        under_way = sum(login.account in accounts for accounts in _under_way(host, hosts))
        if len(refused) >= REFUSED_MAX:
            at = None if at is None else max(at, refused[-REFUSED_MAX] + REFUSED_WINDOW_S)
        elif len(refused) + under_way >= (REFUSED_MAX if _proven(login, hosts) else 1 + len(refused)):
            at = None
    return at


def may_log_in_beside(host: Host, hosts: Hosts) -> bool:
    """Report whether few enough logins to the host's accounts are under way, whatever was refused before."""
    under_way = list(_under_way(host, hosts))
    logins = at_risk(host, hosts) if len(under_way) >= REFUSED_MAX else ()
    return all(sum(login.account in accounts for accounts in under_way) < REFUSED_MAX for login in logins)


def _refusals(login: Login, hosts: Hosts, now: float) -> Iterator[float]:
    for host in hosts.values():
        recent = [at for at in host.refused if now < at + REFUSED_WINDOW_S]
        if not recent:
            continue
        target, jump = at_target(host), at_jump(host)
        for at in recent:
            login_then = jump if at in host.refused_by_jump else target
            if login_then is not None and login_then.account == login.account:
                yield at


def _proven(login: Login, hosts: Hosts) -> bool:
    """Report whether the account has accepted a login before."""
    worked = (h for h in hosts.values() if h.worked_at != NEVER or h.master is not None or h.reached)
    return any(asked is not None and asked.account == login.account for h in worked for asked in _both(h))


def _both(host: Host) -> tuple[Login | None, Login | None]:
    return at_target(host), at_jump(host)


def _under_way(host: Host, hosts: Hosts) -> Iterator[set[tuple[str, str]]]:
    """Yield, for each other login under way, the accounts that may refuse it."""
    for other in hosts.values():
        attempt = other.attempt
        asking = attempt is not None and not attempt.bare and attempt.positive_at is None
        by_person = attempt is not None and (attempt.at_terminal or attempt.refused is not None)
        if (asking and not by_person and other.name != host.name) or other.trial.running is not None:
            yield {login.account for login in at_risk(other, hosts)}
