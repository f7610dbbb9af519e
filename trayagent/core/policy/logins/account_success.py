"""What a successful login means for its accounts: it clears their refusals and releases the hosts that wait; pure."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host, LoginHistory
from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import LET_IN_LATELY_S, NEVER
from trayagent.core.policy.logins.account_lockout import (
    Account,
    LetIn,
    at_target,
    made_by,
    refused_accounts,
    refused_login,
)
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import AWAY_KINDS, refusable_at


def let_in(context: Context, host: Host, attempt: Attempt, origin: Origin, *, trusted: bool) -> None:
    """Note that a login succeeded. The server is up and accepts this login, so other hosts may log in at once.

    `trusted`: the host key was verified. Otherwise another machine may have accepted the login, which says nothing
    about the account.
    """
    logins = made_by(host, attempt)
    if trusted:
        # A jump host accepted its login at an unknown time after the attempt began. So clear only earlier refusals.
        clear_refusals(context, {a for login in logins for a in login.accounts}, attempt.started_at)
        at_end = at_target(host)
        clear_refusals(context, set(at_end.accounts) if at_end is not None else set(), context.now)
    # A typed password or code proves nothing about the keys.
    quiet = host.login.kind == "quiet" and not attempt.at_terminal
    if quiet and trusted:
        recent = {
            login: last
            for login, last in context.state.let_in.items()
            if context.now - last.at < LET_IN_LATELY_S
            and login not in logins  # the new record also has the proven host key
        }
        context.change(let_in={**recent, **{login: LetIn(context.now, origin) for login in logins}})
    names = names_of(host.server, context.state.hosts)
    for name in context.names:
        other = context.get(name)
        if other is None or other.name == host.name:
            continue
        if quiet and refused_login(other) in logins:
            at = refusable_at(other, context.now)
            context.put(other, retry=replace(other.retry, at=at, kind=None, count=0), problem=None)
            context.do(Remember(other.name))
            context.because(other.name, 0, "re-arm", Evidence.of(answered=host.name))
            continue
        if other.server in names and other.retry.kind in AWAY_KINDS and other.retry.waits(context.now):
            context.put(other, retry=replace(other.retry, at=context.now))
            context.because(other.name, 0, "re-arm", Evidence.of(server=host.server, answered=host.name))


def _only(login: LoginHistory, times: Collection[float]) -> LoginHistory:
    """Return the history with only the refusals at these times."""
    return replace(
        login,
        refused=tuple(at for at in login.refused if at in times),
        refused_by_jump=tuple(at for at in login.refused_by_jump if at in times),
        refused_elsewhere=tuple((at, key) for at, key in login.refused_elsewhere if at in times),
    )


def clear_refusals(context: Context, accounts: set[Account], before: float) -> None:
    """Forget the refusals of these accounts up to the time `before`, because the accounts then accepted a login."""
    forgotten = {
        name: host
        for name, host in context.state.forgotten.items()
        if any(at > before or accounts.isdisjoint(refusing) for at, refusing in refused_accounts(host))
    }
    context.change(forgotten=forgotten)
    for name in context.names:
        host = context.get(name)
        if host is None or host.login.last_refused_at == NEVER:
            continue
        known = tuple(refused_accounts(host))
        kept = {at for at, refusing in known if at > before or accounts.isdisjoint(refusing)}
        if any(at not in kept for at, _ in known):
            context.put(host, login=_only(host.login, kept))
            context.do(Remember(name))
